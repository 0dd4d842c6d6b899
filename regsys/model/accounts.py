"""Accounts, and what makes them."""

from __future__ import annotations

import enum
from typing import Mapping, Optional, Union

import attr

from regsys.model.devices import DeviceRequest, Login, LoginTerms, NewDevice
from regsys.model.identity import Client, Secret, Threepid, UserID
from regsys.model.jobs import NewJob


class UserType(str, enum.Enum):
    """The types every server knows; None is a normal user, the configuration may add others."""

    SUPPORT = "support"
    BOT = "bot"


# Users of these types do not count as people (contract B2.6, B5.2).
UNREAL_USER_TYPES = frozenset(item.value for item in UserType)

# How long a user who was seen counts as active (contract B9).
ACTIVE_MS = 30 * 24 * 3600 * 1000
# Who is seen twice within this is noted once.
SEEN_AGAIN_MS = 3600 * 1000
# By how much the clocks of processes may differ; what lies further in the future was written by a
# wrong one.
CLOCKS_APART_MS = 3600 * 1000


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

    @property
    def is_real(self) -> bool:
        """Whether this is a person's account, by the same measure as NewAccount's."""
        return _is_real(self)


@attr.frozen(kw_only=True)
class NewAccount:
    """All that one registration writes, in one transaction (contract B2.3).

    ``key`` is the idempotency key: the same key again gives the same account and answer.
    ``upgrades_guest``: the row of ``user_id`` exists as a guest and stops being one. If
    ``display_name`` is None, no profile is written (an upgrading guest keeps its own).
    ``vouched_emails``: those of ``threepids`` that an administrator or a module vouches for, not
    its owner. ``consents``: the policies that were accepted, the version of each by its name.
    ``is_ghost``: an application service has made it, and nothing but notices follows;
    ``appservice_id`` names the service only where its namespace is exclusive (B3.3). ``session_id``
    names the UIA session that is finished by this account; its answer may be asked again until
    ``session_until_ms``. If ``device`` is None, there is no login.
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
    session_id: Optional[str] = None
    session_until_ms: Optional[int] = None
    device: Optional[NewDevice] = None
    jobs: tuple[NewJob, ...] = ()

    @property
    def is_real(self) -> bool:
        """Whether this is a person's account: the first of those creates the auto-join rooms."""
        return not self.is_ghost and _is_real(self)


def _is_real(account: Union[User, NewAccount]) -> bool:
    return (
        not account.is_guest
        and account.appservice_id is None
        and account.user_type not in UNREAL_USER_TYPES
    )


@attr.frozen(kw_only=True)
class Outcome:
    """What a key has led to. If ``terms`` is None, the account was made without a login.

    ``finished`` is False only between the two halves of making an account in an embedder's
    store (``EmbeddedWriter``). ``replayed``: found, not made just now. ``jobs`` are those that
    were written with the account just now, held by this process: it starts them.
    """

    key: str
    user_id: UserID
    created_ms: int
    terms: Optional[LoginTerms] = None
    finished: bool = True
    replayed: bool = False
    jobs: tuple[NewJob, ...] = ()


@attr.frozen(kw_only=True)
class Created:
    """The answer to ``create_account``. ``replayed``: the key had already made this account."""

    user_id: UserID
    login: Optional[Login] = None
    replayed: bool = False


@attr.frozen(kw_only=True)
class Registration:
    """The inputs of a registration, as one value (contract B2.0).

    ``key``: the same one again finds the account that it has made. If ``localpart`` is None, a
    number is drawn. Either ``password`` (hashed once admission is past) or ``password_hash`` or
    neither. If ``device`` is None, there is no login. If ``client`` is None, the request has no
    address and knows no limits. ``clients`` are those of every request that the UIA session has
    seen. If ``approved`` is None, as the configuration says. ``name_checked``: ``check_username``
    has passed during this very request, so only the write itself still decides whether the name is
    free; ``threepids_checked``: so have the rules about ``threepids``. ``guest_id``: the guest who
    is to become a user, where its access token was shown earlier. ``bind_emails``: addresses, in
    canonical form, that the account gets unproven. ``consents`` as of NewAccount. ``takes_over`` as
    of Usernames.check.
    """

    key: str
    localpart: Optional[str] = None
    password: Optional[Secret] = None
    password_hash: Optional[str] = attr.field(default=None, repr=False)
    guest_access_token: Optional[Secret] = None
    guest_id: Optional[UserID] = None
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
    takes_over: bool = False
    threepids_checked: bool = False


@attr.frozen
class Consent:
    """The acceptance of one version of a policy by a user."""

    policy: str
    version: str
    accepted_ms: int
