"""A process that is killed at any statement boundary leaves no account without its entry, and no
entry without its account."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from twisted.trial.unittest import SynchronousTestCase

from tests.support.crash import CrashCase, OnPostgreSQL, OnSQLite, Process


class CrashTests(CrashCase):
    options: ClassVar[Mapping[str, Any]] = {"regsys": {"audit": {"enabled": True}}}

    def assertSound(self: Any, process: Process) -> None:
        """Each account has its entry, and each entry its account."""
        super().assertSound(process)
        users, told = (process.rows(f"SELECT user_id FROM {it}") for it in ("users", "audit"))
        self.assertEqual(users, told)

    def test_oneShot(self) -> None:
        def retry(process: Process, name: str, issued: set[str]) -> None:
            answer = process.register(name)
            self.assertEqual(answer.errcode, "M_USER_IN_USE" if issued else None)  # type: ignore[attr-defined]

        self.crash_everywhere(lambda process, name: process.register(name), retry)


class SQLiteTests(OnSQLite, CrashTests, SynchronousTestCase):
    """In a file."""


class PostgreSQLTests(OnPostgreSQL, CrashTests, SynchronousTestCase):
    """On a real server."""
