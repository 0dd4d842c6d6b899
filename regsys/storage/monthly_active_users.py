"""When users were last seen: the month's active users, and guests."""

from __future__ import annotations

from typing import Any, Sequence

import attr
from zope.interface import implementer

from regsys.config import BlockingConfig
from regsys.interfaces.internal import IAccountData, IExpiring
from regsys.model import UserID, UserType
from regsys.model.accounts import ACTIVE_MS, CLOCKS_APART_MS
from regsys.storage.batches import delete_some
from regsys.storage.database import Database, Transaction


@implementer(IAccountData, IExpiring)
@attr.frozen(kw_only=True)
class ActivityStore:
    """``config`` says which users count, if any. ``tracks_guests``: whether it is recorded when
    guests were last seen."""

    db: Database
    config: BlockingConfig
    tracks_guests: bool

    async def record_seen(self, user_ids: Sequence[UserID], now_ms: int) -> None:
        """Record that these users were seen now; users that do not exist are skipped. A later time
        in the row stays, unless it is further in the future than CLOCKS_APART_MS."""
        await self.db.transaction(
            "saw_users", self._record_seen, [str(item) for item in user_ids], now_ms
        )

    async def count(self, now_ms: int, at_most: int) -> int:
        """How many users were seen in the last ACTIVE_MS, but at most ``at_most``: the cost grows
        with the result, not with the number of accounts. Times that are further in the future than
        CLOCKS_APART_MS do not count."""
        return await self.db.autocommit("count_active_users", _count, now_ms, at_most)

    async def is_active(self, user_id: UserID, now_ms: int) -> bool:
        """Whether ``count`` includes this user."""
        return await self.db.autocommit("is_active_user", _is_active, user_id, now_ms)

    async def add(self, user_id: UserID, now_ms: int) -> None:
        """Count this user as seen now, without a trial period; nothing happens if there is no such
        account."""
        await self.db.autocommit("add_active_user", _add, user_id, now_ms)

    async def delete_for(self, user_id: UserID) -> None:
        await self.db.autocommit("forget_active_user", _delete_for, user_id)

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        return await self.db.transaction("expire_active_users", _delete_expired, now_ms, at_most)

    def _record_seen(self, txn: Transaction, user_ids: Sequence[str], now_ms: int) -> None:
        places = ", ".join("?" for _ in user_ids)
        if self.tracks_guests:
            txn.run(
                f"UPDATE users SET seen_ms = ? WHERE user_id IN ({places})"
                " AND is_guest AND NOT deactivated"
                " AND COALESCE(seen_ms, created_ms) NOT BETWEEN ? AND ?",
                (now_ms, *user_ids, now_ms, now_ms + CLOCKS_APART_MS),
            )
        if self.config.counts_users:
            created_by, values = self._created_by(now_ms)
            txn.run(
                "INSERT INTO active_users (user_id, seen_ms)"
                " SELECT u.user_id, ? FROM users u LEFT JOIN active_users a"
                " ON a.user_id = u.user_id"
                f" WHERE u.user_id IN ({places}) AND NOT u.is_guest AND NOT u.deactivated"
                " AND COALESCE(u.user_type, '') <> ?"
                # A user who is counted stays counted, for example because of a reserved address.
                f" AND (a.user_id IS NOT NULL OR u.created_ms <= {created_by})"
                f"{'' if self.config.counts_services else ' AND u.appservice_id IS NULL'}"
                " ORDER BY u.user_id" + _SEEN_LATER,
                (now_ms, *user_ids, UserType.SUPPORT.value, *values, CLOCKS_APART_MS),
            )

    def _created_by(self, now_ms: int) -> tuple[str, Sequence[Any]]:
        """An SQL expression with its values: an account whose trial is over was created by then."""
        trials = sorted(self.config.service_trial_ms.items())
        cases = "".join(" WHEN ? THEN ?" for _ in trials)
        values = [value for name, ms in trials for value in (name, now_ms - ms)]
        default = now_ms - self.config.trial_ms
        return (f"CASE u.appservice_id{cases} ELSE ? END" if cases else "?"), [*values, default]


# Another process may have recorded a later time, which stays unless its clock was wrong. Takes one
# value, CLOCKS_APART_MS.
_SEEN_LATER = (
    " ON CONFLICT (user_id) DO UPDATE SET seen_ms = excluded.seen_ms"
    " WHERE active_users.seen_ms NOT BETWEEN excluded.seen_ms AND excluded.seen_ms + ?"
)
_ACTIVE = "seen_ms > ? AND seen_ms <= ?"


def _month(now_ms: int) -> tuple[int, int]:
    """The values of ``_ACTIVE``."""
    return now_ms - ACTIVE_MS, now_ms + CLOCKS_APART_MS


def _count(txn: Transaction, now_ms: int, at_most: int) -> int:
    row = txn.one(
        "SELECT COUNT(*) FROM"
        f" (SELECT 1 AS one FROM active_users WHERE {_ACTIVE} LIMIT ?) AS found",
        (*_month(now_ms), at_most),
    )
    assert row is not None
    return int(row[0])


def _is_active(txn: Transaction, user_id: UserID, now_ms: int) -> bool:
    sql = f"SELECT 1 FROM active_users WHERE user_id = ? AND {_ACTIVE}"
    return txn.one(sql, (str(user_id), *_month(now_ms))) is not None


def _add(txn: Transaction, user_id: UserID, now_ms: int) -> None:
    # Not for a deactivated user: the job may run late.
    txn.run(
        "INSERT INTO active_users (user_id, seen_ms)"
        " SELECT user_id, ? FROM users WHERE user_id = ? AND NOT deactivated" + _SEEN_LATER,
        (now_ms, str(user_id), CLOCKS_APART_MS),
    )


def _delete_for(txn: Transaction, user_id: UserID) -> None:
    txn.run("DELETE FROM active_users WHERE user_id = ?", (str(user_id),))


def _delete_expired(txn: Transaction, now_ms: int, at_most: int) -> int:
    condition = "seen_ms <= ? ORDER BY seen_ms"
    return delete_some(txn, "active_users", "user_id", condition, (now_ms - ACTIVE_MS,), at_most)
