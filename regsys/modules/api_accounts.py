"""Accounts, for modules (contract B10): what is registered, what is known, what is changed."""

from __future__ import annotations

from typing import Any, Iterable, Optional

from regsys import clock
from regsys.accounts.allowed import by_module
from regsys.errors import (
    AwaitingApproval,
    Forbidden,
    GuestForbidden,
    InvalidParam,
    MissingToken,
    UnknownToken,
    UserNotFound,
)
from regsys.http.call import access_token_of
from regsys.model import Created, DeviceRequest, User, UserID
from regsys.model.canonical_threepids import canonical_threepid
from regsys.model.identity_server_bindings import Binding
from regsys.modules.base import ApiBase, coroutine, deferred, user_id_of
from regsys.modules.shapes import (
    ModuleRequester,
    ModuleUserID,
    ProfileInfo,
    UserInfo,
    UserIpAndAgent,
)
from regsys.storage.users import UserStore

# Characters of a display name.
MAX_DISPLAY_NAME = 256
_ELSEWHERE = "the homeserver that embeds regsys keeps the accounts: use its own API"


class Registrations(ApiBase):
    """What makes accounts and devices. A worker has its master do this."""

    @deferred
    async def check_user_exists(self, user_id: Any) -> Optional[str]:
        """The user ID as it was registered, whatever the case of its letters; None if there is no
        such account."""
        try:
            asked = user_id_of(user_id)
        except InvalidParam:
            return None
        if asked.server != self._parts.config.server_name:
            return None
        parts = self._parts.accounts
        if parts.users is not None:
            user = await parts.users.find(asked.localpart)
            if user is not None:
                return str(user.user_id)
        elif await parts.is_taken(asked.localpart):
            return str(asked)
        if parts.exists is not None and await parts.exists(asked):
            return str(asked)
        return None

    @coroutine
    async def check_username(self, username: str) -> None:
        """Raise the refusal of a name that cannot be registered."""
        await self._parts.accounts.handler.check_username(username)

    @deferred
    async def register(
        self,
        localpart: str,
        displayname: Optional[str] = None,
        emails: Iterable[str] = (),
        admin: bool = False,
    ) -> tuple[str, str]:
        """Make an account without a password, and log it in; its user ID and access token. The
        addresses count as validated. If one is taken, no account is made."""
        device = DeviceRequest()
        created = await self._created(localpart, displayname, emails, admin, device)
        if created.login is None:
            raise AwaitingApproval()
        return str(created.user_id), created.login.access_token.reveal()

    @deferred
    async def register_user(
        self,
        localpart: str,
        displayname: Optional[str] = None,
        emails: Iterable[str] = (),
        admin: bool = False,
    ) -> str:
        """The same without a login; its user ID."""
        created = await self._created(localpart, displayname, emails, admin, None)
        return str(created.user_id)

    async def _created(
        self,
        localpart: str,
        displayname: Optional[str],
        emails: Iterable[str],
        admin: bool,
        device: Optional[DeviceRequest],
    ) -> Created:
        # Without a client there is no limit of registrations; all else is as for other accounts.
        return await self._parts.accounts.handler.register_user(
            localpart=localpart,
            display_name=displayname,
            bind_emails=tuple(emails or ()),
            admin=admin,
            made_by=by_module(self._module),
            device=device,
        )

    @deferred
    async def register_device(
        self,
        user_id: Any,
        device_id: Optional[str] = None,
        initial_display_name: Optional[str] = None,
    ) -> tuple[str, str, Optional[int], Optional[str]]:
        """Log a device in: its ID, access token, the end of that (ms) and refresh token, None if
        there is none."""
        login = await self._parts.accounts.handler.register_device(
            user_id_of(user_id), device_id, initial_display_name
        )
        refresh = login.refresh_token
        return (
            login.device_id,
            login.access_token.reveal(),
            login.terms.valid_until_ms,
            None if refresh is None else refresh.reveal(),
        )

    @deferred
    async def record_user_external_id(
        self, auth_provider_id: str, remote_user_id: str, registered_user_id: Any
    ) -> None:
        """Note which account a user of another system has."""
        store = self._parts.accounts.external_ids
        if store is None:
            raise self._not_offered("record_user_external_id", _ELSEWHERE)
        account = user_id_of(registered_user_id)
        await store.record(auth_provider_id, remote_user_id, account)
        await self._changed("external-id-set", account, {"auth_provider_id": auth_provider_id})


class Accounts(ApiBase):
    """What is known of an account, and changed."""

    @coroutine
    async def get_userinfo_by_id(self, user_id: Any) -> Optional[UserInfo]:
        user = await self._found("get_userinfo_by_id", user_id_of(user_id))
        if user is None:
            return None
        return UserInfo(
            user_id=ModuleUserID.of(user.user_id),
            appservice_id=user.appservice_id,
            creation_ts=user.created_ms // 1000,
            is_admin=user.admin,
            is_deactivated=user.deactivated,
            is_guest=user.is_guest,
            is_shadow_banned=user.shadow_banned,
            approved=user.approved,
            user_type=user.user_type,
        )

    @coroutine
    async def get_user_by_req(
        self, req: Any, allow_guest: bool = False, allow_expired: bool = False
    ) -> ModuleRequester:
        """The user whose access token this request has. Raises the refusal that its client is to
        get if there is none."""
        token = access_token_of(req)
        if token is None:
            raise MissingToken()
        parts = self._parts.accounts
        found = await (parts.auth if allow_expired else parts.unexpired).whose(token)
        if found is None:
            raise UnknownToken()
        if found.is_guest and not allow_guest:
            raise GuestForbidden()
        user = None if parts.users is None else await parts.users.find(found.user_id.localpart)
        return ModuleRequester(
            user=ModuleUserID.of(found.user_id),
            device_id=found.device_id,
            is_guest=found.is_guest,
            is_admin=found.is_admin,
            shadow_banned=user is not None and user.shadow_banned,
        )

    @coroutine
    async def is_user_admin(self, user_id: Any) -> bool:
        user = await self._found("is_user_admin", user_id_of(user_id))
        return user is not None and user.admin

    @coroutine
    async def set_user_admin(self, user_id: Any, admin: bool) -> None:
        account = user_id_of(user_id)
        await self._own("set_user_admin").set_admin(account, bool(admin))
        await self._changed("admin-set", account, {"admin": bool(admin)})

    @coroutine
    async def get_threepids_for_user(self, user_id: Any) -> list[dict[str, Any]]:
        """Each as {medium, address, validated_at, added_at}, the oldest first."""
        store = self._parts.accounts.threepids
        if store is None:
            raise self._not_offered(
                "get_threepids_for_user", "the homeserver that embeds regsys gave it no threepids="
            )
        return [
            {
                "medium": item.medium,
                "address": item.address,
                "validated_at": item.validated_at_ms,
                "added_at": item.added_ms,
            }
            for item in await store.of_user(user_id_of(user_id))
        ]

    @coroutine
    async def store_remote_3pid_association(
        self, user_id: Any, medium: str, address: str, id_server: str
    ) -> None:
        """Note that an identity server publishes this address, so that it is asked to unbind it
        when the account loses it."""
        binding = Binding(
            user_id=user_id_of(user_id),
            medium=medium,
            address=canonical_threepid(medium, address),
            id_server=id_server,
        )
        await self._parts.accounts.bindings.add(binding, clock.now_ms(self._parts.clock))

    @coroutine
    async def get_profile_for_user(self, localpart: str) -> ProfileInfo:
        profiles = self._parts.accounts.profiles
        if profiles is None:
            raise self._not_offered("get_profile_for_user", _ELSEWHERE)
        found = await profiles.find(UserID(localpart, self._parts.config.server_name))
        if found is None:
            raise UserNotFound()
        name, avatar = found
        return ProfileInfo(avatar_url=avatar, display_name=name)

    @coroutine
    async def set_displayname(
        self, user_id: Any, new_displayname: str, deactivation: bool = False
    ) -> None:
        """An empty name is none."""
        profiles, account = self._parts.accounts.profiles, user_id_of(user_id)
        if profiles is None:
            raise self._not_offered("set_displayname", _ELSEWHERE)
        if account.server != self._parts.config.server_name:
            raise Forbidden("This is a user of another server.")
        if len(new_displayname) > MAX_DISPLAY_NAME:
            raise InvalidParam(f"A display name may have at most {MAX_DISPLAY_NAME} characters.")
        users = self._parts.accounts.users
        # A homeserver beside us would create a user who does not exist.
        if users is not None and await users.find(account.localpart) is None:
            raise UserNotFound()
        await profiles.set_display_name(account, new_displayname or None)
        await self._changed("display-name-set", account, {})

    @coroutine
    async def get_user_ip_and_agents(self, user_id: Any, since_ts: int = 0) -> list[UserIpAndAgent]:
        """Where the user has registered from and confirmed requests, as long as their sessions are
        kept: regsys does not record where requests come from. ``since_ts`` is in milliseconds."""
        found: dict[tuple[str, str], UserIpAndAgent] = {}
        for client, seen_ms in await self._parts.accounts.sessions.clients_of(user_id_of(user_id)):
            if seen_ms >= since_ts:
                key = (client.address, client.user_agent)
                found.setdefault(key, UserIpAndAgent(*key, seen_ms))
        return list(found.values())

    async def _found(self, method: str, user_id: UserID) -> Optional[User]:
        users = self._parts.accounts.users
        if users is None:
            raise self._not_offered(method, "the homeserver that embeds regsys gave it no users=")
        if user_id.server != self._parts.config.server_name:
            return None
        user = await users.find(user_id.localpart)
        return user if user is not None and user.user_id == user_id else None

    def _own(self, method: str) -> UserStore:
        own = self._parts.accounts.own
        if own is None:
            raise self._not_offered(method, _ELSEWHERE)
        return own
