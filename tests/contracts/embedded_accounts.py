"""The contract of EmbeddedAccountStore: what a key has created, and its recovery."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.model.accounts import Outcome
from regsys.model.jobs import NewJob
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.storage.jobs import JobStore
from regsys.storage.sessions import SessionStore
from regsys.testing.contracts.case import NOW_MS, Contract, device, together, user
from tests.support.values import GREETING, LATER_MS, PLENTY, RECOVERY, account_of_session, session


class EmbeddedAccountStoreContract(Contract):
    """An EmbeddedAccountStore, with the sessions and jobs beside it."""

    def make(self) -> tuple[EmbeddedAccountStore, SessionStore, JobStore]:
        """Three empty stores over one database."""
        raise NotImplementedError()

    async def started(self) -> EmbeddedAccountStore:
        """A store beside the session of ``account_of_session``."""
        store, self.sessions, self.jobs = self.make()
        await self.sessions.add(session(expires_ms=LATER_MS), PLENTY)
        return store

    async def job_ids(self, now_ms: int = LATER_MS) -> set[str]:
        """The jobs that any process can claim at this time."""
        places = {"recover": 10, "greet": 10}
        return {job.job_id for job in await self.jobs.claim(places, now_ms, 1)}

    async def outcome(self) -> Optional[Outcome]:
        """The outcome of the session's key."""
        found = await self.sessions.get("session", NOW_MS)
        assert found is not None
        return found.outcome

    async def test_reserved(self) -> None:
        """A reserved key has its user and its login's terms, and is not finished."""
        store = await self.started()
        self.assertIsNone(await store.claim(account_of_session(), RECOVERY))
        earlier = await store.claim(account_of_session("bob"), RECOVERY)
        assert earlier is not None
        self.assertEqual((earlier.user_id, earlier.finished), (user("alice"), False))
        self.assertEqual(earlier.terms, device("token of alice").login.terms)

    async def test_recoveryIsHeld(self) -> None:
        """The recovery job is held by the process that reserved the key, until the lease ends."""
        store = await self.started()
        await store.claim(account_of_session(), RECOVERY)
        self.assertEqual(await self.job_ids(NOW_MS), set())
        self.assertEqual(await self.job_ids(), {"recovery"})

    async def test_completed(self) -> None:
        """A completed key has its outcome: its session is finished, its jobs are held, and there is
        nothing to recover."""
        store = await self.started()
        await store.claim(account_of_session(), RECOVERY)
        completed = await store.complete(account_of_session(), "recovery")
        self.assertEqual(list(completed or ()), [GREETING])
        outcome = await self.outcome()
        assert outcome is not None
        self.assertTrue(outcome.finished)
        self.assertEqual(outcome.terms, device("token of alice").login.terms)
        earlier = await store.claim(account_of_session("bob"), RECOVERY)
        self.assertEqual(earlier, outcome)
        self.assertEqual(await self.job_ids(NOW_MS), set())
        self.assertEqual(await self.job_ids(), {"greeting"})

    async def test_completedTwice(self) -> None:
        """Completing a key again, as another process may do, changes nothing."""
        store = await self.started()
        await store.claim(account_of_session(), RECOVERY)
        await store.complete(account_of_session(), "recovery")
        await self.jobs.finish("greeting")
        self.assertIsNone(await store.complete(account_of_session("bob"), "recovery"))
        outcome = await self.outcome()
        assert outcome is not None
        self.assertEqual(outcome.user_id, user("alice"))
        self.assertEqual(await self.job_ids(), set())

    async def test_jobsOnce(self) -> None:
        """Of the account's jobs those with a new deduplication key are stored."""
        store = await self.started()
        old, new = (NewJob(kind="greet", job_id=key, dedup_key=key) for key in ("old", "new"))
        await self.jobs.begin([old], NOW_MS)
        await self.jobs.finish("old")
        completed = await store.complete(
            attr.evolve(account_of_session(), jobs=(old, new)), "recovery"
        )
        self.assertEqual(list(completed or ()), [new])
        self.assertEqual(await self.job_ids(), {"new"})

    async def test_completedUnderAnotherName(self) -> None:
        """The account that was created counts, even if another name was reserved."""
        store = await self.started()
        await store.claim(account_of_session("alice"), RECOVERY)
        await store.complete(account_of_session("bob"), "recovery")
        outcome = await self.outcome()
        assert outcome is not None
        self.assertEqual((outcome.user_id, outcome.finished), (user("bob"), True))

    async def test_completedAfterRelease(self) -> None:
        """A key can be completed after a recovery has released it."""
        store = await self.started()
        await store.claim(account_of_session(), RECOVERY)
        await store.release(account_of_session(), "recovery")
        await store.complete(account_of_session(), "recovery")
        outcome = await self.outcome()
        assert outcome is not None
        self.assertTrue(outcome.finished)
        self.assertEqual(await self.job_ids(), {"greeting"})

    async def test_released(self) -> None:
        """A released key has no outcome, and can be reserved again. Idempotent."""
        store = await self.started()
        await store.claim(account_of_session(), RECOVERY)
        for _ in range(2):
            await store.release(account_of_session(), "recovery")
            self.assertIsNone(await self.outcome())
            self.assertEqual(await self.job_ids(), set())
        self.assertIsNone(await store.claim(account_of_session("bob"), RECOVERY))

    async def test_releasedTooLate(self) -> None:
        """A completed key cannot be released."""
        store = await self.started()
        await store.claim(account_of_session(), RECOVERY)
        await store.complete(account_of_session(), "recovery")
        await store.release(account_of_session(), "recovery")
        outcome = await self.outcome()
        assert outcome is not None
        self.assertTrue(outcome.finished)
        self.assertEqual(await self.job_ids(), {"greeting"})

    async def test_reservedAtOnce(self) -> None:
        """Of several concurrent calls with one key one reserves it; the others get its outcome."""
        store = await self.started()
        ended = await together(store.claim(account_of_session(), RECOVERY) for _ in range(6))
        self.assertEqual(ended.count(None), 1, ended)
        self.assertEqual(sum(isinstance(item, Outcome) for item in ended), 5, ended)
