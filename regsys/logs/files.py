"""The file of ``log_config``: it is read, tried with one record, and applied (contract B15)."""

from __future__ import annotations

import logging
import logging.config
import logging.handlers
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
# Seconds between two lines about a failing handler: on a full disk each record fails.
REPEAT_S = 60.0


@attr.frozen
class LogFile:
    """A ``logging`` dictionary, with our classes in place of a homeserver's."""

    path: str
    data: Mapping[str, Any] = attr.field(repr=False)

    @classmethod
    def load(cls, path: str) -> LogFile:
        """Raises ConfigError if it cannot be read, or names a class that we do not have."""
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
            raise ConfigError(
                [f"log_config: {path}: {name} is not in regsys — {mend}" for name in unknown]
            )
        return cls(path, replaced)

    def apply(self, server_name: str) -> None:
        """Set logging up, and log one record. Raises ConfigError if it does not arrive."""
        self._configure(self.data, server_name, writes=True)

    def check(self, server_name: str) -> None:
        """Raise what ``apply`` would, without opening a log file: check-config may be run by
        another user than serve."""
        made = self._configure(_without_opening(self.data), server_name, writes=False)
        problems = []
        for name, handler in made.items():
            if isinstance(handler, logging.FileHandler):
                wrong = _not_writable(handler.baseFilename)
                if wrong:
                    problems.append(self._problem(f"handler {name!r}: {wrong}"))
        if problems:
            raise ConfigError(problems)

    @property
    def rotating(self) -> Sequence[str]:
        """The names of the handlers that rotate their files themselves."""
        described = self.data.get("handlers")
        return [
            str(name)
            for name, item in (described.items() if isinstance(described, Mapping) else ())
            if _is_handler(item, logging.handlers.BaseRotatingHandler)
        ]

    def _configure(
        self, data: Mapping[str, Any], server_name: str, writes: bool
    ) -> Mapping[str, logging.Handler]:
        configurator = logging.config.DictConfigurator(dict(data))
        try:
            configurator.configure()
        except Exception as error:  # the classes that it names may raise anything
            raise ConfigError([self._problem(_with_causes(error))]) from None
        made = {
            name: handler
            for name, handler in (configurator.config.get("handlers") or {}).items()
            if isinstance(handler, logging.Handler)
        }
        errors = {name: _HandlerErrors(name) for name in made}
        for name, handler in made.items():
            # Before the file's own filters, which may use its fields.
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
    """The ``handleError`` of a handler. At the start an error is kept in ``seen``; later it is
    printed on standard error, as one line in place of Python's traceback."""

    name: str
    starting: bool = True
    seen: str = ""
    _printed_s: Optional[float] = None

    def __call__(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        text = f"{type(error).__name__}: {error}"
        if self.starting:
            self.seen = text
            return
        now_s = time.monotonic()
        if self._printed_s is None or now_s - self._printed_s >= REPEAT_S:
            self._printed_s = now_s
            print(f"regsys: log_config: handler {self.name!r}: {text}", file=sys.stderr, flush=True)


def _try(
    made: Mapping[str, logging.Handler], errors: Mapping[str, _HandlerErrors], writes: bool
) -> None:
    """Try one record: every handler formats it, whatever its level, and if ``writes``, it is logged
    as our lines are."""
    for name, handler in made.items():
        record = _first_record()
        try:
            if handler.filter(record):
                handler.format(record)
        except Exception as error:  # a formatter may raise anything
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
    text = "logging begins"
    return logging.LogRecord("regsys.logs", logging.INFO, __file__, 0, text, (), None)


def _replaced(value: Any, unknown: list[str]) -> Any:
    """The same with our classes; a homeserver's class that we lack is added to ``unknown``."""
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
    """The same with ``delay`` set: log files are opened only when something is logged to them."""
    described = data.get("handlers")
    if not isinstance(described, Mapping):
        return data
    return {
        **data,
        "handlers": {
            name: {**item, "delay": True} if _is_handler(item, logging.FileHandler) else item
            for name, item in described.items()
        },
    }


def _is_handler(item: Any, kind: type[logging.Handler]) -> bool:
    name = item.get("class") if isinstance(item, Mapping) else None
    if not isinstance(name, str):
        return False
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(import_module(module), attribute, None)
    except (ImportError, ValueError):
        return False  # DictConfigurator reports it, and better
    return isinstance(found, type) and issubclass(found, kind)


def _not_writable(path: str) -> str:
    """Why nothing can be written to this file; "" if it can."""
    directory = os.path.dirname(path)
    if os.path.isdir(path):
        return f"{path} is a directory"
    if os.path.exists(path):
        return "" if os.access(path, os.W_OK) else f"{path} cannot be written"
    if not os.path.isdir(directory):
        return f"there is no directory {directory}"
    return "" if os.access(directory, os.W_OK | os.X_OK) else f"{directory} cannot be written"


def _with_causes(error: Optional[BaseException]) -> str:
    """The error with its causes: ``logging`` itself says only which handler failed."""
    texts: Sequence[str] = []
    while error is not None:
        if str(error) not in ": ".join(texts):
            texts = [*texts, str(error)]
        error = error.__cause__
    return ": ".join(texts)
