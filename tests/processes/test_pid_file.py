"""The file of the process ID: the checks before a start, and its limits."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from regsys.processes import pid_file


class PidFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = str(self.folder / "regsys.pid")

    def test_fine(self) -> None:
        """A new file in a directory, one that is left over, and no file at all are accepted."""
        self.assertIsNone(pid_file.problem(self.path))
        self.assertIsNone(pid_file.problem("regsys-of-a-test.pid"))
        self.assertIsNone(pid_file.problem("/dev/null"))
        for left in ("", "12", "garbage", "\xff"):
            Path(self.path).write_text(left, "latin-1")
            self.assertIsNone(pid_file.problem(self.path))

    def test_refused(self) -> None:
        """A directory, a file in a missing or read-only directory, and anything but a file are
        refused: each with what to do."""
        listening = socket.socket(socket.AF_UNIX)
        self.addCleanup(listening.close)
        listening.bind("s.sock")
        self.addCleanup(os.unlink, "s.sock")
        for path, expected in (
            (str(self.folder), "a directory — name a file in it"),
            ("/nowhere/regsys.pid", "there is no directory /nowhere — make it"),
            (f"{__file__}/regsys.pid", "Not a directory — "),
            ("s.sock", "neither a file nor new"),
        ):
            self.assertIn(expected, pid_file.problem(path) or "", path)
        self.patch(os, "access", lambda path, mode: False)
        for _ in range(2):
            # First its directory, then the file that is there.
            self.assertIn("cannot be written — let the", pid_file.problem(self.path) or "")
            Path(self.path).write_text("")
        # A homeserver's, which may be another user's.
        Path(self.path).write_text(str(os.getppid()))
        self.assertIsNone(pid_file.problem(self.path))

    def test_otherProcesses(self) -> None:
        """Only the ID of another running process counts."""
        for text, lives in (
            (str(os.getppid()), True),
            (f" {os.getppid()}\n", True),
            (str(os.getpid()), False),  # left by a process that was killed
            ("1", True),
            ("0", False),
            ("-1", False),
            ("99999999999999999999", False),
            (str(2**31 - 1), False),
            ("", False),
            ("9" * 5000, False),
        ):
            Path(self.path).write_text(text)
            self.assertEqual(pid_file.names_process(self.path), lives, text)

    def test_writtenAndRemoved(self) -> None:
        """It has our ID until the end; another process's is left; an error is logged, nothing
        else."""
        pid_file.write(self.path)
        self.assertEqual(Path(self.path).read_text(), f"{os.getpid()}\n")
        pid_file.remove(self.path)
        pid_file.remove(self.path)
        self.assertEqual(os.listdir(self.folder), [])
        Path(self.path).write_text("1")
        with capturedLogs() as logs:
            pid_file.write(self.path)
            pid_file.remove(self.path)
            pid_file.write("/nowhere/regsys.pid")
        self.assertEqual(Path(self.path).read_text(), "1")
        expecteds = [formatEvent(event) for event in logs]
        self.assertIn("it names a process that runs", expecteds[0])
        self.assertIn("/nowhere/regsys.pid is not written: No such file", expecteds[1])
