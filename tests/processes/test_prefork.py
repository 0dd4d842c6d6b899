"""A parent and its processes, each of which is a few lines here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.manager import NotifySocket
from tests.support.patience import PATIENCE_S, until

ROOT = Path(__file__).parents[2]
# The parent prints what it is asked to do, and its log; a child ends when its place is readable.
PROGRAM = """
import os, select, signal, sys, time
from twisted.logger import Logger, formatEvent
from regsys.processes import prefork
from regsys.processes.manager import Manager

prefork.FIRST_WAIT_S, prefork.END_S, prefork.FAILING_S = {first_wait_s}, {end_s}, {failing_s}

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def until_told(place):
    select.select([place], [], [])
    return 0

def child(place):
{child}

sys.exit(prefork.Prefork(
    count={count}, child=child,
    ready=lambda: say("all serve"), closing=lambda: say("closing"),
    log=Logger(observer=lambda event: say("log:", formatEvent(event))),
    manager=Manager({manager!r}),
).run())
"""
SERVES = """
place.ready()
say("serves", place.number, os.getpid(), place.replaces)
return until_told(place)
"""


class Parent:
    """A running parent."""

    def __init__(self, case: SynchronousTestCase, program: str) -> None:
        self._lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,  # a signal to the group is not for the tests
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        case.addCleanup(self.kill)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line.rstrip())

    @property
    def output(self) -> str:
        return "\n".join(self._lines)

    def wait_for(self, words: str, times: int = 1) -> None:
        until(lambda: self.output.count(words) >= times, lambda: f"{words!r} in:\n{self.output}")

    def pid(self, number: int) -> int:
        """The latest process of this number that serves."""
        lines = [line.split() for line in self._lines]
        return [int(words[2]) for words in lines if words[:2] == ["serves", str(number)]][-1]

    def ended(self) -> int:
        """Its exit status, once it has ended and all its output has been read."""
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return status

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


class PreforkTests(SynchronousTestCase):
    def start(
        self,
        child: str = SERVES,
        count: int = 2,
        first_wait_s: float = 0.01,
        end_s: float = PATIENCE_S,
        failing_s: float = 0.0,
        manager: str = "",
    ) -> Parent:
        indented = textwrap.indent(child, "    ")
        return Parent(
            self,
            PROGRAM.format(
                child=indented,
                count=count,
                first_wait_s=first_wait_s,
                end_s=end_s,
                failing_s=failing_s,
                manager=manager,
            ),
        )

    def test_ends(self) -> None:
        """It says that all serve once the last one does, and after SIGTERM waits for each."""
        parent = self.start(
            """
            if place.number == 2:
                time.sleep(0.2)
            say("serves", place.number, os.getpid())
            place.ready()
            until_told(place)
            time.sleep(0.2)
            say("has ended", place.number)
            return 0
            """
        )
        parent.wait_for("all serve")
        self.assertEqual(parent.output.count("serves"), 2, parent.output)
        parent.process.terminate()
        self.assertEqual(parent.ended(), 0, parent.output)
        self.assertEqual(parent.output.count("has ended"), 2, parent.output)
        self.assertLess(parent.output.index("closing"), parent.output.index("has ended"))

    def test_manager(self) -> None:
        """A service manager hears from the parent: once all serve, when SIGHUP is passed on, and
        when they are told to end; not when a process is replaced."""
        place = NotifySocket(self)
        parent = self.start(manager=place.address)
        self.assertEqual(place.wait_for(1), ["READY=1"])
        self.assertEqual(parent.output.count("serves"), 2, parent.output)
        os.kill(parent.pid(2), signal.SIGKILL)
        parent.wait_for("serves", 3)
        parent.process.send_signal(signal.SIGHUP)
        begun, ended = place.wait_for(3)[1:]
        self.assertTrue(begun.startswith("RELOADING=1\nMONOTONIC_USEC="), begun)
        self.assertEqual(ended, "READY=1")
        parent.process.terminate()
        self.assertEqual(parent.ended(), 0, parent.output)
        self.assertEqual(place.heard[3:], ["STOPPING=1"])

    def test_replaced(self) -> None:
        """A process that dies is replaced under its number, and the next one is told how it
        ended."""
        parent = self.start()
        parent.wait_for("all serve")
        os.kill(parent.pid(2), signal.SIGKILL)
        parent.wait_for("serves", 3)
        self.assertIn("log: process 2 was ended by SIGKILL: it is replaced in 0 s", parent.output)
        self.assertIn(f"serves 2 {parent.pid(2)} was ended by SIGKILL", parent.output)
        self.assertEqual(parent.output.count("all serve"), 1)
        parent.process.terminate()
        self.assertEqual(parent.ended(), 0, parent.output)

    def test_givesUp(self) -> None:
        """If a process fails again and again it is replaced ever later, then the service ends with
        an error; the others end orderly."""
        parent = self.start(
            """
            place.ready()
            if place.number == 2:
                say("fails")
                time.sleep(0.2 if not place.replaces else 0)
                return 3
            until_told(place)
            say("ends orderly")
            return 0
            """,
            failing_s=PATIENCE_S,
        )
        self.assertEqual(parent.ended(), 3, parent.output)
        self.assertEqual(parent.output.count("fails"), 5, parent.output)
        for wait in ("0.01 s", "0.02 s", "0.04 s", "0.08 s"):
            self.assertIn(f"ended with status 3: it is replaced in {wait}", parent.output)
        self.assertIn("it has failed 5 times in a row, giving up", parent.output)
        self.assertIn("ends orderly", parent.output)

    def test_failsAtStart(self) -> None:
        """A process that ends before all have served ends the service, with its status."""
        parent = self.start(
            """
            if place.number == 2:
                return 2
            return until_told(place)
            """
        )
        self.assertEqual(parent.ended(), 2, parent.output)
        self.assertIn("process 2 ended with status 2 before all served", parent.output)
        self.assertNotIn("\nall serve", parent.output)

    def test_raises(self) -> None:
        """What a process raises is printed, and ends that process alone."""
        parent = self.start("raise ValueError('of this process')", count=1)
        self.assertEqual(parent.ended(), 1)
        self.assertEqual(parent.output.count("ValueError: of this process"), 1, parent.output)

    def test_signalToAll(self) -> None:
        """SIGTERM to the whole group, as systemd sends it, ends all orderly and replaces none."""
        parent = self.start(
            """
            signal.signal(signal.SIGTERM, lambda *_: say("SIGTERM"))
            place.ready()
            until_told(place)
            say("has ended")
            return 0
            """
        )
        parent.wait_for("all serve")
        os.killpg(parent.process.pid, signal.SIGTERM)
        self.assertEqual(parent.ended(), 0, parent.output)
        self.assertEqual(parent.output.count("has ended"), 2, parent.output)
        self.assertNotIn("replaced", parent.output)

    def test_secondSignal(self) -> None:
        """A second SIGTERM kills the processes at once, and the status says so."""
        parent = self.start(
            """
            place.ready()
            until_told(place)
            say("told")
            time.sleep(1000)
            """
        )
        parent.wait_for("all serve")
        parent.process.terminate()
        parent.wait_for("told", 2)
        parent.process.terminate()
        self.assertEqual(parent.ended(), 1, parent.output)
        self.assertEqual(parent.output.count("killed after a second signal"), 2, parent.output)

    def test_late(self) -> None:
        """A process that does not end in time is killed."""
        parent = self.start(
            """
            place.ready()
            until_told(place)
            if place.number == 1:
                time.sleep(1000)
            return 0
            """,
            end_s=0.3,
        )
        parent.wait_for("all serve")
        parent.process.terminate()
        self.assertEqual(parent.ended(), 1, parent.output)
        self.assertIn("process 1 is killed after 0.3 s", parent.output)

    def test_parentDies(self) -> None:
        """A process ends when its parent dies, however suddenly, and whatever a sibling does that
        was forked later."""
        parent = self.start(
            """
            place.ready()
            say("serves", place.number, os.getpid())
            if place.number == 2:
                time.sleep(1000)
            until_told(place)
            say("alone")
            """
        )
        parent.wait_for("all serve")
        parent.wait_for("serves 2")
        self.addCleanup(os.kill, parent.pid(2), signal.SIGKILL)
        parent.process.kill()
        parent.wait_for("alone")

    def test_hangup(self) -> None:
        """SIGHUP reaches every process; one that has no use for it lives on."""
        parent = self.start(
            """
            if place.number == 1:
                signal.signal(signal.SIGHUP, lambda *_: say("reloaded", place.number))
            place.ready()
            return until_told(place)
            """
        )
        parent.wait_for("all serve")
        parent.process.send_signal(signal.SIGHUP)
        parent.wait_for("reloaded 1")
        parent.process.terminate()
        self.assertEqual(parent.ended(), 0, parent.output)
