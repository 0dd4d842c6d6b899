"""The contract of IThreepidStore: an address has one owner, and never moves."""

from __future__ import annotations

from typing import Sequence

from regsys.errors import ThreepidInUse, UserNotFound
from regsys.interfaces import IThreepidStore
from regsys.model import AccountThreepid, NewAccount, Threepid, UserID
from regsys.testing.contracts.case import NEIGHBOUR, NOW_MS, Contract, account, together, user
from regsys.testing.provides import provides

ALICE = "alice@mail.example"
CONTENDERS = 8


class ThreepidStoreContract(Contract):
    """An IThreepidStore, with the accounts beside it."""

    def make(self) -> IThreepidStore:
        """A store without addresses."""
        raise NotImplementedError()

    async def create_account(self, new: NewAccount) -> None:
        """Create this account, with its addresses."""
        raise NotImplementedError()

    async def beside_others(self) -> IThreepidStore:
        """A store in which a neighbour has two addresses that no call of the test may change."""
        store, neighbour = self.make(), user(NEIGHBOUR)
        held = (
            Threepid("email", f"{NEIGHBOUR}@mail.example", NOW_MS),
            Threepid("msisdn", "4915100000000", NOW_MS),
        )
        await self.create_account(account(NEIGHBOUR, NEIGHBOUR, threepids=held))
        self.addCleanup(self._unharmed, store, list(await store.of_user(neighbour)))
        return store

    async def _unharmed(self, store: IThreepidStore, held: Sequence[AccountThreepid]) -> None:
        self.assertEqual(list(await store.of_user(user(NEIGHBOUR))), held)
        for item in held:
            owner = await store.owner_of(item.medium, item.address)
            self.assertEqual(owner, user(NEIGHBOUR), item)

    def test_provides(self) -> None:
        """It has all methods, with the arguments that regsys calls them with."""
        provides(IThreepidStore, self.make())

    async def test_owner(self) -> None:
        """The owner of an address is the user who registered with it, in the same medium."""
        store = await self.beside_others()
        self.assertIsNone(await store.owner_of("email", ALICE))
        proven = (Threepid("email", ALICE, NOW_MS), Threepid("msisdn", "4915112345678", NOW_MS))
        await self.create_account(account("alice", "alice", threepids=proven))
        for medium, address, owner in (
            ("email", ALICE, user("alice")),
            ("msisdn", "4915112345678", user("alice")),
            ("msisdn", ALICE, None),
            ("email", ALICE.upper(), None),
        ):
            self.assertEqual(await store.owner_of(medium, address), owner, (medium, address))

    async def test_neverMoved(self) -> None:
        """An address keeps its owner: another account with it is refused, and not created."""
        store = await self.beside_others()
        proven = (Threepid("email", ALICE, NOW_MS),)
        await self.create_account(account("alice", "alice", threepids=proven))
        refused = self.create_account(account("bob", "bob", threepids=proven))
        await self.refusal(ThreepidInUse, refused)
        self.assertEqual(await store.owner_of("email", ALICE), user("alice"))
        await self.create_account(account("again", "bob"))

    async def test_added(self) -> None:
        """Added addresses are listed with their times, the oldest first. Adding is idempotent."""
        store = await self.beside_others()
        mail, phone = Threepid("email", ALICE, NOW_MS), Threepid("msisdn", "4915112345678", 7)
        await self.create_account(account("alice", "alice", threepids=(mail,)))
        await self.create_account(account("bob", "bob"))
        self.assertIs(await store.add(user("alice"), phone, NOW_MS + 5), True)
        again = Threepid("msisdn", "4915112345678", 8)
        self.assertIs(await store.add(user("alice"), again, NOW_MS + 9), False)
        expected = [
            AccountThreepid("email", ALICE, NOW_MS, NOW_MS),
            AccountThreepid("msisdn", "4915112345678", 7, NOW_MS + 5),
        ]
        self.assertEqual(list(await store.of_user(user("alice"))), expected)
        for other in ("bob", "nobody"):
            self.assertEqual(list(await store.of_user(user(other))), [], other)

    async def test_addedToNobody(self) -> None:
        """A user who does not exist, here or on another server, gets no address."""
        store = await self.beside_others()
        await self.create_account(account("alice", "alice"))
        mail = Threepid("email", ALICE, NOW_MS)
        for nobody in (user("bob"), UserID("alice", "other.example")):
            await self.refusal(UserNotFound, store.add(nobody, mail, NOW_MS))
        self.assertIsNone(await store.owner_of("email", ALICE))

    async def test_addedAtOnce(self) -> None:
        """Of several concurrent calls for one address one succeeds."""
        store = await self.beside_others()
        names = [f"user{number}" for number in range(CONTENDERS)]
        for name in names:
            await self.create_account(account(name, name))
        mail = Threepid("email", ALICE, NOW_MS)
        ended = await together(store.add(user(name), mail, NOW_MS) for name in names)
        refused = [item for item in ended if isinstance(item, ThreepidInUse)]
        self.assertEqual((ended.count(True), len(refused)), (1, CONTENDERS - 1), ended)
        winner = user(names[ended.index(True)])
        self.assertEqual(await store.owner_of("email", ALICE), winner)

    async def test_removed(self) -> None:
        """An address is removed from its owner alone, once; then another user may have it."""
        store = await self.beside_others()
        proven = (Threepid("email", ALICE, NOW_MS), Threepid("msisdn", "4915112345678", NOW_MS))
        await self.create_account(account("alice", "alice", threepids=proven))
        await self.create_account(account("bob", "bob"))
        for name, medium, address, removed in (
            ("bob", "email", ALICE, False),
            ("alice", "msisdn", ALICE, False),
            ("alice", "email", ALICE, True),
            ("alice", "email", ALICE, False),
        ):
            case = (name, medium, address)
            self.assertIs(await store.remove(user(name), medium, address), removed, case)
        self.assertEqual([item.medium for item in await store.of_user(user("alice"))], ["msisdn"])
        self.assertTrue(await store.add(user("bob"), proven[0], NOW_MS))
