"""A Redis for tests: one server for each test process, started when it is first needed.

It keeps nothing on disk. If there is none, tests that need it are skipped; with CI=true they fail.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, Mapping, Optional, Union

from tests.support.missing import not_tried
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_port

NOT_FOUND = (
    "Redis was not found, so it was not tested. Install it (Debian: redis-server, macOS: brew"
    " install redis) and txredisapi."
)
# Kills the server when the pipe on standard input is closed, by us or by our death.
GUARDIAN = """
"$@" </dev/null >log 2>&1 & server=$!
cat >/dev/null
kill -KILL $server; wait $server
"""

Reply = Union[None, int, str, list[Any]]


class Server:
    """A Redis that runs as long as this process, unless it is stopped. ``options`` are those of
    its configuration. It listens on ``port`` of the loopback, without TLS if that is not 0, and on
    the Unix socket ``path``."""

    def __init__(self, options: Optional[Mapping[str, Any]] = None) -> None:
        # Under /tmp, since the path of a Unix socket must be shorter than about 100 bytes.
        self.home = Path(tempfile.mkdtemp(prefix="regsys-redis-", dir="/tmp"))
        self.port = free_port()
        self.path = str(self.home / "redis.sock")
        self.options = {
            "bind": "127.0.0.1",
            "port": self.port,
            "unixsocket": self.path,
            "save": "",
            "appendonly": "no",
            **(options or {}),
        }
        self._process: Optional[subprocess.Popen[bytes]] = None
        atexit.register(self.remove)
        self.start()

    def start(self) -> None:
        words = [word for name, value in self.options.items() for word in (f"--{name}", str(value))]
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", GUARDIAN, "guardian", "redis-server", *words],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the shell tells that it was killed
            cwd=self.home,
            start_new_session=True,  # Ctrl-C is for the tests alone
        )
        end = time.monotonic() + PATIENCE_S
        while not self._answers():
            log = (self.home / "log").read_text() if (self.home / "log").exists() else ""
            assert time.monotonic() < end, f"Redis did not start:\n{log}"
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill it."""
        process, self._process = self._process, None
        if process is not None:
            process.communicate()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def ask(self, *words: object) -> Reply:
        """Send one command by the Unix socket; returns its reply."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_S)
            connection.connect(self.path)
            texts = [str(word).encode() for word in words]
            parts = [b"$%d\r\n%s\r\n" % (len(text), text) for text in texts]
            connection.sendall(b"*%d\r\n%s" % (len(texts), b"".join(parts)))
            with connection.makefile("rb") as replies:
                return _reply(replies)

    def _answers(self) -> bool:
        try:
            self.ask("PING")
        except Refused:  # it wants a password
            return True
        except OSError:
            return False
        return True


class Refused(Exception):
    """An error reply."""


def _reply(replies: Any) -> Reply:
    line = replies.readline()
    if not line:
        raise ConnectionError("no reply")
    kind, text = line[:1], line[1:].strip().decode()
    if kind == b"-":
        raise Refused(text)
    if kind == b"$":
        return None if text == "-1" else replies.read(int(text) + 2)[:-2].decode()
    if kind == b"*":
        return [_reply(replies) for _ in range(int(text))]
    return int(text) if kind == b":" else text


def shared(case: unittest.TestCase) -> Server:
    """The server of this test process. Skips the test if there can be none."""
    need(case)
    return _shared()


def own(case: unittest.TestCase, **options: Any) -> Server:
    """A server that the test may stop. Skips the test if there can be none."""
    need(case)
    server = Server(options)
    case.addCleanup(server.remove)
    return server


def need(case: unittest.TestCase) -> None:
    try:
        import txredisapi  # noqa: F401
    except ImportError:
        found = False
    else:
        found = shutil.which("redis-server") is not None
    if not found:
        not_tried(case, NOT_FOUND)


@functools.lru_cache(maxsize=1)
def _shared() -> Server:
    return Server()
