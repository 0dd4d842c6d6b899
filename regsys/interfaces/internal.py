"""What regsys itself has several implementations of. Nothing here is for embedders."""

from __future__ import annotations

from typing import Any, Awaitable, Mapping, Optional, Sequence

from zope.interface import Interface

from regsys.interfaces.homeserver import IThreepidStore
from regsys.model import (
    Client,
    Created,
    Login,
    MailPurpose,
    NewAccount,
    NewDevice,
    Secret,
    Threepid,
    UserID,
)
from regsys.model.accounts import Outcome
from regsys.model.buckets import Bucket
from regsys.model.jobs import NewJob


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

    def deactivate(user_id: UserID, erase: bool = False) -> Awaitable[bool]:
        """Delete what is kept of an account that is deactivated, its addresses included. Whether
        identity servers have unbound all that was bound, and something was. ``erase``: the user
        wants what was sent to be erased.

        An account in our own tables loses its password, devices and tokens, and its name stays
        taken. Idempotent: a caller that was interrupted calls it again.
        """


class IJobPlanner(Interface):
    """Plans the jobs that a new account brings."""

    def jobs_for(new: NewAccount) -> Sequence[NewJob]:
        """What must still happen once this account exists. A job that would do harm a second time
        has a deduplication key: ``post_registration_actions`` plans the same jobs again."""

    def jobs_after_consent(user_id: UserID) -> Sequence[NewJob]:
        """The jobs that waited until this user accepted the policies. Idempotent."""


class IAccountData(Interface):
    """Keeps data of accounts, which a deactivation deletes."""

    def delete_for(user_id: UserID) -> Awaitable[None]:
        """Delete what is kept for this account, which has been deactivated. Idempotent; a user
        who does not exist is no error."""


class IExpiring(Interface):
    """Keeps rows that expire: sessions, idempotency keys, spent tokens, reservations."""

    def delete_expired(now_ms: int, at_most: int) -> Awaitable[int]:
        """Delete up to ``at_most`` rows that have expired; returns how many were deleted."""


class IOwnThreepidStore(IThreepidStore):
    """Which account has which 3PID, with the jobs that a change brings. This process holds the
    jobs from the moment they are written: the caller starts them. A store of ours writes the
    change and its jobs in one transaction. ``EmbeddedThreepids`` writes the job that calls the
    callbacks before the change, and the others after it."""

    def add(
        user_id: UserID, threepid: Threepid, now_ms: int, jobs: Sequence[NewJob] = ()
    ) -> Awaitable[bool]:
        """As IThreepidStore.add."""

    def remove(
        user_id: UserID,
        medium: str,
        address: str,
        jobs: Sequence[NewJob] = (),
        now_ms: int = 0,
    ) -> Awaitable[bool]:
        """As IThreepidStore.remove; ``now_ms`` is when the jobs are created."""


class IThreepidRules(Interface):
    """Which addresses accounts may have (contract B7.2)."""

    def is_allowed(medium: str, address: str, registering: bool) -> Awaitable[bool]:
        """Whether an account may have this address (canonical form). ``registering``: the account
        is yet to be created, else it exists."""


class IPhoneValidation(Interface):
    """The validation of phone numbers, whichever server sends the codes."""

    def request_token(
        body: Mapping[str, Any],
        client: Client,
        languages: Sequence[str],
        user_id: Optional[UserID] = None,
        purpose: MailPurpose = MailPurpose.REGISTRATION,
    ) -> Awaitable[Mapping[str, Any]]:
        """Have a code sent, in the first of these languages that is available. Returns what the
        client is to know, its ``sid`` above all.

        ``user_id``: the account that is to get the number; None if that is not known yet: it is a
        new account, the first one that presents the validation session, or, for a reset, the one
        that has the number.
        Raises what a requestToken is refused with (contract B7.2-3).
        """

    def submit_token(sid: str, client_secret: str, token: str, client: Client) -> Awaitable[None]:
        """Validate the number with the code that was sent. Raises ValidationRefused or
        DelegateRefused if the code is wrong."""


class ILimiter(Interface):
    """A rate limit; each ``key`` is counted apart."""

    def peek(key: str) -> Awaitable[None]:
        """Raise LimitExceeded if ``take`` would, as far as this process knows; counts nothing."""

    def take(key: str) -> Awaitable[None]:
        """Count one, or raise LimitExceeded and count nothing."""

    def give_back(key: str) -> Awaitable[None]:
        """Undo one ``take``."""


class ILocalLimiter(ILimiter):
    """A rate limit that is counted in this process."""

    def count(key: str) -> None:
        """Count one that another limit has let through, even if there is no room here."""

    def holds(key: str) -> bool:
        """Whether anything is counted here that ``take`` of this key would look at."""


class IBucketStore(Interface):
    """Where the processes count together. The time is that of its server, so that the clocks of
    processes need not agree. Each method raises Unavailable within a second if the server is away
    or slow; whether it has counted then is unknown."""

    def peek(buckets: Sequence[Bucket]) -> Awaitable[int]:
        """How many microseconds ``take`` would have to wait; 0 if it would count."""

    def take(buckets: Sequence[Bucket]) -> Awaitable[int]:
        """Count one in each of these and return 0. If one of them is full, count in none, and
        return how many microseconds it takes until there is room."""

    def give_back(buckets: Sequence[Bucket]) -> Awaitable[None]:
        """Undo one ``take``. An empty bucket stays empty."""

    def close() -> None:
        """Close its connections, if it has any of its own; a later call opens one again."""


class IConcurrencyLimiter(Interface):
    """A limit on the requests under way, rather than on their rate."""

    def enter(key: str) -> Awaitable[None]:
        """Wait for a place, or raise LimitExceeded. The caller ``leave``s when it is done."""

    def leave(key: str) -> None:
        """Free the place."""
