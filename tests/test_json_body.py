"""Bodies: what counts as JSON, and how it is read by key and type."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from regsys import json_body
from regsys.errors import (
    BadJSON,
    InvalidParam,
    InvalidUsername,
    MissingParam,
    NotJSON,
    RegistrationError,
)
from tests.support.scale import examples

NUL = "\\u0000"
LONE_SURROGATES = ("\\ud800", "\\udfff", "\\ude00\\ud83d", "x\\uD83Dy")


def nested(depth: int) -> bytes:
    """An object that is ``depth`` containers deep."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


class ParseObjectTests(SynchronousTestCase):
    def test_object(self) -> None:
        """An object in UTF-8 is parsed, escapes included."""
        raw = '{"name": "Ünï", "face": "\\ud83d\\ude00", "n": -1.5e3, "deep": [{"x": null}]}'
        self.assertEqual(
            json_body.parse_object(raw.encode("utf-8")),
            {"name": "Ünï", "face": "\U0001f600", "n": -1500.0, "deep": [{"x": None}]},
        )

    def test_lastOfDuplicatesWins(self) -> None:
        """Of duplicate keys the last counts."""
        self.assertEqual(json_body.parse_object(b'{"a": 1, "a": 2}'), {"a": 2})

    def test_notJSON(self) -> None:
        """Anything but strict JSON in UTF-8 is M_NOT_JSON, and the answer quotes none of it."""
        for raw in (
            b"",
            b" ",
            b"{",
            b"{'a': 1}",
            b'{"secret": 1,}',
            b'{"secret": NaN}',
            b'{"secret": Infinity}',
            b'{"secret": -Infinity}',
            b'{"secret": 1e999}',
            b'{"secret": -1e999}',
            b'\xef\xbb\xbf{"secret": 1}',
            '{"secret": 1}'.encode("utf-16"),
            '{"secret": 1}'.encode("utf-32-le"),
            b'{"secret": "\xff"}',
            b'{"secret": "\xed\xa0\x80"}',
            b'{"secret": "\x00"}',
            b'{"secret": "\x1f"}',
            b'{"secret": ' + b"9" * 5000 + b"}",
            b'{"secret": ' + b"[" * 30000,
            b'{"secret":' * 6000,
        ):
            error = self.assertRaises(NotJSON, json_body.parse_object, raw)
            self.assertNotIn("secret", str(error))
            self.assertTrue(error.__suppress_context__)

    def test_notAnObject(self) -> None:
        """JSON that is no object is M_BAD_JSON."""
        for raw in (b"[]", b"null", b'"x"', b"1", b"true", b'[{"a": 1}]'):
            self.assertRaises(BadJSON, json_body.parse_object, raw)

    def test_nesting(self) -> None:
        """Nesting is limited, independent of the parser's own limit."""
        self.assertEqual(list(json_body.parse_object(nested(json_body.MAX_DEPTH))), ["a"])
        for depth in (json_body.MAX_DEPTH + 1, 500, 20_000):
            self.assertRaises(NotJSON, json_body.parse_object, nested(depth))

    def test_breadthIsNotDepth(self) -> None:
        """Many containers side by side, or brackets in a string, are no nesting."""
        wide = {"a": [{}] * 1000, "b": "[" * 1000}
        self.assertEqual(json_body.parse_object(json.dumps(wide).encode()), wide)

    def test_badCharacterAnywhere(self) -> None:
        """NUL or a lone surrogate in any string or key, however deep, is M_INVALID_PARAM."""
        for bad in (NUL, *LONE_SURROGATES):
            for body in (
                '{"password": "%s"}',
                '{"%s": 1}',
                '{"auth": {"type": "x", "session": "a%sb"}}',
                '{"auth": {"%s": []}}',
                '{"a": [1, [2, ["%s"]]]}',
                '{"other": {"username": "%s"}}',
                '{"username": ["%s"]}',
            ):
                self.assertRaises(InvalidParam, json_body.parse_object, (body % bad).encode())

    def test_badCharacterInUsername(self) -> None:
        """In the user name it is M_INVALID_USERNAME, whatever else is wrong."""
        for bad in (NUL, *LONE_SURROGATES):
            raw = f'{{"password": "{bad}", "username": "a{bad}"}}'.encode()
            self.assertRaises(InvalidUsername, json_body.parse_object, raw)

    def test_harmlessEscapes(self) -> None:
        """Escapes of other characters, and text that merely resembles an escape, are accepted."""
        raw = b'{"username": "\\u0061", "tab": "\\u0009", "text": "\\\\u0000"}'
        self.assertEqual(
            json_body.parse_object(raw), {"username": "a", "tab": "\t", "text": "\\u0000"}
        )

    @examples(300)
    @given(
        st.binary(max_size=40)
        | st.text(alphabet='{}[]",:\\u0d8ae19.-nulltrfsNI \0é', max_size=60).map(str.encode)
    )
    def test_anything(self, raw: bytes) -> None:
        """Any input gives an object that can be written as UTF-8 JSON, or a refusal."""
        try:
            body = json_body.parse_object(raw)
        except RegistrationError as error:
            self.assertEqual(error.status, 400)
        else:
            json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8")


class GetterTests(SynchronousTestCase):
    def refused(self, kind: type[Exception], getter: Any, value: object, **more: Any) -> None:
        """``getter`` refuses ``value`` with ``kind``, naming the key and not the value."""
        error = self.assertRaises(kind, getter, {"the_key": value}, "the_key", **more)
        self.assertIn("the_key", str(error))
        self.assertNotIn("hidden", str(error))

    def test_string(self) -> None:
        """A string is returned, an absent one or null is None, any other type M_BAD_JSON."""
        self.assertEqual(json_body.string({"the_key": ""}, "the_key"), "")
        for body in ({}, {"the_key": None}):
            self.assertIsNone(json_body.string(body, "the_key"))
        for value in (1, True, 1.5, ["hidden"], {"hidden": 1}):
            self.refused(BadJSON, json_body.string, value)

    def test_stringLimit(self) -> None:
        """A limit counts characters, and one more is M_INVALID_PARAM."""
        self.assertEqual(json_body.string({"k": "é" * 6}, "k", limit=6), "é" * 6)
        self.refused(InvalidParam, json_body.string, "hidden!", limit=6)
        self.refused(InvalidParam, json_body.required_string, "hidden!", limit=6)

    def test_requiredString(self) -> None:
        """A missing string is M_MISSING_PARAM, another type still M_BAD_JSON."""
        self.assertEqual(json_body.required_string({"k": "v"}, "k"), "v")
        error = self.assertRaises(MissingParam, json_body.required_string, {}, "the_key")
        self.assertIn("the_key", str(error))
        self.refused(BadJSON, json_body.required_string, None)

    def test_boolean(self) -> None:
        """A boolean is returned, an absent one is the default, any other type M_BAD_JSON."""
        self.assertIs(json_body.boolean({"k": True}, "k"), True)
        self.assertIs(json_body.boolean({"k": False}, "k", True), False)
        self.assertIs(json_body.boolean({}, "k"), False)
        for body in ({}, {"k": None}):
            self.assertIs(json_body.boolean(body, "k", True), True)
            self.assertIs(json_body.boolean(body, "k"), False)
        for value in (0, 1, "true", []):
            self.refused(BadJSON, json_body.boolean, value)

    def test_integer(self) -> None:
        """An integer is returned, an absent one or null is None; booleans and floats are
        M_BAD_JSON."""
        self.assertEqual(json_body.integer({"k": -3}, "k"), -3)
        for body in ({}, {"k": None}):
            self.assertIsNone(json_body.integer(body, "k"))
        for value in (True, False, 1.0, "1", []):
            self.refused(BadJSON, json_body.integer, value)

    def test_integerRange(self) -> None:
        """An integer that doesn't fit 64 bits is M_INVALID_PARAM."""
        for value in (2**63 - 1, -(2**63)):
            self.assertEqual(json_body.integer({"k": value}, "k"), value)
        for value in (2**63, -(2**63) - 1, 10**4000):
            self.refused(InvalidParam, json_body.integer, value)

    def test_requiredInteger(self) -> None:
        """A missing integer is M_MISSING_PARAM, null and other types are M_BAD_JSON."""
        self.assertEqual(json_body.required_integer({"k": 0}, "k"), 0)
        self.assertRaises(MissingParam, json_body.required_integer, {}, "k")
        for value in (None, True, "1"):
            self.refused(BadJSON, json_body.required_integer, value)

    def test_neverNull(self) -> None:
        """Two keys may be absent, but null is a wrong type for them."""
        for key in ("username", "refresh_token"):
            for getter in (json_body.string, json_body.boolean):
                self.assertRaises(BadJSON, getter, {key: None}, key)
            self.assertTrue(json_body.has({key: None}, key))
        self.assertFalse(json_body.has({"k": None}, "k"))
        self.assertFalse(json_body.has({}, "username"))

    def test_mapping(self) -> None:
        """An object is returned, an absent one or null is None, any other type M_BAD_JSON."""
        self.assertEqual(json_body.mapping({"k": {"a": 1}}, "k"), {"a": 1})
        for body in ({}, {"k": None}):
            self.assertIsNone(json_body.mapping(body, "k"))
        for value in ([], "hidden", 1):
            self.refused(BadJSON, json_body.mapping, value)
