"""The operations that only a master does, over our own stores: one transaction an account."""

from __future__ import annotations

from typing import Callable, Sequence

import attr
from zope.interface import implementer

from regsys.interfaces import IAccountStore, IDevices, ILogins, IRegistrationWriter
from regsys.metrics import Metrics
from regsys.model import Created, Login, NewAccount, NewDevice, NewJob, Outcome, UserID


@implementer(IRegistrationWriter)
@attr.frozen(kw_only=True)
class LocalWriter:
    """Over a store that keeps accounts and devices together."""

    accounts: IAccountStore
    devices: IDevices
    logins: ILogins
    start_jobs: Callable[[Sequence[NewJob]], None]

    async def create_account(self, new: NewAccount) -> Created:
        outcome = await self.accounts.create_account(new)
        if outcome.replayed:
            return await self.repeat(outcome)
        self.start_jobs(new.jobs)
        return Created(user_id=new.user_id, login=new.device.login if new.device else None)

    async def repeat(self, outcome: Outcome) -> Created:
        login = None
        if outcome.terms is not None:
            login = self.logins.issue(outcome.user_id, outcome.terms, outcome.key)
        return Created(user_id=outcome.user_id, login=login, replayed=True)

    async def register_device(self, user_id: UserID, device: NewDevice) -> Login:
        return await self.devices.register(user_id, device)


@implementer(IRegistrationWriter)
@attr.frozen(kw_only=True)
class CountingWriter:
    """Around another writer: counts what it made (BEHAVIOUR B2.7)."""

    writer: IRegistrationWriter
    metrics: Metrics

    async def create_account(self, new: NewAccount) -> Created:
        created = await self.writer.create_account(new)
        if not created.replayed:
            self.metrics.registered(new.is_guest, new.shadow_banned, new.auth_provider_id)
        return created

    async def repeat(self, outcome: Outcome) -> Created:
        return await self.writer.repeat(outcome)

    async def register_device(self, user_id: UserID, device: NewDevice) -> Login:
        login = await self.writer.register_device(user_id, device)
        self.metrics.logged_in(login.terms.is_guest, device.auth_provider_id)
        return login
