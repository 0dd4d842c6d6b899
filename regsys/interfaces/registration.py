"""What the handler is made of: the steps of a registration."""

from __future__ import annotations

import enum
from typing import Any, Awaitable, Collection, Mapping, Optional, Sequence

from zope.interface import Attribute, Interface

from regsys.model import (
    Appservice,
    Created,
    Login,
    NewAccount,
    NewDevice,
    NewJob,
    Outcome,
    Secret,
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
        """The ids of the services for which the name is kept; empty if it is reserved for none.
        Where it is that of a service's own user, in whatever case, that one alone; else all in
        whose exclusive namespaces it is."""


class Verdict(enum.Enum):
    """What spam checkers say (contract B2.2)."""

    ALLOW = "allow"
    DENY = "deny"
    SHADOW_BAN = "shadow_ban"


class IAccountData(Interface):
    """Something that keeps rows of accounts."""

    def delete_for(user_id: UserID) -> Awaitable[None]:
        """The account has been deactivated: delete what is kept for it here.
        Idempotent; a user who does not exist is no error."""


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


class IRegistrationWriter(Interface):
    """What only a master does: every write that begins, extends or ends an account.

    Local, embedded or remote: the same contract.
    """

    def create_account(new: NewAccount) -> Awaitable[Created]:
        """Make the account, whole or not at all, once for each ``new.key``.

        The same key again returns the same answer, tokens included (contract B4.7).
        Raises as IAccountStore.create_account does.
        """

    def repeat(outcome: Outcome) -> Awaitable[Created]:
        """The answer that this finished outcome had, tokens included. Nothing is written."""

    def register_device(user_id: UserID, device: NewDevice) -> Awaitable[Login]:
        """As IDevices.register."""

    def post_registration_actions(
        user_id: UserID, auth_result: Mapping[str, Any], access_token: Optional[Secret]
    ) -> Awaitable[None]:
        """Add to this account what its stages found and it lacks, and begin the jobs that it
        brings (contract B6). Idempotent: jobs with a deduplication key begin once.

        ``auth_result`` maps types of stages to what they found. ``access_token`` is that of the
        account's login; None if it has none. Raises UserNotFound.
        """

    def deactivate(user_id: UserID) -> Awaitable[None]:
        """Delete what is kept of an account that is deactivated, its addresses included.

        An account in our own tables loses its password, devices and tokens, and its name stays
        taken. Idempotent: a caller that was interrupted calls it again.
        """
