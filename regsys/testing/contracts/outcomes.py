"""The contracts of EmbeddedAccountStore and IExpiring: what is noted, and for how long."""

from __future__ import annotations

from typing import Any, Optional

import attr

from regsys.interfaces import IExpiring
from regsys.model import NewAccount, NewJob, Outcome
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.storage.jobs import JobStore
from regsys.storage.sessions import SessionStore
from regsys.testing.contracts.case import (
    LATER_MS,
    NOW_MS,
    Contract,
    account,
    device,
    together,
    user,
)
from regsys.testing.contracts.sessions import PLENTY, session
from regsys.testing.provides import provides

RECOVERY = NewJob(kind="recover", payload={"key": "session"}, job_id="recovery")
GREETING = NewJob(kind="greet", job_id="greeting")


def new_account(localpart: str = "alice", **more: Any) -> NewAccount:
    """An account whose key is its session, with a device and a job."""
    return account(
        "session",
        localpart,
        session_id="session",
        session_until_ms=LATER_MS,
        device=device(f"token of {localpart}"),
        jobs=(GREETING,),
        **more,
    )


class IdempotencyKeyStoreContract(Contract):
    """An EmbeddedAccountStore, with the sessions and jobs that stand beside it."""

    def make(self) -> tuple[EmbeddedAccountStore, SessionStore, JobStore]:
        """Three empty stores over one database."""
        raise NotImplementedError()

    async def started(self) -> EmbeddedAccountStore:
        """A store beside which there is the session of ``new_account``."""
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
        self.assertIsNone(await store.claim(new_account(), RECOVERY))
        earlier = await store.claim(new_account("bob"), RECOVERY)
        assert earlier is not None
        self.assertEqual((earlier.user_id, earlier.finished), (user("alice"), False))
        self.assertEqual(earlier.terms, device("token of alice").login.terms)

    async def test_recoveryIsHeld(self) -> None:
        """The recovery job belongs to who reserved, and to anybody if that one is gone."""
        store = await self.started()
        await store.claim(new_account(), RECOVERY)
        self.assertEqual(await self.job_ids(NOW_MS), set())
        self.assertEqual(await self.job_ids(), {"recovery"})

    async def test_settled(self) -> None:
        """Once settled the outcome stands: its session is finished, its jobs are held, and
        there is nothing to recover."""
        store = await self.started()
        await store.claim(new_account(), RECOVERY)
        settled = await store.complete(new_account(), "recovery")
        self.assertEqual(list(settled or ()), [GREETING])
        outcome = await self.outcome()
        assert outcome is not None
        self.assertTrue(outcome.finished)
        self.assertEqual(outcome.terms, device("token of alice").login.terms)
        earlier = await store.claim(new_account("bob"), RECOVERY)
        self.assertEqual(earlier, outcome)
        self.assertEqual(await self.job_ids(NOW_MS), set())
        self.assertEqual(await self.job_ids(), {"greeting"})

    async def test_settledTwice(self) -> None:
        """Settling again, as another process does that shares the key, changes nothing."""
        store = await self.started()
        await store.claim(new_account(), RECOVERY)
        await store.complete(new_account(), "recovery")
        await self.jobs.finish("greeting")
        self.assertIsNone(await store.complete(new_account("bob"), "recovery"))
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
        settled = await store.complete(attr.evolve(new_account(), jobs=(old, new)), "recovery")
        self.assertEqual(list(settled or ()), [new])
        self.assertEqual(await self.job_ids(), {"new"})

    async def test_settledUnderAnotherName(self) -> None:
        """What was made counts, where it is not what was reserved."""
        store = await self.started()
        await store.claim(new_account("alice"), RECOVERY)
        await store.complete(new_account("bob"), "recovery")
        outcome = await self.outcome()
        assert outcome is not None
        self.assertEqual((outcome.user_id, outcome.finished), (user("bob"), True))

    async def test_settledAfterAll(self) -> None:
        """An account that comes after a recovery has given it up is settled all the same."""
        store = await self.started()
        await store.claim(new_account(), RECOVERY)
        await store.release(new_account(), "recovery")
        await store.complete(new_account(), "recovery")
        outcome = await self.outcome()
        assert outcome is not None
        self.assertTrue(outcome.finished)
        self.assertEqual(await self.job_ids(), {"greeting"})

    async def test_withdrawn(self) -> None:
        """A released key has made nothing: it can be claimed again. Idempotent."""
        store = await self.started()
        await store.claim(new_account(), RECOVERY)
        for _ in range(2):
            await store.release(new_account(), "recovery")
            self.assertIsNone(await self.outcome())
            self.assertEqual(await self.job_ids(), set())
        self.assertIsNone(await store.claim(new_account("bob"), RECOVERY))

    async def test_withdrawnTooLate(self) -> None:
        """What is settled cannot be withdrawn."""
        store = await self.started()
        await store.claim(new_account(), RECOVERY)
        await store.complete(new_account(), "recovery")
        await store.release(new_account(), "recovery")
        outcome = await self.outcome()
        assert outcome is not None
        self.assertTrue(outcome.finished)
        self.assertEqual(await self.job_ids(), {"greeting"})

    async def test_reservedAtOnce(self) -> None:
        """Of several calls with one key at once, one has noted it, and the others learn so."""
        store = await self.started()
        ended = await together(store.claim(new_account(), RECOVERY) for _ in range(6))
        self.assertEqual(ended.count(None), 1, ended)
        self.assertEqual(sum(isinstance(item, Outcome) for item in ended), 5, ended)


class ExpiringContract(Contract):
    """An IExpiring."""

    def make(self) -> IExpiring:
        """One that holds nothing yet."""
        raise NotImplementedError()

    async def add(self, number: int, ends_ms: int) -> None:
        """Add a row whose time is over after ``ends_ms``."""
        raise NotImplementedError()

    def test_provides(self) -> None:
        """It has its method, with the arguments that it will be called with."""
        provides(IExpiring, self.make())

    async def test_stays(self) -> None:
        """Nothing goes before its time."""
        store = self.make()
        await self.add(1, NOW_MS)
        self.assertEqual(await store.delete_expired(NOW_MS - 1, 10), 0)
        self.assertEqual(await store.delete_expired(NOW_MS + 1, 10), 1)

    async def test_goes(self) -> None:
        """What is over goes, so many at a time as was said; what is not over stays."""
        store = self.make()
        for number in range(5):
            await self.add(number, NOW_MS - number)
        await self.add(5, LATER_MS)
        gone = [await store.delete_expired(NOW_MS + 1, 2) for _ in range(4)]
        self.assertEqual(gone, [2, 2, 1, 0])
        self.assertEqual(await store.delete_expired(LATER_MS + 1, 2), 1)
