"""The neighbour is in every table, and a call that changes its rows is found out."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from tests.support.databases import InMemory, OnPostgreSQL
from tests.support.neighbour import UNNAMED
from tests.support.tables import ALL, Tables


class NeighbourTests(Tables):
    async def test_everyTable(self: Any) -> None:
        """It has a row in each of our tables, and none that has a name where a test looks into
        them."""
        contents = await self.contents()
        self.assertEqual([table for table in ALL if not contents[table]], [])
        seen = {table: await self.rows(f"SELECT * FROM {table}") for table in ALL}
        self.assertEqual({table for table, rows in seen.items() if rows}, UNNAMED)
        self.assertEqual(await self.contents(), contents)


class MemoryTests(InMemory, NeighbourTests, TestCase):
    async def test_allTables(self: Any) -> None:
        """``ALL`` names every table that holds what calls write."""
        found = await self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        others = {"secrets", "schema_versions", "user_number"}
        self.assertEqual({name for (name,) in found} - others, set(ALL))


class PostgresTests(OnPostgreSQL, NeighbourTests, TestCase):
    pass
