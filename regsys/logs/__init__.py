"""Logging: a line for each event on standard error, or as the file ``log_config`` says."""

from __future__ import annotations

import sys
from multiprocessing import current_process
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


def begin(log_config: Optional[str], server_name: str, process: Optional[int] = None) -> None:
    """Start logging as the file ``log_config`` (a ``logging`` dictionary in YAML) says; if it is
    None, to standard error from level info upward. ``process``: the number of this one of several
    processes, by which their lines can be told apart.

    Raises ConfigError if the file cannot be used, or if a first record does not arrive.
    """
    observer: ILogObserver = Lines(sys.stderr, "" if process is None else f"[{process}] ")
    if process is not None:
        # What %(processName)s shows.
        current_process().name = f"regsys-{process}"
    if log_config is not None:
        LogFile.load(log_config).apply(server_name)
        observer = StandardLogging()
    globalLogBeginner.beginLoggingTo(
        [FilteringLogObserver(observer, [levels()])], redirectStandardIO=False
    )


def levels() -> LogLevelFilterPredicate:
    """The lines that operators see: from level info upward, with exceptions."""
    levels = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
    # Twisted's own lines about connections are noise here, and a query may be in them.
    levels.setLogLevelForNamespace("twisted.web", LogLevel.warn)
    return levels
