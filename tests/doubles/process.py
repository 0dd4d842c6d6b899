"""A double of another server as a process of its own, for tests over real HTTP."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any, Callable, ClassVar, Optional

import attr
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.support.ports import free_port


@attr.define(eq=False)
class DoubleProcess:
    """``module`` serves the double on a port of loopback, by ``serve``. The port stays the same
    after ``stop`` and ``start``."""

    module: ClassVar[str]

    case: unittest.TestCase
    port: int = attr.field(factory=free_port)
    _process: Optional[subprocess.Popen[str]] = attr.field(default=None, init=False)

    @property
    def url(self) -> str:
        """Its URL for the configuration."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.module, str(self.port)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        self.case.addCleanup(self.stop)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def pause(self) -> None:
        """Stop answering, as a machine that hangs; the state is kept for ``resume``."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill it, in the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def serve(double: Callable[[Any], Resource]) -> None:
    """Serve the resource that ``double`` makes of the reactor, on the port of the command line."""
    from twisted.internet import reactor

    chosen: Any = reactor
    chosen.listenTCP(int(sys.argv[1]), Site(double(chosen)), interface="127.0.0.1")
    chosen.callWhenRunning(lambda: print("ready", flush=True))
    with contextlib.suppress(KeyboardInterrupt):
        chosen.run()
