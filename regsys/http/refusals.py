"""A log line for each refused request, which tells the operator why (contract B15).

The lines are rate-limited, and hold neither secrets nor email addresses.
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
from regsys.model.identity import masked_text

WINDOW_S = 60.0
# Lines in each window: for one address, and in all.
PER_ADDRESS = 10
PER_WINDOW = 200
# Letters of a session's id that are logged: the whole id is a secret.
SESSION_LETTERS = 6
MAX_REASON = 200
# Shorter texts occur in any sentence.
MIN_SECRET = 4
# Only POSTs, and GETs of pages, are of interest: programs that look something up by GET are refused
# often, and need no log line.
# The shape of our ids.
_SESSION = re.compile(r"[A-Za-z]{24}")

log = Logger()


@attr.define(eq=False)
class RefusalLog:
    """If ``clock`` is None, there is one window without end. ``key_of`` maps an address to the key
    under which its lines are counted. ``stages``: the types that are logged; any other text may be
    a password in the wrong field."""

    clock: Optional[IReactorTime] = None
    key_of: Callable[[str], str] = str
    stages: Container[str] = ()
    _began_s: float = attr.field(default=0.0, init=False)
    _lines: int = attr.field(default=0, init=False)
    _lines_of: Counter[str] = attr.field(factory=Counter, init=False)
    _left_out: int = attr.field(default=0, init=False)

    def log_if_refused(self, call: Call, pattern: str, reply: Reply) -> None:
        """Log this answer if it is a refusal. ``pattern``: the endpoint's path, because the path as
        sent may hold a secret."""
        if not (reply.refused or reply.status >= HTTPStatus.BAD_REQUEST):
            return
        is_of_interest = call.method == "POST" or (
            call.method == "GET" and isinstance(reply.body, Page)
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
        """The stage that was tried, and the first letters of the session; "none" for either if it
        is missing."""
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
        key = self.key_of(address)
        if self._lines >= PER_WINDOW or self._lines_of[key] >= PER_ADDRESS:
            self._left_out += 1
            return False
        self._lines += 1
        self._lines_of[key] += 1
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
        self._lines_of.clear()


def _reason(body: object) -> Optional[str]:
    """The errcode and error of a JSON answer; None if it has none, like a first 401."""
    if not isinstance(body, Mapping) or not isinstance(body.get("errcode"), str):
        return None
    return f"{body['errcode']}: {body.get('error')}"


def _readable(text: str, fields: Mapping[str, Any]) -> str:
    """The text on one line, without email addresses and without anything that the client sent:
    embedders' callbacks and stages may repeat the value that they refuse."""
    line = "".join(it if it.isprintable() else " " for it in text)
    for sent in sorted(_texts(fields), key=len, reverse=True):
        line = line.replace(sent, "…")
    return masked_text(line)[:MAX_REASON]


def _texts(fields: Mapping[str, Any]) -> set[str]:
    """Every text in there, level by level: a client could drive recursion too deep."""
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
    """The fields of the query and of the body, as JSON or as a form."""
    query = {
        name.decode("utf-8", "replace"): values[0].decode("utf-8", "replace")
        for name, values in call.query_args.items()
    }
    for parse in (call.object, call.form):
        with contextlib.suppress(RegistrationError):
            return {**query, **parse()}
    return query
