"""Helpers for tests that look into our tables."""

from __future__ import annotations

from typing import Any, Sequence

from twisted.internet.defer import Deferred

from regsys.storage.database import Database, Transaction
from tests.support import neighbour

ALL = (
    "users profiles devices logins threepids outcomes milestones jobs uia_sessions"
    " registration_tokens registration_token_uses registration_token_reservations used_nonces"
    " consents validations validation_tokens first_times pushers bindings active_users"
    " watches rate_limits replication_calls provisioning external_ids adopted_users"
    " adopted_registration_tokens adoption_progress hand_backs approvals"
    " administrator_sessions audit newcomers"
).split()

Row = tuple[Any, ...]


async def rows(db: Database, sql: str, *values: Any) -> Sequence[Row]:
    found = await db.autocommit("test", lambda txn: txn.all(sql, values))
    return [tuple(row) for row in found]


async def contents(db: Database) -> dict[str, Sequence[Row]]:
    """Every row of every table."""
    return {table: sorted(await rows(db, f"SELECT * FROM {table}"), key=repr) for table in ALL}


def _rows_of_the_test(txn: Transaction, sql: str, values: Sequence[Any]) -> Sequence[Row]:
    txn.run("SAVEPOINT test")
    neighbour.delete_rows(txn, [table for table in ALL if table in sql])
    found = [tuple(row) for row in txn.all(sql, values)]
    txn.run("ROLLBACK TO SAVEPOINT test")
    return found


class Tables:
    """For tests on one of ``tests.support.databases``; ``self.db`` is the database.

    Each table has rows of a neighbour (``tests.support.neighbour``), which must be unchanged when
    the test ends: a call must not change other rows than its own.
    """

    db: Database

    def setUp(self: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(self.new_database())

    async def new_database(self: Any) -> None:
        """A new database, with the neighbour in it."""
        self.db = db = self.database()
        await neighbour.insert_rows(db)
        before = await contents(db)

        async def compare() -> None:
            after = await contents(db)
            for table, expected in before.items():
                missing = [row for row in expected if row not in after[table]]
                self.assertEqual(missing, [], f"{table}: a call changed rows of the neighbour")

        self.addCleanup(compare)

    async def rows(self, sql: str, *values: Any) -> Sequence[Row]:
        """Without the neighbour's rows."""
        return await self.db.transaction("test", _rows_of_the_test, sql, values)

    async def change(self, sql: str, *values: Any) -> None:
        """Change the tables as no call does."""
        await self.db.transaction("test", lambda txn: txn.run(sql, values))

    async def contents(self) -> dict[str, Sequence[Row]]:
        return await contents(self.db)
