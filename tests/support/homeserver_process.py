"""The homeserver's double as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import unittest
import urllib.request
from pathlib import Path
from typing import Any, Callable, Optional

import attr

from tests.doubles.homeserver import AS_TOKEN
from tests.support.patience import PATIENCE_S, until
from tests.support.ports import free_port


@attr.define(eq=False)
class HomeserverProcess:
    """On a port of loopback that it keeps after ``stop`` and ``start``, without its state."""

    case: unittest.TestCase
    port: int = attr.field(factory=free_port)
    _process: Optional[subprocess.Popen[str]] = attr.field(default=None, init=False)

    @property
    def options(self) -> dict[str, Any]:
        """The options of ``regsys.homeserver`` for it."""
        return {"url": f"http://127.0.0.1:{self.port}", "as_token": AS_TOKEN}

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.doubles.homeserver", str(self.port)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        self.case.addCleanup(self.stop)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def stop(self) -> None:
        """Kill it, in the middle of whatever it does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.communicate()
            self._process = None

    def state(self, **faults: list[str]) -> Any:
        """Its state from ``/double``, after these faults were set, and the ``accounts`` added to
        its own."""
        body = json.dumps(faults).encode() if faults else None
        asked = f"http://127.0.0.1:{self.port}/double"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(asked, body, timeout=PATIENCE_S) as response:
            return json.load(response)

    def until(self, done: Callable[[Any], bool]) -> Any:
        """Its state once ``done`` of it is true."""
        states: list[Any] = []

        def is_done() -> bool:
            states[:] = [self.state()]
            return done(states[0])

        until(is_done, lambda: f"the homeserver's state is {states[0]}")
        return states[0]
