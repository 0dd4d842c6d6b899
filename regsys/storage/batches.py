"""Changing at most so many rows at a time, in the one form that no query plan can change.

``… WHERE key IN (SELECT key … LIMIT ? FOR UPDATE SKIP LOCKED)`` may change more rows than its LIMIT
says: PostgreSQL is free to run that sub-select once for each row outside, and each run passes over
what the one before has locked. A materialized CTE runs once a statement, whatever the plan.
"""

from __future__ import annotations

from typing import Any, Sequence

from regsys.storage.database import Transaction


def chosen(txn: Transaction, *selects: str) -> str:
    """The beginning of a statement that changes rows: ``chosen`` has what all the ``selects`` find,
    each of which ends with its LIMIT. The rows are locked; those that others hold are passed over.
    """
    parts = [
        f"SELECT * FROM ({select}{txn.dialect.skip_locked}) AS part{number}"
        for number, select in enumerate(selects)
    ]
    return f"WITH chosen AS MATERIALIZED ({' UNION ALL '.join(parts)}) "


def delete_some(
    txn: Transaction, table: str, key: str, condition: str, values: Sequence[Any], at_most: int
) -> int:
    """Delete up to ``at_most`` rows of the table that meet the condition, which may end with an
    order; returns how many went. ``key``: the column that is the table's primary key."""
    # Counted by what it returns: Python's sqlite3 knows no row count of a statement WITH a CTE.
    gone = txn.all(
        chosen(txn, f"SELECT {key} FROM {table} WHERE {condition} LIMIT ?")
        + f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM chosen) RETURNING {key}",
        (*values, at_most),
    )
    return len(gone)
