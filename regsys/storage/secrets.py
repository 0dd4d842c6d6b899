"""Secrets that the server generates for itself, such as an unconfigured macaroon key."""

from __future__ import annotations

from regsys.storage.database import Transaction


def get_or_keep(txn: Transaction, name: str, candidate: str) -> str:
    """The secret stored under this name; ``candidate`` is stored if there is none yet."""
    txn.insert("secrets", name=name, value=candidate)
    row = txn.one("SELECT value FROM secrets WHERE name = ?", (name,))
    assert row is not None
    return str(row[0])
