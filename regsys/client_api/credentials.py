"""Password checks: the user that an identifier names, and the limits for attempts (B13)."""

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
from regsys.interfaces import IThreepidStore, IUserLookup
from regsys.interfaces.internal import ILimiter
from regsys.model import Secret, User
from regsys.threepids.addresses import CANONICAL, MSISDN, canonical_msisdn

PASSWORD = "m.login.password"  # noqa: S105 (the name of a login type, and of a stage)


@attr.frozen(kw_only=True)
class LoginLimits:
    """``rc_login``: attempts by address, logins by account, and failed attempts by account."""

    address: ILimiter
    account: ILimiter
    failed: ILimiter
    key_of: Callable[[str], str]


@attr.frozen(kw_only=True)
class PasswordCheck:
    """The only place where passwords are checked, so that all checks share the same limits. If
    ``threepids`` is None, addresses cannot be looked up, and users are identified by name only."""

    server_name: str
    accounts: IUserLookup
    threepids: Optional[IThreepidStore]
    hasher: HashingPool
    limits: LoginLimits

    async def localpart(self, fields: Mapping[str, Any]) -> Optional[str]:
        """The localpart of the user whom the fields name, by user ID (see ``parse_localpart``) or
        by address. LoginFailed for text that cannot be an address."""
        threepid = None if self.threepids is None else _parse_threepid(fields)
        if threepid is None or self.threepids is None:
            return parse_localpart(fields, self.server_name)
        owner = await self.threepids.owner_of(*threepid)
        # No localpart has a colon: this one fails like any unknown name, with a limit of its own.
        return ":".join(threepid) if owner is None else owner.localpart

    async def user(self, localpart: Optional[str], password: Secret) -> User:
        """The user, if the password is right, within the limits of the account.

        Raises the same LoginFailed for a wrong password and an unknown user, LimitExceeded, and
        only after a right password UserDeactivated or AwaitingApproval."""
        key = (localpart or "").lower()
        # Peek only: failed guesses must not use up the owner's limit for logins.
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


def parse_localpart(fields: Mapping[str, Any], server_name: str) -> Optional[str]:
    """The localpart in the ``m.id.user`` identifier, or in the old flat ``user`` key, either of
    which may hold a whole user ID (host names ignore case). None for another server's user. Raises
    MissingParam, BadJSON or InvalidParam if no user is named."""
    name = _parse_user(fields)
    if not name.startswith("@"):
        return name
    localpart, _, server = name[1:].partition(":")
    return localpart if server.lower() == server_name.lower() else None


def _parse_user(fields: Mapping[str, Any]) -> str:
    identifier = json_body.mapping(fields, "identifier")
    if identifier is None:
        return json_body.required_string(fields, "user", limit=json_body.MAX_NAME)
    if json_body.required_string(identifier, "type") != "m.id.user":
        raise BadJSON("This kind of identifier is not known here.")
    return json_body.required_string(identifier, "user", limit=json_body.MAX_NAME)


def _parse_threepid(fields: Mapping[str, Any]) -> Optional[tuple[str, str]]:
    """The medium and canonical address of ``m.id.thirdparty``, ``m.id.phone`` or the old flat keys;
    None if there are none. LoginFailed for text that cannot be an address."""
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
