"""The file that ``log_config`` names: read, tried with one line, and used (contract B15)."""

from __future__ import annotations

import logging
import logging.config
import os
import sys
import time
from importlib import import_module
from typing import Any, Mapping, Optional, Sequence

import attr

from regsys.config import ConfigError, load_yaml
from regsys.logs import handlers
from regsys.logs.handlers import STAND_INS, RequestFilter

_MEND = "mend it there, or leave log_config out"
# A disk that is full makes each line fail. It is told of so often, in seconds.
TOLD_AGAIN_S = 60.0


@attr.frozen
class LogFile:
    """A ``logging`` dictionary, with our classes in place of the homeserver's."""

    path: str
    data: Mapping[str, Any] = attr.field(repr=False)

    @classmethod
    def load(cls, path: str) -> LogFile:
        """ConfigError: it cannot be read, or names what there is not."""
        try:
            data = load_yaml(path).data
        except ConfigError as error:
            raise ConfigError([f"log_config: {problem}" for problem in error.problems]) from None
        if not data:
            raise ConfigError([f"log_config: {path}: the file is empty — {_MEND}"])
        unknown: list[str] = []
        replaced = _replaced(data, unknown)
        if unknown:
            known = ", ".join(sorted(STAND_INS))
            mend = f"take one of Python's own; of a homeserver's there are {known}"
            told = [f"log_config: {path}: {name} is not in regsys — {mend}" for name in unknown]
            raise ConfigError(told)
        return cls(path, replaced)

    def apply(self, server_name: str) -> None:
        """Set logging up, and send one line all the way. ConfigError: it does not arrive."""
        self._configure(self.data, server_name, writes=True)

    def check(self, server_name: str) -> None:
        """What ``apply`` would say, without opening a log file or writing to one: whoever checks
        may be another user than the one that logs."""
        made = self._configure(_without_opening(self.data), server_name, writes=False)
        problems = []
        for name, handler in made.items():
            if isinstance(handler, logging.FileHandler):
                wrong = _not_writable(handler.baseFilename)
                if wrong:
                    problems.append(self._problem(f"handler {name!r}: {wrong}"))
        if problems:
            raise ConfigError(problems)

    def _configure(
        self, data: Mapping[str, Any], server_name: str, writes: bool
    ) -> Mapping[str, logging.Handler]:
        configurator = logging.config.DictConfigurator(dict(data))
        try:
            configurator.configure()
        except Exception as error:  # whatever the classes that it names may raise
            raise ConfigError([self._problem(_with_causes(error))]) from None
        made = {
            name: handler
            for name, handler in (configurator.config.get("handlers") or {}).items()
            if isinstance(handler, logging.Handler)
        }
        errors = {name: _HandlerErrors(name) for name in made}
        for name, handler in made.items():
            # Before the file's own filters, which may look at it.
            handler.filters.insert(0, RequestFilter(server_name=server_name))
            handler.handleError = errors[name]  # type: ignore[method-assign]  # per handler
        _try(made, errors, writes)
        problems = [
            self._problem(f"handler {name!r} cannot log: {found.seen}")
            for name, found in errors.items()
            if found.seen
        ]
        if problems:
            raise ConfigError(problems)
        for found in errors.values():
            found.starting = False
        return made

    def _problem(self, wrong: str) -> str:
        return f"log_config: {self.path}: {wrong} — {_MEND}"


@attr.define(eq=False)
class _HandlerErrors:
    """What a handler calls where a record does not get through. At the start it is kept in
    ``seen``, later told on standard error, in a line: Python's own way is a traceback each."""

    name: str
    starting: bool = True
    seen: str = ""
    _told: Optional[float] = None

    def __call__(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        told = f"{type(error).__name__}: {error}"
        if self.starting:
            self.seen = told
            return
        now = time.monotonic()
        if self._told is None or now - self._told >= TOLD_AGAIN_S:
            self._told = now
            print(f"regsys: log_config: handler {self.name!r}: {told}", file=sys.stderr, flush=True)


def _try(
    made: Mapping[str, logging.Handler], errors: Mapping[str, _HandlerErrors], writes: bool
) -> None:
    """One record: through every handler's format, whatever its level, and if ``writes`` on the way
    that our lines go."""
    for name, handler in made.items():
        record = _first_record()
        try:
            if handler.filter(record):
                handler.format(record)
        except Exception as error:  # whatever a formatter may raise
            errors[name].seen = f"{type(error).__name__}: {error}"
    if not writes or any(found.seen for found in errors.values()):
        return
    record = _first_record()
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
    for name, handler in made.items():
        try:
            handler.flush()
        except OSError as error:
            errors[name].seen = f"{type(error).__name__}: {error}"


def _first_record() -> logging.LogRecord:
    said = "logging begins"
    return logging.LogRecord("regsys.logs", logging.INFO, __file__, 0, said, (), None)


def _replaced(value: Any, unknown: list[str]) -> Any:
    """The same with our classes; what there is none for is added to ``unknown``."""
    if isinstance(value, list):
        return [_replaced(item, unknown) for item in value]
    if not isinstance(value, Mapping):
        return value
    found = {name: _replaced(item, unknown) for name, item in value.items()}
    for key in ("class", "()"):
        name = found.get(key)
        if isinstance(name, str) and name.startswith("synapse."):
            if name in STAND_INS:
                found[key] = f"{handlers.__name__}.{STAND_INS[name]}"
            else:
                unknown.append(name)
    return found


def _without_opening(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same, but log files are only opened when something is logged to them."""
    described = data.get("handlers")
    if not isinstance(described, Mapping):
        return data
    return {
        **data,
        "handlers": {
            name: {**item, "delay": True} if _is_file_handler(item) else item
            for name, item in described.items()
        },
    }


def _is_file_handler(item: Any) -> bool:
    name = item.get("class") if isinstance(item, Mapping) else None
    if not isinstance(name, str):
        return False
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(import_module(module), attribute, None)
    except (ImportError, ValueError):
        return False  # the configuration of logging will say so, and better
    return isinstance(found, type) and issubclass(found, logging.FileHandler)


def _not_writable(path: str) -> str:
    """Why nothing can be written to this file; empty: it can."""
    directory = os.path.dirname(path)
    if os.path.isdir(path):
        return f"{path} is a directory"
    if os.path.exists(path):
        return "" if os.access(path, os.W_OK) else f"{path} cannot be written"
    if not os.path.isdir(directory):
        return f"there is no directory {directory}"
    return "" if os.access(directory, os.W_OK | os.X_OK) else f"{directory} cannot be written"


def _with_causes(error: Optional[BaseException]) -> str:
    """``logging`` says only which handler failed; why is in what that was raised from."""
    told: Sequence[str] = []
    while error is not None:
        if str(error) not in ": ".join(told):
            told = [*told, str(error)]
        error = error.__cause__
    return ": ".join(told)
