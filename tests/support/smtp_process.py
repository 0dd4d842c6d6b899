"""``python -m tests.support.smtp_process PORT``: the mail server ``tests.doubles.smtp``.

It prints its port, then each mail, and reads the faults that it is to have.
"""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional

import attr
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineReceiver

from tests.doubles.smtp import Delivered, Fault, MailServer
from tests.support.patience import PATIENCE_S


class SMTPProcess:
    """A mail server without TLS in a child process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def listen(self) -> None:
        """Return once it listens, at ``port``."""
        self.port = int(self._next_line())

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _next_line(self, timeout_s: float = PATIENCE_S) -> str:
        """Raises queue.Empty."""
        line = self._lines.get(timeout=timeout_s)
        assert line, "the mail server has ended, and printed why"
        return line

    def kill(self) -> None:
        self._process.kill()
        # The reader ends when the pipe is closed.
        self._reader.join()

    def set_faults(self, faults: Mapping[str, Fault]) -> None:
        """Have these faults from now on; returns once they hold."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(dict(faults)) + "\n")
        self._process.stdin.flush()
        answer = self._next_line()
        assert answer == "changed\n", "take the mails before you change the faults"

    def next_mail(self, timeout_s: float = PATIENCE_S) -> Optional[Delivered]:
        """The next mail, if it arrives within this time; None if none does."""
        try:
            found = json.loads(self._next_line(timeout_s))
        except queue.Empty:
            return None
        return Delivered(**{**found, "raw": base64.b64decode(found["raw"])})


@contextlib.contextmanager
def smtp_process(port: int = 0) -> Iterator[SMTPProcess]:
    """A mail server beside the test, until the end of the block; ``port`` 0: at any port."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.smtp_process", str(port)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        server = SMTPProcess(process)
        try:
            server.listen()
            yield server
        finally:
            server.kill()


class _PrintingMailServer(MailServer):
    """Prints each mail."""

    def mail_received(self, mail: Delivered) -> None:
        fields = {**attr.asdict(mail), "raw": base64.b64encode(mail.raw).decode()}
        print(json.dumps(fields), flush=True)


class _FaultReader(LineReceiver):
    """Reads faults as JSON, one line each; stops with the end of the input."""

    delimiter = b"\n"

    def __init__(self, server: MailServer) -> None:
        self.server = server

    def lineReceived(self, line: bytes) -> None:
        self.server.faults = json.loads(line)
        print("changed", flush=True)

    def connectionLost(self, reason: Any = None) -> None:
        from twisted.internet import reactor

        reactor.stop()  # type: ignore[attr-defined]


def main() -> None:
    from twisted.internet import reactor

    server = _PrintingMailServer()
    number = int(sys.argv[1])
    port = reactor.listenTCP(number, server, interface="127.0.0.1")  # type: ignore[attr-defined]
    print(port.getHost().port, flush=True)
    StandardIO(_FaultReader(server))
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
