"""A database that fails at any statement: the account is there completely, or not at all."""

from __future__ import annotations

from typing import Any, Callable, ClassVar, Coroutine, Mapping, Optional, Union

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import Unavailable
from regsys.model import NewAccount, Threepid, UserID
from regsys.model.accounts import Outcome
from regsys.model.jobs import NewJob
from regsys.storage.database import ATTEMPTS
from regsys.storage.sessions import SessionStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import NOW_MS, account, device
from regsys.testing.database import inline_database
from tests.support import faults, invariants
from tests.support.crash import OnPostgreSQL, OnSQLite
from tests.support.faultpoints import FaultPoints, WatchedDatabase
from tests.support.faults import Fault, FaultyDatabase, When
from tests.support.values import END_MS, session

AFTER_COMMIT = "create_account/after:COMMIT"
# Only the loss of the connection can follow a BEGIN or COMMIT that was carried out.
CARRIED_OUT = ("create_account/after:BEGIN", AFTER_COMMIT)


class AccountFaults:
    """One transaction with everything in it, under every fault at each of its statements."""

    retried: ClassVar[Mapping[str, Fault]]
    down: ClassVar[Mapping[str, Fault]]

    def setUp(self: Any) -> None:
        self.place = self.make_place()
        self.clock = Clock()
        self.db = inline_database(*self.place, self.clock)
        self.addCleanup(self.db.pool.close)
        self.number = 0
        sql = "INSERT INTO registration_tokens (token, completed, revoked, created_ms)"
        sql += " VALUES ('welcome', 0, FALSE, 0)"
        self.wait(self.db.transaction("test", lambda txn: txn.run(sql)))

    def wait(self: Any, work: Coroutine[Any, Any, Any]) -> Any:
        return self.successResultOf(faults.finish(self.clock, work))

    def new(self: Any) -> NewAccount:
        """The next account, with all that an account can have."""
        self.number += 1
        name = f"user{self.number}"
        self.assertTrue(self.wait(SessionStore(self.db).add(session(name), 10_000)))
        return account(
            name,
            name,
            threepids=(Threepid("email", f"{name}@example.org", NOW_MS),),
            registration_token="welcome",
            session_id=name,
            session_until_ms=END_MS,
            device=device(name, refreshable=True),
            jobs=(NewJob(kind="greet"),),
        )

    def points(self: Any) -> list[str]:
        points = FaultPoints()
        database = WatchedDatabase(*self.place, self.clock, points)
        self.addCleanup(database.pool.close)
        self.wait(UserStore(database).create_account(self.new()))
        self.assertGreater(len(points.passed), 8)
        return points.passed

    def create(self: Any, new: NewAccount, fault: Fault, when: When) -> Union[Outcome, Unavailable]:
        """Make the account on a database with this fault; also what it leaves must be right."""
        database = FaultyDatabase(*self.place, self.clock, fault, when)
        started = self.clock.seconds()
        ended = faults.finish(self.clock, UserStore(database).write(new))
        ended.addErrback(lambda failure: failure.trap(Unavailable) and failure.value)
        self.times = database.times
        self.waited_s = self.clock.seconds() - started
        database.pool.close()
        self.assertEqual(invariants.broken(self.db.pool.connection), {})
        return self.successResultOf(ended)

    def made(self: Any, new: NewAccount) -> Optional[UserID]:
        """The account's user, if there is one; the invariants have shown that it is complete."""
        users = UserStore(self.db)
        made = self.wait(users.made_by(new.key))
        self.assertEqual(self.wait(users.is_taken(new.user_id.localpart)), made is not None)
        return made

    def each(
        self: Any, kinds: Mapping[str, Fault], check: Callable[[NewAccount, str, str], None]
    ) -> None:
        for point in self.points():
            for name in kinds:
                if name != "lost" and point.startswith(CARRIED_OUT):
                    continue
                try:
                    check(self.new(), name, point)
                except self.failureException as failure:
                    raise self.failureException(f"{name}, {point}: {failure}") from failure

    def test_onceRetried(self: Any) -> None:
        """A single fault that a retry mends is not noticed."""

        def check(new: NewAccount, name: str, point: str) -> None:
            outcome = self.create(new, self.retried[name], faults.once(point))
            self.assertEqual(self.times, 1)
            self.assertEqual(outcome.user_id, new.user_id)
            self.assertEqual(outcome.terms, new.device.login.terms)
            self.assertEqual(outcome.replayed, point == AFTER_COMMIT)

        self.each(self.retried, check)

    def test_alwaysRetried(self: Any) -> None:
        """A fault in every try makes the call fail after so many tries, soon; then there is
        nothing, or all of it. A repeated call makes the account."""

        def check(new: NewAccount, name: str, point: str) -> None:
            refusal = self.create(new, self.retried[name], faults.always(point))
            self.assertIsInstance(refusal, Unavailable)
            self.assertEqual(self.times, ATTEMPTS)
            self.assertLess(self.waited_s, 1)
            self.assertEqual(self.made(new) is not None, point == AFTER_COMMIT)
            self.recover(new)

        # The others are the same again, and take their time.
        kinds = {
            name: self.retried[name]
            for name in ("locked", "serialization", "lost")
            if name in self.retried
        }
        self.each(kinds, check)

    def test_down(self: Any) -> None:
        """A fault that a retry cannot mend makes the call fail at once, and nothing is there."""

        def check(new: NewAccount, name: str, point: str) -> None:
            refusal = self.create(new, self.down[name], faults.once(point))
            self.assertIsInstance(refusal, Unavailable)
            self.assertEqual((self.times, self.waited_s), (1, 0))
            self.assertIsNone(self.made(new))
            self.recover(new)

        self.each(self.down, check)

    def recover(self: Any, new: NewAccount) -> None:
        """Once the database works again the same call makes the account."""
        outcome = self.create(new, lambda connection: None, lambda name: False)
        self.assertEqual(outcome.user_id, new.user_id)
        self.assertEqual(outcome.terms, new.device.login.terms)
        self.assertEqual(self.made(new), new.user_id)


class SQLiteTests(OnSQLite, AccountFaults, SynchronousTestCase):
    retried, down = faults.SQLITE_RETRIED, faults.SQLITE_DOWN


class PostgresTests(OnPostgreSQL, AccountFaults, SynchronousTestCase):
    retried, down = faults.POSTGRES_RETRIED, faults.POSTGRES_DOWN
