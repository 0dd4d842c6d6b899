"""Every call of every store may run again after a commit whose answer was lost (threat C7)."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Sequence

import attr
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys.model import NewDevice
from regsys.model.jobs import NewJob
from regsys.storage.database import Database
from regsys.storage.idempotency_keys import KEPT_MS
from regsys.storage.jobs import JobStore
from regsys.storage.logins import SPENT_KEPT_MS
from regsys.storage.postgresql import PostgreSQL
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import NOW_MS, account, login, upgrade, user
from regsys.testing.database import inline_database
from tests.support import faults, postgres
from tests.support.faultpoints import FaultPoints, WatchedDatabase
from tests.support.stores import Stores
from tests.support.tables import ALL, contents
from tests.support.values import (
    CLIENT,
    LATER_MS,
    RECOVERY,
    TERMS,
    access_hash,
    account_of_session,
    session,
)

ALICE = user("alice")
LEASE_MS = 1000


def pair(name: str) -> NewDevice:
    return NewDevice(login=login(name, **TERMS), display_name="my device")


def jobs(*names: str) -> Sequence[NewJob]:
    return [NewJob(kind="greet", job_id=name) for name in names]


# Each function prepares with stores whose database works, and calls one method of the others.


async def create_account(sound: Stores, other: Stores) -> Any:
    await sound.sessions.add(session("key"), 1)
    more = {"session_id": "key", "session_until_ms": LATER_MS, "jobs": tuple(jobs("one"))}
    made = await other.users.write(account("key", device=pair("first"), **more))
    # The second try finds what the first has made; its jobs are begun when their lease is over.
    return attr.evolve(made, replayed=False, jobs=())


async def upgrade_guest(sound: Stores, other: Stores) -> Any:
    await sound.users.create_account(account("guest", "1", is_guest=True))
    made = await other.users.write(upgrade("key", "1", device=pair("first")))
    return attr.evolve(made, replayed=False)


async def approve(sound: Stores, other: Stores) -> Any:
    await sound.users.create_account(account("key", approved=False))
    return await other.users.approve("alice")


async def logged_in(sound: Stores) -> None:
    await sound.users.create_account(account("key", device=pair("first")))
    await sound.devices.succeed(access_hash("first"), ALICE, login("second", **TERMS))


async def register(sound: Stores, other: Stores) -> Any:
    await logged_in(sound)
    return await other.devices.register(ALICE, pair("third"))


async def succeed(sound: Stores, other: Stores) -> Any:
    await logged_in(sound)
    return await other.devices.succeed(access_hash("first"), ALICE, login("third", **TERMS))


async def confirm(sound: Stores, other: Stores) -> Any:
    await logged_in(sound)
    return await other.devices.confirm(access_hash("second"))


async def log_out(sound: Stores, other: Stores) -> Any:
    await logged_in(sound)
    return await other.devices.log_out(ALICE, "PHONE")


async def expire_logins(sound: Stores, other: Stores) -> None:
    await logged_in(sound)
    await sound.devices.confirm(access_hash("second"))
    await other.devices.delete_expired(NOW_MS + SPENT_KEPT_MS + 1, 1)


async def add_session(sound: Stores, other: Stores) -> Any:
    return await other.sessions.add(session(), 1)


async def save_session(sound: Stores, other: Stores) -> Any:
    await sound.sessions.add(session(), 1)
    return await other.sessions.save("session", CLIENT, {"a": 1}, {"stage": True})


async def keep_hash(sound: Stores, other: Stores) -> Any:
    await sound.sessions.add(session(), 1)
    return await other.sessions.keep_hash("session", "mark", "hash")


async def expire_sessions(sound: Stores, other: Stores) -> None:
    await sound.sessions.add(session(), 1)
    await other.sessions.delete_expired(LATER_MS, 10)


async def add_jobs(sound: Stores, other: Stores) -> Any:
    return await other.jobs.add(jobs("one", "two"), NOW_MS)


async def finish_job(sound: Stores, other: Stores) -> Any:
    await sound.jobs.add(jobs("one", "two"), NOW_MS)
    return await other.jobs.finish("one")


async def postpone_job(sound: Stores, other: Stores) -> Any:
    await sound.jobs.add(jobs("one"), NOW_MS)
    return await other.jobs.postpone("one", LATER_MS, "no luck")


async def reserve(sound: Stores, other: Stores) -> None:
    await other.embedded_accounts.claim(account_of_session(), RECOVERY)


async def complete(sound: Stores, other: Stores) -> None:
    await sound.sessions.add(session(), 1)
    await sound.embedded_accounts.claim(account_of_session(), RECOVERY)
    await other.embedded_accounts.complete(account_of_session(), RECOVERY.job_id)


async def release(sound: Stores, other: Stores) -> Any:
    await sound.embedded_accounts.claim(account_of_session(), RECOVERY)
    return await other.embedded_accounts.release(account_of_session(), RECOVERY.job_id)


async def expire_idempotency_keys(sound: Stores, other: Stores) -> None:
    await sound.users.create_account(account("key"))
    await other.idempotency_keys.delete_expired(NOW_MS + KEPT_MS + 1, 10)


CALLS: Sequence[Callable[[Stores, Stores], Awaitable[Any]]] = (
    create_account,
    upgrade_guest,
    approve,
    register,
    succeed,
    confirm,
    log_out,
    expire_logins,
    add_session,
    save_session,
    keep_hash,
    expire_sessions,
    add_jobs,
    finish_job,
    postpone_job,
    reserve,
    complete,
    release,
    expire_idempotency_keys,
)


class LostAnswerTests(SynchronousTestCase):
    """On PostgreSQL: SQLite has no connection that could be lost."""

    def setUp(self) -> None:
        import psycopg2

        self.clock = Clock()
        self.clock.advance(NOW_MS / 1000)
        self.place = (PostgreSQL(postgres.dsn(self)), psycopg2.connect)
        self.db = inline_database(*self.place, self.clock)
        self.addCleanup(self.db.pool.close)

    def wait(self, work: Any) -> Any:
        return self.successResultOf(faults.finish(self.clock, work))

    def outcome(self, call: Any, other: Database) -> tuple[Any, Any]:
        """What the call returns, and the tables' contents afterwards."""
        result = self.wait(call(Stores(self.db, self.clock), Stores(other, self.clock)))
        other.pool.close()
        tables = self.wait(contents(self.db))
        empty = f"TRUNCATE {', '.join(ALL)}"
        self.wait(self.db.transaction("test", lambda txn: txn.run(empty)))
        self.clock.advance(NOW_MS / 1000 - self.clock.seconds())
        return result, tables

    def test_sameAgain(self) -> None:
        """The tables and the result are the same as without the loss."""
        for call in CALLS:
            points = FaultPoints()
            expected = self.outcome(call, WatchedDatabase(*self.place, self.clock, points))
            last = faults.once(points.passed[-1])
            other = faults.FaultyDatabase(*self.place, self.clock, faults.lost, last)
            self.assertEqual(self.outcome(call, other), expected, call.__name__)
            self.assertEqual(other.times, 1, call.__name__)

    def test_claim(self) -> None:
        """Jobs whose claim was lost are not run until that lease is over."""
        last = faults.once("claim_jobs/after:COMMIT")
        db = faults.FaultyDatabase(*self.place, self.clock, faults.lost, last)
        self.addCleanup(db.pool.close)
        store = JobStore(db)
        self.wait(store.add(jobs("one"), NOW_MS))
        self.assertEqual(self.wait(store.claim({"greet": 5}, NOW_MS, LEASE_MS)), [])
        (job,) = self.wait(store.claim({"greet": 5}, NOW_MS + LEASE_MS, LEASE_MS))
        self.assertEqual((job.job_id, job.attempts), ("one", 2))

    def test_number(self) -> None:
        """A number whose answer was lost is not given out again."""
        last = faults.once("next_number/after:SELECT")
        db = faults.FaultyDatabase(*self.place, self.clock, faults.lost, last)
        self.addCleanup(db.pool.close)
        users = UserStore(db)
        self.assertEqual([self.wait(users.next_number()) for _ in range(2)], [2, 3])
