"""Stands in for an embedder's part: what happens around the calls of its methods."""

from __future__ import annotations

import inspect
from typing import Any, Awaitable, Callable, Mapping, TypeVar, cast

from zope.interface import Interface, directlyProvides, providedBy
from zope.interface.interface import Method

from regsys.interfaces.provided import RETURN_AT_ONCE, wrong_result

T = TypeVar("T")
Call = Callable[..., Awaitable[Any]]


def stand_in(interface: type[Interface], part: T, instead: Callable[[Method], Call]) -> T:
    """The part, with ``instead(method)`` in place of each method of this interface that is
    awaited."""
    awaited = {
        name: instead(method)
        for name, method in interface.namesAndDescriptions(all=True)
        if isinstance(method, Method) and method not in RETURN_AT_ONCE
    }
    return cast("T", _StandIn(part, awaited)) if awaited else part


async def answer_of(own: str, method: Method, returned: Any) -> Any:
    """The result of this method, which is called ``own`` and has returned this. TypeError if it
    cannot be awaited, if its result still has to be, or if that has another type than the interface
    says."""
    if not inspect.isawaitable(returned):
        raise TypeError(
            f"{own} returned a {type(returned).__name__}, which cannot be awaited: make it async,"
            " or return a Deferred"
        )
    value = await returned
    if inspect.isawaitable(value):
        raise TypeError(f"{own} returned a {type(value).__name__} in place of its result: await it")
    wrong = wrong_result(method, value)
    if wrong is not None:
        raise TypeError(f"{own} returned {wrong}")
    return value


class _StandIn:
    """Stands for a part, in all that it provides and has. ``methods`` are in place of its own."""

    def __init__(self, part: object, methods: Mapping[str, Call]) -> None:
        self.__dict__.update(methods, _part=part)
        directlyProvides(self, providedBy(part))

    @property  # type: ignore[misc]  # typeshed has a setter
    def __class__(self) -> Any:  # for isinstance, as in unittest.mock
        return type(self.__dict__["_part"])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_part"], name)

    def __repr__(self) -> str:
        return f"<stands in for {self.__dict__['_part']!r}>"
