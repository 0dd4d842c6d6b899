"""Names that another homeserver has: when it is asked, and when not."""

from __future__ import annotations

from typing import Any, Optional

import attr
from twisted.internet.defer import Deferred

from regsys.accounts.name_rules import NameRules
from regsys.accounts.usernames import ASKED_AT_ONCE, Usernames
from regsys.config import NamesConfig, RegistrationConfig
from regsys.errors import (
    InvalidUsername,
    Unavailable,
    UnknownToken,
    UsernameReserved,
    UsernameTaken,
)
from regsys.model import Secret, UserID
from regsys.outbound.homeserver_accounts import HomeserverAccounts
from regsys.testing import MemoryAppservices
from tests.support.fakes import stands_for
from tests.support.naming import UsernamesCase, user


@attr.define
class Elsewhere:
    """Has these names, or does not answer; ``asked`` are the names that it was asked for."""

    names: set[str] = attr.field(factory=set)
    down: bool = False
    asked: list[str] = attr.field(factory=list)

    async def exists(self, user_id: UserID) -> bool:
        self.asked.append(user_id.localpart)
        if self.down:
            raise Unavailable()
        return user_id.localpart in self.names


class ElsewhereTests(UsernamesCase):
    def setUp(self) -> None:
        self.elsewhere = Elsewhere({"alice", "1", "2"})
        stands_for(HomeserverAccounts, self.elsewhere)
        super().setUp()

    def make(self, *reserved: str, **config: Any) -> Usernames:
        names = super().make(*reserved, **config)
        return attr.evolve(names, exists_elsewhere=self.elsewhere.exists)

    def draw(self, names: Optional[Usernames] = None) -> Any:
        return self.successResultOf(Deferred.fromCoroutine((names or self.names).draw()))

    def test_taken(self) -> None:
        """Its names are taken here; all others are free."""
        self.refusal(UsernameTaken, "alice")
        self.refusal(UsernameTaken, "alice", early=True)
        self.assertIsNone(self.check("bob"))

    def test_askedLast(self) -> None:
        """It is not asked for a name that is refused without it."""
        for error, name in (
            (InvalidUsername, "_alice"),
            (InvalidUsername, "1"),
            (UsernameTaken, "taken"),
        ):
            self.refusal(error, name)
        self.refusal(UsernameReserved, "alice", self.make("alice"))
        self.assertEqual(self.elsewhere.asked, [])

    def test_ownAccount(self) -> None:
        """Nor is it asked for a name that this key, this session or this guest has here already:
        the account there is ours."""
        self.accounts.taken.add("alice")
        self.accounts.made["key"] = user("alice")
        self.assertIsNone(self.check("alice", key="key"))
        self.assertIsNone(self.check("alice", assigned_user_id=user("alice")))
        self.assertEqual(self.check("42", guest_access_token=Secret("guest")), user("42"))
        self.refusal(UnknownToken, "alice", guest_access_token=Secret("nobody's"))
        self.assertEqual(self.elsewhere.asked, [])

    def test_silent(self) -> None:
        """If taken names are not reported early, it is asked by the completing request alone."""
        silent = self.make(inhibit_user_in_use_error=True)
        self.assertIsNone(self.check("alice", silent, early=True))
        self.assertEqual(self.elsewhere.asked, [])
        self.refusal(UsernameTaken, "alice", silent)

    def test_takesOver(self) -> None:
        """An administrator can state that the account there is the same person's, but not that ours
        is."""
        self.assertIsNone(self.check("alice", takes_over=True))
        self.refusal(UsernameTaken, "taken", takes_over=True)

    def test_down(self) -> None:
        """While it does not answer, no name is free, generated or not."""
        self.elsewhere.down = True
        self.refusal(Unavailable, "bob")
        self.failureResultOf(Deferred.fromCoroutine(self.names.draw()), Unavailable)

    def test_numbers(self) -> None:
        """Its numbers are skipped; of very many, a bounded number at a time."""
        self.assertEqual(self.draw(), user("3"))
        self.elsewhere.names.update(map(str, range(4, 4 + ASKED_AT_ONCE + 3)))
        self.failureResultOf(Deferred.fromCoroutine(self.names.draw()), Unavailable)
        self.assertEqual(self.draw(), user(str(4 + ASKED_AT_ONCE + 3)))

    def test_none(self) -> None:
        """Without a homeserver no other server is asked."""
        alone = Usernames(
            server_name=self.names.server_name,
            config=RegistrationConfig(),
            accounts=self.accounts,
            services=MemoryAppservices({}),
            auth=self.names.auth,
            clock=self.clock,
            rules=NameRules.load(NamesConfig()),
        )
        self.assertIsNone(self.check("alice", alone))
        self.assertEqual(self.draw(alone), user("1"))
