"""Guests that have been idle for long."""

from __future__ import annotations

import attr

from regsys.model import GUEST_DEVICE_ID
from regsys.storage.batches import chosen
from regsys.storage.database import Database, Transaction

_NAME = "guests"


@attr.frozen
class GuestStore:
    """Deactivates idle guests."""

    db: Database

    async def tracked_since(self, now_ms: int, max_gap_ms: int) -> int:
        """Since when (ms) any process has called this without a gap longer than ``max_gap_ms``;
        ``now_ms`` if there has been a longer one."""
        return await self.db.autocommit("watch_guests", _tracked_since, now_ms, max_gap_ms)

    async def deactivate_idle(self, idle_since_ms: int, at_most: int) -> int:
        """Deactivate up to ``at_most`` guests who were created and last seen before
        ``idle_since_ms``; returns how many. A guest whose upgrade is under way is skipped."""
        return await self.db.transaction("end_guests", _deactivate_idle, idle_since_ms, at_most)


def _tracked_since(txn: Transaction, now_ms: int, max_gap_ms: int) -> int:
    row = txn.one(
        "INSERT INTO watches (name, since_ms, last_ms) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET last_ms = excluded.last_ms, since_ms ="
        # A start in the future was written by a clock that was wrong then.
        " CASE WHEN watches.last_ms < ? OR watches.since_ms > excluded.since_ms"
        " THEN excluded.since_ms ELSE watches.since_ms END"
        " RETURNING since_ms",
        (_NAME, now_ms, now_ms, now_ms - max_gap_ms),
    )
    assert row is not None
    return int(row[0])


def _deactivate_idle(txn: Transaction, idle_since_ms: int, at_most: int) -> int:
    # One statement decides. An upgrade under way has locked the guest's row, which is skipped;
    # after an upgrade the row is no guest's any more.
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
