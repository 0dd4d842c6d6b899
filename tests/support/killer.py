"""A killer: ends what a server needs, again and again, while clients work.

``with Killer(0.2, strike) as killer`` calls ``strike`` every 0.2 seconds in a thread of its own
until the block ends, or ``most`` times. A strike is any function: to end the sessions of a
PostgreSQL, or to kill a program and start it again, there is one here.

This file needs nothing but Python, and psycopg2 where PostgreSQL is struck.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from typing import Any, Callable, Mapping, Union

END_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = %s AND pid <> pg_backend_pid()"
)


class Killer:
    """``times`` are those of its strikes, by ``time.monotonic``. An error of ``strike`` is raised
    when the block ends."""

    def __init__(
        self,
        every_s: float,
        strike: Callable[[], object],
        *,
        most: Union[int, None] = None,
    ) -> None:
        self.times: list[float] = []
        self._every_s = every_s
        self._strike = strike
        self._most = most
        self._is_over = threading.Event()
        self._error: Union[BaseException, None] = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *failure: object) -> None:
        self._is_over.set()
        self._thread.join()
        if self._error is not None and kind is None:
            raise self._error

    def _work(self) -> None:
        try:
            while len(self.times) != self._most and not self._is_over.wait(self._every_s):
                self._strike()
                self.times.append(time.monotonic())
        except BaseException as error:
            self._error = error


class Program:
    """A program that is started again whenever it has been ended. ``start`` returns its process
    once it serves; ``running`` is the process of one that serves already."""

    def __init__(
        self,
        start: Callable[[], subprocess.Popen[Any]],
        running: Union[subprocess.Popen[Any], None] = None,
    ) -> None:
        self._start = start
        self.process = running or start()

    def end(self, number: signal.Signals = signal.SIGKILL) -> float:
        """Send it this signal, and wait for its end: how many seconds that took."""
        began_s = time.monotonic()
        self.process.send_signal(number)
        self.process.wait()
        return time.monotonic() - began_s

    def restart(self, number: signal.Signals = signal.SIGKILL) -> float:
        """The same, and start it again."""
        took_s = self.end(number)
        self.process = self._start()
        return took_s


def sessions_of(args: Mapping[str, Any]) -> Callable[[], int]:
    """A strike that ends all sessions of a PostgreSQL database, and returns their number: 0 if the
    server cannot be reached. ``args``: psycopg2's, to connect as a role that may do that."""
    import psycopg2

    def strike() -> int:
        # A server that restarts just now has no sessions.
        try:
            connection = psycopg2.connect(**{**args, "dbname": "postgres"})
        except psycopg2.OperationalError:
            return 0
        with contextlib.closing(connection), contextlib.suppress(psycopg2.OperationalError):
            cursor = connection.cursor()
            cursor.execute(END_SESSIONS, (args["dbname"],))
            return len(cursor.fetchall())
        return 0

    return strike
