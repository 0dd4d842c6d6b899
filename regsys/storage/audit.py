"""The audit log's rows. An account's entry is a row of its transaction."""

from __future__ import annotations

import json
from typing import Any, Iterator, Sequence

import attr
from zope.interface import implementer

from regsys.interfaces.internal import IExpiring
from regsys.model import NewAccount, UserID
from regsys.model.audit import REGISTERED, AuditEntry, AuditFilter
from regsys.model.token_text import token_hash
from regsys.storage.batches import delete_some
from regsys.storage.database import Database, Row, Transaction

# In place of an erased administrator's name.
SOMEBODY_ERASED = "(erased)"

_COLUMNS = "entry_id, when_ms, what, user_id, actor, address, rule, times, details"
_MARKS = "(" + ", ".join("?" * len(_COLUMNS.split())) + ")"


def record(txn: Transaction, entries: Sequence[AuditEntry]) -> None:
    """Write these entries, in one statement; no statement if there are none. One that was written
    before stays, with ``times`` as it is now: a count that grows is written again."""
    if entries:
        txn.run(
            f"INSERT INTO audit ({_COLUMNS}) VALUES {', '.join([_MARKS] * len(entries))}"
            " ON CONFLICT (entry_id) DO UPDATE SET times = excluded.times",
            [value for entry in entries for value in _values(entry)],
        )


def record_account(txn: Transaction, new: NewAccount) -> None:
    """Write that this account was allowed, if the log is on."""
    allowed = new.allowed
    if allowed is not None:
        entry = AuditEntry(
            entry_id=_id_of(new),
            when_ms=new.created_ms,
            what=REGISTERED,
            user_id=str(new.user_id),
            by=allowed.by,
            address=allowed.address,
            rule=allowed.rule,
            details=allowed.details,
        )
        record(txn, (entry,))


def undo_account(txn: Transaction, new: NewAccount) -> None:
    """The account is removed as if it had never been made."""
    if new.allowed is not None:
        txn.run("DELETE FROM audit WHERE entry_id = ?", (_id_of(new),))


def _id_of(new: NewAccount) -> str:
    # Hashed, because the key may be a session's id, which is a secret.
    return token_hash(f"audit {new.user_id} {new.key}")


def _values(entry: AuditEntry) -> Sequence[Any]:
    return (
        entry.entry_id,
        entry.when_ms,
        entry.what,
        entry.user_id,
        entry.by,
        entry.address,
        entry.rule,
        entry.times,
        json.dumps(dict(entry.details), sort_keys=True),
    )


@implementer(IExpiring)
@attr.frozen
class AuditStore:
    """``retention_ms``: how long entries are kept, also those from before the log was switched
    off."""

    db: Database
    retention_ms: int

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        """Write these entries. Idempotent."""
        await self.db.transaction("add_audit_entries", record, entries)

    async def list(self, wanted: AuditFilter, at_most: int) -> Sequence[AuditEntry]:
        """The entries that are wanted, the newest first, at most so many."""
        return await self.db.autocommit("list_audit_entries", _list, wanted, at_most)

    async def erase(self, user_id: UserID, entries: Sequence[AuditEntry]) -> None:
        """Delete the entries about this account, and take its name out of those about others. The
        ``entries``, which say that this was done, are written in the same transaction."""
        await self.db.transaction("erase_audit_entries", _erase, user_id, entries)

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        before_ms = now_ms - self.retention_ms
        return await self.db.transaction("expire_audit_entries", _expire, before_ms, at_most)


def _conditions(wanted: AuditFilter) -> Iterator[tuple[str, Sequence[Any]]]:
    for column, value in (
        ("user_id = ?", wanted.user_id),
        ("actor = ?", wanted.by),
        ("what = ?", wanted.what),
        ("when_ms >= ?", wanted.since_ms),
        ("when_ms < ?", wanted.until_ms),
    ):
        if value is not None:
            yield column, (value,)
    if wanted.rule is not None:
        start = f"{wanted.rule} "
        yield "(rule = ? OR SUBSTR(rule, 1, ?) = ?)", (wanted.rule, len(start), start)
    if wanted.addresses is not None:
        marks = ", ".join("?" * len(wanted.addresses))
        yield f"address IN ({marks})", wanted.addresses


def _list(txn: Transaction, wanted: AuditFilter, at_most: int) -> Sequence[AuditEntry]:
    found = list(_conditions(wanted))
    where = " AND ".join(["1 = 1", *(condition for condition, _ in found)])
    rows = txn.all(
        f"SELECT {_COLUMNS} FROM audit WHERE {where} ORDER BY when_ms DESC, entry_id DESC LIMIT ?",
        [*(value for _, values in found for value in values), at_most],
    )
    return [_entry(row) for row in rows]


def _entry(row: Row) -> AuditEntry:
    entry_id, when_ms, what, user_id, actor, address, rule, times, details = row
    return AuditEntry(
        entry_id=entry_id,
        when_ms=when_ms,
        what=what,
        user_id=user_id,
        by=actor,
        address=address,
        rule=rule,
        times=times,
        details=json.loads(details),
    )


def _erase(txn: Transaction, user_id: UserID, entries: Sequence[AuditEntry]) -> None:
    txn.run("DELETE FROM audit WHERE user_id = ?", (str(user_id),))
    txn.run(
        "UPDATE audit SET actor = ?, address = NULL WHERE actor = ?",
        (SOMEBODY_ERASED, str(user_id)),
    )
    record(txn, entries)


def _expire(txn: Transaction, before_ms: int, at_most: int) -> int:
    condition = "when_ms <= ? ORDER BY when_ms"
    return delete_some(txn, "audit", "entry_id", condition, (before_ms,), at_most)
