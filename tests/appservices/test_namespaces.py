"""The namespaces of application services: which user IDs they reserve."""

from __future__ import annotations

import re
from typing import Optional, Sequence

from twisted.trial.unittest import SynchronousTestCase, TestCase

from regsys.appservices.namespaces import Appservices
from regsys.interfaces import IAppservices
from regsys.model import Appservice, Secret, UserID, UserNamespace
from regsys.testing.contracts import AppservicesContract
from regsys.testing.contracts.appservices import BRIDGE, OTHER
from regsys.testing.contracts.case import SERVER

Spaces = Sequence[tuple[str, bool]]


def service(name: str, spaces: Spaces, sender: Optional[str] = None) -> Appservice:
    return Appservice(
        id=name,
        as_token=Secret(f"{name}'s token"),
        sender_localpart=sender or f"{name}bot",
        users=tuple(UserNamespace(re.compile(text), exclusive) for text, exclusive in spaces),
    )


def services(*made: Appservice) -> Appservices:
    return Appservices.from_services(made, SERVER)


class ConfiguredTests(AppservicesContract, TestCase):
    def make(self) -> IAppservices:
        both: Spaces = [("@_contested", True), ("@_shared", False)]
        bridge = service("bridge", [(rf"@_bridge_.*:{SERVER}", True), *both], "bridgebot")
        return services(bridge, service("other", both, OTHER.sender_localpart))

    def test_secrets(self) -> None:
        """No token appears in a repr."""
        self.assertNotIn(BRIDGE.as_token.reveal(), repr(self.make()))


class NamespaceTests(SynchronousTestCase):
    def reserved(self, localpart: str, *made: Appservice) -> set[str]:
        return set(services(*made).reserved_for(UserID(localpart, SERVER)))

    def test_firstMatchDecides(self) -> None:
        """Within a service the first entry that matches says whether a name is exclusive."""
        a = service("a", [("@_a_open", False), ("@_a_", True), ("@_a_late", False)])
        for name, exclusive in (("_a_open", False), ("_a_late", True), ("_a_x", True)):
            self.assertEqual(self.reserved(name, a), {"a"} if exclusive else set(), name)
            self.assertTrue(services(a).may_use("a", UserID(name, SERVER)), name)
        b = service("b", [("@_a_open", True)])
        self.assertEqual(self.reserved("_a_open", a, b), {"b"})
        self.assertEqual(self.reserved("_a_x", a, b), {"a"})
        self.assertFalse(services(a, b).may_use("b", UserID("_a_x", SERVER)))

    def test_fromTheStart(self) -> None:
        """A regex matches the user ID from its start, but need not reach its end."""
        for text, names in (
            ("@_irc_", {"_irc_", "_irc_x"}),
            ("_irc_", set()),
            ("@_irc_x$", set()),
            (f"@_irc_x:{re.escape(SERVER)}$", {"_irc_x"}),
            ("(?i)@_IRC_X", {"_irc_x"}),
            (".*irc_x", {"_irc_x", "x_irc_x"}),
        ):
            mine = service("irc", [(text, True)])
            found = {name for name in ("_irc_", "_irc_x", "x_irc_x") if self.reserved(name, mine)}
            self.assertEqual(found, names, text)

    def test_sendersAreTheFirstServices(self) -> None:
        """Of two services with the same sender the first one reserves it; both may act as it."""
        a, b = service("a", [], "bot"), service("b", [("@bot", True)], "bot")
        self.assertEqual(self.reserved("bot", a, b), {"a"})
        self.assertTrue(services(a, b).may_use("b", UserID("bot", SERVER)))
