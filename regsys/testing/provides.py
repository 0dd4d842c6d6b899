"""``provides``: what zope's verifyObject overlooks, checked too."""

from __future__ import annotations

import inspect
from typing import Any

from zope.interface import Interface
from zope.interface.interface import Method
from zope.interface.verify import verifyObject


def provides(interface: type[Interface], candidate: Any) -> None:
    """Raise AssertionError (or zope's Invalid) unless ``candidate`` really offers ``interface``.

    Beyond zope's check: parameters have the interface's names, order, kinds and defaults
    (more may follow if they have defaults), so that calls by keyword work.
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
