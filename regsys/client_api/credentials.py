"""Password checks: the user that an identifier names, and the limits for attempts (B13)."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

import attr

from regsys import json_body
from regsys.config import PasswordPolicy
from regsys.credentials.hashing import HashingPool
from regsys.credentials.passwords import check_policy
from regsys.errors import (
    AwaitingApproval,
    BadJSON,
    InvalidParam,
    LoginFailed,
    MissingParam,
    UserDeactivated,
)
from regsys.interfaces import IThreepidStore, IUserLookup
from regsys.interfaces.internal import ILimiter
from regsys.model import Client, Secret, User, UserID
from regsys.model.canonical_threepids import CANONICAL, MSISDN, canonical_msisdn
from regsys.model.typed import check_type

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
    ``threepids`` is None, addresses cannot be looked up, and users are identified by name only.
    ``policy`` is for new passwords."""

    _server_name: str
    _accounts: IUserLookup
    _threepids: Optional[IThreepidStore]
    _hasher: HashingPool
    _limits: LoginLimits
    _policy: PasswordPolicy

    async def check(
        self,
        identifier: Any,
        password: Secret,
        client: Optional[Client],
    ) -> User:
        """The user, if the password is right, within the limits of /login (``rc_login``).

        ``identifier``: that of a request's body, as the client has sent it (m.id.user,
        m.id.thirdparty or m.id.phone); or a name, a user ID or a UserID. ``client`` is counted
        against the limit by address; None if it is counted already (``count``), or is not to be.

        Raises LimitExceeded; BadJSON, MissingParam or InvalidParam for an identifier of another
        shape; the same LoginFailed for a wrong password and an unknown user; and only after a right
        password UserDeactivated or AwaitingApproval.
        """
        given = _parse_arguments(identifier, password, client)
        if client is not None:
            await self.count(client)
        _check_texts(given, password)
        return await self._user(await self.localpart(given), password)

    def check_policy(self, password: Secret) -> None:
        """Raise PasswordRefused for a new password that ``password_config.policy`` does not allow
        (contract B14.3)."""
        check_type("password", password, Secret)
        check_policy(self._policy, password.reveal())

    async def count(self, client: Client) -> None:
        """Count an attempt against the limit by address, for a request that is counted before it is
        read; LimitExceeded if the limit is reached."""
        await self._limits.address.take(self._limits.key_of(client.address))

    def identifier_in(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """The identifier in a request's fields (see the function of this name)."""
        return identifier_in(fields, flat_threepids=self._threepids is not None)

    async def localpart(self, identifier: Mapping[str, Any]) -> Optional[str]:
        """The localpart of the user whom the identifier names, by user ID (see
        ``parse_localpart``) or by address. LoginFailed for text that cannot be an address."""
        threepid = None if self._threepids is None else _parse_threepid(identifier)
        if threepid is None or self._threepids is None:
            return parse_localpart(identifier, self._server_name)
        owner = await self._threepids.owner_of(*threepid)
        # No localpart has a colon: this one fails like any unknown name, with a limit of its own.
        return ":".join(threepid) if owner is None else owner.localpart

    async def _user(self, localpart: Optional[str], password: Secret) -> User:
        """The user, if the password is right, within the limits of the account."""
        key = (localpart or "").lower()
        # Peek only: failed guesses must not use up the owner's limit for logins.
        await self._limits.account.peek(key)
        await self._limits.failed.take(key)
        try:
            user = None if localpart is None else await self._accounts.find(localpart)
            fits = await self._hasher.verify(password, user.password_hash if user else None)
        except BaseException:
            await self._limits.failed.give_back(key)
            raise
        if user is None or not fits:
            raise LoginFailed()
        await self._limits.failed.give_back(key)
        await self._limits.account.take(key)
        if user.deactivated:
            raise UserDeactivated()
        if not user.approved:
            raise AwaitingApproval()
        return user


def identifier_in(fields: Mapping[str, Any], flat_threepids: bool = False) -> Mapping[str, Any]:
    """The ``identifier`` of a request's fields, or what its old flat keys amount to: ``user``, and
    with ``flat_threepids`` also ``medium`` and ``address``."""
    identifier = json_body.mapping(fields, "identifier")
    if identifier is not None:
        return identifier
    kind, keys = "m.id.user", ["user"]
    if flat_threepids and json_body.has(fields, "medium"):
        kind, keys = "m.id.thirdparty", ["medium", "address"]
    return {"type": kind, **{key: fields[key] for key in keys if key in fields}}


def parse_localpart(identifier: Mapping[str, Any], server_name: str) -> Optional[str]:
    """The localpart in an ``m.id.user`` identifier, which may hold a whole user ID (host names
    ignore case). None for another server's user. Raises MissingParam, BadJSON or InvalidParam if no
    user is named."""
    if json_body.required_string(identifier, "type") != "m.id.user":
        raise BadJSON("This kind of identifier is not known here.")
    name = json_body.required_string(identifier, "user", limit=json_body.MAX_NAME)
    if not name.startswith("@"):
        return name
    localpart, _, server = name[1:].partition(":")
    return localpart if server.lower() == server_name.lower() else None


def _parse_threepid(identifier: Mapping[str, Any]) -> Optional[tuple[str, str]]:
    """The medium and canonical address of ``m.id.thirdparty`` or ``m.id.phone``; None for another
    type. LoginFailed for text that cannot be an address."""
    kind = identifier.get("type")
    try:
        if kind == "m.id.phone":
            number = "phone" if json_body.has(identifier, "phone") else "number"
            country = json_body.required_string(identifier, "country")
            return MSISDN, canonical_msisdn(json_body.required_string(identifier, number), country)
        if kind != "m.id.thirdparty":
            return None
        medium = json_body.required_string(identifier, "medium")
        if medium not in CANONICAL:
            raise BadJSON("'medium' must be email or msisdn.")
        return medium, CANONICAL[medium](json_body.required_string(identifier, "address"))
    except InvalidParam:
        raise LoginFailed() from None


def _parse_arguments(identifier: object, password: object, client: object) -> Mapping[str, Any]:
    """The identifier as a mapping. It may come from a client as it is: any other JSON is BadJSON or
    MissingParam. TypeError if another argument of ``check`` has another type."""
    check_type("password", password, Secret)
    check_type("client", client, Client, type(None))
    if isinstance(identifier, (str, UserID)):
        return {"type": "m.id.user", "user": str(identifier)}
    if identifier is None:
        raise MissingParam("'identifier' is missing.")
    if not isinstance(identifier, Mapping):
        raise BadJSON("'identifier' must be an object.")
    return identifier


def _check_texts(identifier: Mapping[str, Any], password: Secret) -> None:
    """InvalidParam for what our own requests were refused for when their JSON was read."""
    texts = [*identifier.values(), password.reveal()]
    if not all(json_body.is_text(text) for text in texts if isinstance(text, str)):
        raise InvalidParam("A string contains a character that is not allowed.")
    if len(password.reveal()) > json_body.MAX_PASSWORD:
        raise InvalidParam(f"'password' must have at most {json_body.MAX_PASSWORD} characters.")
