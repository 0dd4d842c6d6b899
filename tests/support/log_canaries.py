"""Secrets that must not leak: in a log line of any level, in an answer that they do not belong to,
in an exception or a repr (threat F10)."""

from __future__ import annotations

import logging
import re
from typing import Mapping

from twisted.logger import LogEvent, eventAsText, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

# The form of secrets whose values no test knows beforehand.
HASHES = {"a password's hash": re.compile(r"\$2[aby]\$\d\d\$")}
TOKENS = {
    "an access or refresh token": re.compile(r"\bsy[tr]_\w{4}"),
    # A macaroon in base 64: four hex digits of a length, and the location.
    "a guest's token": re.compile(r"\bMDA[0-9A-Za-z_-]{40}"),
}


def leaked(text: str, secrets: Mapping[str, str], *, tokens_expected: bool = False) -> list[str]:
    """The names of the secrets in ``text``: the given ones, by their names, and any text of the
    form of ours. ``tokens_expected``: the text is an answer that gives out tokens."""
    shapes = HASHES if tokens_expected else {**HASHES, **TOKENS}
    return [name for name, value in secrets.items() if value in text] + [
        name for name, shape in shapes.items() if shape.search(text)
    ]


class Canaries:
    """Listens to the log, at every level, between ``start`` and ``stop``; ``leaks`` has what was
    found of ``secrets`` there and by ``check``. ``event_count`` counts log events."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self.secrets = secrets
        self.leaks: list[str] = []
        self.event_count = 0
        self._handler = _Handler(self)

    def start(self) -> None:
        self._level = logging.root.level
        logging.root.addHandler(self._handler)
        logging.root.setLevel(logging.DEBUG)
        globalLogPublisher.addObserver(self._on_event)

    def stop(self) -> None:
        globalLogPublisher.removeObserver(self._on_event)
        logging.root.removeHandler(self._handler)
        logging.root.setLevel(self._level)

    def check(self, where: str, text: str, *, tokens_expected: bool = False) -> None:
        """Look for secrets in a text from ``where``."""
        names = leaked(text, self.secrets, tokens_expected=tokens_expected)
        self.leaks += [f"{where} contains {name}: {text}" for name in names]

    def on_record(self, text: str) -> None:
        self.event_count += 1
        self.check("the standard library's log", text)

    def _on_event(self, event: LogEvent) -> None:
        self.event_count += 1
        # The text is what a person reads, the fields what a JSON observer would write.
        fields = {key: value for key, value in event.items() if key != "log_trace"}
        self.check("the log", f"{eventAsText(event)}\n{fields!r}")


class _Handler(logging.Handler):
    def __init__(self, canaries: Canaries) -> None:
        super().__init__()
        self._canaries = canaries

    def emit(self, record: logging.LogRecord) -> None:
        self._canaries.on_record(self.format(record))


def watch_for_leaks(case: SynchronousTestCase, secrets: Mapping[str, str]) -> Canaries:
    """Canaries that listen until the test ends, and then fail it if a secret leaked."""
    canaries = Canaries(secrets)
    canaries.start()

    def end() -> None:
        canaries.stop()
        case.assertEqual("", "\n\n".join(canaries.leaks))

    case.addCleanup(end)
    return canaries
