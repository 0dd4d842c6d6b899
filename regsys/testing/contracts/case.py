"""What the contract suites share: their base class, and the values that they use.

For your own tests, too: ``user(localpart)``, ``account(key, localpart)``, ``upgrade(key,
localpart)`` (a guest becomes a user), ``device(name, device_id)`` and ``login(name, device_id)``,
all on the server SERVER at the time NOW_MS.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Awaitable, Iterable, Sequence, TypeVar, Union

from twisted.internet.defer import Deferred, DeferredList

from regsys.model import Login, LoginTerms, NewAccount, NewDevice, Secret, UserID

if TYPE_CHECKING:
    from unittest import TestCase as _TestCase
else:
    _TestCase = object

T = TypeVar("T")
E = TypeVar("E", bound=Exception)
# What a helper of a suite returns: it may be a plain function, a coroutine, or return a Deferred.
MaybeAwaitable = Union[T, Awaitable[T]]

SERVER = "contract.example"
NOW_MS = 1_700_000_000_000
# The suites give this user an account, a device and so on before a test: no call that the test
# makes may change what is theirs.
NEIGHBOUR = "neighbour"


class Contract(_TestCase):
    """A suite to be mixed into a ``twisted.trial.unittest.TestCase`` of yours.

    Its tests are coroutines: a part may use the reactor or return at once. The methods that raise
    NotImplementedError are for you to write, as plain functions, as coroutines, or as functions
    that return Deferreds. Each test calls ``make`` once, before the others. A failure names the
    method that has broken a rule, and the rule; the test's docstring says it in full.
    """

    async def answer(self, asked: Awaitable[T], rule: str) -> T:
        """What ``asked`` returns, which by this rule must not raise."""
        try:
            return await asked
        except Exception as error:
            raise self.failureException(f"{rule}: it has raised {error!r}") from error

    async def refusal(self, error: type[E], asked: Awaitable[Any], rule: str = "") -> E:
        """The exception of this type that ``asked`` must raise, by this rule."""
        try:
            answer = await asked
        except error as refusal:
            return refusal
        except Exception as other:
            raise self.failureException(
                f"{rule}: it must raise {error.__name__}, and has raised {other!r}"
            ) from other
        raise self.failureException(
            f"{rule}: it must raise {error.__name__}, and has returned {answer!r}"
        )


async def value_of(given: MaybeAwaitable[T]) -> T:
    """What a helper returns, now or later."""
    return await given if inspect.isawaitable(given) else given


async def together(asked: Iterable[Awaitable[T]]) -> list[Union[T, BaseException]]:
    """Begin all before waiting for any; results and exceptions in order."""
    waiting = [Deferred.fromCoroutine(_wait(awaitable)) for awaitable in asked]
    ended: Sequence[tuple[bool, Any]] = await DeferredList(waiting, consumeErrors=True)
    return [answer if succeeded else answer.value for succeeded, answer in ended]


async def _wait(awaitable: Awaitable[T]) -> T:
    return await awaitable


def user(localpart: str) -> UserID:
    return UserID(localpart, SERVER)


def account(key: str, localpart: str = "alice", **more: Any) -> NewAccount:
    """A new account of NOW_MS, whose display name is its name."""
    given = {"display_name": localpart, "created_ms": NOW_MS, **more}
    return NewAccount(key=key, user_id=user(localpart), **given)


def upgrade(key: str, localpart: str = "alice", **more: Any) -> NewAccount:
    """A guest that becomes a user; its profile stays as it is."""
    return account(key, localpart, upgrades_guest=True, display_name=None, **more)


def login(name: str, device_id: str = "PHONE", **terms: Any) -> Login:
    """A login with the access token ``syt_{name}`` and, if it is refreshable, the refresh token
    ``syr_{name}``."""
    refresh = Secret(f"syr_{name}") if terms.get("refreshable") else None
    return Login(
        terms=LoginTerms(device_id=device_id, **terms),
        access_token=Secret(f"syt_{name}"),
        refresh_token=refresh,
    )


def device(
    name: str, device_id: str = "PHONE", display_name: str = "my device", **terms: Any
) -> NewDevice:
    """A device with the login of this name."""
    return NewDevice(login=login(name, device_id, **terms), display_name=display_name)
