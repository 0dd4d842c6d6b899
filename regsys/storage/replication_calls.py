"""The calls of workers, each with its outcome, so that one that is sent again does nothing again
(contract B11.4)."""

from __future__ import annotations

import json
from typing import Optional

import attr
from zope.interface import implementer

from regsys.errors import CallReused
from regsys.interfaces.internal import IExpiring
from regsys.model import LoginTerms
from regsys.model.account_json import parse_terms
from regsys.model.accounts import CallOutcome
from regsys.model.replication import ReplicationCall
from regsys.storage.batches import delete_some
from regsys.storage.database import Database, Transaction
from regsys.storage.idempotency_keys import KEPT_MS


def claim(
    txn: Transaction, call: ReplicationCall, now_ms: int, terms: Optional[LoginTerms] = None
) -> Optional[CallOutcome]:
    """Keep the call, with what this transaction does for it. Returns None, or the outcome that the
    call had before. Raises CallReused.

    Waits while another transaction has claimed the same call and is not committed yet.
    """
    while not txn.insert(
        "replication_calls",
        call=_key(call),
        user_id=call.user_id,
        fingerprint=call.fingerprint,
        terms=None if terms is None else json.dumps(attr.asdict(terms)),
        created_ms=now_ms,
    ):
        earlier = _find(txn, call)
        if earlier is not None:
            return earlier
        # Rolled back just now: try to claim it again.
    return None


def keep_maker(txn: Transaction, call: ReplicationCall, now_ms: int, made_earlier: bool) -> None:
    """Keep the call if it makes the account now. If that was ``made_earlier``, it is known whether
    by this call or by another one with the same idempotency key. Raises CallReused."""
    if made_earlier:
        _find(txn, call)
    elif claim(txn, call, now_ms) is not None:
        # The same body has the same idempotency key: that has expired meanwhile.
        raise CallReused()


def undo(txn: Transaction, call: ReplicationCall) -> None:
    """What the call has done was undone: it may be sent again."""
    txn.run("DELETE FROM replication_calls WHERE call = ?", (_key(call),))


def _key(call: ReplicationCall) -> str:
    return f"{call.name} {call.call_id}"


def _find(txn: Transaction, call: ReplicationCall) -> Optional[CallOutcome]:
    row = txn.one(
        "SELECT user_id, fingerprint, terms FROM replication_calls WHERE call = ?", (_key(call),)
    )
    if row is None:
        return None
    if (row[0], row[1]) != (call.user_id, call.fingerprint):
        raise CallReused()
    return CallOutcome(None if row[2] is None else parse_terms(json.loads(row[2])))


@implementer(IExpiring)
@attr.frozen
class ReplicationCallStore:
    db: Database

    async def find(self, call: ReplicationCall) -> Optional[CallOutcome]:
        """The outcome of this call; None if it has none yet. Raises CallReused."""
        return await self.db.autocommit("find_call", _find, call)

    async def keep(self, call: ReplicationCall, now_ms: int) -> None:
        """Keep a call whose work is done, and was idempotent by itself. Raises CallReused."""
        await self.db.transaction("keep_call", claim, call, now_ms)

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        return await self.db.transaction("expire_calls", _delete_expired, now_ms, at_most)


def _delete_expired(txn: Transaction, now_ms: int, at_most: int) -> int:
    before = (now_ms - KEPT_MS,)
    return delete_some(txn, "replication_calls", "call", "created_ms < ?", before, at_most)
