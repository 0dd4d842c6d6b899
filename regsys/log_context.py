"""Which request a log line belongs to (the ``%(request)s`` of a ``log_config``)."""

from __future__ import annotations

import itertools
from contextvars import ContextVar
from typing import Optional

import attr

# Of a UIA session's id. Enough to find its lines, too few to act in it.
SESSION_LETTERS = 6

_numbers = itertools.count(1)


@attr.define
class RequestContext:
    """One request: ``number`` counts those of this process. ``session`` has the first letters of
    its UIA session, as soon as that is known; ``address`` is the client's."""

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
    """From here on, and in all that is begun here, the log lines are a new request's."""
    # A client may send any word as its method.
    known = method if method.isascii() and method.isalpha() and len(method) <= 7 else "OTHER"
    _current.set(RequestContext(known, next(_numbers)))


def current_request() -> Optional[RequestContext]:
    """The request under way; None: what happens belongs to none."""
    return _current.get()


def note_session(session_id: str) -> None:
    """The request under way is about this UIA session."""
    context = _current.get()
    if context is not None:
        context.session = session_id[:SESSION_LETTERS]


def note_address(address: str) -> None:
    """The request under way comes from this address."""
    context = _current.get()
    if context is not None:
        context.address = address
