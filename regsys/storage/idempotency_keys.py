"""Idempotency keys, and the accounts that were made under them."""

from __future__ import annotations

import json
from typing import Optional

import attr
from zope.interface import implementer

from regsys.interfaces.internal import IExpiring
from regsys.model import LoginTerms, NewAccount, UserID
from regsys.model.accounts import Outcome
from regsys.storage.batches import delete_some
from regsys.storage.database import Database, Transaction

# How long a repeated call gets the first call's outcome (contract B11.4).
KEPT_MS = 24 * 3600 * 1000


def claim(txn: Transaction, new: NewAccount, finished: bool = True) -> Optional[Outcome]:
    """Claim ``new.key`` for this transaction. Returns None, or the outcome that the key has
    already.

    Waits while another transaction has claimed the same key and is not committed yet.
    """
    while not txn.insert(
        "outcomes",
        key=new.key,
        user_id=str(new.user_id),
        terms=_terms(new),
        finished=finished,
        created_ms=new.created_ms,
    ):
        earlier = find(txn, new.key)
        if earlier is not None:
            return earlier
        # Released just now: try to claim it again.
    return None


def complete(txn: Transaction, new: NewAccount) -> bool:
    """Complete a key, whether it was claimed before or not; False if it was completed already."""
    changed = txn.run(
        "INSERT INTO outcomes (key, user_id, terms, finished, created_ms)"
        " VALUES (?, ?, ?, TRUE, ?) ON CONFLICT (key) DO UPDATE SET"
        " user_id = excluded.user_id, terms = excluded.terms, finished = TRUE"
        " WHERE NOT outcomes.finished",
        (new.key, str(new.user_id), _terms(new), new.created_ms),
    )
    return changed == 1


def _terms(new: NewAccount) -> Optional[str]:
    return json.dumps(attr.asdict(new.device.login.terms, recurse=False)) if new.device else None


def find(txn: Transaction, key: str) -> Optional[Outcome]:
    row = txn.one("SELECT user_id, terms, finished, created_ms FROM outcomes WHERE key = ?", (key,))
    return None if row is None else from_row(key, *row)


def from_row(
    key: str, user_id: str, terms: Optional[str], finished: bool, created_ms: int
) -> Outcome:
    return Outcome(
        key=key,
        user_id=UserID.parse(user_id),
        terms=None if terms is None else LoginTerms(**json.loads(terms)),
        finished=bool(finished),
        created_ms=created_ms,
        replayed=True,
    )


@implementer(IExpiring)
@attr.frozen
class IdempotencyKeyStore:
    db: Database

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        return await self.db.transaction("expire_outcomes", _delete_expired, now_ms, at_most)


def _delete_expired(txn: Transaction, now_ms: int, at_most: int) -> int:
    condition = "created_ms < ? AND finished"
    return delete_some(txn, "outcomes", "key", condition, (now_ms - KEPT_MS,), at_most)
