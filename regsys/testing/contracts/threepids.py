"""The contract of IThreepidStore: an address has one owner, and never moves."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import attr

from regsys.errors import ThreepidInUse, UserNotFound
from regsys.interfaces import IThreepidStore
from regsys.model import AccountThreepid, NewAccount, Threepid, UserID
from regsys.testing.contracts.case import (
    ELSEWHERE,
    NEIGHBOUR,
    NOW_MS,
    Contract,
    MaybeAwaitable,
    account,
    part_of,
    together,
    upgrade,
    user,
    value_of,
    yours,
)

ALICE = "alice@mail.example"
NUMBER = "4915112345678"
MAIL = Threepid("email", ALICE, NOW_MS)
PHONE = Threepid("msisdn", NUMBER, NOW_MS)
CONTENDERS = 8
# Not alice: of another server.
STRANGER = UserID("alice", ELSEWHERE)


class ThreepidStoreContract(Contract):
    """An IThreepidStore, with the accounts beside it.

    If a test fails, an address that its owner has proven may lead to somebody else's account.
    """

    @yours
    def make(self) -> MaybeAwaitable[IThreepidStore]:
        """A store without addresses."""
        raise NotImplementedError()

    @yours
    def create_account(self, new: NewAccount) -> MaybeAwaitable[object]:
        """Create this account, or upgrade this guest, with its addresses."""
        raise NotImplementedError()

    async def beside_others(self) -> IThreepidStore:
        """A store in which a neighbour has two addresses that no call of the test may change."""
        store = await part_of(IThreepidStore, self.make())
        held = [
            AccountThreepid("email", f"{NEIGHBOUR}@mail.example", NOW_MS, NOW_MS),
            AccountThreepid("msisdn", "4915100000000", NOW_MS, NOW_MS),
        ]
        proven = (Threepid(item.medium, item.address, item.validated_at_ms) for item in held)
        await self.create(NEIGHBOUR, *proven)
        self.addCleanup(self._unharmed, store, held)
        return store

    async def _unharmed(self, store: IThreepidStore, held: Sequence[AccountThreepid]) -> None:
        found = sorted(await store.of_user(user(NEIGHBOUR)), key=lambda item: item.medium)
        rule = "of_user: the addresses that came with the account; no call changes another user's"
        self.assertEqual(found, held, rule)
        for item in held:
            await self.owns(
                store, item.medium, item.address, NEIGHBOUR, "no call moves another user's address"
            )

    async def create(self, name: str, *threepids: Threepid, **more: Any) -> None:
        """Create an account of this name with these addresses; its key is the name."""
        await value_of(self.create_account(account(name, name, threepids=threepids, **more)))

    async def owns(
        self, store: IThreepidStore, medium: str, address: str, name: Optional[str], rule: str
    ) -> None:
        """Assert whose the address is."""
        found = await store.owner_of(medium, address)
        wanted = None if name is None else user(name)
        self.assertEqual(found, wanted, f"owner_of({medium!r}, {address!r}): {rule}")

    async def holds(
        self, store: IThreepidStore, name: str, wanted: Sequence[AccountThreepid], rule: str
    ) -> None:
        """Assert which addresses the user has, in this order."""
        found = list(await store.of_user(user(name)))
        self.assertEqual(found, list(wanted), f"of_user({name}): {rule}")

    async def test_provides(self) -> None:
        """It has all methods, with the arguments that regsys calls them with."""
        await part_of(IThreepidStore, self.make())

    async def test_owner(self) -> None:
        """The owner of an address is the user who registered with it, in the same medium."""
        store = await self.beside_others()
        await self.owns(store, "email", ALICE, None, "a new address is nobody's")
        await self.create("alice", MAIL, PHONE)
        for medium, address, owner in (
            ("email", ALICE, "alice"),
            ("msisdn", NUMBER, "alice"),
            ("msisdn", ALICE, None),
            ("email", NUMBER, None),
            ("email", ALICE.upper(), None),
            ("email", "%", None),
        ):
            rule = "the user who registered with exactly this address, in this medium"
            await self.owns(store, medium, address, owner, rule)

    async def test_neverMoved(self) -> None:
        """An address keeps its owner: another account with it is refused, and nothing of that
        account is written, its other addresses included."""
        store = await self.beside_others()
        await self.create("alice", MAIL)
        rule = "create_account: ThreepidInUse for an address of another user"
        await self.refusal(ThreepidInUse, self.create("bob", PHONE, MAIL), rule)
        await self.owns(store, "email", ALICE, "alice", "an address keeps its owner")
        await self.owns(store, "msisdn", NUMBER, None, "a refused account leaves no address")
        rule = "create_account: a refused account leaves its key and its addresses free"
        await self.answer(self.create("bob", PHONE), rule)
        await self.owns(store, "msisdn", NUMBER, "bob", rule)

    async def test_upgraded(self) -> None:
        """A guest brings addresses to its upgrade. With another user's it stays a guest."""
        store = await self.beside_others()
        await self.create("alice", MAIL)
        await self.create("1", is_guest=True)
        for key, threepid in (("refused", MAIL), ("upgrade", PHONE)):
            upgraded = upgrade(key, "1", threepids=(threepid,))
            if key == "refused":
                rule = "create_account: ThreepidInUse also for an upgrade"
                await self.refusal(ThreepidInUse, self._create(upgraded), rule)
            else:
                await self._create(upgraded)
        await self.owns(store, "email", ALICE, "alice", "an address keeps its owner")
        await self.owns(store, "msisdn", NUMBER, "1", "an upgrade brings addresses")

    async def _create(self, new: NewAccount) -> None:
        await value_of(self.create_account(new))

    async def test_added(self) -> None:
        """Added addresses are listed with their times, the oldest first. Adding is idempotent."""
        store = await self.beside_others()
        await self.create("alice", MAIL)
        await self.create("bob")
        phone = attr.evolve(PHONE, validated_at_ms=7)
        added = await store.add(user("alice"), phone, NOW_MS + 5)
        self.assertEqual(added, True, "add: True for a new address")
        rule = "add: False for an address that the user has"
        repeated = store.add(user("alice"), attr.evolve(phone, validated_at_ms=8), NOW_MS + 9)
        self.assertEqual(await self.answer(repeated, rule), False, rule)
        expected = [
            AccountThreepid("email", ALICE, NOW_MS, NOW_MS),
            AccountThreepid("msisdn", NUMBER, 7, NOW_MS + 5),
        ]
        rule = "the user's addresses with their times, the oldest first; add changes none"
        await self.holds(store, "alice", expected, rule)
        for other in ("bob", "nobody"):
            await self.holds(store, other, [], "only the user's own addresses")
        held = list(await store.of_user(STRANGER))
        self.assertEqual(held, [], f"of_user({STRANGER}): no addresses of a user of ours")

    async def test_addedToAnother(self) -> None:
        """An address of one user cannot be added to another one."""
        store = await self.beside_others()
        await self.create("alice", MAIL)
        await self.create("bob")
        adding = store.add(user("bob"), MAIL, NOW_MS)
        await self.refusal(ThreepidInUse, adding, "add: ThreepidInUse for another user's address")
        await self.owns(store, "email", ALICE, "alice", "an address keeps its owner")

    async def test_addedToNobody(self) -> None:
        """A user who does not exist, here or on another server, gets no address."""
        store = await self.beside_others()
        await self.create("alice")
        for nobody in (user("bob"), STRANGER):
            rule = f"add: UserNotFound for {nobody}, who does not exist"
            await self.refusal(UserNotFound, store.add(nobody, MAIL, NOW_MS), rule)
        await self.owns(store, "email", ALICE, None, "a refused address is nobody's")

    async def test_addedAtOnce(self) -> None:
        """Of several concurrent calls for one address one succeeds."""
        store = await self.beside_others()
        names = [f"user{number}" for number in range(CONTENDERS)]
        for name in names:
            await self.create(name)
        ended = await together(store.add(user(name), MAIL, NOW_MS) for name in names)
        refused = [item for item in ended if isinstance(item, ThreepidInUse)]
        rule = f"add: of concurrent calls for an address a unique key decides: {ended}"
        self.assertEqual((ended.count(True), len(refused)), (1, CONTENDERS - 1), rule)
        await self.owns(
            store, "email", ALICE, names[ended.index(True)], "who has got True, owns it"
        )

    async def test_removed(self) -> None:
        """An address is removed from its owner alone, once; then another user may have it."""
        store = await self.beside_others()
        await self.create("alice", MAIL, PHONE)
        await self.create("bob")
        rule = f"remove({STRANGER}): False, as the address is a user's of ours"
        self.assertEqual(await store.remove(STRANGER, "email", ALICE), False, rule)
        for name, medium, address, removed in (
            ("bob", "email", ALICE, False),
            ("alice", "msisdn", ALICE, False),
            ("alice", "email", ALICE, True),
            ("alice", "email", ALICE, False),
        ):
            rule = f"remove({name}, {medium}, {address}): True once, for the owner alone"
            self.assertEqual(await store.remove(user(name), medium, address), removed, rule)
        kept = AccountThreepid("msisdn", NUMBER, NOW_MS, NOW_MS)
        await self.holds(store, "alice", [kept], "remove: a user's other addresses stay")
        rule = "add: a removed address is free for another user"
        self.assertEqual(await store.add(user("bob"), MAIL, NOW_MS), True, rule)
        await self.owns(store, "email", ALICE, "bob", rule)
