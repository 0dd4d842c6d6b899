"""The buckets that processes share over PostgreSQL: one statement a decision.

A bucket is one number: when it will have run empty, by the server's clock. It has room if that is
at least one request's interval before a full one would be empty.
"""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence

import attr
from zope.interface import implementer

from regsys.interfaces.internal import IBucketStore, IExpiring
from regsys.model.buckets import Bucket
from regsys.storage.batches import delete_some
from regsys.storage.database import Database, Transaction
from regsys.storage.own_thread import OwnThread

# How long a decision may take before the caller decides without.
DEADLINE_S = 0.75
# A bucket that is fuller than a full one by this much was counted before the server's clock was set
# back, or by a larger limit: it counts as full after one more request, instead of refusing until
# the clock has caught up. It is longer than a statement may wait for its row.
SET_BACK_US = 60_000_000
# Rows are deleted by the clock of the process that cleans up, which may be ahead.
GRACE_MS = 60 * 60 * 1000

_NOW_US = "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000000 AS BIGINT)"
# EXCLUDED.empty_us is the time now, and one interval more.
_HAS_ROOM = "(kept.empty_us <= EXCLUDED.empty_us + ? OR kept.empty_us > EXCLUDED.empty_us + ?)"
_TAKE = f"""
INSERT INTO rate_limits AS kept (key, empty_us, refused) VALUES (?, {_NOW_US} + ?, false)
ON CONFLICT (key) DO UPDATE SET
    refused = NOT {_HAS_ROOM},
    empty_us = CASE WHEN {_HAS_ROOM}
        THEN LEAST(GREATEST(kept.empty_us + ?, EXCLUDED.empty_us), EXCLUDED.empty_us + ?)
        ELSE kept.empty_us END
RETURNING refused, empty_us - {_NOW_US}
"""


@implementer(IBucketStore)
@attr.frozen
class RateLimitStore:
    """``db`` must be PostgreSQL. ``pool`` is its pool, if that is the store's own."""

    db: Database
    pool: Optional[OwnThread] = None

    @classmethod
    def beside(cls, database: Database, reactor: Any, connect: Callable[[], Any]) -> RateLimitStore:
        """Over a connection of its own to this database, whose calls are given up after
        ``DEADLINE_S``. ``connect`` opens one."""
        pool = OwnThread(reactor, connect)
        return cls(database.dispensable(pool, DEADLINE_S), pool)

    async def peek(self, buckets: Sequence[Bucket]) -> int:
        return await self.db.autocommit("peek_rate_limits", _peek, buckets)

    async def take(self, buckets: Sequence[Bucket]) -> int:
        # It may run twice, if an answer was lost: then one request counts twice.
        return await self.db.autocommit("take_rate_limits", _take, buckets)

    async def give_back(self, buckets: Sequence[Bucket]) -> None:
        await self.db.autocommit("give_back_rate_limits", _give_back, buckets)

    def close(self) -> None:
        if self.pool is not None:
            self.pool.close()


@implementer(IExpiring)
@attr.frozen
class EmptyBuckets:
    """The rows of buckets that have run empty, which say nothing any more."""

    db: Database

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        return await self.db.transaction("expire_rate_limits", _delete_expired, now_ms, at_most)


def _peek(txn: Transaction, buckets: Sequence[Bucket]) -> int:
    keys = [bucket.key for bucket in buckets]
    marks = ", ".join("?" * len(keys))
    rows = txn.all(
        f"SELECT key, empty_us - {_NOW_US} FROM rate_limits WHERE key IN ({marks})",
        keys,
    )
    left_us = {str(key): int(us) for key, us in rows}
    return max(_wait_us(bucket, left_us.get(bucket.key, 0)) for bucket in buckets)


def _wait_us(bucket: Bucket, left_us: int) -> int:
    """Until there is room in a bucket that will be empty in ``left_us``."""
    if left_us > bucket.full_us + SET_BACK_US:
        return 0
    return max(0, left_us + bucket.interval_us - bucket.full_us)


def _take(txn: Transaction, buckets: Sequence[Bucket]) -> int:
    for number, bucket in enumerate(buckets):
        wait_us = _take_one(txn, bucket)
        if wait_us:
            _give_back(txn, buckets[:number])
            return wait_us
    return 0


def _take_one(txn: Transaction, bucket: Bucket) -> int:
    interval_us = bucket.interval_us
    others_us = bucket.full_us - interval_us
    has_room = (others_us - interval_us, others_us + SET_BACK_US)
    row = txn.one(_TAKE, (bucket.key, interval_us, *has_room, *has_room, interval_us, others_us))
    assert row is not None
    refused, left_us = row
    return max(1, int(left_us) - others_us) if refused else 0


def _give_back(txn: Transaction, buckets: Sequence[Bucket]) -> None:
    for bucket in buckets:
        txn.run(
            "UPDATE rate_limits SET empty_us = empty_us - ? WHERE key = ?",
            (bucket.interval_us, bucket.key),
        )


def _delete_expired(txn: Transaction, now_ms: int, at_most: int) -> int:
    until_us = (now_ms - GRACE_MS) * 1000
    return delete_some(txn, "rate_limits", "key", "empty_us <= ?", (until_us,), at_most)
