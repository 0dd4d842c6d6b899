"""The contract of IAccountStore: one account for each name, and one for each key."""

from __future__ import annotations

from typing import Sequence

import attr

from regsys.errors import UnknownToken, UsernameTaken
from regsys.interfaces import IAccountStore
from regsys.model import UserID
from regsys.model.accounts import Outcome
from regsys.testing.contracts.case import (
    NEIGHBOUR,
    NOW_MS,
    Contract,
    account,
    together,
    upgrade,
    user,
)
from regsys.testing.provides import provides

CONTENDERS = 8
GUEST = f"{NEIGHBOUR}-guest"
# One name, in several spellings.
SPELLINGS = ("alice", "ALICE", "Alice", "aLICE")


class AccountStoreContract(Contract):
    """An IAccountStore, ours or a homeserver's."""

    def make(self) -> IAccountStore:
        """An empty store."""
        raise NotImplementedError()

    async def deactivate(self, user_id: UserID) -> None:
        """Deactivate this account, as your homeserver does; SkipTest if it never does."""
        raise NotImplementedError()

    async def beside_others(self) -> IAccountStore:
        """A store with a user and a guest, whom no call of the test may change."""
        store = self.make()
        made = [
            await store.create_account(account(NEIGHBOUR, NEIGHBOUR)),
            await store.create_account(account(GUEST, GUEST, is_guest=True)),
        ]
        self.addCleanup(self._unharmed, store, made)
        return store

    async def _unharmed(self, store: IAccountStore, made: Sequence[Outcome]) -> None:
        for outcome in made:
            found = await store.outcome(outcome.key)
            assert found is not None, outcome.key
            self.assertEqual(attr.evolve(found, replayed=False), attr.evolve(outcome, jobs=()))
            self.assertTrue(await store.is_taken(outcome.user_id.localpart))
        # The user is not a guest, and the guest still is one.
        await self.refusal(UnknownToken, store.create_account(upgrade("of a user", NEIGHBOUR)))
        upgraded = await store.create_account(upgrade("of a guest", GUEST))
        self.assertEqual((upgraded.user_id, upgraded.replayed), (user(GUEST), False))

    # --- Making an account ---------------------------------------------------------------

    def test_provides(self) -> None:
        """It has all methods, with the arguments that regsys calls them with."""
        provides(IAccountStore, self.make())

    async def test_created(self) -> None:
        """A new account's Outcome has its key, its user and when it was created."""
        store = await self.beside_others()
        outcome = await store.create_account(account("key"))
        made = (outcome.key, outcome.user_id, outcome.created_ms)
        self.assertEqual(made, ("key", user("alice"), NOW_MS))
        self.assertTrue(outcome.finished)
        self.assertFalse(outcome.replayed)

    async def test_nameIsTakenWhateverItsCase(self) -> None:
        """A name is free until an account has it, and then taken in every spelling."""
        store = await self.beside_others()
        self.assertFalse(await store.is_taken("alice"))
        await store.create_account(account("key", "aLiCe"))
        self.assertEqual([await store.is_taken(name) for name in SPELLINGS], [True] * 4)
        self.assertFalse(await store.is_taken("alice2"))

    async def test_secondOfANameIsRefused(self) -> None:
        """A second account of a name is refused, and leaves nothing behind."""
        store = await self.beside_others()
        await store.create_account(account("first", "alice"))
        for number, name in enumerate(SPELLINGS):
            await self.refusal(UsernameTaken, store.create_account(account(f"{number}", name)))
            self.assertIsNone(await store.outcome(f"{number}"))

    async def test_deactivatedAccountKeepsItsName(self) -> None:
        """No other account gets the name of a deactivated one."""
        store = await self.beside_others()
        await store.create_account(account("first"))
        await self.deactivate(user("alice"))
        self.assertTrue(await store.is_taken("ALICE"))
        await self.refusal(UsernameTaken, store.create_account(account("second")))

    async def test_raceForAName(self) -> None:
        """Of several concurrent calls for a name one creates an account; the others are refused."""
        store = await self.beside_others()
        asked = [
            store.create_account(account(f"{number}", SPELLINGS[number % 4]))
            for number in range(CONTENDERS)
        ]
        ended = await together(asked)
        self.assertEqual(sum(isinstance(item, Outcome) for item in ended), 1, ended)
        self.assertEqual(sum(isinstance(item, UsernameTaken) for item in ended), CONTENDERS - 1)

    # --- Keys ----------------------------------------------------------------------------

    async def test_outcome(self) -> None:
        """The outcome of a key is found; a key that has created nothing has none."""
        store = await self.beside_others()
        self.assertIsNone(await store.outcome("key"))
        made = await store.create_account(account("key"))
        found = await store.outcome("key")
        assert found is not None
        self.assertEqual((found.user_id, found.terms), (made.user_id, made.terms))

    async def test_sameKeySameAccount(self) -> None:
        """The same key again returns the account that it has created, and creates no other."""
        store = await self.beside_others()
        first = await store.create_account(account("key", "alice"))
        for name in ("alice", "bob"):
            again = await store.create_account(account("key", name, created_ms=NOW_MS + 1))
            self.assertTrue(again.replayed)
            self.assertEqual(again.user_id, first.user_id)
            self.assertEqual((again.terms, again.created_ms), (first.terms, first.created_ms))
        self.assertFalse(await store.is_taken("bob"))

    async def test_sameKeyAtOnce(self) -> None:
        """Of several concurrent calls with one key one creates the account; all return it."""
        store = await self.beside_others()
        names = [f"user{number}" for number in range(CONTENDERS)]
        ended = await together(store.create_account(account("key", name)) for name in names)
        outcomes = [item for item in ended if isinstance(item, Outcome)]
        self.assertEqual(len(outcomes), CONTENDERS, ended)
        self.assertEqual(len({outcome.user_id for outcome in outcomes}), 1)
        self.assertEqual(sum(not outcome.replayed for outcome in outcomes), 1)
        self.assertEqual(sum([await store.is_taken(name) for name in names]), 1)

    async def test_refusedKeyMayTryAgain(self) -> None:
        """A key whose registration was refused can create its account under another name."""
        store = await self.beside_others()
        await store.create_account(account("first"))
        await self.refusal(UsernameTaken, store.create_account(account("second")))
        outcome = await store.create_account(account("second", "bob"))
        self.assertEqual((outcome.user_id, outcome.replayed), (user("bob"), False))

    # --- Guests --------------------------------------------------------------------------

    async def test_upgrade(self) -> None:
        """A guest becomes a user under its own name; the same key again returns the same."""
        store = await self.beside_others()
        await store.create_account(account("guest", "1", is_guest=True))
        for replayed in (False, True):
            outcome = await store.create_account(upgrade("user", "1"))
            self.assertEqual((outcome.user_id, outcome.replayed), (user("1"), replayed))

    async def test_upgradeHappensOnce(self) -> None:
        """Of several concurrent upgrades of a guest one succeeds; the others raise UnknownToken."""
        store = await self.beside_others()
        await store.create_account(account("guest", "1", is_guest=True))
        keys = [f"{number}" for number in range(CONTENDERS)]
        ended = await together(store.create_account(upgrade(key, "1")) for key in keys)
        self.assertEqual(sum(isinstance(item, Outcome) for item in ended), 1, ended)
        self.assertEqual(sum(isinstance(item, UnknownToken) for item in ended), CONTENDERS - 1)
        self.assertEqual(sum([await store.outcome(key) is not None for key in keys]), 1)

    async def test_onlyAGuestIsUpgraded(self) -> None:
        """A user who is not a guest, or does not exist, cannot be upgraded."""
        store = await self.beside_others()
        await store.create_account(account("user", "alice"))
        for name in ("alice", "nobody"):
            await self.refusal(UnknownToken, store.create_account(upgrade("key", name)))
        self.assertIsNone(await store.outcome("key"))
        self.assertFalse(await store.is_taken("nobody"))

    async def test_deactivatedGuestIsNotUpgraded(self) -> None:
        """A deactivated guest cannot be upgraded."""
        store = await self.beside_others()
        await store.create_account(account("guest", "1", is_guest=True))
        await self.deactivate(user("1"))
        await self.refusal(UnknownToken, store.create_account(upgrade("key", "1")))
        self.assertIsNone(await store.outcome("key"))

    # --- Numbers -------------------------------------------------------------------------

    async def test_numbersAreGivenOutOnce(self) -> None:
        """No number is returned twice, not even to concurrent calls."""
        store = await self.beside_others()
        numbers = await together(store.next_number() for _ in range(CONTENDERS))
        numbers += await together(store.next_number() for _ in range(CONTENDERS))
        self.assertTrue(all(isinstance(number, int) for number in numbers), numbers)
        self.assertEqual(len(set(numbers)), 2 * CONTENDERS, numbers)
