"""The operations that only a master does: over our own stores, one transaction an account; and what
stands around a writer, whichever that is."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Sequence

import attr
from zope.interface import implementer

from regsys.accounts.monthly_active_users import Activity
from regsys.accounts.post_registration import PostRegistration
from regsys.credentials.access_tokens import Logins
from regsys.interfaces import IAccountStore, IDevices, IRegistrationWriter
from regsys.metrics import Metrics
from regsys.model import Created, Login, NewAccount, NewDevice, NewJob, Outcome, Secret, UserID


@implementer(IRegistrationWriter)
@attr.frozen(kw_only=True)
class LocalWriter:
    """Over a store that keeps accounts and devices together."""

    accounts: IAccountStore
    devices: IDevices
    logins: Logins
    post_registration: PostRegistration
    start_jobs: Callable[[Sequence[NewJob]], None]

    async def create_account(self, new: NewAccount) -> Created:
        outcome = await self.accounts.create_account(new)
        if outcome.replayed:
            return await self.repeat(outcome)
        self.start_jobs(outcome.jobs)
        return Created(user_id=new.user_id, login=new.device.login if new.device else None)

    async def repeat(self, outcome: Outcome) -> Created:
        login = None
        if outcome.terms is not None:
            login = self.logins.issue(outcome.user_id, outcome.terms, outcome.key)
        return Created(user_id=outcome.user_id, login=login, replayed=True)

    async def register_device(self, user_id: UserID, device: NewDevice) -> Login:
        return await self.devices.register(user_id, device)

    async def after_registration(
        self, user_id: UserID, auth_result: Mapping[str, Any], access_token: Optional[Secret]
    ) -> None:
        await self.post_registration.after_registration(user_id, auth_result, access_token)

    async def after_consent(self, user_id: UserID) -> None:
        await self.post_registration.after_consent(user_id)


@attr.frozen(kw_only=True)
class _Around:
    """What those around another writer pass on as it is."""

    writer: IRegistrationWriter

    async def repeat(self, outcome: Outcome) -> Created:
        return await self.writer.repeat(outcome)

    async def after_registration(
        self, user_id: UserID, auth_result: Mapping[str, Any], access_token: Optional[Secret]
    ) -> None:
        await self.writer.after_registration(user_id, auth_result, access_token)

    async def after_consent(self, user_id: UserID) -> None:
        await self.writer.after_consent(user_id)


@implementer(IRegistrationWriter)
@attr.frozen(kw_only=True)
class CountingWriter(_Around):
    """Counts what the other has made when it was asked (contract B2.7)."""

    metrics: Metrics

    async def create_account(self, new: NewAccount) -> Created:
        created = await self.writer.create_account(new)
        if not created.replayed:
            self.metrics.registered(new)
        return created

    async def register_device(self, user_id: UserID, device: NewDevice) -> Login:
        login = await self.writer.register_device(user_id, device)
        self.metrics.logged_in(login.terms.is_guest, device.auth_provider_id)
        return login


@implementer(IRegistrationWriter)
@attr.frozen(kw_only=True)
class WatchingWriter(_Around):
    """Whose account the other makes, or logs in, is seen."""

    activity: Activity

    async def create_account(self, new: NewAccount) -> Created:
        created = await self.writer.create_account(new)
        if not created.replayed:
            self.activity.born(created.user_id)
        return created

    async def register_device(self, user_id: UserID, device: NewDevice) -> Login:
        login = await self.writer.register_device(user_id, device)
        self.activity.let_in(user_id)
        return login
