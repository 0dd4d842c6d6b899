"""Guests whom nobody has seen for long."""

from __future__ import annotations

import attr

from regsys.model import GUEST_DEVICE_ID
from regsys.storage.batches import chosen
from regsys.storage.database import Database, Transaction

_WATCH = "guests"


@attr.frozen
class GuestStore:
    """Guests and their end."""

    db: Database

    async def watched_since(self, now_ms: int, max_gap_ms: int) -> int:
        """Since when (ms) this has been called without a break longer than ``max_gap_ms``, by
        whatever process; ``now_ms`` if there was one."""
        return await self.db.autocommit("watch_guests", _watched_since, now_ms, max_gap_ms)

    async def end_idle(self, idle_since_ms: int, at_most: int) -> int:
        """Deactivate up to ``at_most`` guests who were neither born nor seen since then; returns
        how many. Never one who is becoming a user in this moment."""
        return await self.db.transaction("end_guests", _end_idle, idle_since_ms, at_most)


def _watched_since(txn: Transaction, now_ms: int, max_gap_ms: int) -> int:
    row = txn.one(
        "INSERT INTO watches (name, since_ms, last_ms) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET last_ms = excluded.last_ms, since_ms ="
        # A watch that began in the future was begun by a clock that has been put right since.
        " CASE WHEN watches.last_ms < ? OR watches.since_ms > excluded.since_ms"
        " THEN excluded.since_ms ELSE watches.since_ms END"
        " RETURNING since_ms",
        (_WATCH, now_ms, now_ms, now_ms - max_gap_ms),
    )
    assert row is not None
    return int(row[0])


def _end_idle(txn: Transaction, idle_since_ms: int, at_most: int) -> int:
    # One statement decides. Who is about to become a user holds the row, and is passed over; who
    # has become one meanwhile is no guest any more when the row is looked at.
    ended = txn.all(
        chosen(
            txn,
            "SELECT user_id FROM users"
            " WHERE is_guest AND NOT deactivated AND COALESCE(seen_ms, created_ms) < ?"
            " ORDER BY COALESCE(seen_ms, created_ms) LIMIT ?",
        )
        + "UPDATE users SET deactivated = TRUE"
        " WHERE user_id IN (SELECT user_id FROM chosen) RETURNING user_id",
        (idle_since_ms, at_most),
    )
    user_ids = [row[0] for row in ended]
    if user_ids:
        places = ", ".join("?" for _ in user_ids)
        txn.run(
            f"DELETE FROM devices WHERE device_id = ? AND user_id IN ({places})",
            (GUEST_DEVICE_ID, *user_ids),
        )
    return len(user_ids)
