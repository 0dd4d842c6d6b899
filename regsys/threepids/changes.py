"""Modules learn what an account has, and has no more: by a job of the very transaction that changes
it, be it the account's own or a later one (contract B10.4)."""

from __future__ import annotations

from typing import Callable, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from regsys import clock
from regsys.callbacks.threepids import ThreepidChanges
from regsys.interfaces import IAccountData, IJobPlanner, IOwnThreepidStore, IThreepidStore
from regsys.model import AccountThreepid, Job, NewAccount, NewJob, Threepid, UserID
from regsys.storage.jobs import JobStore

TELL_OF_ADDRESS = "tell_of_address"


def was_held(user_id: UserID, medium: str, address: str) -> str:
    """The deduplication key of an address that the account has had, and may have lost: post-
    registration actions that come late do not bring it back (contract B6.4)."""
    return f"was held {user_id} {medium} {address}"


def _notice(
    user_id: UserID, medium: str, address: str, added: bool, dedup_key: Optional[str] = None
) -> NewJob:
    told = {"user_id": str(user_id), "medium": medium, "address": address, "added": added}
    return NewJob(kind=TELL_OF_ADDRESS, payload=told, dedup_key=dedup_key)


@implementer(IJobPlanner)
@attr.frozen
class AddressNotice:
    """If ``owners`` is None, the owner of an address cannot be looked up."""

    changes: ThreepidChanges
    owners: Optional[IThreepidStore] = None

    def jobs_for(self, new: NewAccount) -> Sequence[NewJob]:
        if not self.changes.has_listeners():
            return ()
        return [
            _notice(
                new.user_id,
                item.medium,
                item.address,
                added=True,
                dedup_key=f"{TELL_OF_ADDRESS} {new.user_id} {item.medium} {item.address}",
            )
            for item in new.threepids
        ]

    def jobs_after_consent(self, user_id: UserID) -> Sequence[NewJob]:
        return ()

    async def run(self, job: Job) -> None:
        """The handler of TELL_OF_ADDRESS jobs. One that comes late tells only what is still so:
        a change that was told of first would be taken back."""
        told = job.payload
        user_id, medium, address = UserID.parse(told["user_id"]), told["medium"], told["address"]
        owners = self.owners if job.is_late else None
        if owners is not None:
            has_it = await owners.owner_of(medium, address) == user_id
            if has_it != told["added"]:
                return
        await self.changes.tell(user_id, medium, address, told["added"])


@implementer(IAccountData)
@attr.frozen(kw_only=True)
class ThreepidWriter:
    """Has the job that tells of a change written with the change, and started after it."""

    store: IOwnThreepidStore
    dedup_keys: JobStore
    start_jobs: Callable[[Sequence[NewJob]], None]
    clock: IReactorTime

    async def add(self, user_id: UserID, threepid: Threepid) -> bool:
        """As IThreepidStore.add."""
        jobs = [_notice(user_id, threepid.medium, threepid.address, added=True)]
        added = await self.store.add(user_id, threepid, clock.now_ms(self.clock), jobs)
        if added:
            self.start_jobs(jobs)
        return added

    async def remove(
        self, user_id: UserID, medium: str, address: str, also: Sequence[NewJob] = ()
    ) -> bool:
        # Of what was never the user's nothing is written: nobody fills the database with it, and
        # no job that comes late tells of it as lost.
        """As IThreepidStore.remove. ``also``: jobs that are written with the removal, over a
        homeserver's store after it, and never without it; whoever brings them starts them."""
        if await self.store.owner_of(medium, address) != user_id:
            return False
        await self.dedup_keys.add_key(was_held(user_id, medium, address))
        notice = _notice(user_id, medium, address, added=False)
        now_ms = clock.now_ms(self.clock)
        removed = await self.store.remove(user_id, medium, address, [notice, *also], now_ms)
        if removed:
            self.start_jobs([notice])
        return removed

    async def delete_for(self, user_id: UserID) -> None:
        for item in await self.store.of_user(user_id):
            await self.remove(user_id, item.medium, item.address)


@implementer(IOwnThreepidStore)
@attr.frozen(kw_only=True)
class EmbeddedThreepids:
    """A homeserver's store, whose transactions know no jobs of ours: what tells of a change is
    written before it, and forgotten if it changes nothing. Where nobody says what has become of
    the change, because the store raised or we died, it comes late, and looks
    (``AddressNotice.run``). Other jobs do not look: they are written once the change is made."""

    store: IThreepidStore
    jobs: JobStore

    async def owner_of(self, medium: str, address: str) -> Optional[UserID]:
        return await self.store.owner_of(medium, address)

    async def of_user(self, user_id: UserID) -> Sequence[AccountThreepid]:
        return await self.store.of_user(user_id)

    async def add(
        self, user_id: UserID, threepid: Threepid, now_ms: int, jobs: Sequence[NewJob] = ()
    ) -> bool:
        await self._begin(jobs, now_ms, looking=True)
        return await self._end(jobs, await self.store.add(user_id, threepid, now_ms), now_ms)

    async def remove(
        self,
        user_id: UserID,
        medium: str,
        address: str,
        jobs: Sequence[NewJob] = (),
        now_ms: int = 0,
    ) -> bool:
        await self._begin(jobs, now_ms, looking=True)
        removed = await self.store.remove(user_id, medium, address)
        return await self._end(jobs, removed, now_ms)

    async def _begin(self, jobs: Sequence[NewJob], now_ms: int, *, looking: bool) -> None:
        chosen = [job for job in jobs if (job.kind == TELL_OF_ADDRESS) is looking]
        if chosen:
            await self.jobs.begin(chosen, now_ms)

    async def _end(self, jobs: Sequence[NewJob], changed: bool, now_ms: int) -> bool:
        if changed:
            await self._begin(jobs, now_ms, looking=False)
        else:
            for job in jobs:
                await self.jobs.finish(job.job_id)
        return changed
