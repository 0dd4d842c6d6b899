"""A look into our tables, for tests of what stands in them."""

from __future__ import annotations

from typing import Any, Sequence

from regsys.storage.database import Database

ALL = (
    "users profiles devices logins threepids outcomes milestones jobs uia_sessions"
    " registration_tokens registration_token_uses registration_token_reservations used_nonces"
    " consents validations validation_tokens first_times pushers bindings"
).split()

Row = tuple[Any, ...]


async def rows(db: Database, sql: str, *values: Any) -> Sequence[Row]:
    found = await db.read("test", lambda txn: txn.all(sql, values))
    return [tuple(row) for row in found]


async def contents(db: Database) -> dict[str, Sequence[Row]]:
    """Every row there is."""
    return {table: sorted(await rows(db, f"SELECT * FROM {table}"), key=repr) for table in ALL}


class Tables:
    """For tests on one of ``tests.databases``; ``self.db`` is what they work on."""

    db: Database

    def setUp(self: Any) -> None:
        self.db = self.database()

    async def rows(self, sql: str, *values: Any) -> Sequence[Row]:
        return await rows(self.db, sql, *values)

    async def change(self, sql: str, *values: Any) -> None:
        """Do to the tables what no call does."""
        await self.db.write("test", lambda txn: txn.run(sql, values))

    async def contents(self) -> dict[str, Sequence[Row]]:
        return await contents(self.db)
