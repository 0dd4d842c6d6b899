"""Registrations that are not finished, as the operator sees and ends them."""

from __future__ import annotations

import json
from typing import AsyncGenerator, Collection, Mapping, Sequence

import attr

from regsys.model.signups import Delivery, HalfFinished, OpenSession, SentMessage
from regsys.storage import stage_failures
from regsys.storage.database import Database, Row, Transaction

A_PAGE = 500
# Jobs of messages that are looked at, the oldest first: more wait only where nothing is delivered.
_MOST_JOBS = 10_000

_MESSAGES = (
    "SELECT v.sid, v.medium, v.address, MIN(t.made_ms), MAX(t.made_ms), v.send_attempt, v.tries,"
    " v.validated_ms, v.claimed_by, v.refusal"
    " FROM validations v JOIN validation_tokens t ON t.sid = v.sid WHERE {}"
    " GROUP BY v.sid, v.medium, v.address, v.send_attempt, v.tries, v.validated_ms, v.claimed_by,"
    " v.refusal, v.expires_ms ORDER BY v.expires_ms, v.sid"
)


@attr.frozen
class SignupStore:
    """``message_kinds``: the kinds of jobs that deliver the messages of validation sessions."""

    db: Database
    message_kinds: Collection[str]

    async def pages(self, now_ms: int) -> AsyncGenerator[Sequence[HalfFinished], None]:
        """All that are open now, some at a time: sessions, the oldest first, then the messages that
        no session has shown."""
        waiting = await self.db.autocommit(
            "jobs_of_messages", _deliveries, sorted(self.message_kinds)
        )
        after: tuple[int, str] = (-1, "")
        shown: set[str] = set()
        while sessions := await self.db.autocommit("open_sessions", _sessions, after, now_ms):
            of_session = await self.db.autocommit(
                "messages_of_sessions", _messages_of, sessions, waiting
            )
            shown.update(message.sid for found in of_session.values() for message in found)
            yield [
                HalfFinished(session=item, messages=tuple(of_session.get(item.session_id, ())))
                for item in sessions
            ]
            after = sessions[-1].created_ms, sessions[-1].session_id
        others = await self.db.autocommit("other_messages", _unclaimed, now_ms, waiting)
        yield [
            HalfFinished(session=None, messages=(message,))
            for message in others
            if message.sid not in shown
        ]

    async def end(self, found: HalfFinished) -> bool:
        """Delete it with what it has reserved and validated; False if it has made an account, or is
        about to."""
        return await self.db.transaction("end_signup", _end, found)


def _sessions(txn: Transaction, after: tuple[int, str], now_ms: int) -> Sequence[OpenSession]:
    # Sessions of accounts have a user; a reset of a password has none either, but another URI.
    rows = txn.all(
        "SELECT session_id, created_ms, address, params, results, failures, held_name,"
        " held_until_ms, password_mark FROM uia_sessions WHERE NOT finished AND user_id IS NULL"
        " AND uri LIKE ? AND expires_ms > ? AND (created_ms > ? OR created_ms = ? AND session_id >"
        " ?) ORDER BY created_ms, session_id LIMIT ?",
        ("%/register%", now_ms, after[0], after[0], after[1], A_PAGE),
    )
    return [
        OpenSession(
            session_id=row[0],
            created_ms=row[1],
            address=row[2],
            params=json.loads(row[3]),
            passed={k: v for k, v in json.loads(row[4]).items() if v is not None},
            failures=stage_failures.parsed(row[5]),
            held_name=row[6],
            held_until_ms=row[7],
            has_password=row[8] is not None,
        )
        for row in rows
    ]


def _deliveries(txn: Transaction, kinds: Sequence[str]) -> Mapping[str, Delivery]:
    """By the sid of their validation session."""
    marks = ", ".join("?" * len(kinds))
    rows = txn.all(
        "SELECT job_id, payload, attempts, due_ms, last_error FROM jobs"
        f" WHERE kind IN ({marks}) ORDER BY created_ms, job_id LIMIT ?",
        (*kinds, _MOST_JOBS),
    )
    return {
        json.loads(payload).get("sid", ""): Delivery(
            job_id=job_id, attempts=attempts, due_ms=due_ms, error=error
        )
        for job_id, payload, attempts, due_ms, error in rows
    }


def _sids(session: OpenSession) -> Collection[str]:
    """Of the validation sessions that the session has shown."""
    results = [item for item in session.passed.values() if isinstance(item, dict)]
    shown = [item.get("sid") for item in results]
    failed = [item.last.sid for item in session.failures.values()]
    return {sid for sid in (*shown, *failed) if isinstance(sid, str)}


def _messages_of(
    txn: Transaction, sessions: Sequence[OpenSession], waiting: Mapping[str, Delivery]
) -> Mapping[str, Sequence[SentMessage]]:
    owners = {sid: item.session_id for item in sessions for sid in _sids(item)}
    ids = [item.session_id for item in sessions]
    found: dict[str, list[SentMessage]] = {}
    for column, values in (("sid", [*owners]), ("claimed_by", ids)):
        if values:
            marks = ", ".join("?" * len(values))
            where = f"v.{column} IN ({marks}) AND v.user_id = ''"
            for row in txn.all(_MESSAGES.format(where), values):
                message = _message(row, waiting)
                owner = message.claimed_by or owners.get(message.sid, "")
                if message not in found.setdefault(owner, []):
                    found[owner].append(message)
    return found


def _unclaimed(
    txn: Transaction, now_ms: int, waiting: Mapping[str, Delivery]
) -> Sequence[SentMessage]:
    where = "v.user_id = '' AND v.claimed_by IS NULL AND v.expires_ms > ?"
    return [_message(row, waiting) for row in txn.all(_MESSAGES.format(where), (now_ms,))]


def _message(row: Row, waiting: Mapping[str, Delivery]) -> SentMessage:
    return SentMessage(
        sid=row[0],
        medium=row[1],
        address=row[2],
        begun_ms=row[3],
        asked_ms=row[4],
        send_attempt=row[5],
        tries=row[6],
        validated_ms=row[7],
        claimed_by=row[8],
        refusal=row[9],
        delivery=waiting.get(row[0]) if row[7] is None else None,
    )


def _end(txn: Transaction, found: HalfFinished) -> bool:
    session = found.session
    if session is not None:
        if txn.one("SELECT 1 FROM outcomes WHERE key = ?", (session.session_id,)) is not None:
            return False
        for table in ("registration_token_reservations", "uia_sessions"):
            txn.run(f"DELETE FROM {table} WHERE session_id = ?", (session.session_id,))
    for message in found.messages:
        txn.run("DELETE FROM validations WHERE sid = ? AND NOT used", (message.sid,))
    return True
