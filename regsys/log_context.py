"""Which request a log line belongs to (the ``%(request)s`` of a ``log_config``)."""

from __future__ import annotations

import itertools
from contextvars import ContextVar
from typing import Optional

import attr

# Letters of a UIA session's id in the log: enough to find its lines, too few to use the session.
SESSION_LETTERS = 6

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_numbers = itertools.count(1)


@attr.define
class RequestContext:
    """One request. ``number`` counts the process's requests. ``session``: the first letters of its
    UIA session's id, once known; ``address``: the client's."""

    method: str
    number: int
    session: str = ""
    address: str = ""

    @property
    def name(self) -> str:
        """Such as ``POST-17``, or ``POST-17-aBcDeF`` with its UIA session."""
        parts = (self.method, str(self.number), self.session)
        return "-".join(part for part in parts if part)


_current: ContextVar[Optional[RequestContext]] = ContextVar("regsys_request", default=None)


def begin_request(method: str) -> None:
    """Start a request: later log lines of this context, and of copies of it, belong to it."""
    # A client may send any word as its method.
    known = method if method in _METHODS else "OTHER"
    _current.set(RequestContext(known, next(_numbers)))


def current_request() -> Optional[RequestContext]:
    """The current request; None outside of requests."""
    return _current.get()


def note_session(session_id: str) -> None:
    """Record the UIA session of the current request."""
    context = _current.get()
    if context is not None:
        context.session = session_id[:SESSION_LETTERS]


def note_address(address: str) -> None:
    """Record the client's address of the current request."""
    context = _current.get()
    if context is not None:
        context.address = address
