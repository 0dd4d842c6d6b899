"""Accounts and devices at the homeserver whose auth service this is (contract B17.3-4)."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping, Optional, Protocol, Sequence

import attr
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from regsys import clock
from regsys.errors import (
    AccountElsewhere,
    HomeserverDidNothing,
    HomeserverUnavailable,
    Unavailable,
    UsernameTaken,
)
from regsys.interfaces import IDevices
from regsys.model import Login, NewDevice, UserID
from regsys.model.jobs import Job, NewJob
from regsys.model.provisioning import Attempt, HomeserverUser, Provisioned
from regsys.storage.devices import DeviceStore
from regsys.storage.jobs import JobStore
from regsys.storage.provisioning import PROVISION_DEVICE, ProvisioningStore

END_LOGINS = "end_logins"
# How long a client waits until the homeserver knows that a device is logged out.
TELL_S = 4.0
# Times at the homeserver are whole seconds by a clock that is compared with ours over the network.
ROUNDING_MS = 10_000

log = Logger()


class HomeserverUsers(Protocol):
    """What the homeserver offers: ``outbound/synapse.py``. Each call raises HomeserverUnavailable
    if it did not answer, or not as it should."""

    async def provision_user(self, user_id: UserID) -> Provisioned: ...

    async def upsert_device(
        self, user_id: UserID, device_id: str, display_name: Optional[str] = None
    ) -> bool: ...

    async def sync_devices(self, user_id: UserID, device_ids: Sequence[str]) -> None: ...

    async def delete_device(self, user_id: UserID, device_id: str) -> None: ...

    async def delete_user(self, user_id: UserID, erase: bool) -> None: ...


class EarlierAccounts(Protocol):
    """``accounts/earlier_accounts.py``."""

    async def make_again(self, user_id: UserID) -> None: ...


class HomeserverAdmin(Protocol):
    """``outbound/synapse_admin.py``."""

    async def user(self, user_id: UserID) -> Optional[HomeserverUser]: ...

    async def shadow_ban(self, user_id: UserID) -> None: ...

    async def set_user_type(self, user_id: UserID, user_type: str) -> None: ...

    async def suspend(self, user_id: UserID, suspended: bool) -> None: ...


@attr.frozen(kw_only=True)
class Provisioner:
    """Makes accounts there, an attempt at a time. Each step is idempotent, so an attempt takes all
    of them again."""

    users: HomeserverUsers
    admin: HomeserverAdmin
    pending: ProvisioningStore

    async def account(
        self,
        attempt: Attempt,
        *,
        shadow_banned: bool,
        user_type: Optional[str],
        suspended: bool,
        add_devices: Callable[[], Awaitable[None]],
    ) -> None:
        """Make the account; ``add_devices`` has its devices made. UsernameTaken, UsernameReserved
        or InvalidUsername if it cannot be made there. After Unavailable another attempt may
        begin."""
        is_made, is_clear, user_id = attempt.is_made, False, attempt.user_id
        try:
            if not is_made:
                await self._user(attempt)
                is_made = True
            # Before the client has its tokens: a suspended user must not say a word, nor a
            # shadow-banned one.
            if suspended:
                await self.admin.suspend(user_id, True)
            if shadow_banned:
                await self.admin.shadow_ban(user_id)
            if user_type is not None:
                await self.admin.set_user_type(user_id, user_type)
            await add_devices()
        except Unavailable as error:
            is_clear = isinstance(error, HomeserverDidNothing)
            await self.pending.release(attempt, is_made, is_clear)
            raise

    async def _user(self, attempt: Attempt) -> None:
        made = await self.users.provision_user(attempt.user_id)
        if made is Provisioned.MADE:
            return
        if made is Provisioned.THERE and attempt.earlier_ms is None:
            # No call of ours can have made it.
            raise UsernameTaken()
        since_ms = attempt.began_ms if attempt.earlier_ms is None else attempt.earlier_ms
        try:
            there = await self.admin.user(attempt.user_id)
        except HomeserverDidNothing as error:
            # What this says of the look says nothing of the call before.
            raise HomeserverUnavailable(str(error)) from None
        if there is None:
            raise HomeserverUnavailable(f"{attempt.user_id} was there, and is not")
        is_older = there.created_ms < since_ms - ROUNDING_MS
        if there.appservice_id is not None or is_older or there.deactivated:
            raise UsernameTaken()


@implementer(IDevices)
@attr.frozen(kw_only=True)
class ProvisionedDevices:
    """Logins (IDevices) of which the homeserver knows before their tokens are given out."""

    devices: DeviceStore
    homeserver: HomeserverUsers
    earlier: EarlierAccounts
    pending: ProvisioningStore
    start_jobs: Callable[[Sequence[NewJob]], None]

    async def register(self, user_id: UserID, device: NewDevice) -> Login:
        def job_of(is_new: bool) -> NewJob:
            payload = {
                "user_id": str(user_id),
                "device_id": device.login.device_id,
                # A device that exists keeps the name that its user may have given it there.
                "display_name": device.display_name if is_new else None,
            }
            return NewJob(kind=PROVISION_DEVICE, payload=payload)

        login, job = await self.devices.register_with(user_id, device, job_of)
        if job is None:
            # A worker's call that is sent again: the first may have been cut off before this.
            await self.finish(user_id, login.device_id)
            return login
        try:
            await self._provision(job.job_id, job.payload)
        except HomeserverUnavailable:
            self.start_jobs((job,))
            raise
        return login

    async def finish(self, user_id: UserID, device_id: str) -> None:
        """Go on with a login that an earlier call has written, unless the homeserver knows it."""
        waiting = await self.pending.pending(user_id, device_id)
        if waiting is not None:
            await self._provision(waiting.job_id, waiting.payload)

    async def run(self, job: Job) -> None:
        """The handler of PROVISION_DEVICE jobs."""
        user_id = UserID.parse(job.payload["user_id"])
        if not await self.devices.has_device(user_id, job.payload["device_id"]):
            return
        try:
            await self._provision(job.job_id, job.payload)
        except AccountElsewhere:
            # The log says so. The account is not active there, whatever its devices are.
            return

    async def _provision(self, job_id: str, payload: Mapping[str, Any]) -> None:
        user_id, device_id = UserID.parse(payload["user_id"]), payload["device_id"]
        name = payload["display_name"]
        if not await self.homeserver.upsert_device(user_id, device_id, name):
            # The homeserver has lost the account, such as with its database.
            await self.earlier.make_again(user_id)
            if not await self.homeserver.upsert_device(user_id, device_id, name):
                raise HomeserverUnavailable(f"it does not know {user_id}, whom it has made")
        await self.pending.device_known(user_id, device_id, job_id)


@attr.frozen(kw_only=True)
class LoginsEnd:
    """Tells the homeserver of logins that have ended here, as ``EndedLogins`` of
    storage/ended_logins.py. The homeserver keeps what it was told of a token for two minutes,
    unless its device is deleted there."""

    homeserver: HomeserverUsers
    devices: DeviceStore
    jobs: JobStore
    start_jobs: Callable[[Sequence[NewJob]], None]
    clock: IReactorTime

    def job(self, user_id: UserID, device_ids: Sequence[str], erase: Optional[bool]) -> NewJob:
        """``erase``: as in ``storage.ended_logins.remove``."""
        payload = {"user_id": str(user_id), "device_ids": list(device_ids), "erase": erase}
        return NewJob(kind=END_LOGINS, payload=payload)

    def now_ms(self) -> int:
        return clock.now_ms(self.clock)

    async def tell(self, job: NewJob) -> None:
        """Return when it is done, or has failed: then the job goes on."""
        telling: Deferred[None] = Deferred.fromCoroutine(self._tell(job))
        try:
            await telling.addTimeout(TELL_S, self.clock)
        except Exception as error:  # the logout itself has succeeded
            log.warn(
                "the homeserver is not told yet that {user_id} is logged out: {error}",
                user_id=job.payload["user_id"],
                error=str(error),
            )
            self.start_jobs((job,))

    async def _tell(self, job: NewJob) -> None:
        await self._end(job.payload)
        await self.jobs.finish(job.job_id)

    async def run(self, job: Job) -> None:
        """The handler of END_LOGINS jobs."""
        await self._end(job.payload)

    async def _end(self, payload: Mapping[str, Any]) -> None:
        user_id = UserID.parse(payload["user_id"])
        if payload["erase"] is not None:
            await self.homeserver.delete_user(user_id, payload["erase"])
            return
        for device_id in payload["device_ids"]:
            if await self.devices.has_device(user_id, device_id):
                continue
            await self.homeserver.delete_device(user_id, device_id)
            # It may have been logged in again at the same moment, and then belongs there.
            if await self.devices.has_device(user_id, device_id):
                await self.homeserver.upsert_device(user_id, device_id)
