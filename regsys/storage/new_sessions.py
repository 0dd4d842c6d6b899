"""The row of a new UIA session, whose caps are part of its one statement."""

from __future__ import annotations

import json
from typing import Any, Iterable, Mapping, Optional

from regsys.errors import UsernameHeld
from regsys.model import Client, UIASession
from regsys.model.networks import WHOLE_SITE
from regsys.model.uia import StageFailure
from regsys.storage import name_holds, stage_failures
from regsys.storage.database import Transaction


def add(
    txn: Transaction, session: UIASession, at_most: int, failure: Optional[StageFailure]
) -> bool:
    """As ``SessionStore.add``."""
    # Another session may have taken, or left, the name meanwhile.
    for _ in range(2):
        if _inserted(txn, session, at_most, failure):
            return True
        if session.held_name is None:
            break
        name_holds.end_expired(txn, session.held_name, session.created_ms)
        if name_holds.holder_of(txn, session.held_name, session.created_ms) is not None:
            raise UsernameHeld()
    return False


def _inserted(
    txn: Transaction, session: UIASession, at_most: int, failure: Optional[StageFailure]
) -> bool:
    # The counts stop at their caps, and are part of the one statement.
    holds = session.held_name is not None
    values = (
        session.session_id,
        session.method,
        session.uri,
        None if session.user_id is None else str(session.user_id),
        session.address,
        session.site,
        to_json(session.params),
        to_json(session.results),
        clients_json(session.clients),
        session.password_id,
        session.hashing_until_ms,
        None if session.guest_id is None else str(session.guest_id),
        stage_failures.added(None, failure),
        session.created_ms,
        session.expires_ms,
        *(name_holds.join_values(session) if holds else ()),
        session.address,
        session.created_ms,
        at_most,
        at_most,
        session.site,
        session.created_ms,
        at_most * WHOLE_SITE,
        at_most * WHOLE_SITE,
    )
    added = txn.run(
        "INSERT INTO uia_sessions (session_id, method, uri, user_id, address, site, params,"
        " results, clients, password_mark, hashing_until_ms, guest_id, failures, created_ms,"
        f" expires_ms, finished{', held_name, held_until_ms' if holds else ''})"
        " SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, FALSE"
        f"{', hold.name, hold.until_ms' + name_holds.JOIN if holds else ''}"
        " WHERE (SELECT COUNT(*) FROM"
        " (SELECT 1 FROM uia_sessions WHERE address = ? AND expires_ms > ? AND NOT finished"
        " LIMIT ?) AS of_address) < ? AND (SELECT COUNT(*) FROM"
        " (SELECT 1 FROM uia_sessions WHERE site = ? AND expires_ms > ? AND NOT finished"
        " LIMIT ?) AS of_site) < ? ON CONFLICT DO NOTHING",
        values,
    )
    # A row with this id was written by an earlier try of this call, whose reply was lost.
    return (
        added == 1
        or txn.one("SELECT 1 FROM uia_sessions WHERE session_id = ?", (session.session_id,))
        is not None
    )


# Not escaped to ASCII: that would multiply the size of what a client may store in a session.
_encode = json.JSONEncoder(ensure_ascii=False).encode


def to_json(value: Mapping[str, Any]) -> str:
    return _encode(dict(value))


def clients_json(clients: Iterable[Client]) -> str:
    return _encode([(client.address, client.user_agent) for client in clients])
