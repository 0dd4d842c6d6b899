"""The rules of registration tokens: valid values, and valid tokens."""

from __future__ import annotations

from typing import Any

import attr
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import InvalidParam, TokenNotFound
from regsys.json_body import MAX_INTEGER
from regsys.model.registration_tokens import RegistrationToken
from regsys.registration_tokens import ALPHABET, PLAIN, TRIES, RegistrationTokens
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.testing.database import memory_database

NOW_S = 1_700_000_000
NOW_MS = NOW_S * 1000


class ValidityTests(SynchronousTestCase):
    def test_isValid(self) -> None:
        """A token is valid if it has not expired and pending and completed leave a use."""
        for token, valid in (
            ({}, True),
            ({"pending": 10**6, "completed": 10**6}, True),
            ({"uses_allowed": 0}, False),
            ({"uses_allowed": 3, "pending": 1, "completed": 1}, True),
            ({"uses_allowed": 3, "pending": 2, "completed": 1}, False),
            ({"uses_allowed": 1, "pending": 2, "completed": 1}, False),
            ({"expiry_ms": NOW_MS + 1}, True),
            ({"expiry_ms": NOW_MS}, False),
            ({"revoked": True}, False),
        ):
            self.assertIs(RegistrationToken(token="t", **token).is_valid(NOW_MS), valid, token)

    def test_repr(self) -> None:
        """The repr does not contain the token."""
        self.assertNotIn("welcome", repr(RegistrationToken(token="welcome")))


class RulesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW_S)
        self.store = RegistrationTokenStore(memory_database(self, self.clock))
        self.tokens = RegistrationTokens(store=self.store, clock=self.clock)

    def wait(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def create(self, token: Any = None, length: int = 16, **settings: Any) -> RegistrationToken:
        creating = self.tokens.create(token=token, length=length, settings=settings)
        return self.wait(creating)

    def assertRefused(self, coroutine: Any, error: type[Exception], case: object = None) -> None:
        refused = Deferred.fromCoroutine(coroutine)
        self.assertIsNotNone(self.failureResultOf(refused, error), case)

    # --- Creating ------------------------------------------------------------------------

    def test_created(self) -> None:
        """A token has the given values, and the present as its creation time."""
        creating = self.tokens.create(
            token=ALPHABET[-64:],
            settings={"uses_allowed": 3, "expiry_ms": NOW_MS + 1, "note": "für Zoë"},
            creator="@root:test.example",
        )
        expected = RegistrationToken(
            token=ALPHABET[-64:],
            uses_allowed=3,
            expiry_ms=NOW_MS + 1,
            note="für Zoë",
            creator="@root:test.example",
            created_ms=NOW_MS,
        )
        self.assertEqual(self.wait(creating), expected)
        self.assertEqual(self.wait(self.tokens.get(ALPHABET[-64:])), expected)

    def test_madeUp(self) -> None:
        """A generated token has the given length, and no character that is easily mistaken or needs
        escaping."""
        for length in (1, 16, 64):
            token = self.create(length=length).token
            self.assertEqual(len(token), length)
            self.assertLessEqual(set(token), set(PLAIN))
        self.assertEqual(len({self.create().token for _ in range(50)}), 50)

    def test_madeUpAnew(self) -> None:
        """A generated token that is taken is generated again; after several tries that fails."""
        asked: list[str] = []

        @attr.frozen
        class Full:
            free_at: int

            async def create(self, token: RegistrationToken, entries: Any = ()) -> bool:
                asked.append(token.token)
                return len(asked) == self.free_at

        tokens: Any = RegistrationTokens(store=Full(3), clock=self.clock)
        self.assertEqual(self.wait(tokens.create(settings={})).token, asked[2])
        self.assertEqual(len(set(asked)), 3)
        asked.clear()
        tokens = attr.evolve(tokens, store=Full(0))
        self.assertRefused(tokens.create(settings={}), InvalidParam)
        self.assertEqual(len(asked), TRIES)

    def test_taken(self) -> None:
        """There is one token of a name; case matters."""
        self.create("welcome")
        self.clock.advance(1)
        self.assertRefused(self.tokens.create(token="welcome", settings={}), InvalidParam)
        self.create("Welcome")

    def test_badNames(self) -> None:
        """A token has 1 to 64 of its characters, a generated one too."""
        for token in ("", "x" * 65, "a b", "a/b", "ä", "a\n", "a\0", "\N{KELVIN SIGN}"):
            self.assertRefused(self.tokens.create(token=token, settings={}), InvalidParam, token)
        for length in (0, -1, 65):
            self.assertRefused(self.tokens.create(length=length, settings={}), InvalidParam, length)
        # The length is ignored if a token is given.
        self.create("given", length=-1)

    # --- Settings ------------------------------------------------------------------------

    def test_settings(self) -> None:
        """Limits, an expiry in the future and a note of one line, when created and when changed."""
        self.create("token")
        for settings, good in (
            ({"uses_allowed": 0}, True),
            ({"uses_allowed": MAX_INTEGER, "expiry_ms": MAX_INTEGER}, True),
            ({"uses_allowed": None, "expiry_ms": None, "note": None}, True),
            ({"expiry_ms": NOW_MS + 1, "note": "é" * 500}, True),
            ({"note": ""}, True),
            ({"uses_allowed": -1}, False),
            ({"uses_allowed": MAX_INTEGER + 1}, False),
            ({"expiry_ms": NOW_MS}, False),
            ({"expiry_ms": -1}, False),
            ({"expiry_ms": MAX_INTEGER + 1}, False),
            ({"note": "x" * 501}, False),
            ({"note": "two\nlines"}, False),
            ({"note": "\x1b[2J"}, False),
        ):
            before = self.wait(self.tokens.get("token"))
            changing = self.tokens.change("token", settings)
            if good:
                expected = attr.evolve(before, **settings)
                self.assertEqual(self.wait(changing), expected, settings)
                self.create(**settings)
            else:
                self.assertRefused(changing, InvalidParam, settings)
                self.assertRefused(self.tokens.create(settings=settings), InvalidParam, settings)
                self.assertEqual(self.wait(self.tokens.get("token")), before, settings)

    def test_notThere(self) -> None:
        """A token that does not exist is an error; one that was never used is not."""
        for coroutine in (
            self.tokens.get("nobody's"),
            self.tokens.change("nobody's", {}),
            self.tokens.change("nobody's", {"revoked": True}),
            self.tokens.delete("nobody's"),
        ):
            self.assertRefused(coroutine, TokenNotFound)
        self.assertEqual(self.wait(self.tokens.uses("nobody's")), [])

    # --- Using ---------------------------------------------------------------------------

    def test_lifecycle(self) -> None:
        """A token is valid until its last use is reserved, it is revoked, it expires or it is
        deleted."""
        self.create("token", uses_allowed=1, expiry_ms=NOW_MS + 1000)

        def valid() -> bool:
            (listed,) = self.wait(self.tokens.list())
            by_list = [self.wait(self.tokens.list(flag)) for flag in (True, False)]
            answer = self.wait(self.tokens.is_valid("token"))
            self.assertEqual(by_list, [[listed], []] if answer else [[], [listed]])
            return bool(answer)

        self.assertTrue(valid())
        self.wait(self.tokens.change("token", {"revoked": True}))
        self.assertFalse(valid())
        self.wait(self.tokens.change("token", {"revoked": False}))
        self.assertTrue(valid())
        self.wait(self.store.reserve("token", "session", NOW_MS))
        self.assertFalse(valid())
        self.wait(self.tokens.change("token", {"uses_allowed": 2}))
        self.assertTrue(valid())
        self.clock.advance(1)
        self.assertFalse(valid())
        self.wait(self.tokens.delete("token"))
        self.assertFalse(self.wait(self.tokens.is_valid("token")))
