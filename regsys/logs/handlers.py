"""Our versions of the classes that a homeserver's ``log_config`` names besides Python's own."""

from __future__ import annotations

import json
import logging
import logging.handlers
import threading
from typing import Optional

from regsys.log_context import current_request

# Our classes by the names in such files.
STAND_INS = {
    "synapse.logging.context.LoggingContextFilter": "RequestFilter",
    "synapse.util.logcontext.LoggingContextFilter": "RequestFilter",
    "synapse.logging.handlers.PeriodicallyFlushingMemoryHandler": "PeriodicMemoryHandler",
    "synapse.logging.formatter.LogFormatter": "PlainFormatter",
    "synapse.util.logformatter.LogFormatter": "PlainFormatter",
    "synapse.logging.JsonFormatter": "JsonFormatter",
    "synapse.logging.TerseJsonFormatter": "TerseJsonFormatter",
}
# A homeserver's fields of records that we do not have. A formatter that names one gets "".
_EMPTY = (
    "site_tag",
    "requester",
    "authenticated_entity",
    "url",
    "protocol",
    "user_agent",
)


class RequestFilter(logging.Filter):
    """Lets all records through, and adds the fields of their request: ``request`` (such as
    ``POST-17-aBcDeF``), ``method``, ``ip_address``, ``server_name``. Fields that a record has stay.

    ``request``: the text outside of requests.
    """

    def __init__(self, request: str = "", server_name: str = "", **other: object) -> None:
        super().__init__()
        self._nothing = {**dict.fromkeys(_EMPTY, ""), "request": request}
        self._server_name = server_name

    def filter(self, record: logging.LogRecord) -> bool:
        context = current_request()
        fields = {
            **self._nothing,
            "server_name": self._server_name,
            "method": "" if context is None else context.method,
            "ip_address": "" if context is None else context.address,
        }
        if context is not None:
            fields["request"] = context.name
        for name, value in fields.items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


class PlainFormatter(logging.Formatter):
    """Python's own."""


class PeriodicMemoryHandler(logging.handlers.MemoryHandler):
    """Buffers records until there are ``capacity`` of them, or one of ``flushLevel``, but for at
    most ``period`` seconds."""

    def __init__(
        self,
        capacity: int,
        flushLevel: int = logging.ERROR,
        target: Optional[logging.Handler] = None,
        flushOnClose: bool = True,
        period: float = 5.0,
        reactor: object = None,
    ) -> None:
        super().__init__(capacity, flushLevel, target, flushOnClose)
        self._closed_for_good = threading.Event()
        # Not by the reactor: the log of a reactor that hangs must be seen, too.
        flushing = threading.Thread(target=self._flush_again, args=(period,), daemon=True)
        flushing.start()

    def _flush_again(self, period: float) -> None:
        while not self._closed_for_good.wait(period):
            self.flush()

    def close(self) -> None:
        self._closed_for_good.set()
        super().close()


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``log``, ``namespace``, ``level``, ``request``, ``process`` if there
    are several, and ``exc_type``, ``exc_value`` and ``traceback`` of an error."""

    def __init__(self, *args: object, **other: object) -> None:
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.fields(record), ensure_ascii=False)

    def fields(self, record: logging.LogRecord) -> dict[str, object]:
        found: dict[str, object] = {
            "log": record.getMessage(),
            "namespace": record.name,
            "level": record.levelname,
        }
        request = getattr(record, "request", "")
        if request:
            found["request"] = request
        if record.processName not in (None, "MainProcess"):
            found["process"] = record.processName
        if record.exc_info and record.exc_info[0] is not None:
            found["exc_type"] = record.exc_info[0].__name__
            found["exc_value"] = str(record.exc_info[1])
            found["traceback"] = self.formatException(record.exc_info)
        return found


class TerseJsonFormatter(JsonFormatter):
    """The same, with its ``time`` in seconds."""

    def fields(self, record: logging.LogRecord) -> dict[str, object]:
        return {**super().fields(record), "time": round(record.created, 2)}
