"""The contract of IAppservices: which service has a token, and which a name is reserved for."""

from __future__ import annotations

from regsys.interfaces import IAppservices
from regsys.model import Appservice, Secret
from regsys.testing.contracts.case import (
    Contract,
    MaybeAwaitable,
    part_of,
    user,
    yours,
)

BRIDGE = Appservice(id="bridge", as_token=Secret("bridge's token"), sender_localpart="bridgebot")
OTHER = Appservice(id="other", as_token=Secret("other's token"), sender_localpart="Otherbot")

# Their namespaces: see ``make``.
ITS_NAME, CONTESTED, SHARED, FREE = "_bridge_alice", "_contested", "_shared", "alice"


class AppservicesContract(Contract):
    """An IAppservices."""

    @yours
    def make(self) -> MaybeAwaitable[IAppservices]:
        """One with the services BRIDGE and OTHER: ITS_NAME is in an exclusive namespace of the
        bridge, CONTESTED in exclusive ones of both, SHARED in ones of both that are not exclusive,
        and FREE in none. How their ``users`` say so is up to you."""
        raise NotImplementedError()

    async def test_provides(self) -> None:
        """It has all methods, with the arguments that regsys calls them with."""
        await part_of(IAppservices, self.make())

    async def test_tokens(self) -> None:
        """A service is found by its token, and by no other."""
        services = await part_of(IAppservices, self.make())
        named = {item.id for item in services.services}
        self.assertEqual(named, {"bridge", "other"}, "services: has all services")
        for service in (BRIDGE, OTHER):
            found = services.by_token(Secret(service.as_token.reveal()))
            assert found is not None
            fields = (found.id, found.sender_localpart, found.may_log_in)
            rule = "by_token: the service that has this token"
            self.assertEqual(fields, (service.id, service.sender_localpart, True), rule)
        for strange in ("", "bridge", "bridge's", "Bridge's token", "bridge's token "):
            rule = f"by_token: None for {strange!r}, which is no service's token"
            self.assertEqual(services.by_token(Secret(strange)), None, rule)

    async def test_namespaces(self) -> None:
        """A service may use the names in its namespaces, exclusive or not."""
        services = await part_of(IAppservices, self.make())
        for name, bridge, other, reserved in (
            (ITS_NAME, True, False, {"bridge"}),
            (CONTESTED, True, True, {"bridge", "other"}),
            (SHARED, True, True, set()),
            (FREE, False, False, set()),
        ):
            may_use = [services.may_use(item, user(name)) for item in ("bridge", "other")]
            rule = f"may_use: a service may use the names in its namespaces: {name}"
            self.assertEqual(may_use, [bridge, other], rule)
            rule = f"reserved_for: the services whose exclusive namespaces match: {name}"
            self.assertEqual(set(services.reserved_for(user(name))), reserved, rule)

    async def test_senders(self) -> None:
        """Only the service may use its own user; the name is reserved in any case of letters."""
        services = await part_of(IAppservices, self.make())
        for mine, service, another in (("bridgebot", BRIDGE, OTHER), ("Otherbot", OTHER, BRIDGE)):
            may_use = [services.may_use(item.id, user(mine)) for item in (service, another)]
            rule = "may_use: only the service itself may use its own user"
            self.assertEqual(may_use, [True, False], rule)
            for name in (mine, mine.lower(), mine.upper()):
                rule = f"reserved_for: a service's own user is reserved for it alone: {name}"
                self.assertEqual(list(services.reserved_for(user(name))), [service.id], rule)

    async def test_unknownService(self) -> None:
        """A service that does not exist may use no name."""
        services = await part_of(IAppservices, self.make())
        rule = "may_use: False for a service that does not exist"
        self.assertEqual(services.may_use("unknown", user(ITS_NAME)), False, rule)
