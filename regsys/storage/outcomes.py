"""What idempotency keys have made."""

from __future__ import annotations

import json
from typing import Optional

import attr
from zope.interface import implementer

from regsys.interfaces import IExpiring
from regsys.model import LoginTerms, NewAccount, Outcome, UserID
from regsys.storage.database import Database, Transaction

# A repeated call gets the first outcome for this long (BEHAVIOUR B11.4).
KEPT_MS = 24 * 3600 * 1000


def note(txn: Transaction, new: NewAccount, finished: bool = True) -> Optional[Outcome]:
    """Claim ``new.key`` for this transaction: None, or what the key has made already.

    A rival in the middle of the same key makes this wait for its end.
    """
    taken = txn.insert(
        "outcomes",
        key=new.key,
        user_id=str(new.user_id),
        terms=_terms(new),
        finished=finished,
        created_ms=new.created_ms,
    )
    return None if taken else find(txn, new.key)


def finish(txn: Transaction, new: NewAccount) -> bool:
    """Record how a key that was noted unfinished has ended; False if it had ended before."""
    changed = txn.run(
        "UPDATE outcomes SET user_id = ?, terms = ?, finished = TRUE"
        " WHERE key = ? AND NOT finished",
        (str(new.user_id), _terms(new), new.key),
    )
    return changed == 1


def _terms(new: NewAccount) -> Optional[str]:
    return json.dumps(attr.asdict(new.device.login.terms)) if new.device else None


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
class OutcomeStore:
    db: Database

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        return await self.db.write("expire_outcomes", _delete_expired, now_ms, at_most)


def _delete_expired(txn: Transaction, now_ms: int, at_most: int) -> int:
    return txn.run(
        "DELETE FROM outcomes WHERE key IN"
        " (SELECT key FROM outcomes WHERE created_ms < ? AND finished LIMIT ?)",
        (now_ms - KEPT_MS, at_most),
    )
