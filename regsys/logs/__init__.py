"""Where log lines go: one a line to standard error, or as an operator's file says."""

from __future__ import annotations

import sys
from typing import Optional

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
)

from regsys.logs.files import LogFile
from regsys.logs.lines import Lines
from regsys.logs.standard import StandardLogging

__all__ = ["Lines", "LogFile", "begin", "levels"]


def begin(log_config: Optional[str], server_name: str) -> None:
    """Start logging, as the file ``log_config`` (a ``logging`` dictionary in YAML) says; None: to
    standard error, from level info upward.

    ConfigError: the file cannot be used, or a first line does not get through to where it should.
    """
    observer: ILogObserver = Lines(sys.stderr)
    if log_config is not None:
        LogFile.load(log_config).apply(server_name)
        observer = StandardLogging()
    globalLogBeginner.beginLoggingTo(
        [FilteringLogObserver(observer, [levels()])], redirectStandardIO=False
    )


def levels() -> LogLevelFilterPredicate:
    """What is for operators: from level info upward, with exceptions."""
    levels = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
    # Twisted's own lines about connections are noise here, and a query may be in them.
    levels.setLogLevelForNamespace("twisted.web", LogLevel.warn)
    return levels
