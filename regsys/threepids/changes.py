"""Notifies modules of identifiers that an account gets or loses, by a job that is written in the
transaction of the change (contract B10.4)."""

from __future__ import annotations

from typing import Callable, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from regsys import clock
from regsys.callbacks.threepids import ThreepidChanges
from regsys.interfaces import IThreepidStore
from regsys.interfaces.internal import IAccountData, IJobPlanner, IOwnThreepidStore
from regsys.model import AccountThreepid, NewAccount, Threepid, UserID
from regsys.model.jobs import Job, NewJob
from regsys.storage.jobs import JobStore

TELL_OF_ADDRESS = "tell_of_address"


def held_key(user_id: UserID, medium: str, address: str) -> str:
    """The deduplication key that records that the account has had this address, so that late
    post-registration actions do not bring a removed address back (contract B6.4)."""
    return f"was held {user_id} {medium} {address}"


def _notice(
    user_id: UserID, medium: str, address: str, added: bool, dedup_key: Optional[str] = None
) -> NewJob:
    payload = {"user_id": str(user_id), "medium": medium, "address": address, "added": added}
    return NewJob(kind=TELL_OF_ADDRESS, payload=payload, dedup_key=dedup_key)


@implementer(IJobPlanner)
@attr.frozen
class AddressNotice:
    """Plans and runs the jobs that notify modules. If ``owners`` is None, the owner of an address
    cannot be looked up."""

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
        """The handler of TELL_OF_ADDRESS jobs. A job that runs late notifies only of what is still
        true: modules may have heard of a later change already."""
        payload, user_id = job.payload, UserID.parse(job.payload["user_id"])
        medium, address, added = payload["medium"], payload["address"], payload["added"]
        owners = self.owners if job.is_late else None
        if owners is not None:
            has_it = await owners.owner_of(medium, address) == user_id
            if has_it != added:
                return
        await self.changes.tell(user_id, medium, address, added)


@implementer(IAccountData)
@attr.frozen(kw_only=True)
class ThreepidWriter:
    """Changes an account's identifiers. The job that notifies modules is written with the change,
    and started after it; so are those that ``following`` makes for a user and a medium."""

    store: IOwnThreepidStore
    dedup_keys: JobStore
    start_jobs: Callable[[Sequence[NewJob]], None]
    clock: IReactorTime
    following: Callable[[UserID, str], Sequence[NewJob]] = lambda user_id, medium: ()

    async def add(
        self, user_id: UserID, threepid: Threepid, extra_jobs: Sequence[NewJob] = ()
    ) -> bool:
        """As IThreepidStore.add. ``extra_jobs`` are written with the address, and started."""
        notice = _notice(user_id, threepid.medium, threepid.address, added=True)
        jobs = [notice, *self.following(user_id, threepid.medium), *extra_jobs]
        added = await self.store.add(user_id, threepid, clock.now_ms(self.clock), jobs)
        if added:
            self.start_jobs(jobs)
        return added

    async def remove(
        self, user_id: UserID, medium: str, address: str, extra_jobs: Sequence[NewJob] = ()
    ) -> bool:
        """As IThreepidStore.remove. ``extra_jobs``: jobs that are written with the removal (for a
        homeserver's store after it), and only if there was one; the caller starts them."""
        # Nothing is written for an address that the user does not have: a client could fill the
        # database that way, and a late job would report an address as lost that never was theirs.
        if await self.store.owner_of(medium, address) != user_id:
            return False
        await self.dedup_keys.add_key(held_key(user_id, medium, address))
        jobs = [
            _notice(user_id, medium, address, added=False),
            *self.following(user_id, medium),
        ]
        now_ms = clock.now_ms(self.clock)
        removed = await self.store.remove(user_id, medium, address, [*jobs, *extra_jobs], now_ms)
        if removed:
            self.start_jobs(jobs)
        return removed

    async def delete_for(self, user_id: UserID) -> None:
        for item in await self.store.of_user(user_id):
            await self.remove(user_id, item.medium, item.address)


@implementer(IOwnThreepidStore)
@attr.frozen(kw_only=True)
class EmbeddedThreepids:
    """A homeserver's store, whose transactions cannot contain our jobs. The job that notifies of a
    change is written before the change, and deleted if nothing was changed. If the result is
    unknown, because the store raised or this process died, the job runs late, and looks whether the
    change was made (``AddressNotice.run``). Other jobs do not look, so they are written after the
    change."""

    store: IThreepidStore
    jobs: JobStore

    async def owner_of(self, medium: str, address: str) -> Optional[UserID]:
        return await self.store.owner_of(medium, address)

    async def of_user(self, user_id: UserID) -> Sequence[AccountThreepid]:
        return await self.store.of_user(user_id)

    async def add(
        self, user_id: UserID, threepid: Threepid, now_ms: int, jobs: Sequence[NewJob] = ()
    ) -> bool:
        await self._begin(jobs, now_ms, notices=True)
        return await self._end(jobs, await self.store.add(user_id, threepid, now_ms), now_ms)

    async def remove(
        self,
        user_id: UserID,
        medium: str,
        address: str,
        jobs: Sequence[NewJob] = (),
        now_ms: int = 0,
    ) -> bool:
        await self._begin(jobs, now_ms, notices=True)
        removed = await self.store.remove(user_id, medium, address)
        return await self._end(jobs, removed, now_ms)

    async def _begin(self, jobs: Sequence[NewJob], now_ms: int, *, notices: bool) -> None:
        chosen = [job for job in jobs if (job.kind == TELL_OF_ADDRESS) is notices]
        if chosen:
            await self.jobs.begin(chosen, now_ms)

    async def _end(self, jobs: Sequence[NewJob], changed: bool, now_ms: int) -> bool:
        if changed:
            await self._begin(jobs, now_ms, notices=False)
        else:
            for job in jobs:
                await self.jobs.finish(job.job_id)
        return changed
