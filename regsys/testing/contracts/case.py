"""What the contract suites share: how they wait, and the values they try a part with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Awaitable, Iterable, Sequence, TypeVar, Union

from twisted.internet.defer import Deferred, DeferredList

from regsys.model import Login, LoginTerms, NewAccount, NewDevice, Secret, UserID

if TYPE_CHECKING:
    from unittest import TestCase as _TestCase
else:
    _TestCase = object

T = TypeVar("T")
E = TypeVar("E", bound=Exception)

SERVER = "contract.example"
NOW_MS = 1_700_000_000_000
# The suites give this user an account, a device and so on before a test: no call that the test
# makes may change what is theirs.
NEIGHBOUR = "neighbour"


class Contract(_TestCase):
    """A suite to be mixed into a ``twisted.trial.unittest.TestCase`` of yours.

    Its tests are coroutines, so a part that needs the reactor is as welcome as one that
    answers at once. A suite's first methods, which raise NotImplementedError, are for you to
    write. Each test calls ``make`` once, before any other of them.
    """

    async def refusal(self, error: type[E], asked: Awaitable[Any]) -> E:
        """The exception of this type that must come of it."""
        try:
            answer = await asked
        except error as refusal:
            return refusal
        raise self.failureException(f"{error.__name__} was due; the answer was {answer!r}")


async def together(asked: Iterable[Awaitable[T]]) -> list[Union[T, BaseException]]:
    """Ask everything before waiting for anything; answers and exceptions in order."""
    waiting = [Deferred.fromCoroutine(_wait(awaitable)) for awaitable in asked]
    ended: Sequence[tuple[bool, Any]] = await DeferredList(waiting, consumeErrors=True)
    return [answer if succeeded else answer.value for succeeded, answer in ended]


async def _wait(awaitable: Awaitable[T]) -> T:
    return await awaitable


def user(localpart: str) -> UserID:
    return UserID(localpart, SERVER)


def account(key: str, localpart: str = "alice", **more: Any) -> NewAccount:
    """An account about to be made, at NOW_MS, with its name as display name."""
    given = {"display_name": localpart, "created_ms": NOW_MS, **more}
    return NewAccount(key=key, user_id=user(localpart), **given)


def upgrade(key: str, localpart: str = "alice", **more: Any) -> NewAccount:
    """A guest about to become a user; its profile is left as it is."""
    return account(key, localpart, upgrades_guest=True, display_name=None, **more)


def login(name: str, device_id: str = "PHONE", **terms: Any) -> Login:
    """A login whose tokens are ``syt_`` and ``syr_`` and this; the latter if it is refreshable."""
    refresh = Secret(f"syr_{name}") if terms.get("refreshable") else None
    return Login(
        terms=LoginTerms(device_id=device_id, **terms),
        access_token=Secret(f"syt_{name}"),
        refresh_token=refresh,
    )


def device(
    name: str, device_id: str = "PHONE", display_name: str = "my device", **terms: Any
) -> NewDevice:
    """A device with such a login."""
    return NewDevice(login=login(name, device_id, **terms), display_name=display_name)
