"""What an embedder gives to a registration, and what it must not be."""

from __future__ import annotations

import functools
from types import MappingProxyType
from typing import Any

import attr
from twisted.trial.unittest import SynchronousTestCase

from regsys.model import NewAccount, Registration, UserID

ALICE = UserID("alice", "test.example")


def circle() -> dict[str, Any]:
    """An object that contains itself."""
    found: dict[str, Any] = {}
    found["itself"] = [found]
    return found


class ObjectTests(SynchronousTestCase):
    def made(self, **fields: Any) -> tuple[Registration, NewAccount]:
        """A registration and an account with these fields."""
        return (
            Registration(key="k", **fields),
            NewAccount(key="k", user_id=ALICE, created_ms=1, **fields),
        )

    def test_kept(self) -> None:
        """JSON is kept as it is, and is empty by default."""
        given = {"invitation": "i-1", "": [1, -2.5, True, None, {"deep": {"er": []}}], "ü\0": 2**70}
        for one in self.made(stages=given, extra=given):
            self.assertEqual((one.stages, one.extra), (given, given))
        for one in self.made():
            self.assertEqual((one.stages, one.extra), ({}, {}))

    def test_copied(self) -> None:
        """A later change of what was given changes nothing; a tuple is the list that JSON makes of
        it, whether or not it was stored."""
        inner = {"rooms": ("a", "b")}
        given = {"inner": MappingProxyType(inner)}
        expected = {"inner": {"rooms": ["a", "b"]}}
        for one in self.made(stages=given, extra=given):
            inner.clear()
            self.assertEqual((one.stages, one.extra), (expected, expected))
            self.assertEqual(attr.evolve(one, key="other").extra, expected)
            inner["rooms"] = ("a", "b")

    def test_refused(self) -> None:
        """What JSON cannot hold is refused with the field and the place."""
        for wrong, error, text in (
            (None, TypeError, "must be a JSON object (a dict), not NoneType"),
            ("text", TypeError, "must be a JSON object (a dict), not str"),
            ([("a", 1)], TypeError, "must be a JSON object (a dict), not list"),
            ({1: "a"}, TypeError, "must have keys of type str, not int"),
            ({"a": {None: 1}}, TypeError, "['a'] must have keys of type str, not NoneType"),
            ({"a": [0, {1}]}, TypeError, "['a'][1] must be JSON, which has no set"),
            ({"a": b"x"}, TypeError, "['a'] must be JSON, which has no bytes"),
            ({"a": ALICE}, TypeError, "['a'] must be JSON, which has no UserID"),
            ({"a": float("nan")}, ValueError, "['a'] must be a number that JSON has, not nan"),
            ({"a": float("-inf")}, ValueError, "['a'] must be a number that JSON has, not -inf"),
            (circle(), ValueError, "is nested too deeply, or contains itself"),
        ):
            for name in ("stages", "extra"):
                caught = self.assertRaises(error, self.made, **{name: wrong})
                self.assertTrue(str(caught).startswith(name), caught)
                self.assertIn(text, str(caught))

    def test_notShown(self) -> None:
        """Neither is in a repr: they may name addresses and tokens."""
        for one in self.made(stages={"a": "addr"}, extra={"b": "addr"}):
            self.assertNotIn("addr", repr(one))


class KeyTests(SynchronousTestCase):
    def test_key(self) -> None:
        """A key is a text that is not empty: the calls with an empty one would be one
        registration."""
        for make in (Registration, functools.partial(NewAccount, user_id=ALICE, created_ms=1)):
            make(key="k")
            error = self.assertRaises(ValueError, make, key="")
            self.assertIn("key must not be empty", str(error))
            for wrong in (None, 1, b"k"):
                self.assertRaises(TypeError, make, key=wrong)
