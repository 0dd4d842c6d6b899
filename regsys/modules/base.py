"""What the parts of the API object share."""

from __future__ import annotations

import functools
from typing import Any, Callable, Concatenate, Coroutine, Mapping, ParamSpec, TypeVar

from twisted.internet.defer import Deferred

from regsys.accounts.allowed import by_module
from regsys.errors import InvalidParam, ModuleRefusal, RegistrationError
from regsys.model import UserID
from regsys.modules.parts import ApiParts

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="ApiBase")


class NotOffered(Exception):
    """A module uses something that homeservers offer and regsys does not, or not in this process:
    the text says what."""


class ApiBase:
    """The API object of one module, which the log calls ``module``."""

    def __init__(self, module: str, parts: ApiParts) -> None:
        self._module = module
        self._parts = parts

    async def _changed(self, what: str, user_id: UserID, details: Mapping[str, Any]) -> None:
        """Tell the audit log of a change that this module has made."""
        by = by_module(self._module)
        await self._parts.audit.changed(by=by, what=what, user_id=user_id, details=details)

    def _not_offered(self, method: str, reason: str) -> NotOffered:
        return NotOffered(f"ModuleApi.{method} (module {self._module}): {reason}")


def coroutine(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """A method that modules may call before the reactor runs: it begins with that. An error that a
    client could get is raised as the refusal that modules know."""

    @functools.wraps(method)
    async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        await _reactor_runs(self._parts.clock)
        try:
            return await method(self, *args, **kwargs)
        except ModuleRefusal:
            raise
        except RegistrationError as error:
            raise ModuleRefusal(error.status, error.text, error.errcode, error.extra) from error

    return call


def deferred(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Deferred[T]]:
    """The same, for a method that older modules ``yield``: it begins at once, awaited or not."""
    asynchronous = coroutine(method)

    @functools.wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        return Deferred.fromCoroutine(asynchronous(self, *args, **kwargs))

    return call


async def _reactor_runs(clock: Any) -> None:
    """Return once the reactor runs: before that, no thread of ours does. A clock of tests has
    nothing to wait for."""
    when_running = getattr(clock, "callWhenRunning", None)
    if when_running is not None:
        runs: Deferred[None] = Deferred()
        when_running(runs.callback, None)
        await runs


def user_id_of(given: object) -> UserID:
    """A user ID as modules pass them: text, or any object whose text it is. Raises InvalidParam."""
    try:
        return UserID.parse(str(given))
    except ValueError:
        raise InvalidParam(f"{str(given)!r} is not a user ID.") from None
