"""Stands in for an embedder's part: what happens around the calls of its methods."""

from __future__ import annotations

import inspect
from typing import Any, Awaitable, Callable, Mapping, TypeVar, cast

from zope.interface import Interface, directlyProvides, providedBy
from zope.interface.interface import Method

from regsys.interfaces.provided import RETURN_AT_ONCE

T = TypeVar("T")
Call = Callable[..., Awaitable[Any]]


def stand_in(interface: type[Interface], part: T, instead: Callable[[str], Call]) -> T:
    """The part, with ``instead(name)`` in place of each method of this interface that is
    awaited."""
    awaited = {
        name: instead(name)
        for name, method in interface.namesAndDescriptions(all=True)
        if isinstance(method, Method) and method not in RETURN_AT_ONCE
    }
    return cast("T", _StandIn(part, awaited)) if awaited else part


async def answer_of(own: str, returned: Any) -> Any:
    """The result of the method that is called ``own``, which has returned this. TypeError if it
    cannot be awaited, or if its result still has to be."""
    if not inspect.isawaitable(returned):
        raise TypeError(
            f"{own} returned a {type(returned).__name__}, which cannot be awaited: make it async,"
            " or return a Deferred"
        )
    value = await returned
    if inspect.isawaitable(value):
        raise TypeError(f"{own} returned a {type(value).__name__} in place of its result: await it")
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
