"""The promises of tests/support/databases.py."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from regsys.storage.postgresql import PostgreSQL
from tests.support import postgres
from tests.support.databases import empty_postgres


class EmptyPostgresTests(SynchronousTestCase):
    def connect(self, args: postgres.Args) -> Any:
        import psycopg2

        connection = psycopg2.connect(**PostgreSQL(args).connect_args())
        self.addCleanup(connection.close)
        return connection.cursor()

    def test_nextTest(self) -> None:
        """The next test finds nothing of the one before, even if that one is still connected and
        holds every lock."""
        before = SynchronousTestCase()
        args = empty_postgres(before)
        cursor = self.connect(args)
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'regsys'")
        tables = {row[0] for row in cursor.fetchall()} - {"schema_versions"}
        cursor.execute("SET session_replication_role = replica")  # foreign keys may dangle
        for table in tables:
            cursor.execute(
                "SELECT string_agg(CASE data_type WHEN 'text' THEN '''1''' WHEN 'boolean'"
                " THEN 'TRUE' ELSE '1' END, ',' ORDER BY ordinal_position)"
                f" FROM information_schema.columns WHERE table_name = '{table}'"
            )
            cursor.execute(f"INSERT INTO {table} VALUES ({cursor.fetchone()[0]})")
        cursor.execute("SELECT nextval('user_number')")
        cursor.connection.commit()
        cursor.execute(f"LOCK TABLE {','.join(tables)}")
        self.assertTrue(before.doCleanups())
        self.assertEqual(empty_postgres(self), args)
        cursor = self.connect(args)
        for table in tables:
            cursor.execute(f"SELECT COUNT(*) FROM {table}")
            self.assertEqual(cursor.fetchone(), (0,), table)
        cursor.execute("SELECT nextval('user_number')")
        self.assertEqual(cursor.fetchone(), (1,))

    def test_notEmptied(self) -> None:
        """A database that cannot be emptied is not given to another test."""
        before = SynchronousTestCase()
        args = empty_postgres(before)
        cursor = self.connect(args)
        cursor.execute("DROP TABLE bindings")
        cursor.connection.commit()
        self.assertFalse(before.doCleanups())
        self.assertNotEqual(empty_postgres(self), args)
