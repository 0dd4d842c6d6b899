"""A subsystem that can be killed at any statement boundary, and what must hold afterwards.

``CrashCase.crash_everywhere`` lists the fault points of a request in a dry run, then for each of
them lets a forked process do the same request and die there.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any, Callable, ClassVar, Iterator, Mapping, Optional, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from regsys.interfaces import IRooms, IUserDirectory
from regsys.model import UserID
from regsys.model.token_text import token_hash
from regsys.storage.dialects import Dialect
from regsys.storage.postgresql import PostgreSQL
from regsys.storage.sqlite import SQLite
from regsys.testing import MemoryMails, standalone
from regsys.testing.database import inline_database
from regsys.testing.system import SERVER_NAME
from regsys.wiring import subsystem
from regsys.wiring.subsystem import Subsystem
from tests.support import invariants, postgres
from tests.support.client import V3, Answer, Client
from tests.support.databases import sqlite_file
from tests.support.due_jobs import run_due
from tests.support.faultpoints import DIED, FaultPoints, WatchedDatabase, die_at, in_child

DUMMY = {"type": "m.login.dummy"}
PASSWORD = "correct horse battery staple"
NOW_S = 1_700_000_000
# Past the lease of a job that a dead process held.
LATER_S = 61


@implementer(IUserDirectory)
class Directory:
    """Keeps the reported users in a file, beyond the end of a process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    async def profile_created(
        self, user_id: UserID, display_name: Optional[str], hidden: bool
    ) -> None:
        with self.path.open("a") as file:
            print(user_id, file=file)

    def notified(self) -> set[str]:
        return set(self.path.read_text().split())


class HastyClock(Clock):
    """A clock that makes no caller wait for less than a second, such as before a retry."""

    def callLater(self, delay: float, *what: Any, **more: Any) -> Any:
        call = super().callLater(delay, *what, **more)
        if delay < 1:
            self.advance(delay)
        return call


class Process:
    """A subsystem over the test's database, as a process of its own would have it."""

    def __init__(self, case: Any, points: FaultPoints) -> None:
        self.case = case
        self.clock = Clock()
        self.clock.advance(NOW_S)
        self.database = WatchedDatabase(*case.place, HastyClock(), points)
        # No mail is sent, so the templates of mails need not be compiled.
        hooks = subsystem.hooks(self.clock, mails=MemoryMails())
        self.subsystem = standalone(
            case,
            self.clock,
            database=self.database,
            hooks=hooks,
            rooms=case.rooms,
            directory=case.directory,
            **case.options,
        )
        self.client = Client(case, self.subsystem.resource())
        case.equip(self.subsystem)

    def rows(self, sql: str) -> set[str]:
        """The first column of the rows."""
        cursor = self.database.pool.connection.cursor()
        cursor.execute(sql)
        return {row[0] for row in cursor.fetchall()}

    def change(self, sql: str) -> None:
        """Change the database as no request does."""
        self.database.pool.connection.cursor().execute(sql)

    def result(self, awaitable: Any) -> Any:
        return self.case.successResultOf(Deferred.fromCoroutine(awaitable))

    def register(self, name: Optional[str] = None, **more: Any) -> Answer:
        """A registration in one request."""
        named = {} if name is None else {"username": name}
        return self.client.register(**named, password=PASSWORD, auth=DUMMY, **more)

    def challenge(self, **body: Any) -> str:
        """A registration's first request, with its password, whose hash is kept: its session."""
        answer = self.client.register(password=PASSWORD, **body)
        self.clock.advance(0)
        return str(answer.json["session"])

    def complete(self, session: str, **body: Any) -> Answer:
        return self.client.register(auth={**DUMMY, "session": session}, **body)

    def guest(self) -> tuple[str, str]:
        """A new guest: its localpart and its token."""
        answer = self.client.register("?kind=guest").json
        return UserID.parse(answer["user_id"]).localpart, answer["access_token"]

    def login(self, name: str) -> Answer:
        body = {"type": "m.login.password", "user": name, "password": PASSWORD}
        return self.client.post(f"{V3}/login", body)

    def refresh(self, token: str) -> Answer:
        return self.client.post(f"{V3}/refresh", {"refresh_token": token})

    def whoami(self, token: str) -> Answer:
        return self.client.get(f"{V3}/account/whoami", token=token)


# Called with a process and the result of ``before``; a retry also with the hashes of the access
# tokens that the dead process had committed.
Request = Callable[[Process, Any], object]
Retry = Callable[[Process, Any, set[str]], None]


class CrashCase:
    """For tests; ``make_place`` gives the database's dialect and how to connect. ``options`` are
    those of every process, ``rooms`` the rooms that its new users join, ``beside`` the invariants
    that do not apply."""

    options: ClassVar[Mapping[str, Any]] = {}
    beside: ClassVar[Sequence[str]] = ()
    rooms: Optional[IRooms] = None

    def setUp(self: Any) -> None:
        self.place = self.make_place()
        inline_database(*self.place).pool.close()
        self.directory = Directory(Path(self.mktemp()))

    def equip(self, made: Subsystem) -> None:
        """Add to the subsystem of each process what cannot be passed as a hook."""

    @contextlib.contextmanager
    def process(self: Any, points: Optional[FaultPoints] = None) -> Iterator[Process]:
        process = Process(self, points or FaultPoints())
        try:
            yield process
        finally:
            process.database.pool.close()

    def crash_everywhere(
        self: Any,
        request: Request,
        retry: Retry,
        before: Callable[[Process, str], Any] = lambda process, name: name,
    ) -> None:
        """Die at each point of ``request``, check what is left, and let the client ``retry``.

        ``before`` runs first, in another process: it takes a free name, and returns the argument of
        ``request`` and ``retry``.
        """
        points = FaultPoints()
        with self.process() as process:
            given = before(process, "rehearsal")
        with self.process(points) as process:
            request(process, given)
        self.assertIn("COMMIT", " ".join(points.passed), "nothing would be written")
        for number, point in enumerate(points.passed):
            try:
                self.crash(point, f"user{number}", request, retry, before)
            except self.failureException as failure:
                raise self.failureException(f"killed at {point}: {failure}") from failure

    def crash(
        self: Any,
        point: str,
        name: str,
        request: Request,
        retry: Retry,
        before: Callable[[Process, str], Any],
    ) -> None:
        """Let a process die at this one point; ``name`` is a free name."""
        with self.process() as process:
            given = before(process, name)
            tokens = process.rows("SELECT access_hash FROM logins")
        status = in_child(lambda: request(Process(self, die_at(point)), given))
        self.assertEqual(status, DIED, "the point was not reached")
        with self.process() as process:
            self.assertSound(process)
            issued = process.rows("SELECT access_hash FROM logins") - tokens
            retry(process, given, issued)
            self.assertSound(process)
            process.clock.advance(LATER_S)
            process.result(run_due(process.subsystem.jobs))
            self.assertFollowed(process)

    def assertSound(self: Any, process: Process) -> None:
        """Every invariant that applies holds."""
        broken = invariants.broken(process.database.pool.connection)
        self.assertEqual({rule: broken[rule] for rule in broken if rule not in self.beside}, {})

    def assertFollowed(self: Any, process: Process) -> None:
        """Everything that follows from a commit has happened by now."""
        self.assertEqual(process.rows("SELECT kind FROM jobs"), set())
        profiles = process.rows("SELECT user_id FROM profiles")
        self.assertLessEqual(profiles, self.directory.notified())

    def assertLoggedIn(
        self: Any, process: Process, answer: Answer, issued: set[str], name: Optional[str] = None
    ) -> None:
        """``answer`` is a login, the one that was committed before the crash if one was."""
        self.assertEqual(answer.status, 200, answer)
        token = answer.json["access_token"]
        self.assertIn(token_hash(token), issued or {token_hash(token)}, "another token")
        who = process.whoami(token).json
        self.assertEqual(who.get("user_id"), answer.json["user_id"], who)
        if name is not None:
            self.assertEqual(who["user_id"], f"@{name}:{SERVER_NAME}")


class OnSQLite:
    """In a file, which outlives a process."""

    def make_place(self: Any) -> tuple[Dialect, Callable[..., Any]]:
        return SQLite(sqlite_file(self)), sqlite3.connect


class OnPostgreSQL:
    def make_place(self: Any) -> tuple[Dialect, Callable[..., Any]]:
        import psycopg2

        return PostgreSQL(postgres.dsn(self)), psycopg2.connect
