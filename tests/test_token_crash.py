"""A process killed at any statement boundary leaves a registration token's uses consistent:
reserved by its session, or counted once with its account (threat A5, C1)."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from twisted.trial.unittest import SynchronousTestCase

from tests.support.client import Answer
from tests.support.crash import CrashCase, OnPostgreSQL, OnSQLite, Process

STAGE = "m.login.registration_token"


class TokenCrashTests(CrashCase):
    options: ClassVar[Mapping[str, Any]] = {"registration_requires_token": True}

    def begin(self, process: Process, name: str) -> tuple[str, str]:
        """A session for this name, and a token of one use for it: name and session."""
        tokens = process.subsystem.registration_tokens
        process.result(tokens.create(token=name, settings={"uses_allowed": 1}))
        return name, process.challenge(username=name)

    def present(self, process: Process, given: tuple[str, str]) -> Answer:
        name, session = given
        return process.client.register(auth={"type": STAGE, "token": name, "session": session})

    def passed(self, process: Process, name: str) -> tuple[str, str]:
        given = self.begin(process, name)
        self.present(process, given)
        return given

    def assertUses(self, process: Process, name: str, pending: int, completed: int) -> None:
        found = process.result(process.subsystem.registration_tokens.get(name))
        self.assertEqual((found.pending, found.completed), (pending, completed))

    def complete(self, process: Process, given: tuple[str, str], issued: set[str]) -> None:
        """The client completes its session, again if it has done so before."""
        name, session = given
        self.assertUses(process, name, not issued, bool(issued))
        self.assertLoggedIn(process, process.complete(session), issued, name)
        self.assertUses(process, name, 0, 1)

    def test_stage(self) -> None:
        """A client that presents the token again has its one use reserved, and registers."""

        def retry(process: Process, given: tuple[str, str], issued: set[str]) -> None:
            answer = self.present(process, given)
            self.assertEqual(answer.json.get("completed"), [STAGE], answer)
            self.complete(process, given, issued)

        self.crash_everywhere(self.present, retry, self.begin)

    def test_completion(self) -> None:
        """A client that completes again has the account, and the token was used once."""
        self.crash_everywhere(
            lambda process, given: process.complete(given[1]), self.complete, self.passed
        )


class SQLiteTokenCrashTests(OnSQLite, TokenCrashTests, SynchronousTestCase):
    """In a file."""


class PostgreSQLTokenCrashTests(OnPostgreSQL, TokenCrashTests, SynchronousTestCase):
    """On a real server."""
