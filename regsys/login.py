"""The dialogue of POST /login, without HTTP: a password for a device (BEHAVIOUR B13)."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

import attr

from regsys import bodies
from regsys.access_tokens import MAX_DEVICE_ID, MAX_DISPLAY_NAME
from regsys.config import PasswordsConfig
from regsys.errors import (
    AwaitingApproval,
    BadJSON,
    LoginFailed,
    MissingParam,
    UnknownLoginType,
    UserDeactivated,
)
from regsys.handler import RegistrationHandler
from regsys.interfaces import IHasher, ILimiter, IUserLookup
from regsys.model import Client, Login, Secret, User, UserID

PASSWORD = "m.login.password"  # noqa: S105 (the name of a login type)


@attr.frozen(kw_only=True)
class LoginLimits:
    """``rc_login``: attempts by address, logins by account, and failed ones by account."""

    address: ILimiter
    account: ILimiter
    failed: ILimiter
    key_of: Callable[[str], str]


@attr.frozen(kw_only=True)
class LoggedIn:
    user_id: UserID
    login: Login


@attr.frozen(kw_only=True)
class PasswordLogin:
    server_name: str
    handler: RegistrationHandler
    accounts: IUserLookup
    hasher: IHasher
    limits: LoginLimits
    config: PasswordsConfig

    def types(self) -> tuple[str, ...]:
        """The login types on offer."""
        return (PASSWORD,) if self.config.login_enabled and self.config.localdb_enabled else ()

    async def attempt(self, body: Mapping[str, Any], client: Client) -> LoggedIn:
        """Log in, or raise: LoginFailed alike for a wrong password and an unknown user."""
        await self.limits.address.take(self.limits.key_of(client.address))
        if bodies.required_string(body, "type") not in self.types():
            raise UnknownLoginType()
        localpart = self._localpart(_user_named(body))
        password = Secret(bodies.required_string(body, "password", limit=bodies.MAX_PASSWORD))
        device_id = bodies.string(body, "device_id", limit=MAX_DEVICE_ID)
        display_name = bodies.string(body, "initial_device_display_name", limit=MAX_DISPLAY_NAME)
        refresh = bodies.boolean(body, "refresh_token")
        user = await self._admitted(localpart, password)
        login = await self.handler.register_device(
            user.user_id,
            device_id=device_id,
            initial_display_name=display_name,
            should_issue_refresh_token=refresh,
        )
        return LoggedIn(user_id=user.user_id, login=login)

    async def _admitted(self, localpart: Optional[str], password: Secret) -> User:
        """The user whose password it is, within the limits of the account."""
        key = (localpart or "").lower()
        # Only looked at, or strangers who guess would lock the owner out.
        await self.limits.account.peek(key)
        await self.limits.failed.take(key)
        try:
            user = None if localpart is None else await self.accounts.find(localpart)
            fits = await self.hasher.verify(password, user.password_hash if user else None)
        except BaseException:
            await self.limits.failed.give_back(key)
            raise
        if user is None or not fits:
            raise LoginFailed()
        await self.limits.failed.give_back(key)
        await self.limits.account.take(key)
        if user.deactivated:
            raise UserDeactivated()
        if not user.approved:
            raise AwaitingApproval()
        return user

    def _localpart(self, name: str) -> Optional[str]:
        """From a localpart or a whole user ID; None for another server's user."""
        if not name.startswith("@"):
            return name
        localpart, _, server = name[1:].partition(":")
        return localpart if server == self.server_name else None


def _user_named(body: Mapping[str, Any]) -> str:
    """The ``m.id.user`` identifier, or the old flat ``user`` key."""
    identifier = bodies.mapping(body, "identifier")
    if identifier is None:
        return bodies.required_string(body, "user", limit=bodies.MAX_NAME)
    kind = bodies.string(identifier, "type")
    if kind is None:
        raise MissingParam("'identifier.type' is missing.")
    if kind != "m.id.user":
        raise BadJSON("This kind of identifier is not known here.")
    return bodies.required_string(identifier, "user", limit=bodies.MAX_NAME)
