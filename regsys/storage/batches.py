"""Change or delete a limited number of rows, in the one form that no query plan can break.

``… WHERE key IN (SELECT key … LIMIT ? FOR UPDATE SKIP LOCKED)`` may change more rows than its LIMIT
says: PostgreSQL may run the subquery once for each outer row, and each run skips the rows that the
earlier ones have locked. A materialized CTE runs once per statement, whatever the plan.
"""

from __future__ import annotations

from typing import Any, Sequence

from regsys.storage.database import Transaction


def chosen(txn: Transaction, *selects: str) -> str:
    """The beginning of a statement that changes rows: a CTE, ``chosen``, with the rows of all
    ``selects``, each of which ends with its LIMIT. The rows are locked; rows that other
    transactions have locked are skipped.
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
    ORDER BY; returns how many were deleted. ``key``: the table's primary key column."""
    # The returned rows are counted: Python's sqlite3 has no row count for a statement with a CTE.
    deleted = txn.all(
        chosen(txn, f"SELECT {key} FROM {table} WHERE {condition} LIMIT ?")
        + f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM chosen) RETURNING {key}",
        (*values, at_most),
    )
    return len(deleted)
