"""What the handler is made of: the steps of a registration."""

from __future__ import annotations

import enum
from typing import Any, Awaitable, Collection, Mapping, Optional, Sequence

from zope.interface import Attribute, Interface

from regsys.model import (
    Appservice,
    Created,
    DeviceRequest,
    Login,
    LoginTerms,
    NewAccount,
    NewDevice,
    NewJob,
    Outcome,
    Registration,
    Secret,
    Threepid,
    UserID,
)


class IAppservices(Interface):
    """The application services, and whose names are. A service's names are those of its own user
    and those that its namespaces match (contract B3)."""

    services: Collection[Appservice] = Attribute("All that there are.")

    def by_token(as_token: Secret) -> Optional[Appservice]:
        """The service that bears this token; None if it is none's."""

    def may_use(appservice_id: str, user_id: UserID) -> bool:
        """Whether the service may register this user ID, and act as this user: it is its own
        user, or in one of its namespaces, exclusive or not."""

    def reserved_for(user_id: UserID) -> Collection[str]:
        """The ids of the services for which the name is kept; empty if it is nobody's. Where it is
        that of a service's own user, in whatever case, that one alone; else all in whose exclusive
        namespaces it is."""


class IGhosts(Interface):
    """The accounts that application services make."""

    def plan(
        localpart: str,
        as_token: Optional[Secret],
        password: Optional[Secret] = None,
        display_name: Optional[str] = None,
        device: Optional[DeviceRequest] = None,
    ) -> Awaitable[NewAccount]:
        """Everything about the account but its jobs; nothing is written yet.

        Raises as RegistrationHandler.appservice_register does, but for a name that is taken.
        """


class INames(Interface):
    """Which names may be registered (contract B1), and the drawing of generated ones."""

    server_name: str = Attribute("The part of user IDs behind the colon.")

    def check(
        localpart: str,
        *,
        guest_access_token: Optional[Secret] = None,
        assigned_user_id: Optional[UserID] = None,
        early: bool = False,
        key: Optional[str] = None,
        takes_over: bool = False,
        guest_id: Optional[UserID] = None,
    ) -> Awaitable[Optional[UserID]]:
        """Pass silently or raise the first refusal of B1.

        ``assigned_user_id``: what the UIA session has already registered. ``early``: the
        request does not complete, so that with ``inhibit_user_in_use_error`` a taken name
        passes. ``key``: the registration's; a name that it has taken itself passes, since
        the answer may have been lost, or another process be about to give it.
        ``takes_over``: the account that a homeserver beside us has under this name is this
        person's, as an administrator says. ``guest_id``: a guest whose access token was shown
        earlier, so that its name passes without; whether it is a guest still, the account's
        transaction decides.

        Returns the guest who is being upgraded, or None.
        """

    def check_not_reserved(user_id: UserID, allowed_appservice: Optional[str] = None) -> None:
        """Raises UsernameReserved for the server-notices user and for an application
        service's names, unless it is ``allowed_appservice`` (an id) itself (B1.5)."""

    def check_elsewhere(user_id: UserID) -> Awaitable[None]:
        """Raises UsernameTaken for a name that a homeserver beside us has, Unavailable where that
        cannot be told."""

    def draw() -> Awaitable[UserID]:
        """The next generated name that is neither taken nor reserved (B2.5); NamesKept if there is
        none."""


class Verdict(enum.Enum):
    """What spam checkers say (contract B2.2)."""

    ALLOW = "allow"
    DENY = "deny"
    SHADOW_BAN = "shadow_ban"


class IAdmission(Interface):
    """Who is let in: limits, spam checkers, blocking, third-party-identifier rules."""

    def peek(address: Optional[str]) -> Awaitable[None]:
        """Raises LimitExceeded if a registration from here would be refused now."""

    def take(registration: Registration) -> Awaitable[None]:
        """Count this registration against its address; LimitExceeded if there is no room."""

    def give_back(registration: Registration) -> Awaitable[None]:
        """Undo ``take``: the registration was refused."""

    def check_spam(registration: Registration) -> Awaitable[Verdict]:
        """What the spam checkers say, ALLOW or SHADOW_BAN. For DENY raises LimitExceeded, just
        as ``take`` would (B2.2); Unavailable if a checker fails (B10.3)."""

    def check_threepids_and_blocking(registration: Registration) -> Awaitable[None]:
        """Raises if its identifiers are denied, or the server takes nobody but an admin's."""

    def check_additions(user_id: UserID, threepids: Sequence[Threepid]) -> Awaitable[None]:
        """Before an account of this name is made, with these identifiers: raises what somebody
        objects to them (B10.4), Unavailable if somebody can't be asked."""


class ILogins(Interface):
    """Makes logins; stores nothing (contract B4)."""

    def terms(request: DeviceRequest) -> LoginTerms:
        """What such a login grants from now on: device id and lifetimes, every cap applied.

        Raises InvalidParam for a device id or display name that is not acceptable, Forbidden
        for a guest where sessions must end (B4.2)."""

    def issue(user_id: UserID, terms: LoginTerms, key: str) -> Login:
        """The tokens for these terms: the same arguments, the same tokens (B4.7)."""


class IAccountData(Interface):
    """Something that keeps rows of accounts."""

    def delete_for(user_id: UserID) -> Awaitable[None]:
        """The account is no more: of what is kept here nothing is of use to anybody any longer.
        Idempotent; a user who does not exist is no error."""


class IDeactivation(Interface):
    """What is done when an account is deactivated, or a device removed."""

    def deactivated(user_id: UserID) -> Awaitable[None]:
        """Forget all that is kept of an account that is no more. Idempotent, so that who
        was interrupted simply asks again."""

    def logged_out(user_id: UserID, device_id: Optional[str]) -> Awaitable[None]:
        """This device is logged out, None: all of the user's. Idempotent."""


class IHasher(Interface):
    """Hashes passwords without blocking the reactor, in a bounded queue (contract B14.2)."""

    def hash(password: Secret, once: Optional[str] = None) -> Awaitable[str]:
        """The hash to store. ``once`` names a dialogue in which the same password is hashed
        only one time. Raises LimitExceeded when too many are waiting, Unavailable when the
        process is about to end."""

    def verify(password: Secret, stored: Optional[str]) -> Awaitable[bool]:
        """Whether the password fits; takes as long for None (an account without one)."""

    def room() -> Awaitable[None]:
        """Return once the queue is less than half full: time for work that can be put off. May
        be cancelled."""


class IJobPlanner(Interface):
    """Which jobs an account brings with it."""

    def jobs_for(new: NewAccount) -> Sequence[NewJob]:
        """What must still happen once this account exists. Jobs that would do harm a second time
        have a deduplication key: the same is asked again by ``post_registration_actions``."""

    def jobs_after_consent(user_id: UserID) -> Sequence[NewJob]:
        """What has waited until this user accepted the policies. Idempotent."""


class IPostRegistration(Interface):
    """What follows when a registration, or a consent, is over (contract B6). Idempotent."""

    def after_registration(
        user_id: UserID, auth_result: Mapping[str, Any], access_token: Optional[Secret]
    ) -> Awaitable[None]:
        """Make up what this account lacks of what the stages found, and begin the jobs that it
        brings, those with a deduplication key only if they have never been begun.

        ``auth_result`` maps types of stages to what they found; ``access_token`` is that of the
        account's login, None: it got none. Raises UserNotFound."""

    def after_consent(user_id: UserID) -> Awaitable[None]:
        """Begin what has waited until this user accepted the policies."""


class IRegistrationWriter(IPostRegistration):
    """Does what only a master does. Local, remote or an embedder's own: the same contract."""

    def create_account(new: NewAccount) -> Awaitable[Created]:
        """The only place where an account begins: atomic, and once a key.

        The same key again returns the same answer, tokens included (contract B4.7).
        Raises as IAccountStore.create_account does.
        """

    def repeat(outcome: Outcome) -> Awaitable[Created]:
        """The answer that this finished outcome had, tokens included; nothing is written anew."""

    def register_device(user_id: UserID, device: NewDevice) -> Awaitable[Login]:
        """As IDevices.register."""
