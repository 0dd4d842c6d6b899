"""``regsys serve`` as a child process, for tests over real HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import subprocess
import sys
import threading
import unittest
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

import attr
import yaml

from tests.support.patience import PATIENCE_S, until
from tests.support.reporter import report_on_failure

ROOT = Path(__file__).parents[2]
READY = re.compile(r"regsys is ready\b.*?(https?://[^\s/]+)")
SERVER_NAME = "test.example"
MACAROON_SECRET = "a key of this test's own"
# Lines of the log that a failure prints.
TAIL = 40


@attr.frozen
class Answer:
    """An HTTP answer of any status. ``text`` is its body, ``json`` the parsed body; None if it is
    not JSON."""

    status: int
    json: Any
    headers: Mapping[str, str]
    text: str = ""


def sqlite(folder: Path) -> dict[str, Any]:
    """A ``database`` section for an SQLite file in this folder."""
    return {"name": "sqlite3", "args": {"database": str(folder / "homeserver.db")}}


def psycopg2(args: Mapping[str, Any]) -> dict[str, Any]:
    """A ``database`` section for the PostgreSQL database of ``tests.support.postgres.dsn``."""
    return {"name": "psycopg2", "args": dict(args)}


def write_config(folder: Path, database: Mapping[str, Any], **options: Any) -> Path:
    """Write a configuration with open registration, quick hashing and no limits.

    It listens on any free loopback port. ``options`` are top-level ones that replace ours.
    """
    plenty = {"per_second": 10_000, "burst_count": 10_000}
    config = {
        "server_name": SERVER_NAME,
        "listeners": [
            {
                "port": 0,
                "bind_addresses": ["127.0.0.1"],
                "type": "http",
                "resources": [{"names": ["client", "consent", "health"]}],
            }
        ],
        "database": dict(database),
        "macaroon_secret_key": MACAROON_SECRET,
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "allow_guest_access": True,
        "bcrypt_rounds": 4,
        "rc_registration": plenty,
        "rc_login": {"address": plenty, "account": plenty, "failed_attempts": plenty},
        "regsys": {"rc_availability": False},
        **options,
    }
    path = folder / "homeserver.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


class ServiceProcess:
    """A running service, which is ready when the constructor returns.

    ``base_url`` (without a slash at its end) is where it listens. It is killed when ``case`` ends;
    a test that wants an orderly end calls ``stop``. ``options`` are more of the command line,
    ``program`` replaces ``regsys serve``, which gets the descriptors ``pass_fds``.
    """

    def __init__(
        self,
        case: unittest.TestCase,
        *config: Path,
        cwd: Optional[Path] = None,
        options: Sequence[str] = (),
        program: Sequence[str] = ("-m", "regsys", "serve"),
        pass_fds: Sequence[int] = (),
    ) -> None:
        options = [*options, *(word for path in config for word in ("-c", str(path)))]
        home = cwd or config[0].parent
        search_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._lines: queue.Queue[Optional[str]] = queue.Queue()
        self._output: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, *program, *options],
            cwd=home,
            env={**os.environ, "PYTHONPATH": search_path},
            pass_fds=pass_fds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        case.addCleanup(self.kill)
        report_on_failure(case, f"regsys {self.process.pid}", self.tail)
        self.base_url = self._wait_until_ready()

    @property
    def output(self) -> str:
        """All that it has written so far, to standard output and error."""
        return "".join(self._output)

    def tail(self) -> str:
        """The last lines that it has written."""
        return "".join(self._output[-TAIL:])

    def wait_for(self, words: str) -> None:
        """Return once it has written them."""
        until(lambda: words in self.output, lambda: f"{words!r} is not in:\n{self.output}")

    def stop(self) -> str:
        """End it by SIGTERM; returns its output. Its exit code must be 0."""
        self.process.terminate()
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end after SIGTERM:\n{self.output}") from None
        self._reader.join()
        assert code == 0, f"exit code {code} after SIGTERM:\n{self.output}"
        return self.output

    def kill(self) -> None:
        """Kill it, if it has not ended."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def ask(
        self, method: str, path: str, body: Any = None, *, token: Optional[str] = None
    ) -> Answer:
        """One request with a JSON body, or with a form if ``body`` is bytes, or without a body if
        it is None; blocks until it is answered.

        A 500 is never right: it fails the test, with the service's output.
        """
        request = urllib.request.Request(self.base_url + path, method=method)
        if isinstance(body, bytes):
            request.data = body
        elif body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            response = _OPENER.open(request, timeout=PATIENCE_S)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            content = response.read()
            if response.status == 500:
                raise AssertionError(f"{method} {path} was answered 500:\n{self.output}")
            parsed = None
            with contextlib.suppress(ValueError):
                parsed = json.loads(content)
            return Answer(
                response.status, parsed, dict(response.headers), content.decode("utf-8", "replace")
            )

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._output.append(line)
            self._lines.put(line)
        self._lines.put(None)

    def _wait_until_ready(self) -> str:
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE_S)
            except queue.Empty:
                raise AssertionError(f"not ready after {PATIENCE_S} s:\n{self.output}") from None
            if line is None:
                raise AssertionError(f"ended before it was ready:\n{self.output}")
            ready = READY.search(line)
            if ready:
                return ready[1]


# Never through a proxy that the environment names.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
