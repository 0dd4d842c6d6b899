"""SQLite's file removed, or changed, under a database that is in use (threat C21)."""

from __future__ import annotations

import errno
import math
import os
import shutil
import sqlite3
from typing import Any, Callable
from unittest import mock

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import Unavailable
from regsys.storage import sqlite_file
from regsys.storage.database import Database
from regsys.storage.migrations import migrate
from regsys.storage.sqlite import SQLite
from regsys.testing.database import InlinePool
from tests.support import faults


def add(txn: Any, name: str) -> bool:
    return bool(txn.insert("secrets", name=name, value="x"))


def names(txn: Any) -> list[str]:
    return sorted(name for (name,) in txn.all("SELECT name FROM secrets"))


class RemovedFileTests(SynchronousTestCase):
    """``self.db`` is one process's; earlier rows are there."""

    def setUp(self) -> None:
        self.look_each_time()
        self.path = os.path.abspath(self.mktemp())
        self.make(self.path)
        self.dialect = SQLite(self.path)
        self.clock = Clock()
        self.pool = InlinePool(self.connect)
        self.addCleanup(self.pool.close)
        self.db = Database(self.pool, self.dialect, self.clock)
        self.assertTrue(self.write("first"))

    def look_each_time(self) -> None:
        patched = mock.patch.object(sqlite_file, "GOOD_FOR_S", 0.0)
        patched.start()
        self.addCleanup(patched.stop)

    def connect(self) -> sqlite3.Connection:
        """As a pool does."""
        connection = sqlite3.connect(**self.dialect.pool_args())
        self.dialect.opened(connection)
        return connection

    def make(self, path: str, *rows: str) -> None:
        """Another process creates a database, or adds to it, and ends."""
        dialect = SQLite(path)
        connection = sqlite3.connect(**dialect.connect_args())
        dialect.opened(connection)
        migrate(connection, dialect)
        for name in rows:
            connection.execute("INSERT INTO secrets VALUES (?, 'x')", (name,))
        connection.close()

    def write(self, name: str) -> bool:
        return bool(
            self.successResultOf(faults.finish(self.clock, self.db.transaction("add", add, name)))
        )

    def there(self) -> list[str]:
        return self.successResultOf(faults.finish(self.clock, self.db.autocommit("names", names)))

    def assertLost(self, *words: str) -> None:
        """Nothing is acknowledged and nothing read, and the log says why."""
        calls = (
            lambda: self.db.transaction("add", add, "lost"),
            lambda: self.db.autocommit("names", names),
        )
        for call in calls:
            with capturedLogs() as events:
                self.failureResultOf(faults.finish(self.clock, call()), Unavailable)
            (event,) = [event for event in events if event["log_level"] is LogLevel.error]
            for word in (self.path, *words):
                self.assertIn(word, event["cause"])
        with capturedLogs() as events:
            self.assertTrue(self.db.is_lost())
        self.assertIn(self.path, events[0]["cause"])

    def assertWorks(self, *expected: str) -> None:
        self.assertFalse(self.db.is_lost())
        self.assertEqual(self.there(), sorted(expected))
        self.assertTrue(self.write("last"))
        self.assertEqual(self.there(), sorted([*expected, "last"]))

    def test_untouched(self) -> None:
        """Other processes that use the database normally have no effect."""
        self.make(self.path, "second")
        other = sqlite3.connect(self.path)
        other.execute("DELETE FROM secrets WHERE name = 'second'")
        other.commit()
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.execute("VACUUM")
        other.close()
        self.assertWorks("first")
        self.pool.close()
        self.assertEqual(self.there(), ["first", "last"])

    def test_removed(self) -> None:
        """A file that was deleted is not created again, and no write to it is acknowledged."""
        os.unlink(self.path)
        self.assertLost("removed")
        self.pool.close()
        with capturedLogs():
            self.failureResultOf(
                faults.finish(self.clock, self.db.autocommit("names", names)), Unavailable
            )
        self.assertFalse(os.path.exists(self.path))

    def test_looks(self) -> None:
        """A commit is never acknowledged unchecked; a read reports the loss by then, or soon."""
        for lost in ("", "-wal"):
            with mock.patch.object(sqlite_file, "GOOD_FOR_S", math.inf):
                self.assertTrue(self.write(f"before {lost}"))
                os.rename(self.path + lost, f"{self.path}.aside")
                self.there()
                self.assertLost("removed")
            os.rename(f"{self.path}.aside", self.path + lost)

    def test_renamed(self) -> None:
        """A file that was renamed is used again when it is back."""
        os.rename(self.path, f"{self.path}.old")
        self.assertLost("removed")
        os.rename(f"{self.path}.old", self.path)
        self.assertWorks("first")

    def test_replaced(self) -> None:
        """Another file in its place is not taken for it, also by a new connection."""
        other = self.mktemp()
        self.make(other, "stranger")
        os.rename(other, self.path)
        self.assertLost("replaced")
        self.pool.close()
        self.assertLost("replaced")

    def test_journalRemoved(self) -> None:
        """The same holds for the files beside it, where the latest commits are."""
        for suffix in ("-wal", "-shm"):
            kept = f"{self.path}{suffix}.kept"
            os.rename(self.path + suffix, kept)
            self.assertLost("removed", suffix)
            shutil.copy(kept, self.path + suffix)
            self.assertLost("replaced", suffix)
            os.rename(kept, self.path + suffix)
        self.assertWorks("first")

    def test_copiedOver(self) -> None:
        """An older state, another database, or anything else that was copied over the file is
        detected."""
        older, other, text = (self.mktemp() for _ in range(3))
        self.checkpoint()
        shutil.copy(self.path, older)
        # Enough rows to make the file grow: a change in place leaves no trace in its header.
        self.write("later" * 2000)
        self.checkpoint()
        self.assertFalse(self.db.is_lost())
        self.make(other, *(f"row{number}" for number in range(30)))
        with open(text, "w", encoding="ascii") as file:
            file.write("no database " * 100)
        sound = self.mktemp()
        shutil.copy(self.path, sound)
        for source in (older, other, text, os.devnull):
            with open(source, "rb") as file, open(self.path, "r+b") as target:
                target.truncate()
                shutil.copyfileobj(file, target)
            self.assertLost("overwritten")
            shutil.copyfile(sound, self.path)
            self.assertFalse(self.db.is_lost(), source)

    def checkpoint(self) -> None:
        work = lambda txn: txn.one("PRAGMA wal_checkpoint(TRUNCATE)")  # noqa: E731
        self.successResultOf(faults.finish(self.clock, self.db.autocommit("checkpoint", work)))

    def test_replacedAtCommit(self) -> None:
        """A commit to a file that was removed in between is not acknowledged."""

        def body(txn: Any) -> None:
            add(txn, "lost")
            os.unlink(self.path)

        with capturedLogs():
            lost = faults.finish(self.clock, self.db.transaction("add", body))
        self.failureResultOf(lost, Unavailable)


class ExplanationTests(SynchronousTestCase):
    """Errors in words for the operator."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        self.explain: Callable[[Exception], str] = SQLite(self.path).explain

    def test_room(self) -> None:
        """An error that may be for want of room names the file, the free space and a way out."""
        for error in (
            sqlite3.OperationalError("disk I/O error"),
            sqlite3.OperationalError("database or disk is full"),
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path),
        ):
            self.assertRegex(
                self.explain(error),
                rf" \(the SQLite file {self.path}; [0-9,.]+ MB are free on its disk\): make room",
            )

    def test_others(self) -> None:
        """An error that an operator can mend names the file and the remedy."""
        for message, mend in {
            "unable to open database file": "folder must exist",
            "attempt to write a readonly database": "must be able to write",
            "file is not a database": "another program's file",
            "database disk image is malformed": "restore a backup",
            "database is locked": "another program is using it",
        }.items():
            explanation = self.explain(sqlite3.OperationalError(message))
            self.assertTrue(
                explanation.startswith(f"{message} (the SQLite file {self.path}): "), explanation
            )
            self.assertIn(mend, explanation)
        explanation = self.explain(PermissionError(errno.EACCES, "Permission denied", self.path))
        self.assertIn(f"Permission denied (the SQLite file {self.path})", explanation)
        self.assertEqual(self.explain(ValueError("odd")), "odd")
