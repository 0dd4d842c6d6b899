"""The way back: the SQL that is printed, executed on tables of a Synapse."""

from __future__ import annotations

from io import StringIO
from typing import Any

import attr
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from regsys.adoption.sql import Script
from regsys.model import DeviceRequest, Login, LoginTerms, NewDevice, UserID
from regsys.storage.devices import DeviceStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import account
from tests.adoption.case import NOW_S, HandBackCase
from tests.support.databases import InFile, InMemory, OnPostgreSQL
from tests.support.synapse_tables import SERVER, hash_of, user_id

NEW = hash_of("changed here")
LONG = f"sha384:{NEW}"
ALICE = UserID("alice", SERVER)


class Back(HandBackCase):
    """``alice`` was adopted, with a password, a device and a token."""

    async def new_database(self: Any) -> None:
        await super().new_database()
        self.there.user("alice", "old")
        self.there.device("alice", "PHONE")
        self.token = self.there.token("alice", "PHONE", "first")
        self.adopt()

    async def log_in(self: Any, name: str, device_id: str, **more: Any) -> Login:
        """A login of this user made here."""
        logins = self.logins(keeps_keys=more.pop("keeps_keys", True))
        request = DeviceRequest(device_id=device_id, wants_refresh_token=True)
        login = logins.issue(UserID(name, SERVER), logins.terms(request), f"key of {device_id}")
        device = NewDevice(login=login, display_name=more.get("display_name"))
        await DeviceStore(self.db, Clock()).register(UserID(name, SERVER), device)
        return login

    async def test_nothing(self: Any) -> None:
        """If nothing has changed, no statement is written."""
        script, report = self.script()
        self.assertEqual(script, "")
        self.assertEqual((report.counts["accounts"], report.counts["kept"]), (1, 1))

    async def test_passwords(self: Any) -> None:
        """Passwords changed here go back, and those of accounts made here."""
        await UserStore(self.db).create_account(
            attr.evolve(
                account("key", password_hash=NEW, admin=True), user_id=UserID("bob", SERVER)
            )
        )
        self.there.user("bob")
        await self.change("UPDATE users SET password_hash = ? WHERE name_key = 'alice'", NEW)
        report = self.hand_back()
        self.assertEqual(
            self.there_is("name, password_hash, admin", "users"),
            [(user_id("alice"), NEW, 0), (user_id("bob"), NEW, 1)],
        )
        self.assertEqual((report.counts["passwords"], report.counts["admins"]), (2, 1))

    async def test_upgraded(self: Any) -> None:
        """A guest who has become a user here is one there, too, with the password."""
        self.there.user("1", is_guest=1)
        self.adopt()
        await self.change(
            "UPDATE users SET is_guest = FALSE, password_hash = ? WHERE name_key = '1'", NEW
        )
        report = self.hand_back()
        self.assertIn(
            (user_id("1"), 0, NEW), self.there_is("name, is_guest, password_hash", "users")
        )
        self.assertEqual(report.counts["upgraded"], 1)

    async def test_longPassword(self: Any) -> None:
        """A password that Synapse could not check does not go back, and the old one does not
        return either."""
        await self.change("UPDATE users SET password_hash = ? WHERE name_key = 'alice'", LONG)
        self.hand_back(long_password=1)
        self.assertEqual(self.there_is("password_hash", "users"), [(None,)])

    async def test_newerThere(self: Any) -> None:
        """What has changed there only stays as it is there."""
        self.there.execute("UPDATE users SET password_hash = ?", (NEW,))
        self.assertEqual(self.script()[0], "")

    async def test_changedMeanwhile(self: Any) -> None:
        """A row that has changed since the script was written is not changed by it."""
        await self.change("UPDATE users SET password_hash = ? WHERE name_key = 'alice'", NEW)
        script, _ = self.script()
        self.there.execute("UPDATE users SET password_hash = 'another'")
        self.run_script(script)
        self.assertEqual(self.there_is("password_hash", "users"), [("another",)])

    async def test_deactivated(self: Any) -> None:
        """An account deactivated here loses its password, logins and addresses there."""
        self.there.address("alice", "alice@mail.example")
        await UserStore(self.db).delete_for(ALICE)
        self.hand_back(deactivated=1)
        self.assertEqual(self.there_is("password_hash, deactivated", "users"), [(None, 1)])
        for table in ("access_tokens", "user_threepids"):
            self.assertEqual(self.there_is("user_id", table), [], table)

    async def test_loggedIn(self: Any) -> None:
        """A login made here goes back with its device, its tokens and their ends."""
        login = await self.log_in("alice", "HERE", display_name="It's\nmine")
        report = self.hand_back()
        self.assertEqual(
            self.there_is("device_id, display_name", "devices"),
            [("HERE", "It's\nmine"), ("PHONE", None)],
        )
        found = self.there.execute(
            "SELECT a.token, r.token, a.valid_until_ms, r.expiry_ts, a.user_id, a.device_id, a.used"
            " FROM access_tokens a JOIN refresh_tokens r ON r.id = a.refresh_token_id"
        ).fetchall()
        assert login.refresh_token is not None
        self.assertEqual(
            [tuple(row) for row in found],
            [
                (
                    *(login.access_token.reveal(), login.refresh_token.reveal()),
                    *(login.terms.valid_until_ms, login.terms.refresh_until_ms),
                    *(user_id("alice"), "HERE", False),
                )
            ],
        )
        self.assertEqual(report.counts["tokens"], 1)

    async def test_digestOnly(self: Any) -> None:
        """Tokens of which only a digest is known cannot go back, and that is said."""
        await self.log_in("alice", "HERE", keeps_keys=False)
        report = self.hand_back(token=1)
        self.assertIn("device HERE", "\n".join(report.lines()))
        self.assertEqual(self.there_is("token", "access_tokens"), [("first",)])

    async def test_ended(self: Any) -> None:
        """A token that has ended here does not work there again; one that was left there does."""
        there = self.there
        there.device("alice", "PAIR")
        new = there.refresh("alice", "PAIR", "r new")
        old = there.refresh("alice", "PAIR", "r old", next_token_id=new)
        there.token("alice", "PAIR", "old", refresh_token_id=old, used=True)
        there.token("alice", "PAIR", "new", refresh_token_id=new, used=False)
        there.token("alice", None, "without")
        there.token("alice", "PHONE", "puppet", puppets_user_id=user_id("bob"))
        self.adopt()
        store = DeviceStore(self.db, Clock())
        await store.log_out(ALICE, "PHONE")
        # The client has refreshed once more by the older token, and not used the result.
        await self.change(
            "DELETE FROM logins WHERE replaces IS NOT NULL AND user_id = ?", str(ALICE)
        )
        report = self.hand_back()
        self.assertEqual(
            self.there_is("token", "access_tokens"), [("old",), ("puppet",), ("without",)]
        )
        self.assertEqual(self.there_is("token, next_token_id", "refresh_tokens"), [("r old", None)])
        self.assertEqual(report.counts["ended"], 2)

    async def test_refreshedHere(self: Any) -> None:
        """A pair that was refreshed here, and not used since, is good for both pairs there."""
        refresh = self.there.refresh("alice", "PHONE", "r old")
        self.there.token("alice", "PHONE", "old", refresh_token_id=refresh)
        self.adopt()
        logins, store = self.logins(), DeviceStore(self.db, Clock())
        terms = LoginTerms(device_id="PHONE", refreshable=True)
        from regsys.model.token_text import token_hash

        first, second = (logins.issue(ALICE, terms, key) for key in ("one", "two"))
        self.assertTrue(await store.succeed(token_hash("old"), ALICE, first))
        self.hand_back()
        assert first.refresh_token is not None and second.refresh_token is not None
        linked = (
            "SELECT a.token FROM refresh_tokens a JOIN refresh_tokens b ON b.id = a.next_token_id"
            " WHERE b.token = ?"
        )
        found = self.there.execute(linked, (first.refresh_token.reveal(),)).fetchall()
        self.assertEqual([tuple(row) for row in found], [("r old",)])
        # Used, and refreshed once more: the first pair has ended.
        await store.confirm(token_hash(first.access_token.reveal()))
        self.assertTrue(await store.succeed(token_hash(first.access_token.reveal()), ALICE, second))
        self.hand_back()
        found = self.there.execute(linked, (second.refresh_token.reveal(),)).fetchall()
        self.assertEqual([tuple(row) for row in found], [(first.refresh_token.reveal(),)])
        self.assertNotIn(("old",), self.there_is("token", "access_tokens"))

    async def test_addresses(self: Any) -> None:
        """Addresses that were added or removed here are there, too; nobody's is moved."""
        there = self.there
        for name in ("bob", "carol"):
            there.user(name)
        there.address("bob", "Left@mail.example")
        there.address("bob", "left@mail.example".upper())
        there.address("bob", "removed@mail.example")
        there.address("bob", "no address")
        there.address("carol", "left@Mail.example")
        self.adopt()
        there.address("carol", "new@mail.example", at=NOW_S * 1000 + 1)
        there.address("carol", "later@mail.example", at=NOW_S * 1000 + 1)
        await self.change(
            "DELETE FROM threepids WHERE address = 'removed@mail.example' AND user_id = ?",
            user_id("bob"),
        )
        for address in ("added@mail.example", "later@mail.example"):
            await self.change(
                "INSERT INTO threepids VALUES ('email', ?, ?, 5, 6)", address, user_id("alice")
            )
        report = self.hand_back(address=1)
        self.assertEqual(
            self.there_is("address, user_id", "user_threepids"),
            [
                ("LEFT@MAIL.EXAMPLE", user_id("bob")),
                ("Left@mail.example", user_id("bob")),
                ("added@mail.example", user_id("alice")),
                ("later@mail.example", user_id("carol")),
                ("left@Mail.example", user_id("carol")),
                ("new@mail.example", user_id("carol")),
                ("no address", user_id("bob")),
            ],
        )
        self.assertEqual((report.counts["added"], report.counts["removed"]), (1, 1))

    async def test_unknown(self: Any) -> None:
        """Accounts that Synapse does not know are listed."""
        for name, guest in (("bob", False), ("7", True)):
            made = account(name, is_guest=guest)
            await UserStore(self.db).create_account(attr.evolve(made, user_id=UserID(name, SERVER)))
        script, report = self.script()
        self.assertEqual(script, "")
        lines = "\n".join(report.lines())
        self.assertIn(user_id("bob"), lines)
        self.assertNotIn(user_id("7"), lines)

    async def test_quoting(self: Any) -> None:
        """No name, password or address can be anything else than a value."""
        odd = "'; DROP TABLE users; -- \\' {name} $1 %s"
        for name in (odd, f"{odd}\n"):
            self.there.user(name, "old")
            self.there.device(name, name)
        self.adopt()
        for name in (odd, f"{odd}\n"):
            await self.change(
                "UPDATE users SET password_hash = ? WHERE user_id = ?", name, user_id(name)
            )
            await self.change(
                "INSERT INTO threepids VALUES ('email', ?, ?, 5, 6)", name, user_id(name)
            )
        script, _ = self.script()
        # Nothing in it looks like the end of a line or a command of a shell.
        for line in script.splitlines():
            self.assertTrue(line.endswith(";") or line.startswith("-- ") or not line, line)
        self.hand_back()
        found = self.there_is("name, password_hash", "users")
        for name in (odd, f"{odd}\n"):
            self.assertIn((user_id(name), name), found)
            self.assertIn((name,), self.there_is("address", "user_threepids"))


class ScriptTests(SynchronousTestCase):
    def test_comment(self) -> None:
        """A comment ends with its line, whatever is in it."""
        out = StringIO()
        Script(out, True).comment("one\r\ntwo\u2028three\x1b[2J\n\nfour")
        self.assertEqual(out.getvalue(), "-- one\n-- two\n-- three\ufffd[2J\n--\n-- four\n")


class MemoryBack(InMemory, Back, TestCase):
    pass


class FileBack(InFile, Back, TestCase):
    pass


class PostgresBack(OnPostgreSQL, Back, TestCase):
    in_postgres = True
