"""Whether somebody knows a user's password: who is meant, and how often one may try (B13)."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

import attr

from regsys import bodies
from regsys.errors import (
    AwaitingApproval,
    BadJSON,
    LoginFailed,
    MissingParam,
    UserDeactivated,
)
from regsys.interfaces import IHasher, ILimiter, IUserLookup
from regsys.model import Secret, User

PASSWORD = "m.login.password"  # noqa: S105 (the name of a login type, and of a stage)


@attr.frozen(kw_only=True)
class LoginLimits:
    """``rc_login``: attempts by address, logins by account, and failed ones by account."""

    address: ILimiter
    account: ILimiter
    failed: ILimiter
    key_of: Callable[[str], str]


@attr.frozen(kw_only=True)
class PasswordCheck:
    """The one place where a password is compared, so that all who do share its limits."""

    server_name: str
    accounts: IUserLookup
    hasher: IHasher
    limits: LoginLimits

    def localpart(self, fields: Mapping[str, Any]) -> Optional[str]:
        """As ``localpart_named``, on this server."""
        return localpart_named(fields, self.server_name)

    async def user(self, localpart: Optional[str], password: Secret) -> User:
        """The user whose password it is, within the limits of the account.

        Raises LoginFailed alike for a wrong password and an unknown user, LimitExceeded, and
        to those who know it UserDeactivated and AwaitingApproval."""
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


def localpart_named(fields: Mapping[str, Any], server_name: str) -> Optional[str]:
    """Of the user named by the ``m.id.user`` identifier, or by the old flat ``user`` key:
    a localpart or a whole user ID. None for another server's user; MissingParam, BadJSON
    or InvalidParam where nobody is named."""
    name = _user_named(fields)
    if not name.startswith("@"):
        return name
    localpart, _, server = name[1:].partition(":")
    return localpart if server == server_name else None


def _user_named(fields: Mapping[str, Any]) -> str:
    identifier = bodies.mapping(fields, "identifier")
    if identifier is None:
        return bodies.required_string(fields, "user", limit=bodies.MAX_NAME)
    kind = bodies.string(identifier, "type")
    if kind is None:
        raise MissingParam("'identifier.type' is missing.")
    if kind != "m.id.user":
        raise BadJSON("This kind of identifier is not known here.")
    return bodies.required_string(identifier, "user", limit=bodies.MAX_NAME)
