"""Who waits for approval, who decides about them, and who is logged in to do so."""

from __future__ import annotations

from typing import Any, Sequence

from twisted.trial.unittest import SynchronousTestCase, TestCase

from regsys.model.accounts import NewPassword
from regsys.model.approvals import Decided, Decision
from regsys.storage.administrator_sessions import AdministratorSessionStore
from regsys.storage.approvals import ApprovalStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import NOW_MS, Contract, account, user
from tests.contracts.approvals import (
    ADMINS,
    FINISH,
    HOUR_MS,
    OTHER,
    REQUEST,
    ApprovalStoreContract,
    decision,
    waiting,
)
from tests.storage.test_races import RaceCase
from tests.support.databases import InFile, InMemory, OnPostgreSQL
from tests.support.stores import Stores
from tests.support.tables import Tables


class ApprovalTests(Tables, ApprovalStoreContract):
    def make(self) -> tuple[ApprovalStore, UserStore]:
        return ApprovalStore(self.db), UserStore(self.db)

    async def job_rows(self) -> Sequence[tuple[str, str]]:
        rows = await self.rows("SELECT kind, payload FROM jobs")
        return sorted((kind, payload) for kind, payload in rows)

    async def forget_requests(self) -> None:
        await self.change("DELETE FROM approvals WHERE reason = ?", REQUEST.reason)


class MemoryApprovalTests(InMemory, ApprovalTests, TestCase):
    pass


class FileApprovalTests(InFile, ApprovalTests, TestCase):
    pass


class PostgresApprovalTests(OnPostgreSQL, ApprovalTests, TestCase):
    pass


class SessionContract(Tables, Contract):
    """An AdministratorSessionStore."""

    async def begin(self, name: str = "root") -> tuple[AdministratorSessionStore, UserStore]:
        """With a session of this administrator, "secret", that lasts for an hour."""
        store, users = AdministratorSessionStore(self.db), UserStore(self.db)
        new = account(f"key of {name}", name, admin=True, password_hash="hash")
        await users.create_account(new)
        found = await users.find(name)
        assert found is not None
        await store.begin(f"secret of {name}", found, NOW_MS + HOUR_MS)
        return store, users

    async def test_lasts(self) -> None:
        """A session is its user's until it expires; nobody else's secret opens it."""
        store, _ = await self.begin()
        for secret, later_ms, expected in (
            ("secret of root", HOUR_MS - 1, user("root")),
            ("secret of root", HOUR_MS, None),
            ("secret", 0, None),
            ("", 0, None),
        ):
            self.assertEqual(await store.user_of(secret, NOW_MS + later_ms), expected)

    async def test_digest(self) -> None:
        """The table alone lets nobody in."""
        await self.begin()
        rows = await self.rows("SELECT * FROM administrator_sessions")
        self.assertEqual(len(rows), 1)
        self.assertNotIn("secret", repr(rows))

    async def test_ended(self) -> None:
        """It ends with a logout, and that of one user with no other's."""
        store, _ = await self.begin()
        await self.begin("other")
        await store.end("secret of root")
        await store.end("secret of root")
        self.assertIs(await store.user_of("secret of root", NOW_MS), None)
        self.assertEqual(await store.user_of("secret of other", NOW_MS), user("other"))
        await store.delete_for(user("root"))
        self.assertEqual(await store.user_of("secret of other", NOW_MS), user("other"))
        await store.delete_for(user("other"))
        self.assertIs(await store.user_of("secret of other", NOW_MS), None)

    async def test_withTheAccount(self) -> None:
        """It ends with the user's rights, password or account."""
        new = NewPassword(user_id=user("b"), password_hash="other", ends_logins=False)
        for name, change in (
            ("a", lambda users: users.set_admin(user("a"), False)),
            ("b", lambda users: users.change_password(new)),
            ("c", lambda users: users.deactivate(user("c"), False, (), NOW_MS)),
        ):
            store, users = await self.begin(name)
            self.assertEqual(await store.user_of(f"secret of {name}", NOW_MS), user(name))
            await change(users)
            self.assertIs(await store.user_of(f"secret of {name}", NOW_MS), None, name)

    async def test_expired(self) -> None:
        """Expired ones are deleted, at most so many at a time."""
        store, _ = await self.begin()
        await self.begin("other")
        self.assertEqual(await store.delete_expired(NOW_MS + HOUR_MS - 1, 9), 0)
        for expected in (1, 1, 0):
            self.assertEqual(await store.delete_expired(NOW_MS + HOUR_MS, 1), expected)


class MemorySessionTests(InMemory, SessionContract, TestCase):
    pass


class PostgresSessionTests(OnPostgreSQL, SessionContract, TestCase):
    pass


class ApprovalRaces(RaceCase, SynchronousTestCase):
    """Two administrators, or two processes, at once."""

    def test_decided(self) -> None:
        """Exactly one of two decisions is the first, the other one is told of it, and the account
        is what the first has made of it."""

        async def before(stores: Stores) -> None:
            await stores.users.write(waiting("alice"))

        def approve(stores: Stores) -> Any:
            return stores.approvals.decide(decision("alice"))

        def refuse(stores: Stores) -> Any:
            asked = decision("alice", Decision.REFUSED, OTHER, finish=FINISH)
            return stores.approvals.decide(asked)

        winners = set()
        for pair in self.pair_results(before, approve, refuse):
            (one, _), (two, _) = pair.first, pair.second
            assert isinstance(one, Decided), pair
            self.assertNotEqual(one.is_new, two.is_new, pair)
            self.assertEqual((one.decision, one.by), (two.decision, two.by), pair)
            winners.add(one.decision)
            cursor = self.races.cursor()
            cursor.execute("SELECT approved, deactivated FROM users")
            is_approved = one.decision is Decision.APPROVED
            self.assertEqual(cursor.fetchall(), [(is_approved, not is_approved)], pair)
        self.assertEqual(winners, set(Decision))

    def test_noticed(self) -> None:
        """Of two processes one has the administrators told."""

        async def before(stores: Stores) -> None:
            await stores.users.write(waiting("alice"))

        def plan(stores: Stores) -> Any:
            return stores.approvals.plan_notices(ADMINS, HOUR_MS, NOW_MS)

        for pair in self.pair_results(before, plan, plan):
            self.assertEqual(sorted([len(pair.first), len(pair.second)]), [0, len(ADMINS)], pair)
