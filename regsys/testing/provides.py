"""``provides``: verifyObject, and what it does not check."""

from __future__ import annotations

from typing import Any

from zope.interface import Interface

from regsys.interfaces.provided import difference


def provides(interface: type[Interface], candidate: Any) -> None:
    """Raise AssertionError unless ``candidate`` provides ``interface``: it is declared, and each
    method takes the arguments that the interface gives, by name and in order. Further parameters
    need defaults."""
    found = difference(interface, candidate)
    if found is not None:
        raise AssertionError(found)
