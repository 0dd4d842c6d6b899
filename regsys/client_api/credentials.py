"""Password checks: which user an identifier means, and how often a client may try (B13)."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

import attr

from regsys import json_body
from regsys.credentials.hashing import HashingPool
from regsys.errors import (
    AwaitingApproval,
    BadJSON,
    InvalidParam,
    LoginFailed,
    UserDeactivated,
)
from regsys.interfaces import ILimiter, IThreepidStore, IUserLookup
from regsys.model import Secret, User
from regsys.threepids.addresses import CANONICAL, MSISDN, canonical_msisdn

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
    """The one place where a password is compared, so that all who do share its limits. If
    ``threepids`` is None, nobody tells who has which address, so that users are named by name."""

    server_name: str
    accounts: IUserLookup
    threepids: Optional[IThreepidStore]
    hasher: HashingPool
    limits: LoginLimits

    async def localpart(self, fields: Mapping[str, Any]) -> Optional[str]:
        """Of the user who is named on this server, as by ``localpart_named``, or who has the
        address that is given. LoginFailed for text that cannot be an address."""
        named = None if self.threepids is None else _threepid(fields)
        if named is None or self.threepids is None:
            return localpart_named(fields, self.server_name)
        owner = await self.threepids.owner_of(*named)
        # Nobody bears a name with a colon: it fails like any other, under a limit of its own.
        return ":".join(named) if owner is None else owner.localpart

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
    a localpart or a whole user ID (the server's name in any case, as host names are). None for
    another server's user; MissingParam, BadJSON or InvalidParam where no user is named."""
    name = _user_named(fields)
    if not name.startswith("@"):
        return name
    localpart, _, server = name[1:].partition(":")
    return localpart if server.lower() == server_name.lower() else None


def _user_named(fields: Mapping[str, Any]) -> str:
    identifier = json_body.mapping(fields, "identifier")
    if identifier is None:
        return json_body.required_string(fields, "user", limit=json_body.MAX_NAME)
    if json_body.required_string(identifier, "type") != "m.id.user":
        raise BadJSON("This kind of identifier is not known here.")
    return json_body.required_string(identifier, "user", limit=json_body.MAX_NAME)


def _threepid(fields: Mapping[str, Any]) -> Optional[tuple[str, str]]:
    """The medium and address that the user is meant by, in ``m.id.thirdparty``, ``m.id.phone`` or
    the old flat keys; None: by neither. LoginFailed for text that cannot be an address."""
    identifier = json_body.mapping(fields, "identifier")
    kind = "m.id.thirdparty" if identifier is None else identifier.get("type")
    given = fields if identifier is None else identifier
    try:
        if kind == "m.id.phone":
            number = "phone" if json_body.has(given, "phone") else "number"
            country = json_body.required_string(given, "country")
            return MSISDN, canonical_msisdn(json_body.required_string(given, number), country)
        if kind != "m.id.thirdparty" or (
            identifier is None and not json_body.has(fields, "medium")
        ):
            return None
        medium = json_body.required_string(given, "medium")
        if medium not in CANONICAL:
            raise BadJSON("'medium' must be email or msisdn.")
        return medium, CANONICAL[medium](json_body.required_string(given, "address"))
    except InvalidParam:
        raise LoginFailed() from None
