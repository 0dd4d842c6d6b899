"""A homeserver in memory, and its clients."""

from __future__ import annotations

from typing import Any, Awaitable

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys.config import HomeserverConfig
from regsys.errors import RoomRefused
from regsys.model import Secret, UserID
from regsys.outbound.homeserver import Homeserver
from regsys.outbound.http import HTTPClient
from tests.doubles.homeserver import AS_TOKEN, SERVER, HomeserverDouble


def asking(double: HomeserverDouble, clock: Clock, token: str = AS_TOKEN) -> Homeserver:
    """A client of the double."""
    config = HomeserverConfig(url="http://hs.example", as_token=Secret(token))
    return Homeserver.from_config(config, SERVER, HTTPClient(StubTreq(double), clock))


def user(localpart: str) -> UserID:
    return UserID(localpart, SERVER)


class HomeserverCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.double, self.clock = HomeserverDouble(), Clock()
        self.homeserver = asking(self.double, self.clock)

    def begin(self, asked: Awaitable[Any]) -> Deferred[Any]:
        """Begin a request, and let everything happen that needs no time."""
        begun: Any = asked
        waiting: Deferred[Any] = Deferred.fromCoroutine(begun)
        self.homeserver.http.treq.flush()  # type: ignore[attr-defined]
        return waiting

    def wait(self, asked: Awaitable[Any]) -> Any:
        return self.successResultOf(self.begin(asked))

    def refused(self, asked: Awaitable[Any]) -> str:
        """The error for the operator, which never contains the token."""
        text = str(self.failureResultOf(self.begin(asked), RoomRefused).value)
        self.assertNotIn(AS_TOKEN, text)
        return text
