"""Processes over one database must have the same secrets: a start with others is reported."""

from __future__ import annotations

import contextlib
import secrets
from typing import Any, Mapping

from twisted.trial.unittest import SynchronousTestCase

from regsys.testing import config
from regsys.wiring.process import connect, prepare
from tests.support import postgres
from tests.support.databases import sqlite_file
from tests.support.service_process import psycopg2

KEY = "the key of this test"


class Secrets:
    database: Mapping[str, Any]

    def setUp(self: Any) -> None:
        # Otherwise one of 256 runs would not see the difference.
        self.patch(secrets, "token_hex", lambda count: "salt")
        self.told: list[str] = []

    def start(self: Any, **options: Any) -> list[str]:
        """What a process that starts with these options is told."""
        options = {"macaroon_secret_key": KEY, **options}
        self.chosen, told = config(database=self.database, **options), []
        prepare(self.chosen, told.append)
        self.told += told
        return told

    def assertTold(self: Any, told: list[str], *names: str) -> None:
        self.assertEqual([sentence.split(" ")[0] for sentence in told], list(names))

    def test_same(self: Any) -> None:
        """Processes with the same secrets say nothing, however often they start."""
        for _ in range(3):
            self.assertTold(self.start())

    def test_changed(self: Any) -> None:
        """The first with a new key says so, the others that get it do not. One that still has the
        old one says so again."""
        self.start()
        self.assertTold(
            self.start(macaroon_secret_key="another, on purpose"), "macaroon_secret_key"
        )
        self.assertTold(self.start(macaroon_secret_key="another, on purpose"))
        self.assertTold(self.start(), "macaroon_secret_key")

    def test_others(self: Any) -> None:
        """So it is with the other secrets, also where one process has none."""
        self.start(form_secret="a", registration_shared_secret="b")
        self.assertTold(self.start(form_secret="a"), "registration_shared_secret")
        peppered = {"password_config": {"pepper": "c"}}
        self.assertTold(self.start(**peppered), "password_config.pepper", "form_secret")

    def test_generated(self: Any) -> None:
        """A key that is kept in the database is the same for all, and differs from one that a
        process brings."""
        self.start(macaroon_secret_key=None)
        self.assertTold(self.start(macaroon_secret_key=None))
        self.assertTold(self.start(), "macaroon_secret_key")

    def test_nothingTold(self: Any) -> None:
        """Neither the sentences nor the database have a secret, or a digest that is fit for
        guessing."""
        self.start()
        self.start(macaroon_secret_key="another, on purpose")
        with contextlib.closing(connect(self.chosen.database)) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT name, value FROM secrets ORDER BY name")
            kept = dict(cursor.fetchall())
        self.assertEqual(len(kept), 4)
        for value in kept.values():
            self.assertRegex(value, "^salt:[0-9a-f]{2}$")
        for word in (KEY, "another, on purpose"):
            self.assertNotIn(word, f"{kept}{self.told}")


class SQLiteTests(Secrets, SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.database = {"name": "sqlite3", "args": {"database": sqlite_file(self)}}


class PostgresTests(Secrets, SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.database = psycopg2(postgres.dsn(self))
