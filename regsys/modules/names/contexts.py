"""Logging contexts, by which homeservers know whose request a log line is of. regsys's own log
knows that by itself, so they do nothing here."""

from __future__ import annotations

import inspect
from types import TracebackType
from typing import Any, Callable, Optional, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

T = TypeVar("T")

log = Logger()


class LoggingContext:
    """Takes what it is given, and keeps the name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.name = str(args[0] if args else kwargs.get("name", ""))

    def __str__(self) -> str:
        return self.name

    def __enter__(self) -> LoggingContext:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        pass


_ONLY = LoggingContext("regsys")


def current_context() -> LoggingContext:
    return _ONLY


def nested_logging_context(*args: Any, **kwargs: Any) -> LoggingContext:
    return LoggingContext(*args, **kwargs)


def make_deferred_yieldable(deferred: Deferred[T]) -> Deferred[T]:
    return deferred


def run_in_background(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
    """Begin to run it, be it a plain function, a coroutine or one that returns a Deferred."""
    try:
        result = f(*args, **kwargs)
    except Exception:
        return fail()
    if isinstance(result, Deferred):
        return result
    if inspect.iscoroutine(result):
        return Deferred.fromCoroutine(result)
    return succeed(result)


def run_as_background_process(
    desc: str, func: Callable[..., Any], *args: Any, bg_start_span: bool = True, **kwargs: Any
) -> Deferred[Any]:
    """As ``run_in_background``; a failure is logged under ``desc``, and the result is None."""
    return run_in_background(func, *args, **kwargs).addErrback(
        lambda failure: log.failure("{process} of a module failed", failure, process=desc)
    )
