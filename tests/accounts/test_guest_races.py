"""Guests that end while something else happens to them, on PostgreSQL, in every order of the
statements."""

from __future__ import annotations

from regsys.errors import UnknownToken
from regsys.model.accounts import Outcome
from regsys.testing.contracts.case import account, device, upgrade, user
from tests.storage.test_races import RaceCase, create, pair
from tests.support.stores import Stores
from tests.support.values import LATER_MS

GUEST = create(
    account("guest", "1", is_guest=True, device=device("guest", "guest_device", is_guest=True))
)


async def deactivate_idle(stores: Stores) -> int:
    return await stores.guests.deactivate_idle(LATER_MS, 10)


class GuestRaces(RaceCase):
    def test_upgradedWhileItEnds(self) -> None:
        """A guest who upgrades at the moment in which it would end for being idle either is a user,
        or has ended and is answered that its token is unknown."""
        new = create(upgrade("a", "1", password_hash="x", device=pair("a")))
        ends = set()
        for first, second in ((new, deactivate_idle), (deactivate_idle, new)):
            for pair_result in self.pair_results(GUEST, first, second):
                results = (pair_result.first, pair_result.second)
                ended = 1 in results
                ((state,),) = [self.stored("SELECT CONCAT(is_guest, deactivated) FROM users")]
                kind = UnknownToken if ended else Outcome
                self.assertIn(kind, {type(result) for result in results}, pair_result)
                self.assertEqual(state, "tt" if ended else "ff", pair_result)
                ends.add(ended)
        self.assertEqual(ends, {True, False})

    def test_endedTwice(self) -> None:
        """Two processes that look for idle guests share them, and neither waits for the other."""

        async def before(stores: Stores) -> None:
            for name in "1234":
                guest = device(name, "guest_device", is_guest=True)
                await stores.users.create_account(account(name, name, is_guest=True, device=guest))

        async def end_two(stores: Stores) -> int:
            return await stores.guests.deactivate_idle(LATER_MS, 2)

        for pair_result in self.pair_results(before, end_two, end_two):
            self.assertEqual((pair_result.first, pair_result.second), (2, 2), pair_result)

    def test_seenWhileItEnds(self) -> None:
        """A guest that is seen at the moment in which it would end either stays, or has ended."""

        async def saw(stores: Stores) -> None:
            await stores.activity.record_seen([user("1")], LATER_MS)

        for first, second in ((saw, deactivate_idle), (deactivate_idle, saw)):
            for pair_result in self.pair_results(GUEST, first, second):
                ended = 1 in (pair_result.first, pair_result.second)
                self.assertEqual(self.stored("SELECT deactivated FROM users"), [ended], pair_result)

    def test_seenTwice(self) -> None:
        """Two processes that have seen the same users write them once, and neither blocks the
        other."""

        async def before(stores: Stores) -> None:
            for name in "abc":
                await stores.users.create_account(account(name, name))

        async def saw(stores: Stores) -> None:
            await stores.activity.record_seen([user(name) for name in "abc"], LATER_MS)

        for pair_result in self.pair_results(before, saw, saw):
            self.assertEqual(self.stored("SELECT COUNT(*) FROM active_users"), [3], pair_result)
