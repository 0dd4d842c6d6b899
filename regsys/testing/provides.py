"""``provides``: verifyObject, and what it does not check."""

from __future__ import annotations

import inspect
from typing import Any

from zope.interface import Interface
from zope.interface.interface import Method
from zope.interface.verify import verifyObject


def provides(interface: type[Interface], candidate: Any) -> None:
    """Raise AssertionError (or zope's Invalid) unless ``candidate`` provides ``interface``.

    Unlike zope's check, parameters must have the names and the order that the interface gives
    them, so that calls by keyword work. Further parameters need defaults.
    """
    verifyObject(interface, candidate)
    for name, method in interface.namesAndDescriptions(all=True):
        if isinstance(method, Method):
            _check_signature(interface.__name__, name, method, getattr(candidate, name))


def _check_signature(interface: str, name: str, method: Method, implementation: Any) -> None:
    info = method.getSignatureInfo()
    wanted = list(info["positional"])
    parameters = inspect.signature(implementation).parameters.values()
    by_position = [item.name for item in parameters if item.kind is item.POSITIONAL_OR_KEYWORD]
    if by_position[: len(wanted)] != wanted:
        raise AssertionError(f"{interface}.{name} takes {wanted}, this takes {by_position}")
    for item in by_position[len(wanted) :]:
        if inspect.signature(implementation).parameters[item].default is inspect.Parameter.empty:
            raise AssertionError(f"{interface}.{name} does not know the argument {item!r}")
