"""The contract of EmbeddedAccountStore: what a key has led to, and who recovers it."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.model import NewJob, Outcome
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.storage.jobs import JobStore
from regsys.storage.sessions import SessionStore
from regsys.testing.contracts.case import NOW_MS, Contract, device, together, user
from tests.support.values import GREETING, LATER_MS, PLENTY, RECOVERY, account_of_session, session


class EmbeddedAccountStoreContract(Contract):
    """An EmbeddedAccountStore, with the sessions and jobs that stand beside it."""

    def make(self) -> tuple[EmbeddedAccountStore, SessionStore, JobStore]:
        """Three empty stores over one database."""
        raise NotImplementedError()

    async def started(self) -> EmbeddedAccountStore:
        """A store beside which there is the session of ``account_of_session``."""
        store, self.sessions, self.jobs = self.make()
        await self.sessions.add(session(expires_ms=LATER_MS), PLENTY)
        return store

    async def job_ids(self, now_ms: int = LATER_MS) -> set[str]:
        """The jobs that are anybody's at this time."""
        places = {"recover": 10, "greet": 10}
        return {job.job_id for job in await self.jobs.claim(places, now_ms, 1)}

    async def outcome(self) -> Optional[Outcome]:
        """What the session's key has led to."""
        found = await self.sessions.get("session", NOW_MS)
        assert found is not None
        return found.outcome

    async def test_reserved(self) -> None:
        """A reserved key says for whom and with which login, and that it has no end yet."""
        store = await self.started()
        self.assertIsNone(await store.reserve(account_of_session(), RECOVERY))
        earlier = await store.reserve(account_of_session("bob"), RECOVERY)
        assert earlier is not None
        self.assertEqual((earlier.user_id, earlier.finished), (user("alice"), False))
        self.assertEqual(earlier.terms, device("token of alice").login.terms)

    async def test_recoveryIsHeld(self) -> None:
        """The recovery job belongs to who reserved, and to anybody if that one is gone."""
        store = await self.started()
        await store.reserve(account_of_session(), RECOVERY)
        self.assertEqual(await self.job_ids(NOW_MS), set())
        self.assertEqual(await self.job_ids(), {"recovery"})

    async def test_settled(self) -> None:
        """Once settled the outcome stands: its session is finished, its jobs are held, and
        there is nothing to recover."""
        store = await self.started()
        await store.reserve(account_of_session(), RECOVERY)
        settled = await store.complete(account_of_session(), "recovery")
        self.assertEqual(list(settled or ()), [GREETING])
        outcome = await self.outcome()
        assert outcome is not None
        self.assertTrue(outcome.finished)
        self.assertEqual(outcome.terms, device("token of alice").login.terms)
        earlier = await store.reserve(account_of_session("bob"), RECOVERY)
        self.assertEqual(earlier, outcome)
        self.assertEqual(await self.job_ids(NOW_MS), set())
        self.assertEqual(await self.job_ids(), {"greeting"})

    async def test_settledTwice(self) -> None:
        """Settling again, as another process does that shares the key, changes nothing."""
        store = await self.started()
        await store.reserve(account_of_session(), RECOVERY)
        await store.complete(account_of_session(), "recovery")
        await self.jobs.finish("greeting")
        self.assertIsNone(await store.complete(account_of_session("bob"), "recovery"))
        outcome = await self.outcome()
        assert outcome is not None
        self.assertEqual(outcome.user_id, user("alice"))
        self.assertEqual(await self.job_ids(), set())

    async def test_jobsOnce(self) -> None:
        """Of the jobs that come with an account those are stored whose word is new."""
        store = await self.started()
        old, new = (NewJob(kind="greet", job_id=word, dedup_key=word) for word in ("old", "new"))
        await self.jobs.begin([old], NOW_MS)
        await self.jobs.finish("old")
        settled = await store.complete(
            attr.evolve(account_of_session(), jobs=(old, new)), "recovery"
        )
        self.assertEqual(list(settled or ()), [new])
        self.assertEqual(await self.job_ids(), {"new"})

    async def test_settledUnderAnotherName(self) -> None:
        """What was made counts, where it is not what was reserved."""
        store = await self.started()
        await store.reserve(account_of_session("alice"), RECOVERY)
        await store.complete(account_of_session("bob"), "recovery")
        outcome = await self.outcome()
        assert outcome is not None
        self.assertEqual((outcome.user_id, outcome.finished), (user("bob"), True))

    async def test_settledAfterAll(self) -> None:
        """An account that comes after a recovery has given it up is settled all the same."""
        store = await self.started()
        await store.reserve(account_of_session(), RECOVERY)
        await store.release(account_of_session(), "recovery")
        await store.complete(account_of_session(), "recovery")
        outcome = await self.outcome()
        assert outcome is not None
        self.assertTrue(outcome.finished)
        self.assertEqual(await self.job_ids(), {"greeting"})

    async def test_withdrawn(self) -> None:
        """A released key has made nothing: it can be claimed again. Idempotent."""
        store = await self.started()
        await store.reserve(account_of_session(), RECOVERY)
        for _ in range(2):
            await store.release(account_of_session(), "recovery")
            self.assertIsNone(await self.outcome())
            self.assertEqual(await self.job_ids(), set())
        self.assertIsNone(await store.reserve(account_of_session("bob"), RECOVERY))

    async def test_withdrawnTooLate(self) -> None:
        """What is settled cannot be withdrawn."""
        store = await self.started()
        await store.reserve(account_of_session(), RECOVERY)
        await store.complete(account_of_session(), "recovery")
        await store.release(account_of_session(), "recovery")
        outcome = await self.outcome()
        assert outcome is not None
        self.assertTrue(outcome.finished)
        self.assertEqual(await self.job_ids(), {"greeting"})

    async def test_reservedAtOnce(self) -> None:
        """Of several calls with one key at once, one has noted it, and the others learn so."""
        store = await self.started()
        ended = await together(store.reserve(account_of_session(), RECOVERY) for _ in range(6))
        self.assertEqual(ended.count(None), 1, ended)
        self.assertEqual(sum(isinstance(item, Outcome) for item in ended), 5, ended)
