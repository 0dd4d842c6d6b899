"""A log line for each refused request, so that the operator can tell why (contract B15).

The lines are few enough in a flood, and hold neither secret nor mail address.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from http import HTTPStatus
from typing import Any, Callable, Container, Mapping, Optional

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys.errors import RegistrationError
from regsys.http.call import Call
from regsys.http.reply import Page, Reply
from regsys.model import masked_text

WINDOW_S = 60.0
# In each window: lines for one address, and for all together.
PER_ADDRESS = 10
PER_WINDOW = 200
# Of a session's id, which lets in whoever has all of it.
SESSION_LETTERS = 6
MAX_REASON = 200
# Shorter texts are in any sentence.
MIN_SECRET = 4
# Who wants something changed asks for it by POST, and people open a page by GET. Programs that
# look at something are refused much, and nobody wonders why.
_ASKS, _OPENS = "POST", "GET"
# The shape of our ids.
_SESSION = re.compile(r"[A-Za-z]{24}")

log = Logger()


@attr.define(eq=False)
class RefusalLog:
    """If ``clock`` is None, time stands still, and one window is all there is. ``key_of`` makes of
    an address whose lines are counted together. ``stages``: the types that are told; others may be
    anything, a password in the wrong field too."""

    clock: Optional[IReactorTime] = None
    key_of: Callable[[str], str] = str
    stages: Container[str] = ()
    _began_s: float = attr.field(default=0.0, init=False)
    _lines: int = attr.field(default=0, init=False)
    _of: Counter[str] = attr.field(factory=Counter, init=False)
    _left_out: int = attr.field(default=0, init=False)

    def note(self, call: Call, pattern: str, reply: Reply) -> None:
        """Tell of this answer if it refuses something. ``pattern``: the endpoint's path, because
        the path as sent may hold a secret."""
        if not (reply.refused or reply.status >= HTTPStatus.BAD_REQUEST):
            return
        is_of_interest = call.method == _ASKS or (
            call.method == _OPENS and isinstance(reply.body, Page)
        )
        reason = reply.refused or _reason(reply.body)
        if reason is None or not is_of_interest or not self._has_room(call.client.address):
            return
        fields = _fields(call)
        stage, session = self._dialogue(call, fields)
        log.info(
            "refused {method} {path} for {address}: {status} {reason}"
            " (stage {stage}, session {session})",
            method=call.method,
            path=pattern,
            address=call.client.address,
            status=reply.status,
            reason=_readable(reason, fields),
            stage=stage,
            session=session,
        )

    def _dialogue(self, call: Call, fields: Mapping[str, Any]) -> tuple[str, str]:
        """The stage that was tried, and the first letters of the session; "none" for what lacks."""
        auth = fields.get("auth")
        auth = auth if isinstance(auth, Mapping) else {}
        session = auth.get("session") or fields.get("session")
        stage = auth.get("type") or call.path_args.get("stage")
        is_known = isinstance(stage, str) and stage in self.stages
        is_session = isinstance(session, str) and _SESSION.fullmatch(session)
        return (
            (stage if is_known else "unknown") if stage else "none",
            (session[:SESSION_LETTERS] if is_session else "unknown") if session else "none",
        )

    def _has_room(self, address: str) -> bool:
        now_s = self.clock.seconds() if self.clock else 0.0
        if not 0 <= now_s - self._began_s < WINDOW_S:
            self._end_window()
            self._began_s = now_s
        if self._lines >= PER_WINDOW or self._of[key := self.key_of(address)] >= PER_ADDRESS:
            self._left_out += 1
            return False
        self._lines += 1
        self._of[key] += 1
        return True

    def _end_window(self) -> None:
        if self._left_out:
            log.info(
                "{count} more refusals are not in the log, for there were too many in a minute"
                " (of one address {per_address}, of all {per_window} are)",
                count=self._left_out,
                per_address=PER_ADDRESS,
                per_window=PER_WINDOW,
            )
        self._lines = self._left_out = 0
        self._of.clear()


def _reason(body: object) -> Optional[str]:
    """Of an answer in JSON; None if it refuses nothing, as a first 401."""
    if not isinstance(body, Mapping) or not isinstance(body.get("errcode"), str):
        return None
    return f"{body['errcode']}: {body.get('error')}"


def _readable(text: str, fields: Mapping[str, Any]) -> str:
    """The text on one line, without mail addresses, and without anything that was sent: modules
    and stages of others may repeat what they refuse."""
    line = "".join(it if it.isprintable() else " " for it in text)
    for sent in sorted(_texts(fields), key=len, reverse=True):
        line = line.replace(sent, "…")
    return masked_text(line)[:MAX_REASON]


def _texts(fields: Mapping[str, Any]) -> set[str]:
    """Every text in there, a level at a time: recursion could be driven too deep."""
    found: set[str] = set()
    level: list[Any] = [fields]
    while level:
        found.update(it for it in level if isinstance(it, str) and len(it) >= MIN_SECRET)
        level = [
            inner
            for it in level
            if isinstance(it, (Mapping, list))
            for inner in (it.values() if isinstance(it, Mapping) else it)
        ]
    return found


def _fields(call: Call) -> Mapping[str, Any]:
    """What the query and the body say, this as JSON or as a form."""
    query = {
        name.decode("utf-8", "replace"): values[0].decode("utf-8", "replace")
        for name, values in call.query_args.items()
    }
    for parse in (call.object, call.form):
        with contextlib.suppress(RegistrationError):
            return {**query, **parse()}
    return query
