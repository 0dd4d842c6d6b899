"""Accounts, and the inputs and outcomes of registrations."""

from __future__ import annotations

import enum
import hashlib
from typing import Any, Mapping, Optional, Union

import attr

from regsys.model.approvals import ApprovalRequest
from regsys.model.audit import Allowed
from regsys.model.devices import Login, LoginTerms, NewDevice
from regsys.model.identity import Threepid, UserID
from regsys.model.jobs import NewJob
from regsys.model.json_values import json_object
from regsys.model.replication import ReplicationCall
from regsys.model.typed import typed


class UserType(str, enum.Enum):
    """The built-in user types; the configuration may add others. A normal user has None."""

    SUPPORT = "support"
    BOT = "bot"


# Users of these types do not count as real users (contract B2.6, B5.2).
UNREAL_USER_TYPES = frozenset(item.value for item in UserType)

# How long a user who was seen counts as active (contract B9).
ACTIVE_MS = 30 * 24 * 3600 * 1000
# A user who is seen again within this time is not recorded again.
SEEN_AGAIN_MS = 3600 * 1000
# How far the clocks of processes may differ. A time that is further in the future was written by a
# wrong clock.
CLOCKS_APART_MS = 3600 * 1000


def password_fingerprint(password_hash: Optional[str]) -> Optional[str]:
    """Identifies a stored password hash without telling it; None for none."""
    if password_hash is None:
        return None
    return hashlib.sha256(password_hash.encode("utf-8")).hexdigest()


@attr.frozen(kw_only=True, field_transformer=typed)
class User:
    """An account as it is stored."""

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

    @property
    def password_fingerprint(self) -> Optional[str]:
        """Identifies the password; None if there is none."""
        return password_fingerprint(self.password_hash)

    @property
    def is_real(self) -> bool:
        """Whether this is a person's account, by the same rule as for NewAccount."""
        return _is_real(self)


@attr.frozen(kw_only=True)
class NewPassword:
    """A change of a password, in one transaction.

    ``confirmed_by``: the fingerprint of the password by which the user has confirmed it, or None.
    ``device_id``: the device that requests it, which stays logged in; None if there is none.
    ``ends_logins``: all other devices are logged out. ``session_id``: the UIA session that confirms
    it, which repeats its answer until ``session_until_ms``; None if none was stored. ``reset_sid``:
    the validation session of a forgotten password's reset, which is used up; else None.
    """

    user_id: UserID
    password_hash: str = attr.field(repr=False)
    confirmed_by: Optional[str] = None
    device_id: Optional[str] = None
    ends_logins: bool = True
    session_id: Optional[str] = None
    session_until_ms: int = 0
    reset_sid: Optional[str] = None


def stages_object(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return json_object("stages", value)


def extra_object(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return json_object("extra", value)


@attr.frozen(kw_only=True, field_transformer=typed)
class NewAccount:
    """Everything that one registration writes, in one transaction (contract B2.3).

    ``key`` is the idempotency key: a call with the same key gets the same account and answer.
    ``upgrades_guest``: ``user_id`` is a guest who becomes a user. If ``display_name`` is None, no
    profile is written (a guest keeps its own). ``vouched_emails``: the email addresses among
    ``threepids`` that an administrator or a module vouches for, instead of a validation.
    ``consents``: the accepted version of each policy, by the policy's name. ``is_ghost``: an
    application service registers the user, and no jobs but notices follow. ``appservice_id`` is
    set only if the service's namespace is exclusive (contract B3.3). ``stages`` and ``extra`` as in
    Registration. ``session_id``: the UIA session that this account finishes; its answer can be
    repeated until ``session_until_ms``. If ``device`` is None, there is no login.

    Internal: ``suspended``, at the homeserver whose auth service we are. ``yields_to_holds``: a
    name that is held for a UIA session other than ``key`` is refused. ``shadow``: what the shadow
    server is told of it, the password encrypted; empty if it is told nothing. ``call``: the one by
    which a worker has sent it to this process; None if none has. ``approval_request``: what
    administrators see of an account that waits for approval. ``allowed``: what the audit log says
    of it; None if that is off.
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
    is_ghost: bool = False
    auth_provider_id: Optional[str] = None
    threepids: tuple[Threepid, ...] = ()
    vouched_emails: tuple[str, ...] = ()
    registration_token: Optional[str] = attr.field(default=None, repr=False)
    consents: Mapping[str, str] = attr.field(factory=dict)
    stages: Mapping[str, Any] = attr.field(factory=dict, converter=stages_object, repr=False)
    extra: Mapping[str, Any] = attr.field(factory=dict, converter=extra_object, repr=False)
    session_id: Optional[str] = None
    session_until_ms: Optional[int] = None
    yields_to_holds: bool = False
    device: Optional[NewDevice] = None
    jobs: tuple[NewJob, ...] = ()
    suspended: bool = False
    shadow: Mapping[str, Any] = attr.field(factory=dict, repr=False)
    call: Optional[ReplicationCall] = None
    approval_request: Optional[ApprovalRequest] = None
    allowed: Optional[Allowed] = None

    def __attrs_post_init__(self) -> None:
        check_key(self)
        if self.is_guest:
            refuse_for_a_guest(self, "is_guest", "upgrades_guest", "admin", "password_hash")
        device = self.device
        if device is not None and device.login.terms.is_guest != self.is_guest:
            raise ValueError("NewAccount: only a guest's device has the terms of a guest's login")

    @property
    def is_real(self) -> bool:
        """Whether this is a person's account: the first of those creates the auto-join rooms."""
        return not self.is_ghost and _is_real(self)


def check_key(value: Any, hint: str = "") -> None:
    """Raise ValueError if the value has no key: calls with an empty one would all be one
    registration."""
    if not value.key:
        raise ValueError(f"{type(value).__name__}: key must not be empty{hint}")


def refuse_for_a_guest(value: Any, made_by: str, *fields: str) -> None:
    """Raise ValueError if any of these fields is set, none of which a guest has. ``made_by``: the
    field that says that it is one."""
    for field in fields:
        if getattr(value, field):
            raise ValueError(f"{type(value).__name__}: {made_by} excludes {field}")


def _is_real(account: Union[User, NewAccount]) -> bool:
    return (
        not account.is_guest
        and account.appservice_id is None
        and account.user_type not in UNREAL_USER_TYPES
    )


@attr.frozen(kw_only=True)
class AccountFacts:
    """What a follower is told of a new account: fields as in NewAccount, without anything secret.

    ``upgraded_guest``: the account was a guest and has become a user. ``display_name`` is None if
    no profile was written. In ``stages`` the result of m.login.registration_token is True instead
    of the token. If ``device_id`` is None, there was no login.
    """

    created_ms: int
    is_guest: bool = False
    upgraded_guest: bool = False
    admin: bool = False
    user_type: Optional[str] = None
    approved: bool = True
    shadow_banned: bool = False
    display_name: Optional[str] = None
    appservice_id: Optional[str] = None
    is_ghost: bool = False
    auth_provider_id: Optional[str] = None
    threepids: tuple[Threepid, ...] = ()
    consents: Mapping[str, str] = attr.field(factory=dict)
    stages: Mapping[str, Any] = attr.field(factory=dict)
    extra: Mapping[str, Any] = attr.field(factory=dict)
    device_id: Optional[str] = None


@attr.frozen(kw_only=True)
class Outcome:
    """The outcome of an idempotency key. If ``terms`` is None, the account was made without a
    login.

    ``finished`` is False only while an account is being made in an embedder's store
    (``EmbeddedWriter``). ``replayed``: an earlier call has made the account. ``jobs``: the jobs
    that were written with the account now, under a lease of this process, which starts them.
    """

    key: str
    user_id: UserID
    created_ms: int
    terms: Optional[LoginTerms] = None
    finished: bool = True
    replayed: bool = False
    jobs: tuple[NewJob, ...] = ()


@attr.frozen
class CallOutcome:
    """The outcome of a worker's call. ``terms`` are those of the login that it has made; None if it
    has made none."""

    terms: Optional[LoginTerms] = None


@attr.frozen(kw_only=True)
class Created:
    """The result of ``create_account``. ``replayed``: an earlier call with the key has made it."""

    user_id: UserID
    login: Optional[Login] = None
    replayed: bool = False


@attr.frozen
class Consent:
    """The acceptance of one version of a policy by a user."""

    policy: str
    version: str
    accepted_ms: int
