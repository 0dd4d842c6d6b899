"""Where log lines go: one a line to standard error, or as an operator's file says."""

from __future__ import annotations

import functools
import logging.config
import sys
from typing import Optional, TextIO

import attr
import yaml
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    STDLibLogObserver,
    formatEventAsClassicLogText,
    formatTime,
    globalLogBeginner,
)
from zope.interface import implementer


def begin(log_config: Optional[str]) -> Optional[str]:
    """Start logging, as the file ``log_config`` (a ``logging`` dictionary in YAML) says.

    None: to standard error, from level info upward. So too where the file is of no use here,
    because another program's handlers are named in it; then returns a sentence saying so.
    """
    problem = None
    observer: ILogObserver = Lines(sys.stderr)
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
            problem = (
                f"log_config: {log_config} cannot be used, so the log goes to standard error:"
                f" {_with_causes(error)} (if it is another program's, give regsys one of its own)"
            )
    globalLogBeginner.beginLoggingTo(
        [FilteringLogObserver(observer, [levels()])], redirectStandardIO=False
    )
    return problem


def levels() -> LogLevelFilterPredicate:
    """What is for operators: from level info upward, with exceptions."""
    levels = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
    # Twisted's own lines about connections are noise here, and a query may be in them. Those of
    # its channels bear the name of our class.
    levels.setLogLevelForNamespace("twisted.web", LogLevel.warn)
    levels.setLogLevelForNamespace("regsys.http.server", LogLevel.warn)
    return levels


def _with_causes(error: Optional[BaseException]) -> str:
    """``logging`` says only which handler failed; why is in what that was raised from."""
    told = str(error)
    while error is not None:
        error = error.__cause__
        if error is not None and str(error) not in told:
            told = f"{told}: {error}"
    return told


@implementer(ILogObserver)
@attr.frozen
class Lines:
    """Writes what ``twisted.logger.textFileLogObserver`` does.

    That one takes four times as long for a plain event: a twentieth of a registration's time.
    """

    out: TextIO

    def __call__(self, event: LogEvent) -> None:
        line = _plain(event) or formatEventAsClassicLogText(event)
        if line is not None:
            self.out.write(line)
            self.out.flush()


_second = functools.lru_cache(maxsize=1)(formatTime)


def _plain(event: LogEvent) -> Optional[str]:
    """The line of an event without a traceback, a system or a call in its format; else None."""
    if "log_failure" in event or "log_system" in event:
        return None
    try:
        text = event["log_format"].format_map(event)
        source = f"{event['log_namespace']}#{event['log_level'].name}"
        when = _second(int(event["log_time"]))
    except Exception:  # whatever is odd about it, Twisted has words for it
        return None
    if not text:
        return None
    return f"{when} [{source}] {text}\n".replace("\n", "\n\t", text.count("\n"))
