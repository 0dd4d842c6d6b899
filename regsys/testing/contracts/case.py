"""What the contract suites share: their base class, and the values that they use.

For your own tests, too: ``user(localpart)``, ``account(key, localpart)``, ``upgrade(key,
localpart)`` (a guest becomes a user), ``device(name, device_id)`` and ``login(name, device_id)``,
all on the server SERVER at the time NOW_MS.
"""

from __future__ import annotations

import functools
import inspect
import re
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Iterable, Sequence, TypeVar, Union, cast

from twisted.internet.defer import Deferred, DeferredList
from zope.interface import Interface
from zope.interface.interface import Method

from regsys.model import Login, LoginTerms, NewAccount, NewDevice, Secret, UserID
from regsys.testing.provides import provides
from regsys.wiring.stand_ins import Call, answer_of, stand_in

if TYPE_CHECKING:
    from unittest import TestCase as _TestCase
else:
    _TestCase = object

T = TypeVar("T")
E = TypeVar("E", bound=Exception)
F = TypeVar("F", bound=Callable[..., Any])
# What a helper of a suite returns: it may be a plain function, a coroutine, or return a Deferred.
MaybeAwaitable = Union[T, Awaitable[T]]

PACKAGE = f"{__package__}."

SERVER = "contract.example"
# Another server. Its users are not ours, whatever their localparts are.
ELSEWHERE = "other.example"
NOW_MS = 1_700_000_000_000
# The suites give this user an account, a device and so on before a test: no call that the test
# makes may change what is theirs.
NEIGHBOUR = "neighbour"


class Contract(_TestCase):
    """A suite to be mixed into a ``twisted.trial.unittest.TestCase`` of yours.

    Its tests are coroutines: a part may use the reactor or return at once. The helpers that are
    marked with ``@yours`` are for you to write, as plain functions, as coroutines, or as functions
    that return Deferreds; docs/contracts.md lists them. Each test calls ``make`` once, before the
    others. A failure names the method that has broken a rule, and the rule; the test's docstring
    says it in full.
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


def yours(helper: F) -> F:
    """Marks a helper of a suite that its user writes. Until then each call says what is wanted."""

    @functools.wraps(helper)
    def unwritten(self: Contract, *_: Any) -> Any:
        suite = next(kind for kind in type(self).__mro__ if kind.__module__.startswith(PACKAGE))
        raise NotImplementedError(
            f"{suite.__name__}: write {signature_of(helper)}: {wish_of(helper)}"
        )

    return cast("F", unwritten)


def signature_of(helper: Callable[..., Any]) -> str:
    """How a helper is called, and what it returns, such as ``add_user(localpart: str) -> UserID``:
    that it may be awaitable is left out."""
    whole = inspect.signature(helper)
    own = whole.replace(parameters=list(whole.parameters.values())[1:])
    text = str(own).replace("'", "")
    return helper.__name__ + re.sub(r"MaybeAwaitable\[(.*)\]$", r"\1", text)


def wish_of(helper: Callable[..., Any]) -> str:
    """The first sentence of a helper's docstring."""
    return re.split(r"(?<=\.) ", " ".join(str(helper.__doc__).split()))[0]


async def part_of(interface: type[Interface], making: MaybeAwaitable[T]) -> T:
    """The part that ``make`` has returned. It must provide this interface, and the methods of it
    that are no coroutines and return no Deferreds are named when they are called."""
    return checked(interface, await value_of(making))


def checked(interface: type[Interface], part: T) -> T:
    provides(interface, part)

    def instead(method: Method) -> Call:
        name = method.getName()
        own = f"{type(part).__name__}.{name}"
        return lambda *args, **kwargs: answer_of(own, method, getattr(part, name)(*args, **kwargs))

    return stand_in(interface, part, instead)


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
