"""GET of accounts for administrators: one, lists of them, and who has an address or an id."""

from __future__ import annotations

from importlib import metadata
from typing import Any, Optional

import attr

from regsys.errors import InvalidParam, UserNotFound
from regsys.http import Call, Endpoint, Reply
from regsys.interfaces import IAuth
from regsys.model import UserID
from regsys.model.administration import UserEntry, UserFilter, UserOrder
from regsys.model.canonical_threepids import canonical_threepid
from regsys.storage.external_ids import ExternalIdStore
from regsys.storage.threepids import ThreepidStore
from regsys.storage.user_details import UserDetails, UserDetailsStore
from regsys.storage.user_lists import UserListStore
from regsys.web.admin_queries import flag, local_user, number, one_of
from regsys.web.login import administrator

ADMIN = "/_synapse/admin"
USER = "/users/{user_id}"
# The orders that tools know, and those that are none here: of what no account has.
ORDERS = [order.value for order in UserOrder]
WITHOUT_ORDER = ("avatar_url", "locked")
DEFAULT, MOST = 100, 1000


@attr.frozen(kw_only=True)
class Users:
    """Accounts of this server, for the administrators who ``auth`` knows."""

    server_name: str
    auth: IAuth
    lists: UserListStore
    details: UserDetailsStore

    async def of_path(self, call: Call) -> UserDetails:
        """The account of the user ID in the path. Raises InvalidParam, UserNotFound."""
        found = await self.details.find(local_user(call, self.server_name))
        if found is None:
            raise UserNotFound()
        return found

    async def reply(self, user_id: UserID, status: int = 200) -> Reply:
        """All about the account, as it is now."""
        found = await self.details.find(user_id)
        if found is None:
            raise UserNotFound()
        return Reply(user_json(found), status)


def endpoints(
    users: Users, threepids: ThreepidStore, external_ids: ExternalIdStore
) -> list[Endpoint]:
    return [
        _list(users, "v2"),
        _list(users, "v3"),
        _of_threepid(users, threepids),
        _of_external_id(users, external_ids),
        server_version(),
    ]


def _list(users: Users, version: str) -> Endpoint:
    """v2 and v3 differ in ``deactivated`` alone: in v2 it includes, in v3 it chooses."""

    async def get(call: Call) -> Reply:
        await administrator(call, users.auth)
        chosen = _filter(call, version)
        skip, most = number(call, "from", 0), min(number(call, "limit", DEFAULT), MOST)
        order = one_of(call, "order_by", [*ORDERS, *WITHOUT_ORDER], UserOrder.NAME.value)
        found = await users.lists.page(
            chosen,
            order=UserOrder.NAME if order in WITHOUT_ORDER else UserOrder(order),
            backwards=one_of(call, "dir", ("f", "b"), "f") == "b",
            skip=skip,
            most=most,
        )
        total = await users.lists.count(chosen)
        answer: dict[str, Any] = {"users": [entry_json(item) for item in found], "total": total}
        if skip + len(found) < total and (found or not most):
            answer["next_token"] = str(skip + len(found))
        return Reply(answer)

    return Endpoint(f"admin_users_{version}", (f"{ADMIN}/{version}/users",), {"GET": get})


def _filter(call: Call, version: str) -> UserFilter:
    deactivated = flag(call, "deactivated")
    if version == "v2":
        deactivated = None if deactivated else False
    name = call.query("name")
    flag(call, "locked")  # no account is
    return UserFilter(
        name=name,
        user_id=None if name is not None else call.query("user_id"),
        is_guest=False if flag(call, "guests") is False else None,
        admin=flag(call, "admins"),
        # As tools know it: with ``true``, or without it, there are all.
        approved=False if flag(call, "approved") is False else None,
        deactivated=deactivated,
        without_types=_types(call),
    )


def _types(call: Call) -> tuple[Optional[str], ...]:
    """User types that are left out; the empty word means users who have none."""
    values = call.query_args.get(b"not_user_type", ())[:20]
    try:
        types = [value.decode("utf-8") for value in values]
    except UnicodeDecodeError:
        raise InvalidParam("'not_user_type' contains a character that is not allowed.") from None
    if any("\0" in item for item in types):
        raise InvalidParam("'not_user_type' contains a character that is not allowed.")
    return tuple(item or None for item in types)


def _of_threepid(users: Users, threepids: ThreepidStore) -> Endpoint:
    async def get(call: Call) -> Reply:
        await administrator(call, users.auth)
        medium, address = call.path_args["medium"], call.path_args["address"]
        try:
            owner = await threepids.owner_of(medium, canonical_threepid(medium, address))
        except InvalidParam:
            owner = None
        return _owner(owner)

    path = f"{ADMIN}/v1/threepid/{{medium}}/users/{{address}}"
    return Endpoint("admin_user_of_threepid", (path,), {"GET": get})


def _of_external_id(users: Users, external_ids: ExternalIdStore) -> Endpoint:
    async def get(call: Call) -> Reply:
        await administrator(call, users.auth)
        asked = call.path_args["provider"], call.path_args["external_id"]
        return _owner(await external_ids.owner_of(*asked))

    path = f"{ADMIN}/v1/auth_providers/{{provider}}/users/{{external_id}}"
    return Endpoint("admin_user_of_external_id", (path,), {"GET": get})


def _owner(owner: Optional[UserID]) -> Reply:
    if owner is None:
        raise UserNotFound()
    return Reply({"user_id": str(owner)})


def server_version() -> Endpoint:
    """Tools ask for it before anybody has logged in."""

    try:
        ours = metadata.version("regsys")
    except metadata.PackageNotFoundError:
        ours = "(run from its files)"

    async def get(call: Call) -> Reply:
        return Reply({"server_version": f"regsys {ours}"})

    return Endpoint("admin_server_version", (f"{ADMIN}/v1/server_version",), {"GET": get})


def entry_json(item: UserEntry) -> dict[str, Any]:
    """An account in a list, in the shape that tools know; times in milliseconds."""
    return {
        "name": str(item.user_id),
        "user_type": item.user_type,
        "is_guest": item.is_guest,
        "admin": item.admin,
        "deactivated": item.deactivated,
        "erased": item.erased,
        "shadow_banned": item.shadow_banned,
        "approved": item.approved,
        "locked": False,
        "displayname": item.display_name,
        "avatar_url": None,
        "creation_ts": item.created_ms,
        "last_seen_ts": item.seen_ms,
    }


def user_json(found: UserDetails) -> dict[str, Any]:
    """One account, in the shape that tools know: here it was made at a time in seconds."""
    accepted = found.consents[-1] if found.consents else None
    return {
        **entry_json(found.entry),
        "creation_ts": found.entry.created_ms // 1000,
        "appservice_id": found.entry.appservice_id,
        "suspended": False,
        "consent_version": None if accepted is None else accepted.version,
        "consent_ts": None if accepted is None else accepted.accepted_ms,
        "consent_server_notice_sent": None,
        "threepids": [
            {
                "medium": item.medium,
                "address": item.address,
                "validated_at": item.validated_at_ms,
                "added_at": item.added_ms,
            }
            for item in found.threepids
        ],
        "external_ids": [
            {"auth_provider": provider, "external_id": external_id}
            for provider, external_id in found.external_ids
        ],
    }
