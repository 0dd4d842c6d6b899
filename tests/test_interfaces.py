"""The interfaces: what an embedder may bring, and what regsys has several implementations of."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from pathlib import Path
from types import ModuleType
from typing import Iterator

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.interface import InterfaceClass

import regsys
from regsys.interfaces import IAccountStoreWithDevices, homeserver, internal
from regsys.interfaces import hooks as custom
from regsys.testing import contracts
from regsys.wiring import embedded
from regsys.wiring.subsystem import Hooks

ARCHITECTURE = Path(__file__).parent.parent / "docs/architecture.md"
NOT_OURS = ("regsys.testing", "regsys.__main__")


def interfaces_of(module: ModuleType) -> set[InterfaceClass]:
    """The interfaces that a module defines."""
    return {
        item
        for item in vars(module).values()
        if isinstance(item, InterfaceClass) and item.__module__ == module.__name__
    }


def classes() -> Iterator[type]:
    """All classes of regsys, those for tests left out."""
    for info in pkgutil.walk_packages(regsys.__path__, "regsys."):
        if not info.name.startswith(NOT_OURS):
            module = importlib.import_module(info.name)
            for item in vars(module).values():
                if inspect.isclass(item) and item.__module__ == module.__name__:
                    yield item


class InterfaceTests(SynchronousTestCase):
    def test_embedders(self) -> None:
        """Each interface of what is the homeserver's is an argument of embedded(), or extends one;
        each of what is custom is a field of Hooks."""
        for module, place in ((homeserver, embedded), (custom, Hooks)):
            hints = typing.get_type_hints(place).values()
            parts = [part for hint in hints for part in (hint, *typing.get_args(hint))]
            asked = {part for part in parts if isinstance(part, InterfaceClass)}
            offered = {item for item in interfaces_of(module) if asked.isdisjoint(item.__bases__)}
            self.assertEqual(asked, offered)

    def test_suites(self) -> None:
        """Each interface of what others bring has a suite, which checks that it is provided."""
        folder = Path(contracts.__file__).parent
        source = "".join(path.read_text() for path in folder.glob("*.py"))
        for interface in interfaces_of(homeserver) | interfaces_of(custom):
            if interface is not IAccountStoreWithDevices:  # HomeserverContract is about this one
                self.assertRegex(source, rf"(part_of|checked)\({interface.__name__}, ")

    def test_internal(self) -> None:
        """Any other interface has two implementations in regsys at least: a part of ours with one
        is asked for by its class. docs/architecture.md names each."""
        ours = list(classes())
        text = ARCHITECTURE.read_text()
        for interface in interfaces_of(internal):
            found = [item.__name__ for item in ours if interface.implementedBy(item)]
            self.assertGreater(len(found), 1, interface)
            self.assertIn(f"`{interface.__name__}`", text)
