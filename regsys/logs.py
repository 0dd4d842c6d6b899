"""Where log lines go: one a line to standard error, or as an operator's file says."""

from __future__ import annotations

import logging.config
import sys
from typing import Optional

import yaml
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    STDLibLogObserver,
    globalLogBeginner,
    textFileLogObserver,
)


def begin(log_config: Optional[str]) -> Optional[str]:
    """Start logging, as the file ``log_config`` (a ``logging`` dictionary in YAML) says.

    None: to standard error, from level info upward. So too where the file is of no use here,
    because another program's handlers are named in it; then returns a sentence saying so.
    """
    problem = None
    observer: ILogObserver = textFileLogObserver(sys.stderr)
    if log_config is not None:
        try:
            with open(log_config, encoding="utf-8") as file:
                logging.config.dictConfig(yaml.safe_load(file))
            observer = STDLibLogObserver("regsys")
        except (
            OSError,
            ValueError,
            TypeError,
            AttributeError,
            ImportError,
            yaml.YAMLError,
        ) as error:
            problem = f"log_config: {log_config} cannot be used, logging to standard error: {error}"
    levels = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
    # Twisted's own lines about connections are noise here, and a query may be in them.
    levels.setLogLevelForNamespace("twisted.web", LogLevel.warn)
    levels.setLogLevelForNamespace("regsys.http.site", LogLevel.warn)
    globalLogBeginner.beginLoggingTo(
        [FilteringLogObserver(observer, [levels])], redirectStandardIO=False
    )
    return problem
