"""The frozen values that cross seams. Times are integer milliseconds since the Unix epoch."""

from __future__ import annotations

import enum
import hmac
import secrets
from typing import Any, Mapping, Optional

import attr

GUEST_DEVICE_ID = "guest_device"


@attr.frozen(order=True)
class UserID:
    """A Matrix user ID, taken apart: ``@localpart:server``."""

    localpart: str
    server: str

    def __str__(self) -> str:
        return f"@{self.localpart}:{self.server}"

    @property
    def name_key(self) -> str:
        """What makes two names the same name: the localpart, lower-cased (BEHAVIOUR B1.7)."""
        return self.localpart.lower()

    @classmethod
    def parse(cls, text: str) -> UserID:
        """Take ``@localpart:server`` apart; ValueError if it isn't of that form."""
        localpart, colon, server = text[1:].partition(":")
        if text[:1] != "@" or not colon or not server:
            raise ValueError("not a user ID")
        return cls(localpart, server)


@attr.frozen(repr=False)
class Secret:
    """A password or token on its way: never shown by ``repr``, a log line or a traceback."""

    _value: str

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "<secret>"


@attr.frozen
class Client:
    """Where a request came from: the address as limits and checks see it, and its user agent."""

    address: str
    user_agent: str = ""


@attr.frozen
class Threepid:
    """A validated third-party identifier: medium ``email`` or ``msisdn``, canonical address."""

    medium: str
    address: str
    validated_at_ms: int


@attr.frozen
class AccountThreepid(Threepid):
    """An identifier that an account has, and since when."""

    added_ms: int


@attr.frozen(kw_only=True)
class Mail:
    """A mail on its way to one address, in its canonical form.

    ``message_id`` is what comes before the ``@`` of its Message-ID: the same mail sent once
    more bears the same, so that a duplicate can be recognised. None: a random one. The parts
    hold secrets and are never shown.
    """

    to: str = attr.field(repr=False)
    subject: str
    text: str = attr.field(repr=False)
    html: str = attr.field(repr=False)
    message_id: Optional[str] = None


def masked(address: str) -> str:
    """What a log may hold of a mail address or a phone number: ``a…@example.org``, ``49…78``."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}" if at else f"{address[:2]}…{address[-2:]}"


# --- Accounts ----------------------------------------------------------------------------


class UserType(str, enum.Enum):
    """The types every server knows; None is a normal user, the configuration may add others."""

    SUPPORT = "support"
    BOT = "bot"


# Users of these types do not count as people (BEHAVIOUR B2.6, B5.2).
UNREAL_USER_TYPES = frozenset(item.value for item in UserType)


@attr.frozen(kw_only=True)
class User:
    """An account as it stands in the store."""

    user_id: UserID
    password_hash: Optional[str] = attr.field(default=None, repr=False)
    is_guest: bool = False
    admin: bool = False
    user_type: Optional[str] = None
    approved: bool = True
    shadow_banned: bool = False
    deactivated: bool = False
    appservice_id: Optional[str] = None
    created_ms: int = 0


@attr.frozen(kw_only=True)
class DeviceRequest:
    """What a client asks of its new device. ``device_id`` None: one is made up."""

    device_id: Optional[str] = None
    display_name: Optional[str] = None
    is_guest: bool = False
    is_appservice_ghost: bool = False
    wants_refresh_token: bool = False
    auth_provider_id: Optional[str] = None
    auth_provider_session_id: Optional[str] = None


@attr.frozen(kw_only=True)
class LoginTerms:
    """What a login grants, without its secrets: enough to make the same tokens once more.

    ``…_until_ms`` None: no end. ``session_until_ms`` is the cap that no refresh can pass.
    """

    device_id: str
    is_guest: bool = False
    refreshable: bool = False
    valid_until_ms: Optional[int] = None
    refresh_until_ms: Optional[int] = None
    session_until_ms: Optional[int] = None


@attr.frozen(kw_only=True)
class Login:
    """A device's tokens and what they are good for. ``refresh_token`` None: none was issued."""

    terms: LoginTerms
    access_token: Secret
    refresh_token: Optional[Secret] = None

    @property
    def device_id(self) -> str:
        return self.terms.device_id


@attr.frozen(kw_only=True)
class NewDevice:
    """A device about to be written, with its login. The tokens of a guest are not stored."""

    login: Login
    display_name: Optional[str] = None
    auth_provider_id: Optional[str] = None
    auth_provider_session_id: Optional[str] = None


@attr.frozen(kw_only=True)
class NewJob:
    """Work that must follow a commit, at once. ``payload`` is JSON."""

    kind: str
    payload: Mapping[str, Any] = attr.field(factory=dict)
    job_id: str = attr.field(factory=lambda: secrets.token_hex(12))


@attr.frozen(kw_only=True)
class NewAccount:
    """All that one registration writes, in one transaction (BEHAVIOUR B2.3).

    ``key`` is the idempotency key: the same key again gives the same account and answer.
    ``upgrades_guest``: the row of ``user_id`` exists as a guest and stops being one.
    ``display_name`` None: no profile is written (an upgrading guest keeps its own).
    ``consents``: the policies that were accepted, the version of each by its name.
    ``session_id`` names the UIA session that is finished by this account; its answer may be
    asked again until ``session_until_ms``. ``device`` None: no login.
    """

    key: str
    user_id: UserID
    created_ms: int
    password_hash: Optional[str] = attr.field(default=None, repr=False)
    is_guest: bool = False
    upgrades_guest: bool = False
    admin: bool = False
    user_type: Optional[str] = None
    approved: bool = True
    shadow_banned: bool = False
    display_name: Optional[str] = None
    appservice_id: Optional[str] = None
    auth_provider_id: Optional[str] = None
    threepids: tuple[Threepid, ...] = ()
    registration_token: Optional[str] = attr.field(default=None, repr=False)
    consents: Mapping[str, str] = attr.field(factory=dict)
    session_id: Optional[str] = None
    session_until_ms: Optional[int] = None
    device: Optional[NewDevice] = None
    jobs: tuple[NewJob, ...] = ()

    @property
    def is_real(self) -> bool:
        """Whether this is a person's account: the first of those creates the auto-join rooms."""
        return (
            not self.is_guest
            and self.appservice_id is None
            and self.user_type not in UNREAL_USER_TYPES
        )


@attr.frozen(kw_only=True)
class Outcome:
    """What a key has led to. ``terms`` None: the account was made without a login.

    ``finished`` is False only between the two halves of making an account in somebody
    else's store (``regsys.foreign_writer``). ``replayed``: found, not made just now.
    """

    key: str
    user_id: UserID
    created_ms: int
    terms: Optional[LoginTerms] = None
    finished: bool = True
    replayed: bool = False


@attr.frozen(kw_only=True)
class Created:
    """The answer to ``create_account``. ``replayed``: the key had already made this account."""

    user_id: UserID
    login: Optional[Login] = None
    replayed: bool = False


@attr.frozen(kw_only=True)
class Registration:
    """The inputs of a registration, as one value (BEHAVIOUR B2.0).

    ``localpart`` None: a number is drawn. Either ``password`` (hashed once admission is
    past) or ``password_hash`` or neither. ``device`` None: no login. ``client`` None: the
    request has no address and knows no limits. ``clients`` are those of every request that
    the UIA session has seen. ``approved`` None: as the configuration says.
    ``name_checked``: ``check_username`` has passed during this very request, so only the
    write itself still decides whether the name is free; ``threepids_checked``: so have the
    rules about ``threepids``. ``consents`` as of NewAccount.
    """

    key: str
    localpart: Optional[str] = None
    password: Optional[Secret] = None
    password_hash: Optional[str] = attr.field(default=None, repr=False)
    guest_access_token: Optional[Secret] = None
    make_guest: bool = False
    admin: bool = False
    threepids: tuple[Threepid, ...] = ()
    bind_emails: tuple[str, ...] = ()
    user_type: Optional[str] = None
    display_name: Optional[str] = None
    client: Optional[Client] = None
    clients: tuple[Client, ...] = ()
    by_admin: bool = False
    auth_provider_id: Optional[str] = None
    approved: Optional[bool] = None
    registration_token: Optional[str] = attr.field(default=None, repr=False)
    consents: Mapping[str, str] = attr.field(factory=dict)
    session_id: Optional[str] = None
    device: Optional[DeviceRequest] = None
    name_checked: bool = False
    threepids_checked: bool = False


# --- Registration tokens -----------------------------------------------------------------


# How long a session holds a use of a token. One that has run out is taken again, if it can be,
# when the account is made.
RESERVED_MS = 3600 * 1000


@attr.frozen(kw_only=True)
class RegistrationToken:
    """A token that lets people register (MSC3231, BEHAVIOUR B8.8).

    ``uses_allowed`` None: without limit. ``pending`` counts the sessions that hold a use,
    ``completed`` the accounts made. ``expiry_ms`` None: never. A revoked token lets nobody
    in until it is un-revoked. ``creator`` None: made from the command line.
    """

    token: str = attr.field(repr=False)
    uses_allowed: Optional[int] = None
    pending: int = 0
    completed: int = 0
    expiry_ms: Optional[int] = None
    revoked: bool = False
    note: Optional[str] = None
    creator: Optional[str] = None
    created_ms: int = 0

    def is_valid(self, now_ms: int) -> bool:
        """Whether one more person may begin to register with it."""
        expired = self.expiry_ms is not None and self.expiry_ms <= now_ms
        used_up = self.uses_allowed is not None and (
            self.pending + self.completed >= self.uses_allowed
        )
        return not (self.revoked or expired or used_up)


@attr.frozen
class TokenUse:
    """An account that a registration token has let in."""

    user_id: str
    used_ms: int


# --- Policies ----------------------------------------------------------------------------


@attr.frozen
class Consent:
    """That somebody has accepted a policy, in this version."""

    policy: str
    version: str
    accepted_ms: int


# --- Proofs of third-party identifiers ---------------------------------------------------

# How long a proven address waits for its registration: as long as a dialogue may last.
VALIDATED_MS = 48 * 3600 * 1000
# How many codes a session takes before only its links are good (BEHAVIOUR B7.5).
CODE_TRIES = 10


class MailPurpose(str, enum.Enum):
    """Why somebody gets a mail; the value is the name of its template."""

    REGISTRATION = "registration"
    ADD_THREEPID = "add_threepid"
    IN_USE = "already_in_use"


@attr.frozen(kw_only=True)
class NewValidation:
    """Somebody asks for a token to prove an address with.

    ``sid`` is the session's if one is begun. ``job`` sends the token; the sid is added to its
    payload. ``until_ms``: how long the token is good. ``user_id``: who asks, to have the address
    on his account; None: somebody who wants to register.
    """

    sid: str
    medium: str
    address: str
    client_secret: str = attr.field(repr=False)
    send_attempt: int
    job: NewJob
    now_ms: int
    until_ms: int
    next_link: Optional[str] = None
    user_id: Optional[UserID] = None


@attr.frozen
class ValidationBegun:
    """``job``: what was written with a new token, held by us; None: nothing is to be sent."""

    sid: str
    job: Optional[NewJob] = None


@attr.frozen(kw_only=True)
class Validation:
    """A session that proves an address (BEHAVIOUR B7.5-7).

    ``tokens`` maps each send_attempt that made a token to the moment when it did.
    ``validated_ms`` None: not proven yet. ``claimed_by``: the UIA session it belongs to, None:
    to nobody yet; ``used``: that session has made its account. Gone after ``expires_ms``.

    ``user_id``: the account for which the address is proven, and which no other session can
    claim it from; ``used`` is then that it has been added. None: for one yet to be made.
    """

    sid: str
    medium: str
    address: str
    client_secret: str = attr.field(repr=False)
    next_link: Optional[str]
    expires_ms: int
    tokens: Mapping[int, int] = attr.field(factory=dict)
    validated_ms: Optional[int] = None
    claimed_by: Optional[str] = None
    used: bool = False
    user_id: Optional[UserID] = None

    @property
    def purpose(self) -> MailPurpose:
        """What the person confirms with it."""
        return MailPurpose.REGISTRATION if self.user_id is None else MailPurpose.ADD_THREEPID

    def is_known_to(self, client_secret: str) -> bool:
        """Whether this is its client secret; the time does not tell how much of it."""
        return hmac.compare_digest(self.client_secret.encode(), client_secret.encode())


@attr.frozen(kw_only=True)
class ValidationMail:
    """What somebody is to be told at ``address``, in the first of ``languages`` (tags, the most
    wanted first) that there is. ``link`` and ``code`` None: there is nothing to confirm.
    ``message_id``: the same for each time that this very mail is sent."""

    purpose: MailPurpose
    address: str
    languages: tuple[str, ...]
    message_id: str
    link: Optional[str] = attr.field(default=None, repr=False)
    code: Optional[str] = attr.field(default=None, repr=False)


# --- Access ------------------------------------------------------------------------------


@attr.frozen(kw_only=True)
class Requester:
    """Whose access token it is. ``device_id`` None: the token belongs to no device.

    ``is_admin``: a server administrator, who may use our administration endpoints.
    """

    user_id: UserID
    device_id: Optional[str] = None
    is_guest: bool = False
    is_admin: bool = False
    valid_until_ms: Optional[int] = None


@attr.frozen(kw_only=True)
class StoredLogin:
    """One pair of tokens as the store knows it: by their hashes.

    ``spent``: its successor is in use. ``replaces`` is the access hash of the pair that
    this one was refreshed from, until one of the new tokens is used; then None.
    """

    access_hash: str
    user_id: UserID
    terms: LoginTerms
    replaces: Optional[str] = None
    spent: bool = False
    deactivated: bool = False
    admin: bool = False


# --- User-interactive authentication -----------------------------------------------------


@attr.frozen(kw_only=True)
class UIASession:
    """A dialogue under way (BEHAVIOUR B8.1-4): what it was asked, and what has been passed.

    ``user_id`` is set on account endpoints only. ``params`` are the remembered parameters
    of the request, never its password. ``results`` maps a stage passed to what it found.
    ``held_name`` is kept for this session. ``outcome`` is set once it has made its account.
    """

    session_id: str
    method: str
    uri: str
    created_ms: int
    expires_ms: int
    address: str = ""
    user_id: Optional[UserID] = None
    params: Mapping[str, Any] = attr.field(factory=dict)
    password_hash: Optional[str] = attr.field(default=None, repr=False)
    results: Mapping[str, Any] = attr.field(factory=dict)
    clients: tuple[Client, ...] = ()
    held_name: Optional[str] = None
    outcome: Optional[Outcome] = None


@attr.frozen(kw_only=True)
class Challenge:
    """What a client still has to do: the body of a 401."""

    session_id: str
    flows: tuple[tuple[str, ...], ...]
    params: Mapping[str, Mapping[str, Any]]
    completed: Optional[tuple[str, ...]] = None
    errcode: Optional[str] = None
    error: Optional[str] = None


# --- Jobs --------------------------------------------------------------------------------

# How long a process may sit on a job before others take it over.
JOB_LEASE_MS = 60_000


@attr.frozen(kw_only=True)
class Job:
    """A job whose lease is ours until ``claimed_until_ms``. ``attempts`` counts this one."""

    job_id: str
    kind: str
    payload: Mapping[str, Any]
    attempts: int
    claimed_until_ms: int
