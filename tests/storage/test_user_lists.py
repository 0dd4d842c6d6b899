"""Lists of accounts, on both databases."""

from __future__ import annotations

from typing import Any, Sequence

from twisted.trial.unittest import TestCase

from regsys.model import Threepid, UserID
from regsys.model.administration import UserEntry, UserFilter, UserOrder
from regsys.storage.user_details import UserDetailsStore
from regsys.storage.user_lists import UserListStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import NOW_MS, account, user
from tests.support.databases import InMemory, OnPostgreSQL
from tests.support.tables import Tables
from tests.support.values import NEIGHBOUR

HOUR_MS = 3_600_000


def threepid(address: str, medium: str = "email") -> Threepid:
    return Threepid(medium, address, NOW_MS)


class ListTests(Tables):
    async def new_database(self: Any) -> None:
        await super().new_database()
        self.lists, users = UserListStore(self.db), UserStore(self.db)
        for place, (name, more) in enumerate(
            (
                ("alice", {"threepids": (threepid("a_b@one.example"),), "display_name": "zoë"}),
                ("bob", {"threepids": (threepid("axb@one.example"),), "admin": True}),
                ("carol", {"approved": False, "threepids": (threepid("c@notone.example"),)}),
                ("dave", {"user_type": "bot", "threepids": (threepid("49301234567", "msisdn"),)}),
                ("eve", {"is_guest": True}),
            )
        ):
            made = account(name, name, created_ms=NOW_MS + place * HOUR_MS, **more)
            await users.create_account(made)
        await users.deactivate(user("dave"), True, (), NOW_MS)

    async def names(self: Any, chosen: UserFilter = UserFilter(), **more: Any) -> Sequence[str]:  # noqa: B008
        found = await self.lists.page(chosen, **more)
        return [
            item.user_id.localpart
            for item in found
            if not item.user_id.localpart.startswith(NEIGHBOUR)
        ]

    async def test_filters(self: Any) -> None:
        """Each filter by itself; the characters of patterns mean themselves."""
        everybody = ["alice", "bob", "carol", "dave", "eve"]
        for chosen, expected in (
            (UserFilter(), everybody),
            (UserFilter(name="O"), ["alice", "bob", "carol"]),
            (UserFilter(name="ZO"), ["alice"]),
            (UserFilter(name="_"), []),
            (UserFilter(name="%"), []),
            (UserFilter(name="!"), []),
            (UserFilter(user_id="@B"), ["bob"]),
            (UserFilter(user_id=":contract"), everybody),
            (UserFilter(address=("email", "a_b@one.example")), ["alice"]),
            (UserFilter(address=("email", "@one.example")), ["alice", "bob"]),
            (UserFilter(address=("msisdn", "49301234567")), ["dave"]),
            (UserFilter(address=("email", "nobody@one.example")), []),
            (UserFilter(is_guest=True), ["eve"]),
            (UserFilter(is_guest=False), everybody[:-1]),
            (UserFilter(admin=True), ["bob"]),
            (UserFilter(admin=False), ["alice", "carol", "dave", "eve"]),
            (UserFilter(approved=False), ["carol"]),
            (UserFilter(deactivated=True), ["dave"]),
            (UserFilter(deactivated=False, is_guest=False), ["alice", "bob", "carol"]),
            (UserFilter(without_types=("bot",)), ["alice", "bob", "carol", "eve"]),
            (UserFilter(without_types=(None,)), ["dave"]),
            (UserFilter(without_types=("bot", None)), []),
            (UserFilter(name="o", admin=True, address=("email", "@one.example")), ["bob"]),
        ):
            found = await self.names(chosen, order=UserOrder.NAME)
            self.assertEqual(found, expected, chosen)
            counted = await self.lists.page(chosen, most=1000)
            self.assertEqual(await self.lists.count(chosen), len(counted), chosen)

    async def test_orders(self: Any) -> None:
        """Each order, both ways; equal ones by their names."""
        people = UserFilter(name="", user_id=None, deactivated=None)
        for order, backwards, expected in (
            (UserOrder.CREATED, True, ["eve", "dave", "carol", "bob", "alice"]),
            (UserOrder.CREATED, False, ["alice", "bob", "carol", "dave", "eve"]),
            (UserOrder.NAME, True, ["eve", "dave", "carol", "bob", "alice"]),
            (UserOrder.DISPLAY_NAME, True, ["alice", "eve", "carol", "bob", "dave"]),
            (UserOrder.ADMIN, True, ["bob", "alice", "carol", "dave", "eve"]),
            (UserOrder.DEACTIVATED, False, ["alice", "bob", "carol", "eve", "dave"]),
            (UserOrder.USER_TYPE, True, ["dave", "alice", "bob", "carol", "eve"]),
            (UserOrder.GUEST, True, ["eve", "alice", "bob", "carol", "dave"]),
        ):
            found = await self.names(people, order=order, backwards=backwards)
            self.assertEqual(found, expected, (order, backwards))
        for order in UserOrder:
            self.assertEqual(len(await self.names(order=order)), 5, order)

    async def test_pages(self: Any) -> None:
        """The pages together are the whole."""
        chosen = UserFilter(user_id=":contract", is_guest=False, deactivated=False)
        found: list[UserEntry] = []
        while page := await self.lists.page(chosen, skip=len(found), most=2, backwards=True):
            found += page
        self.assertEqual(found, await self.lists.page(chosen, backwards=True))

    async def test_entry(self: Any) -> None:
        """An account with what is known of it; when it was seen, from either place."""
        await self.change("INSERT INTO active_users VALUES (?, 7)", str(user("alice")))
        await self.change("UPDATE users SET seen_ms = 9 WHERE user_id = ?", str(user("eve")))
        alice = await self.lists.find(user("alice"))
        self.assertEqual(
            alice,
            UserEntry(
                user_id=user("alice"),
                created_ms=NOW_MS,
                is_guest=False,
                admin=False,
                approved=True,
                deactivated=False,
                erased=False,
                shadow_banned=False,
                user_type=None,
                appservice_id=None,
                display_name="zoë",
                seen_ms=7,
            ),
        )
        eve, dave = [await self.lists.find(user(name)) for name in ("eve", "dave")]
        self.assertEqual((eve.seen_ms, dave.erased, dave.user_type), (9, True, "bot"))
        self.assertIn(alice, await self.lists.page(UserFilter()))
        # The very user ID is meant, not its spelling.
        for nobody in (user("Alice"), UserID("alice", "other.example")):
            self.assertIsNone(await self.lists.find(nobody))
            self.assertIsNone(await UserDetailsStore(self.db).find(nobody))
        details = await UserDetailsStore(self.db).find(user("alice"))
        self.assertEqual(details.entry, alice)
        self.assertEqual([item.address for item in details.threepids], ["a_b@one.example"])


class MemoryTests(InMemory, ListTests, TestCase):
    pass


class PostgreSQLTests(OnPostgreSQL, ListTests, TestCase):
    async def test_index(self: Any) -> None:
        """The newest of many accounts are found by an index."""
        await self.change(
            "INSERT INTO users (user_id, name_key, is_guest, admin, approved, shadow_banned,"
            " deactivated, created_ms) SELECT '@n' || i || ':contract.example', 'n' || i, FALSE,"
            " FALSE, TRUE, FALSE, FALSE, i FROM generate_series(1, 3000) AS i"
        )
        await self.change("ANALYZE users")
        sql = "EXPLAIN SELECT user_id FROM users ORDER BY created_ms DESC, user_id LIMIT 100"
        plan = "\n".join(row[0] for row in await self.rows(sql))
        self.assertIn("users_by_creation", plan)
