"""A homeserver's parts as mypy judges them with mypy-zope; docs/typing.md says the same in words.

A line that ends in ``# error: CODE`` is a mistake that mypy must find; it must find no other.
"""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from regsys.interfaces import IAccountStore, IAccountStoreWithDevices, IAuth, IStage
from regsys.model import Requester, Secret, UserID


@implementer(IAuth)
class Coroutine:
    async def whose(self, token: Secret) -> Optional[Requester]:
        return None


@implementer(IAuth)
class Deferring:
    """A Deferred does as well, and so does a further argument with a default."""

    def whose(self, token: Secret, more: int = 0) -> Deferred[Optional[Requester]]:
        return succeed(None)


@implementer(IAuth)
class Missing:  # error: misc
    pass


@implementer(IAuth)
class NotAwaitable:
    def whose(self, token: Secret) -> Optional[Requester]:  # error: override
        return None


@implementer(IAuth)
class AnotherResult:
    async def whose(self, token: Secret) -> UserID:  # error: override
        raise NotImplementedError()


@implementer(IAuth)
class AnotherArgument:
    async def whose(self, token: str) -> Optional[Requester]:  # error: override
        return None


@implementer(IAuth)
class OneMore:
    async def whose(self, token: Secret, more: int) -> Optional[Requester]:  # error: override
        return None


@implementer(IStage)
class WithoutAPage:  # error: misc
    type = "org.example.door_code"

    def params(self, session: Any) -> Any:
        return None

    async def check(self, auth: Any, context: Any) -> bool:
        return True


class Undeclared:
    async def whose(self, token: Secret) -> Optional[Requester]:
        return None


def used(auth: IAuth) -> None:
    raise NotImplementedError()


def uses(store: IAccountStoreWithDevices) -> IAccountStore:
    used(Coroutine())
    used(Deferring())
    used(Undeclared())  # error: arg-type
    return store


# What mypy does not see, and ``provides`` does.


@implementer(IAuth)
class Renamed:
    async def whose(self, access_token: Secret) -> Optional[Requester]:
        return None


@implementer(IAuth)
class Untyped:
    async def whose(self, given: Any) -> Any:
        return 17
