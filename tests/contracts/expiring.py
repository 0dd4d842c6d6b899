"""The contract of IExpiring: rows are deleted once they have expired, and not before."""

from __future__ import annotations

from regsys.interfaces.internal import IExpiring
from regsys.testing.contracts.case import NOW_MS, Contract
from regsys.testing.provides import provides
from tests.support.values import LATER_MS


class ExpiringContract(Contract):
    """An IExpiring."""

    def make(self) -> IExpiring:
        """One without rows."""
        raise NotImplementedError()

    async def add(self, number: int, ends_ms: int) -> None:
        """Add a row that expires after ``ends_ms``."""
        raise NotImplementedError()

    def test_provides(self) -> None:
        """It has its method, with the arguments that housekeeping calls it with."""
        provides(IExpiring, self.make())

    async def test_stays(self) -> None:
        """No row is deleted before it has expired."""
        store = self.make()
        await self.add(1, NOW_MS)
        self.assertEqual(await store.delete_expired(NOW_MS - 1, 10), 0)
        self.assertEqual(await store.delete_expired(NOW_MS + 1, 10), 1)

    async def test_goes(self) -> None:
        """Expired rows are deleted, at most so many in one call; the others stay."""
        store = self.make()
        for number in range(5):
            await self.add(number, NOW_MS - number)
        await self.add(5, LATER_MS)
        gone = [await store.delete_expired(NOW_MS + 1, 2) for _ in range(4)]
        self.assertEqual(gone, [2, 2, 1, 0])
        self.assertEqual(await store.delete_expired(LATER_MS + 1, 2), 1)
