"""One run of an adoption: all batches, from where an interrupted run has stopped."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Callable, Iterator, TypeVar

import attr

from regsys.adoption.decisions import Rules, is_text
from regsys.adoption.registration_tokens import RegistrationTokens
from regsys.adoption.report import Findings, Report
from regsys.adoption.rows import Hints
from regsys.adoption.synapse import BATCH, Batch, Synapse
from regsys.adoption.target import BatchWriter, after_user, finish
from regsys.model import UserID
from regsys.storage.database import Transaction
from regsys.storage.dialects import Dialect
from regsys.storage.postgresql import PostgreSQL
from regsys.storage.trouble import Trouble

T = TypeVar("T")

# How often a batch is tried that collides with other transactions, and the longest pause between.
ATTEMPTS = 8
LONGEST_PAUSE_S = 2.0
# The advisory lock of an adoption; the number is arbitrary.
_LOCK = 8_206_420_948


class AlreadyRunning(Exception):
    """Another process adopts into the same database."""

    def __str__(self) -> str:
        return "another regsys adopt is running on this database: wait until it has ended"


@attr.frozen(kw_only=True)
class Adoption:
    """Adopts the accounts of ``synapse`` into the database of ``connection``.

    ``keeps``: if False, all is one transaction, which is rolled back. ``progress`` is called after
    each batch with the number of users that were looked at.
    """

    synapse: Synapse
    connection: Any
    dialect: Dialect
    rules: Rules
    report: Report
    keeps: bool = True
    progress: Callable[[int], None] = lambda done: None
    now_s: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    size: int = BATCH

    def resumes_after(self) -> str:
        """The last user ID of an interrupted run; "" if none was."""
        return self._autocommit(after_user)

    def run(self) -> None:
        """Look at all users. Raises AlreadyRunning, Unreadable, and what the driver raises."""
        with self._locked():
            self._run()

    def _run(self) -> None:
        if not self.keeps:
            self._execute(self.dialect.begin)
            # Reading the other database may take long.
            self._execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        try:
            resumed = self.resumes_after()
            self._pass(resumed)
            if resumed:
                # Those before it may have changed meanwhile.
                self._pass("")
            self._adopt_registration_tokens()
            self._transact(finish, self._now_ms())
        finally:
            if not self.keeps:
                self._execute("ROLLBACK")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Exclude other adoptions. In SQLite each batch is a transaction that excludes all."""
        if not isinstance(self.dialect, PostgreSQL):
            yield
            return
        sql = "SELECT pg_try_advisory_lock(?)"
        row = self._autocommit(lambda txn: txn.one(sql, (_LOCK,)))
        if row is None or not row[0]:
            raise AlreadyRunning()
        try:
            yield
        finally:
            # The lock of a connection that is lost has ended.
            with contextlib.suppress(Exception):
                self._autocommit(lambda txn: txn.one("SELECT pg_advisory_unlock(?)", (_LOCK,)))

    def _pass(self, after: str) -> None:
        has_tokens = self.synapse.has_tokens()
        # Before a batch is read: what is added there meanwhile is new to the next run.
        read_ms = self._now_ms()
        for batch in self.synapse.batches(after, self.size):
            self._adopt(batch, has_tokens, read_ms)
            self.progress(len(batch.users))
            read_ms = self._now_ms()

    def _now_ms(self) -> int:
        return int(self.now_s() * 1000)

    def _adopt(self, batch: Batch, has_tokens: bool, read_ms: int) -> None:
        refused, users = Findings(), []
        for user in batch.users:
            adopted = self.rules.adopted(user, batch)
            if isinstance(adopted, str):
                refused.found(adopted, user.name)
            else:
                users.append(adopted)
        # The same address in canonical form, and the same name in lower case, are looked up, as
        # they may be in a later batch.
        lower = {str(user.user_id): _lower(user.user_id) for user in users}
        hints = Hints(
            twins=self.synapse.names_among(
                name for user_id, name in lower.items() if name != user_id
            ),
            addresses=self.synapse.addresses_among(
                item.address for user in users for item in user.addresses if item.is_respelled
            ),
            has_tokens=has_tokens,
        )

        # Only a name that our tables can store: a later run begins a little earlier then.
        after = next((user.name for user in reversed(batch.users) if is_text(user.name)), None)

        def write(txn: Transaction) -> Findings:
            findings = Findings()
            writer = BatchWriter(txn=txn, hints=hints, now_ms=read_ms, report=findings)
            writer.write(users, after)
            return findings

        self.report.add(refused)
        self.report.add(self._transact(write))

    def _adopt_registration_tokens(self) -> None:
        found, now_ms = self.synapse.registration_tokens(), self._now_ms()

        def write(txn: Transaction) -> Findings:
            findings = Findings()
            RegistrationTokens(txn=txn, now_ms=now_ms, report=findings).adopt(found)
            return findings

        self.report.add(self._transact(write))

    def _transact(self, body: Callable[..., T], *values: Any) -> T:
        """Run ``body`` as one transaction, again if it collides with another one."""
        if not self.keeps:
            return self._autocommit(body, *values)
        for attempt in range(ATTEMPTS):
            try:
                self._execute(self.dialect.begin)
                try:
                    result = self._autocommit(body, *values)
                    self._execute("COMMIT")
                    return result
                except BaseException:
                    self._execute("ROLLBACK")
                    raise
            except Exception as error:
                is_conflict = self.dialect.trouble(error, self.connection) is Trouble.RETRY
                if not is_conflict or attempt == ATTEMPTS - 1:
                    raise
                self.sleep(min(0.05 * 2**attempt, LONGEST_PAUSE_S))
        raise AssertionError("unreachable")

    def _autocommit(self, body: Callable[..., T], *values: Any) -> T:
        cursor = self.connection.cursor()
        try:
            return body(Transaction(cursor, self.dialect), *values)
        finally:
            cursor.close()

    def _execute(self, sql: str) -> None:
        self._autocommit(lambda txn: txn.run(sql))


def _lower(user_id: UserID) -> str:
    return f"@{user_id.name_key}:{user_id.server}"
