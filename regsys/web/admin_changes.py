"""What administrators change of accounts: PUT of a user, deactivation, password, rights."""

from __future__ import annotations

from typing import Any, Collection, Mapping, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime

from regsys import clock, json_body
from regsys.accounts.administration import Administration
from regsys.errors import BadJSON, InvalidParam, MissingParam
from regsys.http import Call, Endpoint, Reply
from regsys.model import Registration, Requester, Secret, Threepid, UserID
from regsys.model.administration import AccountChange
from regsys.storage.user_details import UserDetails
from regsys.web.admin_queries import local_user
from regsys.web.admin_users import ADMIN, USER, Users
from regsys.web.login import administrator
from regsys.web.responses import unbinding_json

MAX_DISPLAY_NAME = 256
# Of each list in a request; no person has as many.
MOST_ITEMS = 50
MAX_ID = 512


@attr.frozen(kw_only=True)
class Changes:
    """``user_types``: those that there are here."""

    users: Users
    administration: Administration
    user_types: Collection[str]
    clock: IReactorTime

    async def put(self, call: Call) -> Reply:
        """Make the account, or change what is not yet as it is to be. All is looked at before
        anything is written; what is written then is a transaction for each of: the account itself,
        its approval, each address, the deactivation. Whoever repeats the request finishes it."""
        who = await administrator(call, self.users.auth)
        user_id = local_user(call, self.users.server_name)
        wanted = self._wanted(call.object())
        found = await self.users.details.find(user_id)
        _check(wanted, found, who, user_id)
        if wanted.threepids is not None:
            await self.administration.check_threepids(user_id, wanted.threepids)
        password_hash = None
        if wanted.password is not None:
            password_hash = await self.administration.hash_of(wanted.password)
        if found is None:
            await self._create(user_id, wanted, password_hash, str(who.user_id))
            password_hash = None
        await self._change(user_id, wanted, password_hash, who)
        return await self.users.reply(user_id, 201 if found is None else 200)

    async def _create(
        self, user_id: UserID, wanted: _Wanted, password_hash: Optional[str], by: str
    ) -> None:
        await self.administration.create(
            Registration(
                localpart=user_id.localpart,
                password_hash=password_hash,
                admin=bool(wanted.admin),
                user_type=wanted.user_type or None,
                display_name=wanted.display_name or None,
                threepids=tuple(wanted.threepids or ()),
                approved=wanted.approved,
            ),
            by,
        )

    async def _change(
        self, user_id: UserID, wanted: _Wanted, password_hash: Optional[str], who: Requester
    ) -> None:
        by, change = str(who.user_id), self.administration
        await change.change(
            AccountChange(
                user_id=user_id,
                by=by,
                password_hash=password_hash,
                ends_logins=wanted.ends_logins,
                keeps_device=who.device_id if who.user_id == user_id else None,
                admin=wanted.admin,
                display_name=wanted.display_name,
                user_type=wanted.user_type,
                external_ids=wanted.external_ids,
            )
        )
        if wanted.approved is not None:
            await change.set_approved(user_id, wanted.approved, by)
        if wanted.threepids is not None:
            await change.set_threepids(user_id, wanted.threepids, by)
        if wanted.deactivated:
            await change.deactivate(user_id, False, by)

    def _wanted(self, body: Mapping[str, Any]) -> _Wanted:
        user_type = json_body.string(body, "user_type")
        if user_type and user_type not in self.user_types:
            raise InvalidParam(f"There is no user type {user_type!r} here.")
        password = json_body.string(body, "password", limit=json_body.MAX_PASSWORD)
        if password == "":
            raise InvalidParam("'password' is empty.")
        if _flag(body, "locked"):
            raise InvalidParam("Accounts cannot be locked here: deactivate it, or log it out.")
        if json_body.string(body, "avatar_url"):
            raise InvalidParam("Avatars are not kept here.")
        return _Wanted(
            password=None if password is None else Secret(password),
            ends_logins=json_body.boolean(body, "logout_devices", default=True),
            display_name=json_body.string(body, "displayname", limit=MAX_DISPLAY_NAME),
            admin=_flag(body, "admin"),
            approved=_flag(body, "approved"),
            deactivated=_flag(body, "deactivated"),
            # Of a known key null removes the value; tools leave all other nulls out.
            user_type="" if "user_type" in body and user_type is None else user_type,
            threepids=_threepids(body, clock.now_ms(self.clock)),
            external_ids=_external_ids(body),
        )


@attr.frozen(kw_only=True)
class _Wanted:
    """What a request wants the account to be; None for what it says nothing of."""

    password: Optional[Secret]
    ends_logins: bool
    display_name: Optional[str]
    admin: Optional[bool]
    approved: Optional[bool]
    deactivated: Optional[bool]
    user_type: Optional[str]
    threepids: Optional[Sequence[Threepid]]
    external_ids: Optional[tuple[tuple[str, str], ...]]


def _check(wanted: _Wanted, found: Optional[UserDetails], who: Requester, user_id: UserID) -> None:
    if wanted.admin is False and who.user_id == user_id:
        raise InvalidParam("You cannot take away your own rights.")
    if wanted.deactivated is False and found is not None and found.entry.deactivated:
        raise InvalidParam("A deactivated account stays so, and nobody gets its name again.")


def endpoints(changes: Changes) -> list[Endpoint]:
    return [
        _user(changes),
        _deactivate(changes),
        _reset_password(changes),
        _admin(changes),
    ]


def _user(changes: Changes) -> Endpoint:
    async def get(call: Call) -> Reply:
        await administrator(call, changes.users.auth)
        return await changes.users.reply(local_user(call, changes.users.server_name))

    return Endpoint("admin_user", (f"{ADMIN}/v2{USER}",), {"GET": get, "PUT": changes.put})


def _deactivate(changes: Changes) -> Endpoint:
    async def post(call: Call) -> Reply:
        who = await administrator(call, changes.users.auth)
        # Old tools send no body.
        erase = json_body.boolean(call.object() if call.body else {}, "erase")
        user_id = local_user(call, changes.users.server_name)
        unbound = await changes.administration.deactivate(user_id, erase, str(who.user_id))
        return Reply(unbinding_json(unbound))

    return Endpoint("admin_deactivate", (f"{ADMIN}/v1/deactivate/{{user_id}}",), {"POST": post})


def _reset_password(changes: Changes) -> Endpoint:
    async def post(call: Call) -> Reply:
        who = await administrator(call, changes.users.auth)
        body = call.object()
        given = json_body.required_string(body, "new_password", limit=json_body.MAX_PASSWORD)
        if not given:
            raise InvalidParam("'new_password' is empty.")
        user_id = local_user(call, changes.users.server_name)
        await changes.administration.set_password(
            user_id,
            Secret(given),
            str(who.user_id),
            ends_logins=json_body.boolean(body, "logout_devices", default=True),
            keeps_device=who.device_id if who.user_id == user_id else None,
        )
        return Reply()

    path = f"{ADMIN}/v1/reset_password/{{user_id}}"
    return Endpoint("admin_reset_password", (path,), {"POST": post})


def _admin(changes: Changes) -> Endpoint:
    async def get(call: Call) -> Reply:
        await administrator(call, changes.users.auth)
        return Reply({"admin": (await changes.users.of_path(call)).entry.admin})

    async def put(call: Call) -> Reply:
        who = await administrator(call, changes.users.auth)
        wanted = _flag(call.object(), "admin")
        if wanted is None:
            raise MissingParam("'admin' is missing.")
        user_id = local_user(call, changes.users.server_name)
        if not wanted and who.user_id == user_id:
            raise InvalidParam("You cannot take away your own rights.")
        await changes.administration.set_admin(user_id, wanted, str(who.user_id))
        return Reply()

    return Endpoint("admin_rights", (f"{ADMIN}/v1{USER}/admin",), {"GET": get, "PUT": put})


def _flag(body: Mapping[str, Any], key: str) -> Optional[bool]:
    return json_body.boolean(body, key) if json_body.has(body, key) else None


def _threepids(body: Mapping[str, Any], now_ms: int) -> Optional[Sequence[Threepid]]:
    items = _items(body, "threepids", ("medium", "address"))
    if items is None:
        return None
    found = [Threepid.of(medium, address, now_ms) for medium, address in items]
    return list({(item.medium, item.address): item for item in found}.values())


def _external_ids(body: Mapping[str, Any]) -> Optional[tuple[tuple[str, str], ...]]:
    items = _items(body, "external_ids", ("auth_provider", "external_id"))
    if items is None:
        return None
    if not all(0 < len(value) <= MAX_ID for item in items for value in item):
        raise InvalidParam(f"An id of another system has 1 to {MAX_ID} characters.")
    return tuple(dict.fromkeys(items))


def _items(
    body: Mapping[str, Any], key: str, keys: tuple[str, str]
) -> Optional[Sequence[tuple[str, str]]]:
    """The pairs in a list of objects; None if there is none. Tools send back what they got, with
    further keys."""
    given = body.get(key)
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise BadJSON(f"'{key}' must be a list of objects.")
    if len(given) > MOST_ITEMS:
        raise InvalidParam(f"'{key}' must have at most {MOST_ITEMS} items.")
    first, second = keys
    return [
        (json_body.required_string(item, first), json_body.required_string(item, second))
        for item in given
    ]
