"""Suites of embedders who have misunderstood something. Nothing runs them but tests of what they
are told."""

from __future__ import annotations

from typing import Any

import attr
from zope.interface import implementer

from regsys.interfaces import IFollower
from regsys.testing import MemoryAccounts, MemoryAuth
from tests import test_contracts as suites


class WrongDevices(suites.MemoryDevicesTests):
    def make(self) -> Any:
        return super().make()[0]


class WrongHomeserver(suites.MemoryHomeserverTests):
    def make(self) -> Any:
        return super().make().store


class WrongRooms(suites.MemoryRoomsTests):
    def make(self) -> Any:
        return None


class PlainAccounts(MemoryAccounts):
    def is_taken(self, localpart: str) -> Any:
        return localpart.lower() in self.by_name


class PlainTests(suites.MemoryAccountsTests):
    def make(self) -> Any:
        self.store = PlainAccounts()
        return self.store


class PlainAuth(MemoryAuth):
    def whose(self, token: Any) -> Any:
        return None


class PlainHomeserver(suites.MemoryHomeserverTests):
    def make(self) -> Any:
        made = super().make()
        return attr.evolve(made, auth=PlainAuth(self.devices))


@implementer(IFollower)
class PlainFollower:
    name = "plain"

    def registered(self, user_id: Any, facts: Any) -> None:
        """As if it were called at once."""


class PlainFollowerTests(suites.FollowerTests):
    def make(self) -> Any:
        return PlainFollower()
