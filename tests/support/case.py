"""A whole subsystem in memory with a client: what the tests over HTTP share."""

from __future__ import annotations

from typing import Any, Callable, ClassVar, Mapping, Optional, Sequence

import attr
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys import http, wiring
from regsys.config import Config
from regsys.interfaces import IAppservices, IBlocking, IRequestSigner, IRooms, IUserDirectory
from regsys.storage.database import Database
from regsys.testing import config, memory_process
from regsys.wiring.process import Process
from regsys.wiring.subsystem import Hooks, Subsystem, hooks
from tests.support.client import V3, Answer, Client
from tests.support.failed_jobs import FailedJobs

START_S = 1_700_000_000
DUMMY = {"type": "m.login.dummy"}
PASSWORD = "correct horse"
# Every table in which a registration writes.
TABLES = ("users", "profiles", "devices", "logins", "outcomes", "uia_sessions", "jobs")


class SystemCase(SynchronousTestCase):
    """``options`` are those of the subsystem with which every test of the class begins. Failed jobs
    fail the test, unless it flushes ``failed_jobs``."""

    options: ClassVar[Mapping[str, Any]] = {}

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START_S)
        self.failed_jobs = FailedJobs(self)
        self.system(**self.options)

    def system(
        self,
        *,
        hooks: Optional[Hooks] = None,
        database: Optional[Database] = None,
        run: Callable[..., Deferred[Any]] = maybeDeferred,
        seconds: Optional[Callable[[], float]] = None,
        treq: Any = None,
        rooms: Optional[IRooms] = None,
        directory: Optional[IUserDirectory] = None,
        blocking: Optional[IBlocking] = None,
        services: Optional[IAppservices] = None,
        signer: Optional[IRequestSigner] = None,
        **options: Any,
    ) -> None:
        """Replace the subsystem by one with these options; over the same ``database`` it is the
        same server after a restart. ``run`` calls hashing functions. ``seconds`` is the clock of
        limits, by default that of everything else. ``treq`` sends requests to other servers, of
        which there are none). The arguments from ``rooms``; to ``signer`` are those
        of ``regsys.standalone``."""
        chosen = config(**options)
        process = memory_process(self, chosen, self.clock, database, run, treq)
        if seconds is not None:
            process = attr.evolve(process, seconds=seconds)
        self.subsystem = self.built(
            chosen,
            process,
            rooms=rooms,
            directory=directory,
            blocking=blocking,
            services=services,
            signer=signer,
            hooks=hooks,
        )
        self.database = process.database
        self.client = Client(self, self.subsystem.resource(client_address=http.first_forwarded))

    def built(self, chosen: Config, process: Process, **given: Any) -> Subsystem:
        """``given`` are the further arguments of ``regsys.standalone``."""
        return wiring.standalone(chosen, self.clock, process=process, **given)

    def hooks(self, **replaced: Any) -> Hooks:
        return hooks(self.clock, **replaced)

    @property
    def now_ms(self) -> int:
        return int(self.clock.seconds() * 1000)

    def wait(self, coroutine: Any) -> Any:
        """What the coroutine returns, at once."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def rows(self, sql: str, *values: Any) -> Sequence[Any]:
        """Rows of the database."""
        return self.wait(self.database.autocommit("test", lambda txn: txn.all(sql, values)))

    def change(self, sql: str, *values: Any) -> None:
        """Change the database as no request does."""
        self.wait(self.database.transaction("test", lambda txn: txn.run(sql, values)))

    def counts(self) -> dict[str, int]:
        """How many rows each table has."""
        return {table: self.rows(f"SELECT COUNT(*) FROM {table}")[0][0] for table in TABLES}

    # --- Requests ------------------------------------------------------------------------

    def register(self, username: str = "alice", **more: Any) -> Any:
        """Register in one request; the body of the answer."""
        body = {"username": username, "password": PASSWORD, "auth": DUMMY, **more}
        answer = self.client.register(**body)
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    def guest(self) -> Any:
        """Register a guest; the body of the answer."""
        answer = self.client.register("?kind=guest")
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    def challenge(self, query: str = "", **body: Any) -> Any:
        """Ask to register without completing it; the body of the 401."""
        answer = self.client.register(query, **body)
        self.assertEqual(answer.status, 401, answer)
        return answer.json

    def whoami(self, token: str) -> Answer:
        return self.client.get(f"{V3}/account/whoami", token=token)

    def assertRefused(self, answer: Answer, status: int, errcode: str, case: object = None) -> None:
        got = (answer.status, answer.errcode)
        self.assertEqual(got, (status, errcode), f"{case or ''} {answer}")


class UIASessionCase(SystemCase):
    """Sessions of one stage, the dummy."""

    def begin(self, username: str = "alice", **more: Any) -> str:
        """Ask to register; the session."""
        session = self.challenge(username=username, password=PASSWORD, **more)["session"]
        assert isinstance(session, str)
        return session

    def go_on(self, session: str, stage: Any = DUMMY, **body: Any) -> Answer:
        """A follow-up, after the reactor had a turn for work that is done after an answer."""
        self.clock.advance(0)
        return self.client.register(auth={"session": session, **stage}, **body)

    def assertRegistered(self, answer: Answer, name: str) -> None:
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.json["user_id"], f"@{name}:test.example")
