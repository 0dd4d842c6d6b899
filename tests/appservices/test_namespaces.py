"""Who owns a name: the index of namespaces answers as trying each regex would."""

from __future__ import annotations

import re
from typing import Any, Optional, Sequence
from unittest.mock import Mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase, TestCase

from regsys.appservices.namespaces import Appservices
from regsys.interfaces import IAppservices
from regsys.model import Appservice, Secret, UserID, UserNamespace
from regsys.testing.contracts import AppservicesContract
from regsys.testing.contracts.appservices import BRIDGE, OTHER
from regsys.testing.contracts.case import SERVER
from tests.appservices.test_literal_prefixes import regexes, texts_of
from tests.support.scale import examples

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
        b = service("b", [("@_a_open", True)])
        self.assertEqual(self.reserved("_a_open", a, b), {"b"})

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

    @examples(150)
    @given(st.data())
    def test_asTryingEach(self, data: Any) -> None:
        """Whatever the regexes and the name, the answers are those of trying each regex."""
        spaces = st.lists(st.tuples(regexes, st.booleans()), max_size=4)
        made = [
            service(f"s{number}", found)
            for number, found in enumerate(data.draw(st.lists(spaces, min_size=1, max_size=4)))
        ]
        index = services(*made)
        all_regexes = [item.regex for one in made for item in one.users]
        text = data.draw(texts_of(all_regexes))
        user_id = UserID(text[1:], "s")
        plain: dict[str, bool] = {}
        for one in made:
            for item in one.users:
                if item.regex.match(str(user_id)):
                    plain.setdefault(one.id, item.exclusive)
        exclusive = {name for name, is_exclusive in plain.items() if is_exclusive}
        self.assertEqual(set(index.reserved_for(user_id)), exclusive)
        for one in made:
            self.assertEqual(index.may_use(one.id, user_id), one.id in plain, one.id)


class ManyTests(SynchronousTestCase):
    def test_thousands(self) -> None:
        """With five thousand namespaces a question costs no more matches than with one: a regex
        with another prefix is not tried."""
        tried = {}
        for count in (1, 5000):
            made = [service(f"s{n}", [(rf"@_s{n}_.*:{SERVER}", True)]) for n in range(count)]
            calls = Mock(return_value=None)
            for one in made:
                object.__setattr__(one.users[0], "regex", _Counted(one.users[0].regex, calls))
            index = services(*made)
            self.assertEqual(list(index.reserved_for(UserID("_s0_x", SERVER))), ["s0"])
            self.assertEqual(list(index.reserved_for(UserID("alice", SERVER))), [])
            self.assertTrue(index.may_use("s0", UserID("_s0_x", SERVER)))
            tried[count] = calls.call_count
        self.assertEqual(tried, {1: 2, 5000: 2})


class _Counted:
    """A compiled regex that reports each match it is asked for."""

    def __init__(self, regex: re.Pattern[str], tell: Any) -> None:
        self.regex, self.tell = regex, tell
        self.flags, self.pattern = regex.flags, regex.pattern

    def match(self, text: str) -> Any:
        self.tell()
        return self.regex.match(text)
