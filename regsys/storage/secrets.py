"""Secrets that the server has made for itself, such as a macaroon key nobody configured."""

from __future__ import annotations

from regsys.storage.database import Transaction


def get_or_keep(txn: Transaction, name: str, candidate: str) -> str:
    """The secret kept under this name: ``candidate``, if it is the first one offered."""
    txn.insert("secrets", name=name, value=candidate)
    row = txn.one("SELECT value FROM secrets WHERE name = ?", (name,))
    assert row is not None
    return str(row[0])
