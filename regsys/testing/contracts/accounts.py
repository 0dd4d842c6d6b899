"""The contract of IAccountStore: one account for each name, and one for each key."""

from __future__ import annotations

from typing import Optional, Sequence

from regsys.errors import UnknownToken, UsernameTaken
from regsys.interfaces import IAccountStore
from regsys.model import UserID
from regsys.testing.contracts.case import (
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

CONTENDERS = 8
GUEST = f"{NEIGHBOUR}-guest"
# One name, in several spellings.
SPELLINGS = ("alice", "ALICE", "Alice", "aLICE")


class AccountStoreContract(Contract):
    """An IAccountStore, ours or a homeserver's.

    If a test of names fails, two users may get one name. If a test of keys fails, a client whose
    answer was lost gets a second account or an error in place of its own. If a test of guests
    fails, somebody who was a guest once may take over an account.
    """

    @yours
    def make(self) -> MaybeAwaitable[IAccountStore]:
        """An empty store."""
        raise NotImplementedError()

    @yours
    def deactivate(self, user_id: UserID) -> MaybeAwaitable[None]:
        """Deactivate this account, as your homeserver does; SkipTest if it never does."""
        raise NotImplementedError()

    def reopened(self, store: IAccountStore) -> MaybeAwaitable[IAccountStore]:
        """The store as it is after a restart: another object over the same database. The same one
        if nothing outlives the process."""
        return store

    async def beside_others(self) -> IAccountStore:
        """A store with a user and a guest, whom no call of the test may change."""
        store = await part_of(IAccountStore, self.make())
        made = [
            await store.create_account(account(NEIGHBOUR, NEIGHBOUR)),
            await store.create_account(account(GUEST, GUEST, is_guest=True)),
        ]
        self.addCleanup(self._unharmed, store, made)
        return store

    async def _unharmed(self, store: IAccountStore, made: Sequence[UserID]) -> None:
        for user_id in made:
            rule = "create_account: no call changes another account"
            self.assertEqual(await store.made_by(user_id.localpart), user_id, rule)
            self.assertEqual(await store.is_taken(user_id.localpart), True, rule)
        rule = "create_account: a user stays a user, and a guest a guest, whatever others do"
        await self.refusal(
            UnknownToken, store.create_account(upgrade("of a user", NEIGHBOUR)), rule
        )
        upgraded = await self.answer(store.create_account(upgrade("of a guest", GUEST)), rule)
        self.assertEqual(upgraded, user(GUEST), rule)

    async def has_made(
        self, store: IAccountStore, key: str, user_id: Optional[UserID], rule: str
    ) -> None:
        """Assert what a key has created, by this rule of ``create_account``."""
        found = await store.made_by(key)
        self.assertEqual(found, user_id, f"made_by({key!r}), after create_account: {rule}")

    def decided(self, ended: Sequence[object], error: type[Exception], rule: str) -> None:
        """Assert that one of these calls has returned a user, and all others have raised this."""
        made = [item for item in ended if isinstance(item, UserID)]
        refused = [item for item in ended if isinstance(item, error)]
        self.assertEqual((len(made), len(refused)), (1, len(ended) - 1), f"{rule}: {ended}")

    # --- Making an account ---------------------------------------------------------------

    async def test_provides(self) -> None:
        """It has all methods, with the arguments that regsys calls them with."""
        await part_of(IAccountStore, self.make())

    async def test_created(self) -> None:
        """A new account's user is returned as it was given, capitals included."""
        store = await self.beside_others()
        for key, name in (("1", "alice"), ("2", "Bob")):
            made = await store.create_account(account(key, name))
            self.assertEqual(made, user(name), "create_account: returns the account's user")
            await self.has_made(store, key, user(name), "made_by finds the same user")

    async def test_nameIsTakenWhateverItsCase(self) -> None:
        """A name is free until an account has it, and then taken in every spelling."""
        store = await self.beside_others()
        self.assertEqual(await store.is_taken("alice"), False, "is_taken: a new name is free")
        await store.create_account(account("key", "aLiCe"))
        for name in SPELLINGS:
            rule = f"is_taken: names are compared case-insensitively: {name}"
            self.assertEqual(await store.is_taken(name), True, rule)
        for name in ("alice2", "alic", "%", "alic_", ""):
            rule = f"is_taken: no account has the name {name!r}"
            self.assertEqual(await store.is_taken(name), False, rule)

    async def test_guestHasItsName(self) -> None:
        """A guest has its name like any other account."""
        store = await self.beside_others()
        await store.create_account(account("guest", "1", is_guest=True))
        self.assertEqual(await store.is_taken("1"), True, "is_taken: guests have names, too")
        rule = "create_account: a guest's name is taken, unless this upgrades_guest"
        for is_guest in (False, True):
            new = account("key", "1", is_guest=is_guest)
            await self.refusal(UsernameTaken, store.create_account(new), rule)

    async def test_secondOfANameIsRefused(self) -> None:
        """A second account of a name is refused, and leaves nothing behind."""
        store = await self.beside_others()
        await store.create_account(account("first", "alice"))
        for number, name in enumerate(SPELLINGS):
            rule = f"create_account: {name} has the name of alice"
            again = store.create_account(account(f"{number}", name))
            await self.refusal(UsernameTaken, again, rule)
            await self.has_made(store, f"{number}", None, "a refused key has created nothing")
        await self.has_made(store, "first", user("alice"), "the first account stays")

    async def test_deactivatedAccountKeepsItsName(self) -> None:
        """No other account gets the name of a deactivated one."""
        store = await self.beside_others()
        await store.create_account(account("first"))
        await value_of(self.deactivate(user("alice")))
        rule = "a deactivated account keeps its name"
        self.assertEqual(await store.is_taken("ALICE"), True, f"is_taken: {rule}")
        again = store.create_account(account("second"))
        await self.refusal(UsernameTaken, again, f"create_account: {rule}")
        await self.has_made(store, "first", user("alice"), "deactivation forgets no key")

    async def test_raceForAName(self) -> None:
        """Of several concurrent calls for a name one creates an account; the others are refused."""
        store = await self.beside_others()
        asked = [
            store.create_account(account(f"{number}", SPELLINGS[number % 4]))
            for number in range(CONTENDERS)
        ]
        rule = "create_account: a unique key decides who gets a name, not a look before"
        self.decided(await together(asked), UsernameTaken, rule)

    # --- Keys ----------------------------------------------------------------------------

    async def test_madeBy(self) -> None:
        """The user that a key has created is found; a key that has created nothing has none."""
        store = await self.beside_others()
        await self.has_made(store, "key", None, "a key that was never used has created nothing")
        made = await store.create_account(account("key"))
        await self.has_made(store, "key", made, "a key is found with the user that it has created")
        for other in ("KEY", "ke", "key2", "alice", "%", ""):
            await self.has_made(store, other, None, "another key has created nothing")

    async def test_sameKeySameAccount(self) -> None:
        """The same key again returns the account that it has created, and creates no other,
        whatever name the call has: a free one, its own, or that of another account."""
        store = await self.beside_others()
        first = await store.create_account(account("key", "alice"))
        for name in ("alice", "bob", NEIGHBOUR):
            rule = f"create_account: the same key returns the account that it has created ({name})"
            repeated = store.create_account(account("key", name, created_ms=NOW_MS + 1))
            again = await self.answer(repeated, rule)
            self.assertEqual(again, first, rule)
        rule = "create_account: the same key creates no second account"
        self.assertEqual(await store.is_taken("bob"), False, rule)
        await self.has_made(store, "key", first, rule)

    async def test_keyOutlivesItsAccount(self) -> None:
        """The same key returns its account also after the account was deactivated."""
        store = await self.beside_others()
        first = await store.create_account(account("key", "alice"))
        await value_of(self.deactivate(first))
        rule = "create_account: the same key returns its account, also a deactivated one"
        again = await self.answer(store.create_account(account("key", "alice")), rule)
        self.assertEqual(again, first, rule)

    async def test_sameKeyAtOnce(self) -> None:
        """Of several concurrent calls with one key one creates the account; all return it."""
        store = await self.beside_others()
        names = [f"user{number}" for number in range(CONTENDERS)]
        ended = await together(store.create_account(account("key", name)) for name in names)
        rule = f"create_account: concurrent calls with one key return one account: {ended}"
        self.assertEqual(len(set(ended)), 1, rule)
        self.assertIsInstance(ended[0], UserID, rule)
        self.assertEqual(sum([await store.is_taken(name) for name in names]), 1, rule)

    async def test_refusedKeyMayTryAgain(self) -> None:
        """A key whose registration was refused can create its account under another name."""
        store = await self.beside_others()
        await store.create_account(account("first"))
        await self.refusal(UsernameTaken, store.create_account(account("second")))
        rule = "create_account: a refused call writes nothing, not even its key"
        made = await self.answer(store.create_account(account("second", "bob")), rule)
        self.assertEqual(made, user("bob"), rule)
        await self.has_made(store, "second", user("bob"), rule)

    # --- Guests --------------------------------------------------------------------------

    async def test_upgrade(self) -> None:
        """A guest becomes a user under its own name; the same key again returns the same."""
        store = await self.beside_others()
        await store.create_account(account("guest", "1", is_guest=True))
        for _ in range(2):
            rule = "create_account: an upgrade returns its user, also if it is repeated"
            made = await self.answer(store.create_account(upgrade("user", "1")), rule)
            self.assertEqual(made, user("1"), rule)
        for key in ("guest", "user"):
            await self.has_made(store, key, user("1"), "both keys have made this account")

    async def test_upgradeHappensOnce(self) -> None:
        """Of several concurrent upgrades of a guest one succeeds; the others raise UnknownToken."""
        store = await self.beside_others()
        await store.create_account(account("guest", "1", is_guest=True))
        keys = [f"{number}" for number in range(CONTENDERS)]
        ended = await together(store.create_account(upgrade(key, "1")) for key in keys)
        rule = "create_account: a guest is upgraded once"
        self.decided(ended, UnknownToken, rule)
        made = [key for key in keys if await store.made_by(key) is not None]
        self.assertEqual(len(made), 1, f"{rule}; made_by: a refused key has created nothing")

    async def test_onlyAGuestIsUpgraded(self) -> None:
        """A user who is not a guest, or does not exist, cannot be upgraded."""
        store = await self.beside_others()
        await store.create_account(account("user", "alice"))
        for name in ("alice", "nobody"):
            rule = f"create_account: there is no guest {name} to upgrade"
            await self.refusal(UnknownToken, store.create_account(upgrade("key", name)), rule)
        rule = "a refused upgrade writes nothing"
        await self.has_made(store, "key", None, rule)
        self.assertEqual(await store.is_taken("nobody"), False, f"create_account: {rule}")

    async def test_deactivatedGuestIsNotUpgraded(self) -> None:
        """A deactivated guest cannot be upgraded."""
        store = await self.beside_others()
        await store.create_account(account("guest", "1", is_guest=True))
        await value_of(self.deactivate(user("1")))
        rule = "create_account: a deactivated guest is not upgraded"
        await self.refusal(UnknownToken, store.create_account(upgrade("key", "1")), rule)
        await self.has_made(store, "key", None, "a refused upgrade writes nothing")

    # --- Numbers -------------------------------------------------------------------------

    async def test_numbersAreGivenOutOnce(self) -> None:
        """No number is returned twice, not even to concurrent calls, nor after a restart, and
        whatever accounts there are."""
        store = await self.beside_others()
        numbers = await together(store.next_number() for _ in range(CONTENDERS))
        await store.create_account(account("key"))
        numbers += await together(store.next_number() for _ in range(CONTENDERS))
        reopened = await value_of(self.reopened(store))
        numbers += await together(reopened.next_number() for _ in range(CONTENDERS))
        rule = f"next_number: an int that was never returned before: {numbers}"
        self.assertEqual({type(number) for number in numbers}, {int}, rule)
        self.assertEqual(len(set(numbers)), len(numbers), rule)
