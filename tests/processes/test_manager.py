"""What a service manager is told, with and without one; ``test_prefork.py`` has it of several
processes."""

from __future__ import annotations

import contextlib
import io
import re
import signal
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from regsys.processes.manager import Manager
from tests.support.manager import NotifySocket
from tests.support.service_process import ServiceProcess, sqlite, write_config


class ManagerTests(SynchronousTestCase):
    def test_nobody(self) -> None:
        """Without NOTIFY_SOCKET nothing is said."""
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            manager = Manager.from_environment({"PATH": "/bin"})
            manager.ready()
            with manager.reloading():
                pass
            manager.stopping()
        self.assertEqual(errors.getvalue(), "")

    def test_removed(self) -> None:
        """The programs that this one starts do not inherit the variable."""
        environment = {"NOTIFY_SOCKET": "/run/x", "PATH": "/bin"}
        self.assertEqual(Manager.from_environment(environment).address, "/run/x")
        self.assertEqual(environment, {"PATH": "/bin"})

    def test_reloading(self) -> None:
        """A reload has the time of its begin, in microseconds, and ends in being ready, also if it
        fails."""
        place = NotifySocket(self)
        before = time.monotonic_ns() // 1000
        with contextlib.suppress(ZeroDivisionError), Manager(place.address).reloading():
            raise ZeroDivisionError
        begun, ended = place.heard
        match = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", begun)
        assert match is not None, begun
        self.assertTrue(before <= int(match[1]) <= time.monotonic_ns() // 1000)
        self.assertEqual(ended, "READY=1")

    def test_away(self) -> None:
        """A manager that is not there is reported, and the service goes on."""
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            Manager("/nowhere/notify").ready()
        self.assertEqual(
            errors.getvalue(),
            "regsys: the service manager at /nowhere/notify (NOTIFY_SOCKET) was not told READY=1:"
            " No such file or directory\n",
        )


class ServiceTests(SynchronousTestCase):
    def test_life(self) -> None:
        """A service says when it serves, reloads and ends, at a path."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        # Relative: the path of a socket has a hundred bytes at most.
        place = NotifySocket(self, str((folder / "n").relative_to(Path.cwd())))
        program = (
            "-c",
            "import os, sys; os.environ['NOTIFY_SOCKET'] = sys.argv.pop(1);"
            " from regsys.cli import main; sys.exit(main(sys.argv[1:]))",
            str(folder / "n"),
            "serve",
        )
        service = ServiceProcess(self, write_config(folder, sqlite(folder)), program=program)
        self.assertEqual(place.wait_for(1), ["READY=1"])
        service.process.send_signal(signal.SIGHUP)
        begun, ended = place.wait_for(3)[1:]
        self.assertTrue(begun.startswith("RELOADING=1\nMONOTONIC_USEC="), begun)
        self.assertEqual(ended, "READY=1")
        service.stop()
        self.assertEqual(place.heard[3:], ["STOPPING=1"])
