"""The order of the steps of one registration (contract B2.1)."""

from __future__ import annotations

import functools
from typing import Awaitable, Callable, Optional

import attr

from regsys.accounts.admission import Admission
from regsys.accounts.new_account import AccountPlanner
from regsys.accounts.usernames import Usernames
from regsys.credentials.hashing import HashingPool
from regsys.errors import InvalidParam, NoFreeName, UsernameTaken
from regsys.interfaces import Verdict
from regsys.interfaces.internal import IRegistrationWriter
from regsys.model import Created, NewAccount, Registration, UserID

# Lost races for generated names after which a registration is refused (contract B2.5).
LOST_RACES = 10


@attr.frozen(kw_only=True)
class Steps:
    """Cheap checks that refuse much come first, the password's hash and the write last."""

    names: Usernames
    admission: Admission
    hasher: HashingPool
    planner: AccountPlanner
    writer: IRegistrationWriter

    async def counted(
        self, address: Optional[str], make: Callable[[], Awaitable[Created]]
    ) -> Created:
        """Make the account, and count it against the limit if this call has made it."""
        await self.admission.take(address)
        try:
            created = await make()
        except BaseException:
            await self.admission.give_back(address)
            raise
        if created.replayed:
            await self.admission.give_back(address)
        return created

    async def register(self, asked: Registration) -> Created:
        """All but the limit, which ``counted`` looks after."""
        planned = self.planner.plan(asked)
        registration = planned.registration
        verdict = await self.admission.check_spam(registration)
        if verdict is Verdict.NEEDS_APPROVAL:
            planned = planned.waiting()
        await self.admission.check_threepids_and_blocking(registration)
        guest = None
        if registration.localpart is not None and not registration.name_checked:
            guest = await self._check_name(registration, registration.localpart)
        password_hash = registration.password_hash
        if registration.password is not None:
            password_hash = await self.hasher.hash(registration.password, registration.session_id)
        account = functools.partial(
            planned.account,
            password_hash=password_hash,
            shadow_banned=verdict is Verdict.SHADOW_BAN,
            upgrades_guest=guest is not None,
        )
        created = await self._write_under_a_name(registration.localpart, account)
        _check_made(created, registration.localpart, registration.session_id)
        return created

    async def _check_name(self, registration: Registration, localpart: str) -> Optional[UserID]:
        """Check the name. Returns the guest who is being upgraded, or None."""
        return await self.names.check(
            localpart,
            guest_access_token=registration.guest_access_token,
            key=registration.key,
            takes_over=registration.takes_over,
            guest_id=registration.guest_id,
            by_admin=registration.by_admin,
        )

    async def _write_under_a_name(
        self, localpart: Optional[str], account: Callable[[UserID], NewAccount]
    ) -> Created:
        """Write the account under its name, or under a generated one, for which another
        registration may win the race."""
        if localpart is not None:
            return await self.write(account(UserID(localpart, self.names.server_name)))
        for _ in range(LOST_RACES):
            try:
                return await self.write(account(await self.names.draw()))
            except UsernameTaken:
                continue
        raise NoFreeName()

    async def write(self, new: NewAccount) -> Created:
        """Ask the modules whether the account may have its addresses, and write it."""
        # Not earlier: the callbacks get the name of the account that will have the address.
        if new.threepids:
            await self.admission.check_additions(new.user_id, new.threepids)
        return await self.store(new)

    async def store(self, new: NewAccount) -> Created:
        """Write the account with the jobs that it brings."""
        return await self.writer.create_account(self.planner.with_jobs(new))

    async def store_as_named(self, new: NewAccount) -> Created:
        """As ``store``, for an account that its caller has named."""
        created = await self.store(new)
        _check_made(created, new.user_id.localpart, new.session_id)
        return created


def _check_made(created: Created, asked: Optional[str], session_id: Optional[str]) -> None:
    """Raise InvalidParam if the key has made the account of another name than was ``asked`` for:
    whoever asks for one name must not get the login of another. A UIA session checks this itself
    (contract B8.4), and may have changed the name before a crash."""
    if asked not in (None, created.user_id.localpart) and session_id is None:
        raise InvalidParam("This idempotency key has already made the account of another name.")
