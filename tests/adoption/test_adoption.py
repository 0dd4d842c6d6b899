"""An adoption: what comes over, what is left and why, and what a second run does."""

from __future__ import annotations

from typing import Any

import attr
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from regsys.adoption.connections import Unreadable, grants
from regsys.adoption.run import AlreadyRunning
from regsys.adoption.synapse import Synapse
from regsys.credentials.access_tokens import GuestTokens, TokenAuth
from regsys.credentials.passwords import prepare, verify_password
from regsys.errors import UnknownToken, UsernameTaken
from regsys.model import Secret, UserID
from regsys.model.token_text import token_hash
from regsys.storage.devices import DeviceStore
from regsys.storage.provisioning import KnownLogins
from regsys.storage.server_state import ServerStateStore
from regsys.storage.threepids import ThreepidStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import account
from tests.adoption.case import NOW_S, AdoptionCase, examples
from tests.support.databases import InFile, InMemory, OnPostgreSQL
from tests.support.synapse_tables import CREATED_S, SERVER, user_id

MACAROON = "MDAxYWxvY2F0aW9uIHRlc3QuZXhhbXBsZQ"


class WhatComes(AdoptionCase):
    """What a user has there is ours afterwards."""

    async def whose(self: Any, token: str) -> Any:
        clock = Clock()
        clock.advance(NOW_S)
        auth = TokenAuth(
            # Synapse knows its own: where regsys is its auth service, the tokens are valid there.
            logins=KnownLogins(self.db, clock),
            accounts=UserStore(self.db),
            guests=GuestTokens(server_name=SERVER, secret=b"a key"),
            clock=clock,
        )
        return await auth.whose(Secret(token))

    async def test_account(self: Any) -> None:
        """An account comes with its password, its rights and its age."""
        self.there.user("alice", "in the looking glass", admin=1, user_type="bot")
        self.there.user("bob", shadow_banned=True, upgrade_ts=CREATED_S + 5)
        report = self.adopt()
        alice, bob = [await UserStore(self.db).find(name) for name in ("alice", "bob")]
        self.assertTrue(verify_password(prepare("in the looking glass", ""), alice.password_hash))
        self.assertEqual(
            (alice.admin, alice.user_type, alice.created_ms, alice.approved),
            (True, "bot", CREATED_S * 1000, True),
        )
        self.assertEqual((bob.password_hash, bob.shadow_banned, bob.admin), (None, True, False))
        upgraded = await self.rows("SELECT upgraded_ms FROM users WHERE name_key = 'bob'")
        self.assertEqual(upgraded, [((CREATED_S + 5) * 1000,)])
        self.assertEqual((report.counts["accounts"], report.counts["passwords"]), (2, 1))
        self.assertFound(report)

    async def test_tokens(self: Any) -> None:
        """Every device comes with its name, and every token of a device works, whatever its
        form; one that has an end keeps it."""
        self.there.user("alice", admin=1)
        self.there.device("alice", "PHONE", display_name="Phone")
        self.there.device("alice", "LAPTOP")
        self.there.device("alice", "master key", hidden=True)
        for token in ("syt_YWxpY2U_x_1", MACAROON, "mct_x_1"):
            self.there.token("alice", "PHONE", token)
        self.there.token("alice", "LAPTOP", "over", valid_until_ms=NOW_S * 1000)
        self.there.token("alice", "LAPTOP", "not over", valid_until_ms=NOW_S * 1000 + 1)
        report = self.adopt()
        for token in ("syt_YWxpY2U_x_1", MACAROON, "mct_x_1"):
            requester = await self.whose(token)
            self.assertEqual(
                (str(requester.user_id), requester.device_id, requester.is_admin),
                (user_id("alice"), "PHONE", True),
            )
        self.assertEqual((await self.whose("not over")).valid_until_ms, NOW_S * 1000 + 1)
        with self.assertRaises(UnknownToken) as refused:
            await self.whose("over")
        self.assertTrue(refused.exception.body["soft_logout"])
        self.assertEqual(await self.whose("syt_YWxpY2U_x_2"), None)
        self.assertEqual(
            await self.rows("SELECT device_id, display_name FROM devices ORDER BY device_id"),
            [("LAPTOP", None), ("PHONE", "Phone")],
        )
        self.assertEqual((report.counts["devices"], report.counts["tokens"]), (2, 5))

    async def test_pairs(self: Any) -> None:
        """A refresh token works until the pair that replaced it was used, as it does there."""
        there = self.there
        there.user("alice")
        there.device("alice", "PHONE")
        new = there.refresh("alice", "PHONE", "new", expiry_ts=7, ultimate_session_expiry_ts=9)
        old = there.refresh("alice", "PHONE", "old", next_token_id=new)
        used = there.refresh("alice", "PHONE", "used")
        spent = there.refresh("alice", "PHONE", "spent", next_token_id=used)
        for name, refresh, was_used in (
            ("new", new, 0),
            ("old", old, 1),
            ("used", used, 1),
            ("spent", spent, 1),
        ):
            there.token(
                "alice", "PHONE", f"a {name}", refresh_token_id=refresh, used=bool(was_used)
            )
        report = self.adopt()
        store = DeviceStore(self.db, Clock())
        logins = {
            name: await store.by_refresh(token_hash(name))
            for name in ("new", "old", "used", "spent")
        }
        self.assertEqual(logins["spent"], None)
        self.assertEqual(logins["old"].access_hash, token_hash("a old"))
        self.assertEqual(logins["new"].replaces, token_hash("a old"))
        self.assertEqual(logins["used"].replaces, None)
        self.assertEqual(
            (logins["new"].terms.refresh_until_ms, logins["new"].terms.session_until_ms), (7, 9)
        )
        self.assertEqual(report.counts["refresh_tokens"], 3)

    async def test_addresses(self: Any) -> None:
        """Addresses come with their times, in canonical form."""
        self.there.user("alice")
        self.there.address("alice", "alice@mail.example", at=5)
        self.there.address("alice", "Alice@Other.example", at=6)
        self.there.address("alice", "447700900000", "msisdn", at=7)
        self.there.address("alice", "no address", at=8)
        self.there.address("alice", "https://alice.example", "m.other", at=9)
        report = self.adopt()
        found = await ThreepidStore(self.db).of_user(UserID("alice", SERVER))
        self.assertEqual(
            [(item.medium, item.address, item.validated_at_ms, item.added_ms) for item in found],
            [
                ("email", "alice@mail.example", 5, 5),
                ("email", "alice@other.example", 6, 6),
                ("msisdn", "447700900000", 7, 7),
            ],
        )
        self.assertFound(report, respelled=1, no_address=2)
        line = examples(report, "a…@")
        self.assertEqual(line.strip(), f"{user_id('alice')}  a…@other.example")

    async def test_consent(self: Any) -> None:
        """Who has accepted the policy there is not asked again."""
        self.there.user("alice", consent_version="1.0", consent_ts=77)
        self.there.user("bob", consent_version="0.9")
        self.adopt()
        rows = await self.rows("SELECT user_id, policy, version, accepted_ms FROM consents")
        self.assertEqual(
            sorted(rows),
            [
                (user_id("alice"), "privacy_policy", "1.0", 77),
                (user_id("bob"), "privacy_policy", "0.9", CREATED_S * 1000),
            ],
        )

    async def test_numbers(self: Any) -> None:
        """Generated names go on after those there."""
        for name in ("1", "41", "9" * 16, "1x"):
            self.there.user(name)
        self.adopt()
        self.assertEqual(await UserStore(self.db).next_number(), 42)
        self.there.user("40", is_guest=1)
        self.adopt()
        self.assertEqual(await UserStore(self.db).next_number(), 43)

    async def test_firstUser(self: Any) -> None:
        """Nobody who registers later is the first real user, for whom rooms are created."""
        self.there.user("guest", is_guest=1, creation_ts=1)
        self.there.user("ghost", appservice_id="bridge", creation_ts=1)
        self.there.user("bob", creation_ts=3)
        self.there.user("alice", creation_ts=4)
        self.adopt()
        first = await ServerStateStore(self.db).first_real_user()
        self.assertEqual(str(first), user_id("bob"))

    async def test_guests(self: Any) -> None:
        """Guests come as guests, and are idle only since they were seen."""
        self.there.user("1", is_guest=1)
        self.there.device("1", "guest_device", last_seen=123)
        report = self.adopt()
        self.assertEqual(
            await self.users("user_id, is_guest, seen_ms"), [(user_id("1"), True, 123)]
        )
        self.assertEqual(report.counts["guests"], 1)

    async def test_deactivated(self: Any) -> None:
        """A deactivated user's name stays taken, and nothing else is left of it."""
        self.there.user("alice", "pw", deactivated=1)
        self.there.device("alice", "PHONE")
        self.there.token("alice", "PHONE", "token")
        self.there.address("alice", "alice@mail.example")
        report = self.adopt()
        with self.assertRaises(UsernameTaken):
            await UserStore(self.db).create_account(account("key", "alice"))
        columns = "deactivated, password_hash"
        self.assertEqual(await self.users(columns), [(True, None)])
        for table in ("devices", "logins", "threepids"):
            self.assertEqual(await self.rows(f"SELECT * FROM {table}"), [], table)
        self.assertEqual(report.counts["deactivated"], 1)

    async def test_approval(self: Any) -> None:
        """Who waits for approval there waits here, if anybody can approve."""
        self.there.user("alice", approved=False)
        self.there.user("bob", approved=None)
        self.adopt(requires_approval=True)
        self.assertEqual(
            await self.users("approved, user_id"),
            [(False, user_id("alice")), (True, user_id("bob"))],
        )
        self.there.user("carol", approved=False)
        self.adopt()
        carol = await UserStore(self.db).find("carol")
        self.assertTrue(carol.approved)


class WhatDoesNotFit(AdoptionCase):
    """What the report says, and what happens to it."""

    async def test_left(self: Any) -> None:
        """Locked users, and what is no user of this server, are left."""
        self.there.user("alice", "pw", locked=True)
        self.there.user("@bob:other.example")
        self.there.user("@nobody")
        self.there.user("@:test.example")
        self.there.user("carol")
        report = self.adopt()
        self.assertEqual(await self.users(), [user_id("carol")])
        self.assertFound(report, locked=1, foreign=1, no_user_id=2)
        self.there.execute("UPDATE users SET locked = FALSE")
        self.adopt()
        self.assertEqual(await self.users(), [user_id("alice"), user_id("carol")])

    async def test_oldNames(self: Any) -> None:
        """Names of the past are adopted, and found in any case of letters."""
        self.there.user("Alice Cooper", "pw")
        self.there.user("_ghost_Ünï", appservice_id="bridge")
        report = self.adopt()
        self.assertFound(report, old_name=1)
        found = await UserStore(self.db).find("alice cooper")
        self.assertEqual(str(found.user_id), user_id("Alice Cooper"))
        self.assertEqual(report.counts["ghosts"], 1)

    async def test_sameButCase(self: Any) -> None:
        """Of names that differ by the case of letters alone each is found by its own spelling,
        and any other spelling is that in lower case."""
        for name in ("ALICE", "Alice", "alice", "BOB", "Bob"):
            self.there.user(name, name)
        report = self.adopt(size=1)
        self.assertFound(report, old_name=4, same_but_case=3)
        store = UserStore(self.db)
        for asked, wanted in (
            *(("alice", "alice"), ("Alice", "Alice"), ("ALICE", "ALICE"), ("aLICE", "alice")),
            *(("Bob", "Bob"), ("BOB", "BOB"), ("bob", "BOB")),
        ):
            found = await store.find(asked)
            self.assertEqual(str(found.user_id), user_id(wanted), asked)
        for name in ("alice", "Bob"):
            self.assertTrue(await store.is_taken(name))
        self.assertTrue(await store.approve("Alice"))

    async def test_passwords(self: Any) -> None:
        """A hash that is not bcrypt's is no password; users of single sign-on have none."""
        self.there.user("alice", password_hash="$6$rounds=5000$salt$digest")
        self.there.user("bob")
        self.there.user("carol", "pw")
        for name in ("bob", "carol"):
            self.there.insert(
                "user_external_ids",
                [("oidc", name, user_id(name))],
                "auth_provider",
                "external_id",
                "user_id",
            )
        self.there.user("dave", password_hash="")
        report = self.adopt()
        self.assertFound(report, unknown_hash=1, sso=1)
        self.assertIn(user_id("alice"), str(examples(report, "alice")))
        hashes = dict(await self.users("user_id, password_hash"))
        self.assertEqual([name for name, value in hashes.items() if value], [user_id("carol")])

    async def test_tokensLeft(self: Any) -> None:
        """A token without a device, and one that acts as another user, are left."""
        self.there.user("root", admin=1)
        self.there.user("alice")
        self.there.token("root", None, "puppet", puppets_user_id=user_id("alice"))
        self.there.token("alice", None, "ancient")
        self.there.token("alice", "GONE", "orphan")
        report = self.adopt()
        self.assertEqual(await self.rows("SELECT * FROM logins"), [])
        self.assertFound(report, puppet_token=1, no_device=2)

    async def test_addressTwice(self: Any) -> None:
        """Of spellings of one address the canonical one counts, wherever its user comes, and else
        the first; nobody's address is moved."""
        for name in ("alice", "bob", "carol", "dave"):
            self.there.user(name)
        self.there.address("alice", "One@mail.example")
        self.there.address("dave", "one@mail.example")
        self.there.address("bob", "TWO@mail.example")
        self.there.address("carol", "Two@mail.example")
        report = self.adopt(size=1)
        owners = await self.rows("SELECT address, user_id FROM threepids ORDER BY address")
        self.assertEqual(
            owners, [("one@mail.example", user_id("dave")), ("two@mail.example", user_id("bob"))]
        )
        self.assertFound(report, respelled=3, address_twice=2)

    async def test_madeHere(self: Any) -> None:
        """An account of ours is never changed, nor does its address or name go to another."""
        db = UserStore(self.db)
        await db.create_account(
            attr.evolve(account("key", password_hash="ours"), user_id=UserID("alice", SERVER))
        )
        await self.change(
            "INSERT INTO threepids VALUES ('email', 'a@mail.example', ?, 1, 1)", user_id("alice")
        )
        self.there.user("alice", "theirs")
        self.there.device("alice", "PHONE")
        self.there.token("alice", "PHONE", "token")
        self.there.user("Alice", "another")
        self.there.user("bob")
        self.there.address("bob", "a@mail.example")
        report = self.adopt()
        self.assertFound(report, made_here=1, old_name=1, same_but_case=1, address_here=1)
        self.assertEqual((await db.find("alice")).password_hash, "ours")
        self.assertEqual(str((await db.find("Alice")).user_id), user_id("Alice"))
        self.assertEqual(await self.rows("SELECT * FROM logins"), [])
        self.assertEqual(await self.rows("SELECT user_id FROM threepids"), [(user_id("alice"),)])
        # Synapse knows the accounts that we make there, too.
        await db.create_account(attr.evolve(account("other"), user_id=UserID("carol", SERVER)))
        self.there.user("carol")
        report = self.adopt()
        self.assertEqual((report.counts["born_here"], report.counts["made_here"]), (1, 1))


class Again(AdoptionCase):
    """A second run takes over what has changed there, unless it has changed here."""

    async def first(self: Any) -> None:
        there = self.there
        there.user("alice", "old")
        there.device("alice", "PHONE")
        self.token = there.token("alice", "PHONE", "first")
        there.address("alice", "alice@mail.example")
        self.adopt()

    async def test_nothingNew(self: Any) -> None:
        """If nothing has changed, nothing is changed."""
        await self.first()
        before = await self.contents()
        report = self.adopt()
        self.assertEqual(await self.contents(), before)
        self.assertEqual((report.counts["known"], report.counts["changed"]), (1, 0))
        self.assertFound(report)

    async def test_newThere(self: Any) -> None:
        """New users, devices, tokens and addresses are adopted."""
        await self.first()
        there, later_ms = self.there, self.now_s * 1000 + 1
        there.user("bob")
        there.device("alice", "LAPTOP", display_name="Laptop")
        there.token("alice", "LAPTOP", "second")
        there.address("alice", "second@mail.example", at=later_ms)
        report = self.adopt()
        self.assertEqual(await self.users(), [user_id("alice"), user_id("bob")])
        self.assertEqual(
            await self.rows(
                "SELECT device_id FROM logins WHERE access_hash = ?", token_hash("second")
            ),
            [("LAPTOP",)],
        )
        self.assertEqual(len(await self.rows("SELECT * FROM threepids")), 2)
        counts = report.counts
        self.assertEqual((counts["known"], counts["changed"], counts["tokens"]), (1, 1, 1))

    async def test_newMeanwhile(self: Any) -> None:
        """What is added there while a batch is read is new to the next run."""
        self.there.user("alice")
        times = iter(range(NOW_S, NOW_S + 9))
        self.adopt(now_s=lambda: next(times))
        found = await self.rows("SELECT adopted_ms FROM adopted_users")
        self.assertEqual(found, [(NOW_S * 1000,)])

    async def test_changedThere(self: Any) -> None:
        """A password changed there counts here; rights, too."""
        await self.first()
        self.there.execute("UPDATE users SET password_hash = ?, admin = 1", ("$2b$04$" + "x" * 53,))
        self.adopt()
        found = await UserStore(self.db).find("alice")
        self.assertEqual((found.password_hash, found.admin), ("$2b$04$" + "x" * 53, True))
        self.there.execute("UPDATE users SET password_hash = ?", ("$2b$04$" + "y" * 53,))
        self.assertEqual(self.adopt().counts["changed"], 1)

    async def test_changedHere(self: Any) -> None:
        """A password changed here stays, whether or not it has changed there, too."""
        await self.first()
        await self.change("UPDATE users SET password_hash = 'ours' WHERE name_key = 'alice'")
        self.assertFound(self.adopt())
        self.assertEqual((await UserStore(self.db).find("alice")).password_hash, "ours")
        self.there.execute("UPDATE users SET password_hash = ?", ("$2b$04$" + "x" * 53,))
        self.assertFound(self.adopt(), other_since=1)
        self.assertEqual((await UserStore(self.db).find("alice")).password_hash, "ours")

    async def test_endedThere(self: Any) -> None:
        """A device logged out there is logged out here, and one that was logged in here is not."""
        await self.first()
        there = self.there
        there.user("bob")
        there.device("bob", "X")
        there.token("bob", "X", "bobs")
        await self.change(
            "INSERT INTO devices (user_id, device_id) VALUES (?, 'OURS')", user_id("alice")
        )
        await self.change(
            "INSERT INTO logins (access_hash, user_id, device_id) VALUES ('ours', ?, 'OURS')",
            user_id("alice"),
        )
        there.execute("DELETE FROM access_tokens WHERE id = ?", (self.token,))
        there.execute("DELETE FROM devices WHERE user_id = ?", (user_id("alice"),))
        self.assertEqual(self.adopt().counts["ended"], 1)
        self.assertEqual(
            await self.rows("SELECT device_id FROM devices ORDER BY device_id"), [("OURS",), ("X",)]
        )

    async def test_emptiedThere(self: Any) -> None:
        """If Synapse keeps no token any more, nobody is logged out."""
        await self.first()
        self.there.execute("DELETE FROM access_tokens")
        self.adopt()
        self.assertEqual(len(await self.rows("SELECT * FROM logins")), 1)

    async def test_endedHere(self: Any) -> None:
        """What has ended here stays so: a device, an address, an account."""
        await self.first()
        await DeviceStore(self.db, Clock()).log_out(UserID("alice", SERVER), None)
        await self.change("DELETE FROM threepids WHERE user_id = ?", user_id("alice"))
        self.adopt()
        for table in ("devices", "logins", "threepids"):
            self.assertEqual(await self.rows(f"SELECT * FROM {table}"), [], table)
        await UserStore(self.db).delete_for(UserID("alice", SERVER))
        self.there.token("alice", "PHONE", "second")
        self.adopt()
        self.assertEqual(await self.users("deactivated, password_hash"), [(True, None)])
        self.assertEqual(await self.rows("SELECT * FROM logins"), [])

    async def test_deactivatedThere(self: Any) -> None:
        """An account deactivated there is deactivated here."""
        await self.first()
        self.there.execute("UPDATE users SET deactivated = 1, password_hash = NULL")
        self.adopt()
        self.assertEqual(await self.users("deactivated, password_hash"), [(True, None)])
        for table in ("devices", "logins", "threepids"):
            self.assertEqual(await self.rows(f"SELECT * FROM {table}"), [], table)

    async def test_lockedThere(self: Any) -> None:
        """An account locked there meanwhile is reported: nothing here keeps it closed."""
        await self.first()
        self.there.execute("UPDATE users SET locked = TRUE")
        self.assertFound(self.adopt(), locked_since=1)


class Reading(AdoptionCase):
    """Synapse's tables are only read."""

    async def test_unchanged(self: Any) -> None:
        """Not a row of them changes, and the connection could not change one."""
        self.there.user("alice", "pw")
        self.there.device("alice", "PHONE")
        self.there.token("alice", "PHONE", "token")
        before = self.there.contents()
        self.adopt()
        self.adopt()
        self.assertEqual(self.there.contents(), before)
        source = self.there.source()
        self.addCleanup(source.close)
        source.begin()
        for sql in ("DELETE FROM users", "CREATE TABLE other (a TEXT)"):
            self.assertRaises(Unreadable, source.all, sql)
            source.end()
            source.begin()
        self.assertEqual(self.there.contents(), before)

    async def test_otherServer(self: Any) -> None:
        """The users of another server are refused before anything is read."""
        self.there.user("@alice:other.example")
        with self.assertRaises(Unreadable) as refused:
            self.adopt()
        self.assertIn("of another server, such as '@alice:other.example'", str(refused.exception))

    async def test_otherTables(self: Any) -> None:
        """Tables of a Synapse that is too old, or of another program, are refused."""
        rename = "ALTER TABLE users RENAME COLUMN {} TO {}"
        self.there.execute(rename.format("locked", "other"))
        self.addCleanup(self.there.execute, rename.format("other", "locked"))
        with self.assertRaises(Unreadable) as refused:
            self.adopt()
        self.assertIn("too old: update it first", str(refused.exception))

    async def test_manyBatches(self: Any) -> None:
        """Whatever a batch's size, each user is adopted once; progress says how many were looked
        at."""
        self.there.fill(25)
        done: list[int] = []
        report = self.adopt(size=4, progress=done.append)
        self.assertEqual((report.counts["accounts"], report.counts["tokens"]), (25, 25))
        self.assertEqual((report.counts["refresh_tokens"], report.counts["addresses"]), (3, 13))
        self.assertEqual(done, [4, 4, 4, 4, 4, 4, 1])
        self.assertEqual(len(await self.users()), 25)


class MemoryComes(InMemory, WhatComes, TestCase):
    pass


class PostgresComes(OnPostgreSQL, WhatComes, TestCase):
    in_postgres = True


class MemoryDoesNotFit(InMemory, WhatDoesNotFit, TestCase):
    # PostgreSQL stores no such text.
    async def test_oddText(self: Any) -> None:
        """The name of a device that no database can store is left out."""
        self.there.user("alice")
        self.there.device("alice", "PHONE", display_name="a\0b")
        self.there.execute("INSERT INTO users (name) VALUES (CAST(x'40ff3a782e79' AS TEXT))")
        report = self.adopt()
        self.assertEqual(await self.rows("SELECT display_name FROM devices"), [(None,)])
        self.assertFound(report, no_user_id=1)
        self.assertIn("\ufffd", str(examples(report, ":x.y")))


class PostgresDoesNotFit(OnPostgreSQL, WhatDoesNotFit, TestCase):
    in_postgres = True


class FileAgain(InFile, Again, TestCase):
    pass


class PostgresAgain(OnPostgreSQL, Again, TestCase):
    in_postgres = True

    # In SQLite it goes to a copy: tests/cli/test_adoption.py.
    async def test_dryRun(self: Any) -> None:
        """A dry run reports the same, and changes nothing."""
        await self.first()
        for name in ("Bob", "bob", "BOB"):
            self.there.user(name, "pw")
            self.there.address(name, f"{name}@mail.example")
        before = await self.contents()
        dry = self.adopt(keeps=False, size=1)
        self.assertEqual(await self.contents(), before)
        self.assertEqual(list(dry.lines()), list(self.adopt(size=1).lines()))


class FileReading(InFile, Reading, TestCase):
    pass


class PostgresReading(OnPostgreSQL, Reading, TestCase):
    in_postgres = True

    async def test_role(self) -> None:
        """A role with the rights that are printed is enough, and can do no more; without them the
        refusal prints them."""
        role = f"regsys_adoption_{self.there.where['dbname']}"
        create, *rights = grants(role).splitlines()
        self.there.execute(create)
        self.addCleanup(self.there.execute, f"DROP ROLE {role}")
        self.addCleanup(self.there.execute, f"DROP OWNED BY {role}")
        self.there.user("alice")
        source = self.there.source(user=role)
        self.addCleanup(source.close)
        with self.assertRaises(Unreadable) as refused:
            Synapse(source).check(SERVER)
        self.assertIn("GRANT SELECT ON users, devices,", str(refused.exception))
        for right in rights:
            self.there.execute(right)
        self.assertEqual(Synapse(source).check(SERVER), 94)
        self.assertEqual([len(batch.users) for batch in Synapse(source).batches()], [1])

    async def test_twoAtOnce(self) -> None:
        """A second adoption into the same database is refused."""
        import psycopg2

        from regsys.storage.postgresql import PostgreSQL

        other = psycopg2.connect(**PostgreSQL(self.db.dialect.args).connect_args())  # type: ignore[union-attr]
        self.addCleanup(other.close)
        other.autocommit = True
        self.there.user("alice")
        refused = []

        def meanwhile(done: int) -> None:
            refused.append(self.assertRaises(AlreadyRunning, self.adopt))

        self.adopt(connection=other, progress=meanwhile)
        self.assertEqual(len(refused), 1)
        self.adopt()
