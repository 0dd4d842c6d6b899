"""The contract of ConsentStore: what has been accepted, and when for the first time."""

from __future__ import annotations

from typing import Sequence

from regsys.model import NewAccount
from regsys.model.accounts import Consent
from regsys.model.jobs import NewJob
from regsys.storage.consents import ConsentStore
from regsys.testing.contracts.case import NOW_MS, Contract, account, user

BOTH = {"privacy_policy": "1.0", "terms_of_service": "b"}


class ConsentStoreContract(Contract):
    """A ConsentStore."""

    def make(self) -> ConsentStore:
        """An empty store."""
        raise NotImplementedError()

    async def create_account(self, new: NewAccount) -> None:
        """Create this account, with what it has accepted (``new.consents``)."""
        raise NotImplementedError()

    async def test_recorded(self) -> None:
        """A user's consents are listed, and no other user's."""
        store = self.make()
        await store.record(user("alice"), BOTH, NOW_MS)
        self.assertEqual(
            list(await store.given_by(user("alice"))),
            [Consent(policy, version, NOW_MS) for policy, version in BOTH.items()],
        )
        self.assertEqual(list(await store.given_by(user("bob"))), [])

    async def test_everyVersion(self) -> None:
        """Each version is kept, with the time of its first consent."""
        store = self.make()
        for version, later_ms in (("1.0", 0), ("2.0", 5), ("1.0", 7), ("2.0", 9)):
            await store.record(user("alice"), {"terms": version}, NOW_MS + later_ms)
        self.assertEqual(
            list(await store.given_by(user("alice"))),
            [Consent("terms", "1.0", NOW_MS), Consent("terms", "2.0", NOW_MS + 5)],
        )

    async def jobs(self) -> Sequence[str]:
        """The ids of all jobs that are stored."""
        raise NotImplementedError()

    async def test_withJobs(self) -> None:
        """A consent's jobs are stored with it; the same job again is stored once."""
        store, job = self.make(), NewJob(kind="greet", job_id="of the consent")
        for _ in range(2):
            await store.record(user("alice"), BOTH, NOW_MS, [job])
        self.assertEqual(list(await self.jobs()), [job.job_id])

    async def test_withTheAccount(self) -> None:
        """The consents of a new account are stored with it."""
        store = self.make()
        await self.create_account(account("key", consents=BOTH))
        given = {item.policy: item.version for item in await store.given_by(user("alice"))}
        self.assertEqual(given, BOTH)
