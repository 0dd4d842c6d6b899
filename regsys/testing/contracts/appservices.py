"""The contract of IAppservices: which service has a token, and which a name is reserved for."""

from __future__ import annotations

from regsys.interfaces import IAppservices
from regsys.model import Appservice, Secret
from regsys.testing.contracts.case import Contract, user
from regsys.testing.provides import provides

BRIDGE = Appservice(id="bridge", as_token=Secret("bridge's token"), sender_localpart="bridgebot")
OTHER = Appservice(id="other", as_token=Secret("other's token"), sender_localpart="Otherbot")

# In an exclusive namespace of the bridge; in exclusive namespaces of both services; in namespaces
# of both that are not exclusive; in none.
ITS_NAME, CONTESTED, SHARED, FREE = "_bridge_alice", "_contested", "_shared", "alice"


class AppservicesContract(Contract):
    """An IAppservices."""

    def make(self) -> IAppservices:
        """One with the two services BRIDGE and OTHER, whose namespaces have the names above as the
        comment says. How their ``users`` say so is up to you."""
        raise NotImplementedError()

    def test_provides(self) -> None:
        """It has all methods, with the arguments that regsys calls them with."""
        provides(IAppservices, self.make())

    def test_tokens(self) -> None:
        """A service is found by its token, and by no other."""
        services = self.make()
        self.assertEqual({item.id for item in services.services}, {"bridge", "other"})
        for service in (BRIDGE, OTHER):
            found = services.by_token(Secret(service.as_token.reveal()))
            assert found is not None
            fields = (found.id, found.sender_localpart, found.may_log_in)
            self.assertEqual(fields, (service.id, service.sender_localpart, True))
        for strange in ("", "bridge", "bridge's", "Bridge's token", "bridge's token "):
            self.assertIsNone(services.by_token(Secret(strange)), strange)

    def test_namespaces(self) -> None:
        """A service may use the names in its namespaces, exclusive or not."""
        services = self.make()
        for name, bridge, other, reserved in (
            (ITS_NAME, True, False, {"bridge"}),
            (CONTESTED, True, True, {"bridge", "other"}),
            (SHARED, True, True, set()),
            (FREE, False, False, set()),
        ):
            may_use = [services.may_use(item, user(name)) for item in ("bridge", "other")]
            self.assertEqual(may_use, [bridge, other], name)
            self.assertEqual(set(services.reserved_for(user(name))), reserved, name)

    def test_senders(self) -> None:
        """Only the service may use its own user; the name is reserved in any case of letters."""
        services = self.make()
        for mine, service, another in (("bridgebot", BRIDGE, OTHER), ("Otherbot", OTHER, BRIDGE)):
            self.assertTrue(services.may_use(service.id, user(mine)))
            self.assertFalse(services.may_use(another.id, user(mine)))
            for name in (mine, mine.lower(), mine.upper()):
                self.assertEqual(list(services.reserved_for(user(name))), [service.id], name)

    def test_unknownService(self) -> None:
        """A service that does not exist may use no name."""
        self.assertFalse(self.make().may_use("unknown", user(ITS_NAME)))
