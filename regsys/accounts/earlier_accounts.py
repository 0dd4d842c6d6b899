"""Accounts from before regsys was the homeserver's auth service. The homeserver does not know them:
until it does, their tokens are not valid there."""

from __future__ import annotations

from typing import Callable, Sequence

import attr
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys import clock
from regsys.accounts.homeserver_emails import emails_changed
from regsys.accounts.post_registration_jobs import TELL_DIRECTORY
from regsys.accounts.provisioning import HomeserverUsers, Provisioner
from regsys.accounts.provisioning_attempts import Attempts, Begun
from regsys.errors import (
    AccountElsewhere,
    HomeserverUnavailable,
    RegistrationError,
    Unavailable,
    UserNotFound,
)
from regsys.model import UserID
from regsys.model.canonical_threepids import EMAIL
from regsys.model.jobs import Job, NewJob
from regsys.storage.devices import DeviceStore
from regsys.storage.earlier_accounts import Earlier, EarlierAccountStore
from regsys.storage.jobs import JobStore
from regsys.storage.provisioning import ProvisioningStore

# The kind of the job that looks for such accounts, and its ID: one is enough.
FIND_EARLIER = "find_earlier_accounts"
# How many accounts it makes at a time, and how long one run looks for more: less than its lease.
AT_ONCE = 5
RUN_S = 20.0
# How often devices are told again that have changed meanwhile.
ROUNDS = 5

log = Logger()


def find_earlier(after: str = "") -> NewJob:
    """The job that makes those with a user ID after this one."""
    job_id = f"{FIND_EARLIER}{after}".replace("_", "-")
    return NewJob(kind=FIND_EARLIER, payload={"after": after}, job_id=job_id)


@attr.frozen(kw_only=True)
class EarlierAccounts:
    """Makes them there: all by a job, and one at once when its user logs in. Nobody is undone
    whose name the homeserver cannot have: the account waits for the operator."""

    store: EarlierAccountStore
    devices: DeviceStore
    homeserver: HomeserverUsers
    provisioner: Provisioner
    pending: ProvisioningStore
    attempts: Attempts
    jobs: JobStore
    start_jobs: Callable[[Sequence[NewJob]], None]
    clock: IReactorTime

    async def make(self, begun: Begun) -> None:
        """AccountElsewhere if the homeserver cannot have it. After Unavailable a job goes on."""
        attempt, account = begun.attempt, await self.store.find(begun.attempt.user_id)
        jobs: Sequence[NewJob] = ()
        # One that is deactivated by now needs no user there.
        if not account.deactivated:
            await self._make(begun, account)
            jobs = _jobs(attempt.user_id, account)
        now_ms = clock.now_ms(self.clock)
        written = await self.pending.complete(attempt.user_id, attempt.job_id, jobs, now_ms)
        if written:
            self.start_jobs(written)

    async def _make(self, begun: Begun, account: Earlier) -> None:
        attempt = begun.attempt
        try:
            await self.provisioner.account(
                attempt,
                shadow_banned=account.shadow_banned,
                user_type=account.user_type,
                suspended=account.suspended,
                add_devices=lambda: self._add_devices(attempt.user_id),
            )
        except Unavailable:
            if attempt.number == 1:
                self.start_jobs((begun.job,))
            raise
        except RegistrationError as refusal:
            await self._refused(begun, refusal)
            raise AccountElsewhere() from None

    async def make_again(self, user_id: UserID) -> None:
        """Make an account that the homeserver has lost. Errors as ``make``."""
        await self.store.lost(user_id)
        begun = await self.attempts.begin(user_id)
        if begun is not None:
            await self.make(begun)

    async def run(self, job: Job) -> None:
        """The handler of PROVISION_EARLIER jobs."""
        await self._make_if_needed(UserID.parse(job.payload["user_id"]))

    async def find(self, job: Job) -> None:
        """The handler of FIND_EARLIER jobs."""
        after, ends_s = job.payload["after"], self.clock.seconds() + RUN_S
        while True:
            began_s = self.clock.seconds()
            after, found = await self.store.after(after)
            for first in range(0, len(found), AT_ONCE):
                await self._make_some(found[first : first + AT_ONCE])
            if after is None:
                return
            if self.clock.seconds() >= ends_s:
                rest = (find_earlier(after),)
                self.start_jobs(await self.jobs.begin(rest, clock.now_ms(self.clock)))
                return
            await clock.rest(self.clock, began_s)

    async def _make_some(self, user_ids: Sequence[UserID]) -> None:
        making = [Deferred.fromCoroutine(self._make_if_needed(user_id)) for user_id in user_ids]
        for succeeded, result in await DeferredList(making, consumeErrors=True):
            if not succeeded:
                result.raiseException()  # type: ignore[attr-defined]

    async def _make_if_needed(self, user_id: UserID) -> None:
        try:
            begun = await self.attempts.begin(user_id)
            if begun is not None:
                await self.make(begun)
        except (AccountElsewhere, UserNotFound):
            return  # the log says so; it was removed just now

    async def _refused(self, begun: Begun, refusal: RegistrationError) -> None:
        if not await self.store.give_up(begun.attempt):
            raise HomeserverUnavailable("another call goes on with it")
        log.error(
            "{user_id}, who was here before, cannot be used: the homeserver cannot have the name:"
            " {error} Deactivate one of the two, or let the homeserver's keep it",
            user_id=str(begun.attempt.user_id),
            error=refusal.text,
        )

    async def _add_devices(self, user_id: UserID) -> None:
        devices = await self.devices.of_user(user_id)
        for _ in range(ROUNDS):
            await self.homeserver.sync_devices(user_id, [item.device_id for item in devices])
            for item in devices:
                if item.display_name is not None:
                    name = item.display_name
                    await self.homeserver.upsert_device(user_id, item.device_id, name)
            now = await self.devices.of_user(user_id)
            if now == devices:
                return
            devices = now
        raise HomeserverUnavailable(f"the devices of {user_id} do not stay the same")


def _jobs(user_id: UserID, account: Earlier) -> Sequence[NewJob]:
    name = user_id.localpart if account.display_name is None else account.display_name
    payload = {"user_id": str(user_id), "display_name": name}
    emails = emails_changed(user_id, EMAIL) if account.has_emails else ()
    return (NewJob(kind=TELL_DIRECTORY, payload=payload), *emails)
