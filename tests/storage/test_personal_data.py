"""What an account's person is told of what is kept."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import TestCase

from regsys.model import UserID
from regsys.storage.personal_data import PersonalDataStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import account, device
from tests.support.databases import InMemory, OnPostgreSQL
from tests.support.tables import Tables

ALICE = UserID("alice", "contract.example")


class PersonalDataTests(Tables):
    async def test_account(self: Any) -> None:
        """Of an account: its rows and no other's, without hashes."""
        new = account("alice", "alice", password_hash="a hash", device=device("alice"))
        await UserStore(self.db).create_account(new)
        found = await PersonalDataStore(self.db).of(ALICE)
        self.assertTrue({"users", "devices", "logins", "outcomes"} <= found.keys(), found.keys())
        self.assertEqual([len(rows) for rows in found.values()], [1] * len(found))
        self.assertIs(found["users"][0]["deactivated"], False)
        text = json.dumps(found)
        ((access_hash,),) = await self.rows("SELECT access_hash FROM logins")
        for secret in ("a hash", access_hash):
            self.assertNotIn(secret, text)

    async def test_reset(self: Any) -> None:
        """The validation sessions of an account are those of its password, too."""
        for sid, owner in (("1", str(ALICE)), ("2", f"reset {ALICE}"), ("3", ""), ("4", "*")):
            await self.change(
                "INSERT INTO validations (sid, medium, address, client_secret, send_attempt,"
                " user_id, tries, used, expires_ms) VALUES (?, 'email', ?, 's', 1, ?, 0, ?, 9)",
                *(sid, f"{sid}@mail.example", owner, False),
            )
        found = await PersonalDataStore(self.db).of(ALICE)
        self.assertEqual(
            sorted(row["address"] for row in found["validations"]),
            ["1@mail.example", "2@mail.example"],
        )

    async def test_nobody(self: Any) -> None:
        """Of an account that is not there, nothing."""
        self.assertEqual(await PersonalDataStore(self.db).of(ALICE), {})


class MemoryTests(InMemory, PersonalDataTests, TestCase):
    pass


class PostgreSQLTests(OnPostgreSQL, PersonalDataTests, TestCase):
    pass
