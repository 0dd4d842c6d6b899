"""The parts that names are checked against, as fakes: accounts, services, and guests with their
tokens."""

from __future__ import annotations

from typing import Any, Optional

import attr
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from regsys.accounts.name_rules import NameRules
from regsys.accounts.usernames import Usernames
from regsys.config import NamesConfig, RegistrationConfig
from regsys.errors import RegistrationError
from regsys.interfaces import IAccountStore, IAuth
from regsys.model import NewAccount, Requester, Secret, UserID
from regsys.testing import MemoryAppservices

SERVER = "s.example"


@implementer(IAccountStore)
@attr.define
class Accounts:
    """A store of names alone."""

    taken: set[str] = attr.field(factory=set)
    number: int = 0
    made: dict[str, UserID] = attr.field(factory=dict)

    async def is_taken(self, localpart: str) -> bool:
        return localpart.lower() in self.taken

    async def next_number(self) -> int:
        self.number += 1
        return self.number

    async def create_account(self, new: NewAccount) -> UserID:
        raise AssertionError("asking for a name writes nothing")

    async def made_by(self, key: str) -> Optional[UserID]:
        return self.made.get(key)


@implementer(IAuth)
@attr.frozen
class Auth:
    tokens: dict[str, Requester]

    async def whose(self, token: Secret) -> Optional[Requester]:
        return self.tokens.get(token.reveal())


def user(localpart: str) -> UserID:
    return UserID(localpart, SERVER)


class UsernamesCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.accounts = Accounts({"taken", "42"})
        self.names = self.make()

    def make(self, *reserved: str, rules: Optional[NamesConfig] = None, **config: Any) -> Usernames:
        guests = {
            "guest": Requester(user_id=user("42"), is_guest=True),
            "another guest": Requester(user_id=user("43"), is_guest=True),
            "a user": Requester(user_id=user("taken")),
        }
        return Usernames(
            server_name=SERVER,
            config=RegistrationConfig(**config),
            accounts=self.accounts,
            services=MemoryAppservices({name: {"bridge"} for name in reserved}),
            auth=Auth(guests),
            clock=self.clock,
            rules=NameRules.load(rules or NamesConfig()),
        )

    def check(self, localpart: str, names: Optional[Usernames] = None, **more: Any) -> Any:
        checking = (names or self.names).check(localpart, **more)
        return self.successResultOf(Deferred.fromCoroutine(checking))

    def refusal(
        self,
        error: type[RegistrationError],
        localpart: str,
        names: Optional[Usernames] = None,
        **more: Any,
    ) -> RegistrationError:
        checking = (names or self.names).check(localpart, **more)
        failure = self.failureResultOf(Deferred.fromCoroutine(checking))
        self.assertIs(failure.type, error, f"{localpart!r}: {failure.value!r}")
        return failure.value
