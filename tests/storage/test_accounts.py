"""Accounts in our own tables: the embedder's contract, and what one transaction writes besides."""

from __future__ import annotations

import json
from typing import Any, Optional

from twisted.trial.unittest import TestCase

from regsys.errors import (
    InvalidRegistrationToken,
    RegistrationError,
    ThreepidInUse,
    UnknownToken,
    UsernameTaken,
)
from regsys.interfaces import IAccountStore, IUserLookup
from regsys.model import JOB_LEASE_MS, NewAccount, Threepid, User, UserID
from regsys.model.jobs import NewJob
from regsys.model.token_text import token_hash
from regsys.storage.jobs import JobStore
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.storage.sessions import SessionStore
from regsys.storage.users import UserStore
from regsys.testing.contracts import AccountStoreContract, UserLookupContract
from regsys.testing.contracts.case import NOW_MS, account, device, upgrade, user
from tests.support.databases import InFile, InMemory, OnPostgreSQL
from tests.support.tables import Tables
from tests.support.threads import InThreads
from tests.support.values import END_MS, TOKEN, session, token

EMAIL = Threepid("email", "alice@example.org", NOW_MS - 1)
PHONE = Threepid("msisdn", "491701234567", NOW_MS - 2)


class UserStoreContract(AccountStoreContract, Tables):
    def make(self) -> IAccountStore:
        return UserStore(self.db)

    async def deactivate(self, user_id: UserID) -> None:
        await self.change("UPDATE users SET deactivated = TRUE WHERE user_id = ?", str(user_id))


class OwnLookup(UserLookupContract, Tables):
    def make(self) -> IUserLookup:
        return UserStore(self.db)

    async def create_account(self, new: NewAccount) -> None:
        await UserStore(self.db).create_account(new)

    async def deactivate(self, user_id: UserID) -> None:
        await self.change("UPDATE users SET deactivated = TRUE WHERE user_id = ?", str(user_id))


class OwnAccounts(Tables):
    """What an embedder's store need not keep."""

    async def create(self: Any, key: str, localpart: str = "alice", **more: Any) -> None:
        await UserStore(self.db).create_account(account(key, localpart, **more))

    async def assertRefused(self: Any, error: type[RegistrationError], new: NewAccount) -> None:
        """It is refused with this error, and every table is as it was before."""
        before = await self.contents()
        try:
            made = await UserStore(self.db).write(new)
        except error:
            self.assertEqual(await self.contents(), before)
        else:
            self.fail(f"not refused with {error.__name__}, but {made}")

    # --- The account ---------------------------------------------------------------------

    async def test_wholeAccount(self: Any) -> None:
        """All that an account brings is written with it."""
        await RegistrationTokenStore(self.db).create(token(uses_allowed=1))
        await SessionStore(self.db).add(session(), 1)
        await self.create(
            "session",
            "Alice",
            password_hash="hash",
            admin=True,
            user_type="special",
            approved=False,
            shadow_banned=True,
            display_name="Alice L.",
            appservice_id="bridge",
            threepids=(EMAIL, PHONE),
            registration_token=TOKEN,
            consents={"privacy_policy": "1", "terms": "v2"},
            session_id="session",
            session_until_ms=END_MS,
            device=device("token"),
            jobs=(NewJob(kind="greet", job_id="job"),),
        )
        stored = await UserStore(self.db).find("aLICE")
        self.assertEqual(
            stored,
            User(
                user_id=user("Alice"),
                password_hash="hash",
                admin=True,
                user_type="special",
                approved=False,
                shadow_banned=True,
                appservice_id="bridge",
                created_ms=NOW_MS,
            ),
        )
        who = str(user("Alice"))
        for sql, row in (
            ("SELECT upgraded_ms FROM users", (None,)),
            ("SELECT * FROM profiles", (who, "Alice L.")),
            ("SELECT user_id, device_id, display_name FROM devices", (who, "PHONE", "my device")),
            ("SELECT user_id, access_hash FROM logins", (who, token_hash("syt_token"))),
            ("SELECT completed FROM registration_tokens", (1,)),
            ("SELECT * FROM registration_token_uses", (who, TOKEN, NOW_MS)),
            ("SELECT key, user_id FROM outcomes", ("session", who)),
            ("SELECT session_id, expires_ms FROM uia_sessions WHERE finished", ("session", END_MS)),
            ("SELECT job_id, attempts FROM jobs", ("job", 1)),
        ):
            self.assertEqual(await self.rows(sql), [row], sql)
        self.assertEqual(
            sorted(await self.rows("SELECT * FROM consents")),
            [(who, "privacy_policy", "1", NOW_MS), (who, "terms", "v2", NOW_MS)],
        )
        self.assertEqual(
            sorted(await self.rows("SELECT * FROM threepids")),
            [
                (item.medium, item.address, who, item.validated_at_ms, NOW_MS)
                for item in (EMAIL, PHONE)
            ],
        )

    async def test_replayed(self: Any) -> None:
        """A repeated key writes nothing, and returns the terms of the login it made."""
        new = account("key", device=device("token", valid_until_ms=NOW_MS + 5))
        await UserStore(self.db).create_account(new)
        before = await self.contents()
        again = await UserStore(self.db).write(
            account("key", device=device("another", "LAPTOP"), jobs=(NewJob(kind="greet"),))
        )
        self.assertEqual(again.terms, new.device.login.terms)
        self.assertEqual(await self.contents(), before)

    async def test_withoutProfile(self: Any) -> None:
        """Without a display name there is no profile."""
        await self.create("key", display_name=None)
        self.assertEqual(await self.rows("SELECT * FROM profiles"), [])

    async def test_refusedWhole(self: Any) -> None:
        """Whichever part is refused, nothing of the account is written."""
        await self.create("first", threepids=(PHONE,))
        for error, new in (
            (UsernameTaken, account("key", "ALICE")),
            (UnknownToken, upgrade("key", "alice")),
            (ThreepidInUse, account("key", "bob", threepids=(EMAIL, PHONE))),
            (InvalidRegistrationToken, account("key", "bob", registration_token="wrong")),
        ):
            await self.assertRefused(error, new)
        (row,) = await self.rows("SELECT user_id FROM threepids")
        self.assertEqual(row, (str(user("alice")),))

    async def test_jobsAreHeldFromBirth(self: Any) -> None:
        """The account's jobs are held by the committing process until their lease ends."""
        await self.create("key", jobs=(NewJob(kind="greet", payload={"a": 1}, job_id="job"),))
        store = JobStore(self.db)
        self.assertEqual(await store.claim({"greet": 5}, NOW_MS + JOB_LEASE_MS - 1, 1), [])
        (job,) = await store.claim({"greet": 5}, NOW_MS + JOB_LEASE_MS, 1)
        self.assertEqual((job.job_id, job.payload, job.attempts), ("job", {"a": 1}, 2))

    async def test_jobsOnce(self: Any) -> None:
        """Jobs whose deduplication key was written with an earlier account are not written; the
        written ones are returned."""
        jobs = [
            NewJob(kind="greet", job_id=name, dedup_key="word") for name in ("one", "two", "again")
        ]
        jobs.append(NewJob(kind="greet", job_id="always"))
        for new, written in (
            (account("guest", "1", is_guest=True, jobs=tuple(jobs[:2])), jobs[:2]),
            (upgrade("user", "1", jobs=tuple(jobs[2:])), jobs[3:]),
        ):
            outcome = await UserStore(self.db).write(new)
            self.assertEqual(list(outcome.jobs), written)
        self.assertEqual(
            sorted(await self.rows("SELECT job_id FROM jobs")), [("always",), ("one",), ("two",)]
        )

    async def test_firstRealUser(self: Any) -> None:
        """The first account of a real user is noted, once; other kinds are not."""
        cases: list[tuple[str, dict[str, Any], Optional[str]]] = [
            ("guest", {"is_guest": True}, None),
            ("support", {"user_type": "support"}, None),
            ("bot", {"user_type": "bot"}, None),
            ("ghost", {"appservice_id": "bridge"}, None),
            ("alice", {"user_type": "special"}, "alice"),
            ("bob", {}, "alice"),
        ]
        for name, more, first in cases:
            await self.create(name, name, **more)
            expected = [] if first is None else [("first_real_user", str(user(first)))]
            self.assertEqual(await self.rows("SELECT name, user_id FROM milestones"), expected)

    async def test_approved(self: Any) -> None:
        """A waiting account is approved by its name, in any case; an unknown one is not."""
        await self.create("key", approved=False)
        users = UserStore(self.db)
        self.assertFalse(await users.approve("nobody"))
        self.assertTrue(await users.approve("ALICE"))
        self.assertTrue((await users.find("alice")).approved)

    # --- Guests --------------------------------------------------------------------------

    async def test_upgradedGuest(self: Any) -> None:
        """The guest's row becomes the user's: its own name and profile stay, its device is removed.
        The registration's other values replace whatever the row had."""
        guest = device("guest", "guest_device", is_guest=True)
        await self.create("guest", "1", is_guest=True, display_name="Guest 1", device=guest)
        decided = {
            "password_hash": "hash",
            "admin": True,
            "user_type": "special",
            "approved": False,
            "shadow_banned": True,
        }
        new = upgrade("user", "1", device=device("token"), created_ms=NOW_MS + 9, **decided)
        await UserStore(self.db).create_account(new)
        stored = await UserStore(self.db).find("1")
        self.assertEqual(stored, User(user_id=user("1"), created_ms=NOW_MS, **decided))
        self.assertEqual(await self.rows("SELECT upgraded_ms FROM users"), [(NOW_MS + 9,)])
        self.assertEqual(await self.rows("SELECT display_name FROM profiles"), [("Guest 1",)])
        self.assertEqual(await self.rows("SELECT device_id FROM devices"), [("PHONE",)])

    async def test_upgradedBesideGuests(self: Any) -> None:
        """Other guests stay guests, without a password, and keep their devices."""
        for name in ("1", "2"):
            guest = device(name, "guest_device", is_guest=True)
            await self.create(name, name, is_guest=True, device=guest)
        other = await UserStore(self.db).find("2")
        await UserStore(self.db).create_account(upgrade("user", "1", password_hash="hash"))
        self.assertEqual(await UserStore(self.db).find("2"), other)
        self.assertTrue(other.is_guest)
        devices = await self.rows("SELECT user_id, device_id FROM devices")
        self.assertEqual(devices, [(str(user("2")), "guest_device")])

    async def test_guestsTokenIsNotStored(self: Any) -> None:
        """A guest has a device, but no row for its token."""
        guest = device("guest", "guest_device", is_guest=True)
        await self.create("guest", "1", is_guest=True, device=guest)
        self.assertEqual(await self.rows("SELECT device_id FROM devices"), [("guest_device",)])
        self.assertEqual(await self.rows("SELECT * FROM logins"), [])

    # --- Sessions ------------------------------------------------------------------------

    async def test_sessionFinished(self: Any) -> None:
        """The account's session is finished with it, and holds its name no more; others are
        unchanged."""
        sessions = SessionStore(self.db)
        for name in ("one", "two"):
            await sessions.add(session(name), 5)
            held = "UPDATE uia_sessions SET held_name = session_id WHERE session_id = ?"
            await self.change(held, name)
        await self.create("one", session_id="one", session_until_ms=END_MS + 7)
        self.assertEqual(
            await self.rows(
                "SELECT session_id, finished, expires_ms, held_name FROM uia_sessions"
                " ORDER BY session_id"
            ),
            [("one", True, END_MS + 7, None), ("two", False, END_MS, "two")],
        )

    async def test_outcomeHoldsNoSecret(self: Any) -> None:
        """The stored terms of a login are not enough to make its tokens."""
        await self.create("key", device=device("a secret token", refreshable=True))
        ((terms,),) = await self.rows("SELECT terms FROM outcomes")
        self.assertNotIn("secret", terms)
        self.assertEqual(json.loads(terms)["device_id"], "PHONE")


class MemoryUserStoreTests(InMemory, UserStoreContract, TestCase):
    pass


class FileUserStoreTests(InFile, UserStoreContract, TestCase):
    pass


class PostgresUserStoreTests(OnPostgreSQL, UserStoreContract, TestCase):
    pass


class MemoryLookupTests(InMemory, OwnLookup, TestCase):
    pass


class PostgresLookupTests(OnPostgreSQL, OwnLookup, TestCase):
    pass


class MemoryOwnAccountsTests(InMemory, OwnAccounts, TestCase):
    pass


class FileOwnAccountsTests(InFile, OwnAccounts, TestCase):
    pass


class PostgresOwnAccountsTests(OnPostgreSQL, OwnAccounts, TestCase):
    pass


class ThreadedUserStoreTests(InThreads, UserStoreContract, TestCase):
    """Here the races are real ones."""
