"""The writer over our own stores: one transaction for each account. What it shares with the one
over an embedder's."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Sequence, Union

import attr
from zope.interface import implementer

from regsys.accounts.deactivation import Deactivation, OwnDeactivation
from regsys.accounts.post_registration import PostRegistration
from regsys.credentials.access_tokens import Logins
from regsys.interfaces import IDevices
from regsys.interfaces.internal import IRegistrationWriter
from regsys.model import Created, Login, NewAccount, NewDevice, Secret, UserID
from regsys.model.accounts import Outcome
from regsys.model.jobs import NewJob
from regsys.storage.users import Also, UserStore

# Called with each account that was made, not with those that a repeated key finds.
OnCreated = Callable[[NewAccount], None]
# Called with each device that is logged in to an account that exists, and with its present login.
OnLoggedIn = Callable[[UserID, NewDevice], None]


@attr.frozen(kw_only=True)
class StoresWriter:
    """What is the same over our own stores and over an embedder's."""

    devices: IDevices
    logins: Logins
    post_registration: PostRegistration
    deactivation: Union[Deactivation, OwnDeactivation]
    start_jobs: Callable[[Sequence[NewJob]], None]
    on_created: Sequence[OnCreated] = ()
    on_logged_in: Sequence[OnLoggedIn] = ()

    async def register_device(self, user_id: UserID, device: NewDevice) -> Login:
        login = await self.devices.register(user_id, device)
        for logged_in in self.on_logged_in:
            logged_in(user_id, attr.evolve(device, login=login))
        return login

    async def post_registration_actions(
        self, user_id: UserID, auth_result: Mapping[str, Any], access_token: Optional[Secret]
    ) -> None:
        await self.post_registration.post_registration_actions(user_id, auth_result, access_token)

    async def deactivate(self, user_id: UserID, erase: bool = False) -> bool:
        return await self.deactivation.deactivate(user_id, erase)


@implementer(IRegistrationWriter)
@attr.frozen(kw_only=True)
class LocalWriter(StoresWriter):
    """Over our own tables. ``also``, if there is one, writes the rows of a homeserver that has its
    tables in the same database: ``also(txn, new)`` gets the driver's cursor, in the account's
    transaction. What it raises is raised by ``create_account``, and nothing is written. It may be
    called again for the same account, after a transaction that was not committed.
    """

    accounts: UserStore
    also: Optional[Also] = None

    async def create_account(self, new: NewAccount) -> Created:
        outcome = await self.accounts.write(new, self.also)
        if outcome.replayed:
            return await self.repeat(outcome)
        if outcome.jobs:
            self.start_jobs(outcome.jobs)
        for created in self.on_created:
            created(new)
        return Created(user_id=new.user_id, login=new.device.login if new.device else None)

    async def repeat(self, outcome: Outcome) -> Created:
        login = None
        if outcome.terms is not None:
            login = self.logins.issue(outcome.user_id, outcome.terms, outcome.key)
        return Created(user_id=outcome.user_id, login=login, replayed=True)
