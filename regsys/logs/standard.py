"""Twisted's log events as records of Python's ``logging``."""

from __future__ import annotations

import logging
import sys
from types import FrameType
from typing import Any, Mapping, Optional

import attr
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

_LEVELS: Mapping[Any, int] = {
    LogLevel.debug: logging.DEBUG,
    LogLevel.info: logging.INFO,
    LogLevel.warn: logging.WARNING,
    LogLevel.error: logging.ERROR,
    LogLevel.critical: logging.CRITICAL,
}
# The modules between the code that logs and this observer.
_BETWEEN = ("twisted.logger", "regsys.logs", "zope.interface")


@implementer(ILogObserver)
@attr.frozen
class StandardLogging:
    """Hands each event to the logger of its namespace, such as ``regsys.accounts.handler``, with
    the file and line of the code that logged it. (Twisted's STDLibLogObserver has one logger for
    all.)"""

    def __call__(self, event: LogEvent) -> None:
        logger = logging.getLogger(event.get("log_namespace") or "twisted")
        level = _LEVELS.get(event.get("log_level"), logging.INFO)
        if not logger.isEnabledFor(level):
            return
        failure = event.get("log_failure")
        caller = _caller(sys._getframe())
        record = logger.makeRecord(
            logger.name,
            level,
            caller.f_code.co_filename if caller else "",
            caller.f_lineno if caller else 0,
            formatEvent(event),
            (),
            failure and (failure.type, failure.value, failure.getTracebackObject()),
            caller.f_code.co_name if caller else None,
        )
        logger.handle(record)


def _caller(frame: Optional[FrameType]) -> Optional[FrameType]:
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_BETWEEN):
        frame = frame.f_back
    return frame
