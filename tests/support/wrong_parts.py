"""Suites of embedders who have misunderstood something. Nothing runs them but tests of what they
are told."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr
from zope.interface import implementer

from regsys.interfaces import IFollower
from regsys.model import FoundRoom, UserID
from regsys.testing import MemoryAccounts, MemoryAuth, MemoryRooms
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


class ResidentRooms(MemoryRooms):
    """Takes every room for one that a user of this server has joined."""

    async def find(self, room: str) -> Optional[FoundRoom]:
        found = await super().find(room)
        return found and attr.evolve(found, resident=True)


class ResidentTests(suites.MemoryRoomsTests):
    def make(self) -> Any:
        self.rooms = ResidentRooms()
        return self.rooms


@implementer(IFollower)
class PlainFollower:
    name = "plain"

    def registered(self, user_id: Any, facts: Any) -> None:
        """As if it were called at once."""


class PlainFollowerTests(suites.FollowerTests):
    def make(self) -> Any:
        return PlainFollower()


class ForgetfulHomeserver(suites.MemoryHomeserverTests):
    """Tells less than it keeps."""

    def stored(self, user_id: UserID) -> Mapping[str, Any]:
        kept = dict(super().stored(user_id))
        del kept["consents"], kept["auth_provider_id"]
        return kept


class LossyHomeserver(suites.MemoryHomeserverTests):
    """Keeps none of two fields."""

    def stored(self, user_id: UserID) -> Mapping[str, Any]:
        return {**super().stored(user_id), "admin": False, "user_type": None}


class MisnamedHomeserver(suites.MemoryHomeserverTests):
    not_kept = ("displayname", "is_guest", "key")
