"""SIGTERM in the middle of registrations: a timely end, an answer for every client, and nothing
half-made (threat C13)."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path
from typing import Any, ClassVar

import attr
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from regsys.config import load
from regsys.processes import service
from regsys.testing import config, standalone
from regsys.wiring.process import connect
from tests.support import checker, invariants, postgres
from tests.support.checker import Told
from tests.support.crowd import Crowd
from tests.support.patience import PATIENCE_S
from tests.support.service_process import (
    SERVER_NAME,
    ServiceProcess,
    psycopg2,
    sqlite,
    write_config,
)

REGISTER = "/_matrix/client/v3/register"
IN_FLIGHT = 20
NONE_LEFT = "stopping: 0 calls under way"
# One hash takes longer than a process may take to end.
TOO_SLOW = 18
# A test machine may be loaded for a moment.
TRIES = 3


def registration(number: int) -> dict[str, Any]:
    auth = {"type": "m.login.dummy"}
    return {"username": f"user{number}", "password": "correct horse", "auth": auth}


class Shutdown:
    """``database(folder)`` gives the section of the file. ``processes``: how many of them serve."""

    processes: ClassVar[int] = 1

    def begin(self: Any, rounds: int) -> None:
        """A service with twenty registrations under way."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        self.config = write_config(folder, self.database(folder), bcrypt_rounds=rounds)
        self.service = ServiceProcess(
            self, self.config, options=("--processes", str(self.processes))
        )
        crowd = Crowd([self.service.base_url], IN_FLIGHT)
        self.addCleanup(crowd.close)
        self.addCleanup(self.service.kill)
        self.answers = crowd.start("POST", REGISTER, registration)
        crowd.wait_until_sent()
        # The service reads in the order of arrival: earlier requests have been read by now.
        self.assertEqual(self.service.ask("GET", "/_matrix/client/versions").status, 200)

    def ended(self: Any) -> list[int]:
        """The status of every answer, 0 for none. All accounts are complete, and every client that
        was told of one has it."""
        answers = [answer.result() for answer in self.answers]
        told = []
        for number, answer in enumerate(answers):
            user_id, is_made = f"@user{number}:{SERVER_NAME}", answer.status == 200
            tokens = {answer.json["device_id"]: answer.json["access_token"]} if is_made else {}
            told.append(Told(user_id, tokens, unsure=int(not is_made), is_made=is_made))
        connection = connect(load([str(self.config)]).database)
        self.addCleanup(connection.close)
        self.assertEqual(checker.broken(told, invariants.Tables(connection)), {})
        return [answer.status for answer in answers]

    def test_allAnswered(self: Any) -> None:
        """Registrations that are under way at SIGTERM all complete."""
        for _ in range(TRIES):
            self.begin(rounds=8)
            started_s = time.monotonic()
            output = self.service.stop()
            is_in_time = time.monotonic() - started_s < service.GRACE_S
            statuses = self.ended()
            if is_in_time:
                self.assertEqual(statuses, [200] * IN_FLIGHT, output)
                if output.count(NONE_LEFT) < self.processes:
                    return
        self.fail("each time all were answered before the signal came, or it took too long")

    def test_inTime(self: Any) -> None:
        """Those that take too long are told to retry, in time for an orderly end: a process that
        still runs after LAST_S ends with another status."""
        statuses = []
        while 0 not in statuses and len(statuses) < TRIES:
            self.begin(rounds=TOO_SLOW)
            self.service.process.terminate()
            statuses.append(self.service.process.wait(PATIENCE_S))
            self.assertLess(self.service.output.count(NONE_LEFT), self.processes)
            if statuses[-1] == 0:
                self.assertEqual(self.ended(), [503] * IN_FLIGHT, self.service.output)
        self.assertIn(0, statuses, self.service.output)

    def test_secondSignal(self: Any) -> None:
        """A second SIGTERM ends the process at once."""
        self.begin(rounds=TOO_SLOW)
        self.service.process.terminate()
        self.service.wait_for("stopping")
        started_s = time.monotonic()
        self.service.process.terminate()
        self.assertEqual(self.service.process.wait(PATIENCE_S), 1)
        self.assertLess(time.monotonic() - started_s, service.GRACE_S)
        self.assertEqual(self.ended(), [0] * IN_FLIGHT)


class Reactor(MemoryReactorClock):
    """In memory; shuts down when the test says so."""

    def addSystemEventTrigger(self, phase: str, event: str, call: Any, *args: Any) -> None:
        self.shut_down = call

    def run(self, **options: Any) -> None:
        """The test advances its clock."""


class FlushTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(service.signal, "signal", lambda *args: None)
        self.reactor = Reactor()
        self.patch(service.Service, "_end_in_time", lambda self: None)
        subsystem = standalone(self, self.reactor)
        quiet = attr.evolve(config(), listeners=())
        self.service = service.Service(quiet, subsystem, self.reactor, lambda service: None)
        self.service.run()

    def advance(self, looks: int) -> None:
        self.reactor.pump([service.FLUSH_S] * looks)

    def test_answersLeave(self) -> None:
        """A process does not end before its last answers have been sent, and not long after."""
        connection: Any = object()
        self.reactor.addWriter(connection)
        self.reactor.shut_down()
        self.advance(3)
        self.assertFalse(self.service.ended)
        self.reactor.removeWriter(connection)
        self.advance(1)
        self.assertTrue(self.service.ended)

    def expect(self) -> Any:
        """A connection whose request has not arrived when the process is to end."""
        late: Any = object()
        self.service._connections.admit(late, ())
        self.reactor.shut_down()
        self.advance(service.ARRIVALS // 2)
        self.assertFalse(self.service.ended)
        return late

    def test_requestArrives(self) -> None:
        """A request that is just arriving is waited for."""
        self.service._connections.closed(self.expect())
        self.advance(3)
        self.assertTrue(self.service.ended)

    def test_requestNeverArrives(self) -> None:
        """A connection without a request does not hold up the end for long."""
        self.expect()
        self.advance(service.ARRIVALS)
        self.assertTrue(self.service.ended)
        self.assertLess(self.reactor.seconds(), service.HURRY_S)

    def test_nobodyTakesIt(self) -> None:
        """A client that does not read its answer is waited for until the deadline at most."""
        connection: Any = object()
        self.reactor.addWriter(connection)
        self.reactor.shut_down()
        self.advance(service.FLUSHES)
        self.assertTrue(self.service.ended)
        self.assertLess(self.reactor.seconds(), service.GRACE_S / 2)


class SQLiteShutdownTests(Shutdown, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return sqlite(folder)


class PostgreSQLShutdownTests(Shutdown, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return psycopg2(postgres.dsn(self))


class ProcessesShutdownTests(Shutdown, SynchronousTestCase):
    """Each of two processes has some of them."""

    processes = 2

    def test_signalToAll(self) -> None:
        """systemd sends SIGTERM to all processes of a service: no request is cut by that."""
        self.begin(rounds=8)
        children = re.findall(r"process \d of 2 is (\d+)", self.service.output)
        # The parent tells its processes to end, and then each gets the signal as well.
        self.service.process.terminate()
        self.service.wait_for("stopping")
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)
        self.assertEqual(self.service.process.wait(PATIENCE_S), 0, self.service.output)
        self.assertNotIn(0, self.ended(), self.service.output)

    def database(self, folder: Path) -> dict[str, Any]:
        return psycopg2(postgres.dsn(self))
