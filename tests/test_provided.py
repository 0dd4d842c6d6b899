"""Whether an object provides an interface, and the sentence about what differs."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Any, Awaitable, Iterator

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Attribute, Interface, implementer

from regsys.interfaces import IStage, homeserver, hooks
from regsys.interfaces.provided import RESULTS, RETURN_AT_ONCE, difference
from regsys.testing import provides


class IShelf(Interface):
    size: int = Attribute("How many books fit.")

    def put(book: str, at: int, again: bool = False) -> Awaitable[None]:
        """Put it there."""


class Base:
    size = 3

    async def put(self, book: str, at: int, again: bool = False) -> None: ...


def passed_on(method: Any) -> Any:
    """A wrapper without a signature of its own."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return call


def shelf(method: Any) -> Any:
    return implementer(IShelf)(type("Shelf", (Base,), {"put": method}))()


class DifferenceTests(SynchronousTestCase):
    def test_same(self) -> None:
        """The same names in the same order; further parameters have defaults. What passes all
        arguments on may be anything."""
        for method in (
            lambda self, book, at, again=False: None,
            lambda self, book, at, again=True, more=1, *, last=2: None,
            lambda self, book, at, again=False, *args, **kwargs: None,
            lambda self, book, *args, **kwargs: None,
            passed_on(Base.put),
            functools.wraps(Base.put)(passed_on(Base.put)),
        ):
            self.assertIsNone(difference(IShelf, shelf(method)))
            provides(IShelf, shelf(method))

    def test_other(self) -> None:
        """A method with other parameters is reported with both signatures."""
        wanted = "IShelf.put takes (book, at, again=False)"
        for method, taken in (
            (lambda self, title, at, again=False: None, "(title, at, again=False)"),
            (lambda self, at, book, again=False: None, "(at, book, again=False)"),
            (lambda self, book, at, again: None, "(book, at, again)"),
            (lambda self, book, at: None, "(book, at)"),
            (lambda self, book, at, again=False, *, more: None, "(book, at, again=False, *, more)"),
            (lambda self, book, /, at, again=False: None, "(book, /, at, again=False)"),
            (lambda self, book, *, at, again=False: None, "(book, *, at, again=False)"),
            (lambda self, *args: None, "(*args)"),
            (lambda self, title, *args, **kwargs: None, "(title, *args, **kwargs)"),
        ):
            sentence = f"Shelf.put takes {taken}, {wanted}"
            self.assertEqual(difference(IShelf, shelf(method)), sentence)
            error = self.assertRaises(AssertionError, provides, IShelf, shelf(method))
            self.assertEqual(str(error), sentence)

    def test_annotations(self) -> None:
        """The sentence has the names alone."""

        async def put(self: Any, title: str, at: int = 3) -> None: ...

        found = difference(IShelf, shelf(put))
        self.assertIn("Shelf.put takes (title, at=3), ", str(found))

    def test_missing(self) -> None:
        """What is not there, and what is no method."""
        made = shelf(Base.put)
        cases = (
            (shelf(None), "Shelf.put is a NoneType, but IShelf.put is a method"),
            (implementer(IShelf)(type("Bare", (), {"size": 3}))(), "Bare lacks the method put of"),
            (
                implementer(IShelf)(type("Bare", (), {}))(),
                "Bare lacks the attribute size of IShelf",
            ),
            (Base(), "Base does not declare IShelf: put @implementer(IShelf) above its class"),
            (type(made), "Shelf is a class: pass an object of a class that implements IShelf"),
        )
        for candidate, sentence in cases:
            self.assertIn(sentence, str(difference(IShelf, candidate)))

    def test_plainMethods(self) -> None:
        """A method that is not awaited may not be async: its caller would get a coroutine."""

        @implementer(IStage)
        class Stage:
            type, page = "s", None

            async def params(self, session: Any) -> None: ...

            async def check(self, auth: Any, context: Any) -> None: ...

        found = difference(IStage, Stage())
        self.assertIn("Stage.params is async, but IStage.params returns at once", str(found))

    def test_whichAreAwaited(self) -> None:
        """RETURN_AT_ONCE has just the methods of embedders' parts whose result is no Awaitable."""
        plain = {place for place, result in _annotated() if not _is_awaitable(result)}
        known = {(item.interface.__name__, item.getName()) for item in RETURN_AT_ONCE}
        self.assertEqual(known, plain)

    def test_results(self) -> None:
        """RESULTS has the annotated result of every other method that returns something."""
        annotated = {}
        for place, result in _annotated():
            if isinstance(result, ast.Subscript) and _is_awaitable(result):
                names = _names(result.slice)
                if names not in ({"None"}, {"Any"}):
                    annotated[place] = names
        known = {
            (method.interface.__name__, method.getName()): {
                kind.__name__.replace("NoneType", "None") for kind in kinds
            }
            for method, kinds in RESULTS.items()
        }
        self.assertEqual(known, annotated)


def _annotated() -> Iterator[tuple[tuple[str, str], ast.expr]]:
    """The interface and the name of each method of embedders' parts, and its annotated result."""
    for module in (homeserver, hooks):
        for kind in ast.parse(Path(str(module.__file__)).read_text()).body:
            if isinstance(kind, ast.ClassDef) and kind.name.startswith("I"):
                for item in kind.body:
                    if isinstance(item, ast.FunctionDef):
                        assert item.returns is not None
                        yield (kind.name, item.name), item.returns


def _is_awaitable(result: ast.expr) -> bool:
    return isinstance(result, ast.Subscript) and ast.unparse(result.value) == "Awaitable"


def _names(result: ast.expr) -> set[str]:
    """The classes of a result, without what they contain."""
    if not isinstance(result, ast.Subscript):
        return {ast.unparse(result)}
    outer = ast.unparse(result.value)
    return {*_names(result.slice), "None"} if outer == "Optional" else {outer}
