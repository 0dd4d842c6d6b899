"""A database that fails in the middle of a request: the request is retried, and if that doesn't
help it leaves nothing half-made, so that the client can retry (threat C6, C7)."""

from __future__ import annotations

import sqlite3
from typing import Any, Callable

from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import Unavailable
from tests.support import invariants
from tests.support.client import Answer
from tests.support.crash import CrashCase, OnPostgreSQL, OnSQLite, Process, Request
from tests.support.faultpoints import FaultPoints

Before = Callable[[Process, str], Any]


def just_the_name(process: Process, name: str) -> str:
    return name


class RetryTests(CrashCase):
    """``fail_database`` raises the error to survive; ``number`` varies it."""

    def fail_everywhere(self: Any, request: Request, before: Before = just_the_name) -> None:
        """Fail at each point of the request, once and then again and again."""
        points = FaultPoints()
        with self.process() as process:
            given = before(process, "rehearsal")
        with self.process(points) as process:
            self.assertEqual(request(process, given).status, 200)
        # A BEGIN that went through has not failed, and nothing can fail before the next statement.
        possible = [point for point in points.passed if not point.endswith("after:BEGIN")]
        for number, point in enumerate(possible):
            with self.process() as process:
                first, second = (before(process, f"user{number}{kind}") for kind in "ab")
            answer = self.failing(number, request, first, lambda name, at=point: name == at)
            self.assertEqual(answer.status, 200, f"failed once at {point}: {answer}")
            always = f"{point}#"
            answer = self.failing(
                number, request, second, lambda name, at=always: f"{name}#".startswith(at)
            )
            # Only a job that was done, and cannot be marked as done, does not concern the client.
            expected = 200 if point.startswith("finish_job/") else 503
            self.assertEqual(answer.status, expected, f"failed always at {point}: {answer}")
            if expected == 503:
                self.assertEqual(answer.headers["retry-after"], "2")
                with self.process() as process:
                    answer = request(process, second)
                    self.assertEqual(answer.status, 200, f"after failures at {point}: {answer}")

    def failing(
        self: Any, number: int, request: Request, given: Any, fails: Callable[[str], bool]
    ) -> Answer:
        """The answer while the database fails at those points; nothing is half-made."""

        def at_point(name: str) -> None:
            if fails(name):
                self.fail_database(process, number)

        with self.process(FaultPoints(at_point)) as process:
            answer = request(process, given)
        self.flushLoggedErrors(Unavailable)  # of jobs, which have no client to answer to
        with self.process() as process:
            self.assertEqual(invariants.broken(process.database.pool.connection), {})
        return answer

    def test_completion(self) -> None:
        """A session's account is made, at last under the same key."""

        def before(process: Process, name: str) -> str:
            return str(process.challenge(username=name))

        self.fail_everywhere(lambda process, session: process.complete(session), before)

    def test_guest(self) -> None:
        """A guest is numbered and made."""
        self.fail_everywhere(lambda process, name: process.client.register("?kind=guest"))

    def test_login(self) -> None:
        """A device is added to the account, with its tokens."""

        def before(process: Process, name: str) -> str:
            process.register(name)
            return name

        self.fail_everywhere(lambda process, name: process.login(name), before)

    def test_refresh(self) -> None:
        """A pair of tokens has one successor."""

        def before(process: Process, name: str) -> str:
            return str(process.register(name, refresh_token=True).json["refresh_token"])

        self.fail_everywhere(lambda process, token: process.refresh(token), before)


class SQLiteRetryTests(OnSQLite, RetryTests, SynchronousTestCase):
    """The file is locked by another process."""

    def fail_database(self, process: Process, number: int) -> None:
        raise sqlite3.OperationalError("database is locked")


class PostgreSQLRaceLostTests(OnPostgreSQL, RetryTests, SynchronousTestCase):
    """The server has chosen our transaction to fail."""

    CODES = ("40001", "40P01", "23505")

    def fail_database(self, process: Process, number: int) -> None:
        import psycopg2.errors

        error = psycopg2.errors.lookup(self.CODES[number % len(self.CODES)])("a rival was quicker")
        error.__setstate__({"pgcode": self.CODES[number % len(self.CODES)]})
        raise error


class PostgreSQLConnectionLostTests(OnPostgreSQL, RetryTests, SynchronousTestCase):
    """The connection is lost; the result of a COMMIT is unknown."""

    def fail_database(self, process: Process, number: int) -> None:
        import psycopg2

        process.database.pool.connection.close()
        raise psycopg2.OperationalError("server closed the connection unexpectedly")
