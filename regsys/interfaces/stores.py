"""Stores of our own rows, and of what only the standalone service keeps."""

from __future__ import annotations

from typing import Awaitable, Mapping, Optional, Sequence

from zope.interface import Interface

from regsys.interfaces.homeserver import IPushers, IThreepidStore
from regsys.interfaces.registration import IAccountData
from regsys.model import (
    Backlog,
    Consent,
    Job,
    Login,
    NewAccount,
    NewJob,
    Outcome,
    Pusher,
    StoredLogin,
    Threepid,
    UserID,
    WaitingJob,
)


class ITokenStore(Interface):
    """Pairs of access and refresh tokens, by their hashes (``token_hash``)."""

    def by_access(access_hash: str) -> Awaitable[Optional[StoredLogin]]:
        """The pair, expired or spent ones included; None once its device is gone."""

    def by_refresh(refresh_hash: str) -> Awaitable[Optional[StoredLogin]]:
        """The same, found by its refresh token."""

    def confirm(access_hash: str) -> Awaitable[None]:
        """A new pair is in use: the one that it replaces is spent now (contract B4.6)."""

    def succeed(predecessor: str, user_id: UserID, login: Login) -> Awaitable[bool]:
        """Add the pair that replaces ``predecessor`` (an access hash), in place of an
        earlier successor that nobody has used; False if one is in use, or the device gone."""

    def has_device(user_id: UserID, device_id: str) -> Awaitable[bool]:
        """Whether this device is the user's."""

    def log_out(user_id: UserID, device_id: Optional[str]) -> Awaitable[None]:
        """Remove this device and its tokens, None: all of the user's; the sessions in which they
        were registered do not repeat their answers any more."""


class IJobStore(Interface):
    """Jobs, each held by at most one process at a time, by a lease."""

    def claim(places: Mapping[str, int], now_ms: int, lease_ms: int) -> Awaitable[Sequence[Job]]:
        """Take over jobs that are due and that nobody holds, of each kind at most as many as
        ``places`` says: those that have been due longest, and last those that would be due later
        than JOB_LONGEST_WAIT_MS allows, since a wrong clock has put them off."""

    def release(job_ids: Sequence[str], now_ms: int) -> Awaitable[None]:
        """Let anybody claim these jobs, which were held from birth and have not begun. One that
        has been claimed since is left to whoever did."""

    def finish(job_id: str) -> Awaitable[None]:
        """It is done: forget it."""

    def postpone(job_id: str, due_ms: int, error: str) -> Awaitable[None]:
        """It failed: release it, to be tried again at ``due_ms``."""

    def add(jobs: Sequence[NewJob], now_ms: int) -> Awaitable[None]:
        """Store jobs that no account brings; held by nobody."""

    def begin(jobs: Sequence[NewJob], now_ms: int) -> Awaitable[Sequence[NewJob]]:
        """Store jobs that no account brings, held by us from birth, without those whose
        deduplication key is there already. Returns those that were written, for ``start_jobs``."""

    def waiting(at_most: int) -> Awaitable[Sequence[WaitingJob]]:
        """The jobs that are not done yet, the oldest first, those under way included."""

    def backlog() -> Awaitable[Sequence[Backlog]]:
        """How much there is of each kind, by name; at a cost that doesn't grow with it."""

    def retry(job_id: Optional[str], now_ms: int) -> Awaitable[int]:
        """Let this job (None: all of them) be taken at once, though it has failed; returns how
        many were made to wait no longer. What has not failed yet is left alone."""


class IDedupKeys(Interface):
    """Deduplication keys (``NewJob.dedup_key``), for what else must not happen a second time."""

    def has_key(key: str) -> Awaitable[bool]:
        """Whether the key has been added, however long ago."""

    def add_key(key: str) -> Awaitable[None]:
        """Add it. Idempotent."""


class IMilestones(Interface):
    """Moments that come once."""

    def first_real_user() -> Awaitable[Optional[UserID]]:
        """Who was the first person with an account here (contract B5.2): decided by the
        transaction that made it, and never again. None: nobody yet."""


class IIdempotencyKeyStore(Interface):
    """Our own record of the accounts that an embedder's store holds (``EmbeddedWriter``)."""

    def reserve(new: NewAccount, recovery: NewJob) -> Awaitable[Optional[Outcome]]:
        """Note that this key is under way, with the job that ends it should we die, and hold
        the use of its registration token until it ends; InvalidRegistrationToken if none is left.

        None: noted now. Otherwise what an earlier call noted under the key, whose
        ``finished`` says whether it got to its end."""

    def complete(new: NewAccount, recovery_id: str) -> Awaitable[Optional[Sequence[NewJob]]]:
        """The account exists: record the outcome, count the use of its registration token,
        finish its session, store its jobs, held. Returns those that were stored, as
        ``IJobStore.begin`` does.

        None if that had been done already: then nothing was changed."""

    def release(new: NewAccount, recovery_id: str) -> Awaitable[None]:
        """The store refused it: its key has made nothing."""


class IConsentStore(Interface):
    """Who has accepted which policies. What comes with an account is written with it."""

    def record(
        user_id: UserID, accepted: Mapping[str, str], now_ms: int, jobs: Sequence[NewJob] = ()
    ) -> Awaitable[None]:
        """Remember that these versions, each by the name of its policy, have been accepted; one
        that had been before keeps the moment of the first time. With them, or not at all, are
        stored the ``jobs``, held by us from birth: start them."""

    def given_by(user_id: UserID) -> Awaitable[Sequence[Consent]]:
        """All that this user has ever accepted, the oldest first."""


class IOwnThreepidStore(IThreepidStore):
    """The identifiers of accounts, with the jobs that a change brings, held by us from birth: start
    them. A store of ours writes both or neither. ``ForeignThreepids`` writes the job that tells of
    the change first, which looks whether it was made if it comes late, and the others after it."""

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
        """As IThreepidStore.remove; ``now_ms`` is when the jobs are born."""


class IThreepidWriter(IAccountData):
    """Changes of what existing accounts have, whoever keeps that; of each the modules are told
    afterwards, at least once (contract B10.4). ``forget`` takes all that an account has."""

    def add(user_id: UserID, threepid: Threepid) -> Awaitable[bool]:
        """As IThreepidStore.add."""

    def remove(
        user_id: UserID, medium: str, address: str, also: Sequence[NewJob] = ()
    ) -> Awaitable[bool]:
        """As IThreepidStore.remove. ``also``: jobs that are written with the removal, over a
        homeserver's store after it, and never without it; whoever brings them starts them."""


class IPusherStore(IPushers):
    """The pushers of our own accounts."""

    def of_user(user_id: UserID) -> Awaitable[Sequence[Pusher]]:
        """All that this user has, by app and pushkey."""


class IActivityStore(Interface):
    """Who was seen when. Who counts as an active user, the store was told when it was made."""

    def saw(user_ids: Sequence[UserID], now_ms: int) -> Awaitable[None]:
        """These have been here just now; those who don't exist are passed over. Who was seen
        later was so, unless that is further in the future than CLOCKS_APART_MS."""

    def count(now_ms: int, at_most: int) -> Awaitable[int]:
        """How many users were seen in ACTIVE_MS until now, and not further in the future than
        CLOCKS_APART_MS; ``at_most`` if as many or more: the cost grows with the answer, and not
        with the number of accounts."""

    def is_active(user_id: UserID, now_ms: int) -> Awaitable[bool]:
        """Whether this one is among them."""

    def add(user_id: UserID, now_ms: int) -> Awaitable[None]:
        """This one counts, was seen now, and needs no trial; unless there is no such account."""


class IGuestStore(Interface):
    """Guests and their end."""

    def watched_since(now_ms: int, max_gap_ms: int) -> Awaitable[int]:
        """Since when (ms) this has been called without a break longer than ``max_gap_ms``, by
        whatever process; ``now_ms`` if there was one."""

    def end_idle(idle_since_ms: int, at_most: int) -> Awaitable[int]:
        """Deactivate up to ``at_most`` guests who were neither born nor seen since then; returns
        how many. Never one who is becoming a user in this moment."""


class INonceStore(Interface):
    """What is good once: nonces for one attempt, captcha responses for one session."""

    def use(nonce: str, until_ms: int) -> Awaitable[bool]:
        """Use it up; False if somebody has. It must be remembered until ``until_ms``."""


class IExpiring(Interface):
    """Rows with an end: sessions, outcomes, spent tokens, reservations."""

    def delete_expired(now_ms: int, at_most: int) -> Awaitable[int]:
        """Remove up to ``at_most`` rows whose time is over; returns how many went."""


class IReloadable(Interface):
    """Something that was read from a file, which may change while we run."""

    def reload() -> Sequence[str]:
        """Read it again now; what has changed, in words for the log. What cannot be used is
        logged, and what was there before goes on."""
