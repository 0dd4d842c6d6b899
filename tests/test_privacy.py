"""docs/privacy.md has each column of the schema, and what it says of deletion is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, Collection, Iterator, Mapping, Sequence

from regsys.model import UserID
from regsys.storage.personal_data import TOLD
from tests.support.passwords import PasswordCase

PAGE = (Path(__file__).parent.parent / "docs" / "privacy.md").read_text("utf-8")
MAP, _, REST = PAGE.partition("\n## Nobody's\n")
NOBODYS = REST.partition("\n## ")[0]
FOR_GOOD = "**for good**"
# It is in each value below that says who somebody is.
NAME = "alice"
FOREVER_S = 366 * 24 * 3600
# What this test writes itself, of what is not kept of every account.
ROWS: Mapping[str, Mapping[str, object]] = {
    "external_ids": {"auth_provider_id": "oidc", "external_id": NAME},
    "pushers": {
        "app_id": "m.email",
        "pushkey": f"{NAME}@mail.example",
        "device_id": "PHONE",
        "kind": "email",
        "app_display_name": "Email",
        "device_display_name": NAME,
        "data": "{}",
    },
    "validations": {
        "sid": "sid",
        "medium": "email",
        "address": f"{NAME}@mail.example",
        "client_secret": "secret",
        "send_attempt": 1,
        "tries": 0,
        "used": False,
        "expires_ms": 2**53,
    },
    "active_users": {"seen_ms": 2**53},
    "consents": {"policy": "terms", "version": "1", "accepted_ms": 1},
    "registration_token_uses": {"token": "word", "used_ms": 1},
}


def columns_in(text: str) -> Sequence[str]:
    return re.findall(r"`([a-z_]+\.[a-z0-9_]+)`", text)


def rows() -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    """The columns of each row of the map, and its other cells."""
    for line in MAP.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        columns = columns_in(cells[0]) if line.startswith("| `") else ()
        if columns:
            yield columns, cells[1:]


class MapTests(PasswordCase):
    options: ClassVar[Mapping[str, Any]] = {**PasswordCase.options, "mau_stats_only": True}

    def setUp(self) -> None:
        super().setUp()
        database: Any = self.subsystem.process.database
        self.connection = database.pool.connection

    def all_columns(self) -> Sequence[str]:
        tables = self.connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        return [
            f"{table}.{row[1]}"
            for (table,) in tables
            for row in self.connection.execute(f"PRAGMA table_info({table})")
        ]

    def about_alice(self) -> Collection[str]:
        """The columns that name her."""
        found = []
        for column in self.all_columns():
            table, name = column.split(".")
            sql = f"SELECT 1 FROM {table} WHERE instr(CAST({name} AS TEXT), ?) LIMIT 1"
            if self.connection.execute(sql, (NAME,)).fetchone():
                found.append(column)
        return found

    def test_schema(self) -> None:
        """Each column is in the map, or in the list of those about nobody, once; no other is."""
        described = [column for columns, _ in rows() for column in columns]
        self.assertEqual(sorted([*described, *columns_in(NOBODYS)]), sorted(self.all_columns()))

    def test_cells(self) -> None:
        """Each row says what for, how long, and who deletes it; what is kept for good, nobody."""
        for columns, cells in rows():
            self.assertEqual([bool(cell) for cell in cells], [True] * 3, columns)
            self.assertEqual(cells[1].startswith(FOR_GOOD), cells[2].startswith("nobody"), columns)

    def test_told(self) -> None:
        """``regsys privacy export`` tells of each table that is about a person, but for those that
        the page names or that only digests name it in; never of a secret."""
        described = {column for columns, _ in rows() for column in columns}
        told = {f"{table}.{name}" for table, (_, names) in TOLD.items() for name in names.split()}
        self.assertEqual(told - described, set())
        untold = {column.split(".")[0] for column in described} - TOLD.keys()
        expected = "jobs first_times rate_limits validation_tokens adoption_progress"
        self.assertEqual(untold, {*expected.split(), "registration_token_reservations"})
        secret = re.compile("hash|secret|proof|made_with|sid|session_id$|terms|fingerprint")
        allowed = {"devices.auth_provider_session_id"}
        self.assertEqual({column for column in told if secret.search(column)}, allowed)

    def test_deletion(self) -> None:
        """After a deactivation, and a year, the columns that name a person are those that are kept
        for good."""
        for table, values in ROWS.items():
            given = {"user_id": f"@{NAME}:test.example", **values}
            marks = ", ".join("?" * len(given))
            sql = f"INSERT OR REPLACE INTO {table} ({', '.join(given)}) VALUES ({marks})"
            self.connection.execute(sql, tuple(given.values()))
        self.assertEqual(self.change_password(auth=None).status, 401)
        before = self.about_alice()
        self.wait(self.subsystem.handler.deactivated(UserID(NAME, "test.example")))
        self.subsystem.start()
        for seconds in (FOREVER_S, 60.0):
            self.clock.advance(seconds)
        kept = {column for columns, cells in rows() if FOR_GOOD in cells[1] for column in columns}
        after = set(self.about_alice())
        self.assertEqual(after - kept, set())
        self.assertEqual(set(before) & kept, after)
        self.assertGreater(len(before), 2 * len(after), before)
