"""Checks of a login: the user that an identifier names, the password or other fields, and the
limits for attempts (B13). Modules are asked first, then our own passwords (B10)."""

from __future__ import annotations

import unicodedata
from typing import Any, Callable, Mapping, Optional

import attr
from twisted.logger import Logger

from regsys import json_body
from regsys.callbacks.passwords import CheckedLogin, PasswordCallbacks
from regsys.client_api.identifiers import identifier_in, parse_localpart, parse_threepid
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
from regsys.model.login_types import PASSWORD
from regsys.model.typed import check_type

log = Logger()


@attr.frozen(kw_only=True)
class LoginLimits:
    """``rc_login``: attempts by address, logins by account, and failed attempts by account."""

    address: ILimiter
    account: ILimiter
    failed: ILimiter
    key_of: Callable[[str], str]


@attr.frozen(kw_only=True)
class Credentials:
    """What a client sends to log in: the type of the login, the identifier as it was sent, and the
    fields of the type, which are secrets."""

    kind: str
    identifier: Mapping[str, Any]
    fields: Mapping[str, Any] = attr.field(repr=False)


@attr.frozen(kw_only=True)
class Authenticated:
    """The user who has shown who they are. Call ``answered`` with the body of the login's answer:
    a module may wait for it."""

    user: User
    answered: Callable[[Mapping[str, Any]], None] = lambda answer: None


@attr.frozen(kw_only=True)
class _Named:
    """``localpart``: the user whom an identifier names, known here or not; None for another
    server's. ``name``: what modules get, as it was typed; None if there is none. ``threepid``: the
    medium and canonical address, if that was named."""

    localpart: Optional[str]
    name: Optional[str]
    threepid: Optional[tuple[str, str]] = None


@attr.frozen(kw_only=True)
class PasswordCheck:
    """The only place where passwords are checked, so that all checks share the same limits. If
    ``threepids`` is None, addresses cannot be looked up, and users are identified by name only.
    ``policy`` is for new passwords. ``compares_own``: the passwords of our database count, after
    the ``callbacks``."""

    _server_name: str
    _accounts: IUserLookup
    _threepids: Optional[IThreepidStore]
    _hasher: HashingPool
    _limits: LoginLimits
    _policy: PasswordPolicy
    _callbacks: PasswordCallbacks
    _compares_own: bool = True

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
        password UserDeactivated or AwaitingApproval. Modules that check passwords are asked first,
        unless they want more fields; Unavailable if one takes too long.
        """
        given = _parse_arguments(identifier, password, client)
        if client is not None:
            await self.count(client)
        _check_texts(given, password)
        credentials = Credentials(
            kind=PASSWORD, identifier=given, fields={"password": password.reveal()}
        )
        return (await self.authenticate(credentials)).user

    async def authenticate(
        self, credentials: Credentials, only: Optional[UserID] = None
    ) -> Authenticated:
        """As ``check``, by any type of login. ``only``: the one user who can be confirmed; then
        attempts count for that user, so that nobody who is logged in can guess others' passwords
        beyond their own limit, or use up others'."""
        named = await self._named(credentials.identifier)
        key = _limit_key(named) if only is None else only.name_key
        # Peek only: failed guesses must not use up the owner's limit for logins.
        await self._limits.account.peek(key)
        await self._limits.failed.take(key)
        try:
            found = await self._found(credentials, named, only)
        except BaseException:
            await self._limits.failed.give_back(key)
            raise
        if found is None:
            raise LoginFailed()
        await self._limits.failed.give_back(key)
        await self._limits.account.take(found.user.user_id.name_key)
        if found.user.deactivated:
            raise UserDeactivated()
        if not found.user.approved:
            raise AwaitingApproval()
        return found

    @property
    def checks_passwords(self) -> bool:
        """Whether anything checks passwords: our database or a callback."""
        return self._compares_own or self._callbacks.check_passwords

    def types(self) -> tuple[str, ...]:
        """The types of login that callbacks check."""
        return self._callbacks.types.types()

    async def has_password(self, user_id: UserID) -> bool:
        """Whether a password can confirm a request of this user. A callback may know one that we
        do not."""
        if self._callbacks.check_passwords or not self._compares_own:
            return self._callbacks.check_passwords
        user = await self._accounts.find(user_id.localpart)
        return user is None or user.password_hash is not None

    def check_policy(self, password: Secret) -> None:
        """Raise PasswordRefused for a new password that ``password_config.policy`` does not allow
        (contract B14.3)."""
        check_type("password", password, Secret)
        check_policy(self._policy, password.reveal())

    async def count(self, client: Client) -> None:
        """Count an attempt against the limit by address, for a request that is counted before it is
        read; LimitExceeded if the limit is reached."""
        await self._limits.address.take(self._limits.key_of(client.address))

    def credentials_in(self, body: Mapping[str, Any], kind: str) -> Credentials:
        """What a request's body brings for this type of login. Raises MissingParam, BadJSON or
        InvalidParam."""
        identifier = identifier_in(body, flat_threepids=self._threepids is not None)
        fields: dict[str, Any] = {}
        if kind == PASSWORD:
            limit = json_body.MAX_PASSWORD
            fields["password"] = json_body.required_string(body, "password", limit=limit)
        for name in self._callbacks.types.fields_of(kind):
            if not json_body.has(body, name):
                raise MissingParam(f"'{name}' is missing.")
            fields[name] = body[name]
        return Credentials(kind=kind, identifier=identifier, fields=fields)

    async def _named(self, identifier: Mapping[str, Any]) -> _Named:
        """The user whom the identifier names, by user ID (see ``parse_localpart``) or by address.
        LoginFailed for text that cannot be an address."""
        threepid = None if self._threepids is None else parse_threepid(identifier)
        if threepid is None or self._threepids is None:
            localpart = parse_localpart(identifier, self._server_name)
            return _Named(localpart=localpart, name=localpart and identifier["user"])
        owner = await self._threepids.owner_of(*threepid)
        if owner is None:
            # No localpart has a colon: it fails like any unknown name, with a limit of its own.
            return _Named(localpart=":".join(threepid), name=None, threepid=threepid)
        return _Named(localpart=owner.localpart, name=str(owner), threepid=threepid)

    async def _found(
        self, credentials: Credentials, named: _Named, only: Optional[UserID]
    ) -> Optional[Authenticated]:
        """Who has shown who they are; None if nobody has, or another user than ``only``."""
        known = await self._known_to_callbacks(credentials, named)
        if known is not None:
            user = await self._account(known)
            if user is None or (only is not None and user.user_id.name_key != only.name_key):
                return None
            return Authenticated(user=user, answered=known.answered)
        if credentials.kind != PASSWORD or not self._compares_own:
            return None
        localpart = named.localpart
        if only is not None and (localpart is None or localpart.lower() != only.name_key):
            return None
        user = None if localpart is None else await self._accounts.find(localpart)
        password = Secret(credentials.fields["password"])
        fits = await self._hasher.verify(password, user.password_hash if user else None)
        return Authenticated(user=user) if user is not None and fits else None

    async def _known_to_callbacks(
        self, credentials: Credentials, named: _Named
    ) -> Optional[CheckedLogin]:
        """What the first callback says that knows this login."""
        kind, fields, known = credentials.kind, credentials.fields, None
        if kind == PASSWORD and not fields["password"]:
            # To many a directory a bind without a password is anonymous, and succeeds.
            return None
        if named.threepid is not None and kind == PASSWORD:
            known = await self._callbacks.threepids.check(*named.threepid, fields["password"])
        if known is None and named.name is not None:
            known = await self._callbacks.types.check(kind, named.name, fields)
        return known

    async def _account(self, known: CheckedLogin) -> Optional[User]:
        """The account that a callback names. None if there is none, or if nobody can log in to
        it."""
        user_id, user = known.user_id, None
        if user_id.server.lower() == self._server_name.lower():
            user = await self._accounts.find(user_id.localpart)
        if user is None or user.is_guest:
            log.warn(
                "module {module} knows a login of {user_id}, which is refused: there is no such"
                " account here, and a module must register it first",
                module=known.module,
                user_id=str(user_id),
            )
            return None
        return user


def _limit_key(named: _Named) -> str:
    """Whose attempts these are. What a module's directory may take for the same name is the same
    here, so that spaces and letters of another width bring nobody more attempts."""
    plain = unicodedata.normalize("NFKC", named.localpart or "")
    return "".join(plain.split()).casefold()[: json_body.MAX_NAME]


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
