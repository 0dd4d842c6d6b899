"""The text form of tokens (contract B4.3, B4.7), and the source of their letters."""

from __future__ import annotations

import ast
import base64
import binascii
import re
import string
from collections import Counter
from pathlib import Path
from typing import Iterator

from twisted.trial.unittest import SynchronousTestCase

import regsys
from regsys.model.token_text import (
    CAPITALS,
    LETTERS,
    SYMBOLS,
    access_token,
    base62,
    derived_letters,
    random_letters,
    refresh_token,
    token_hash,
)

DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
# For 52 letters chance exceeds this less than once in ten thousand times.
MOST_UNEVEN = 105


def unevenness(letters: str, alphabet: str) -> float:
    """Pearson's chi-squared of the letters against an even distribution."""
    expected = len(letters) / len(alphabet)
    counts = Counter(letters)
    return sum((counts[letter] - expected) ** 2 / expected for letter in alphabet)


class FormTests(SynchronousTestCase):
    def test_accessToken(self) -> None:
        """An access token has its user in unpadded base 64, and ends with its checksum."""
        letters = "abcdefghijABCDEFGHIJ"
        self.assertEqual(access_token("alice", letters), f"syt_YWxpY2U_{letters}_1Ygu31")

    def test_refreshToken(self) -> None:
        """A refresh token differs in its prefix, and so in its checksum."""
        letters = "abcdefghijABCDEFGHIJ"
        self.assertEqual(refresh_token("alice", letters), f"syr_YWxpY2U_{letters}_42GVOF")

    def test_checksumCoversAllBeforeIt(self) -> None:
        """The last six characters are the CRC-32 of everything before their underscore."""
        for number in range(300):
            localpart = f"zoë.{number}"
            token = access_token(localpart, random_letters(20))
            self.assertTrue(re.fullmatch(r"syt_[A-Za-z0-9+/]+_[A-Za-z]{20}_[0-9A-Za-z]{6}", token))
            body, _, checksum = token.rpartition("_")
            value = 0
            for digit in checksum:
                value = value * 62 + DIGITS.index(digit)
            self.assertEqual(value, binascii.crc32(body.encode()))
            name = body.split("_")[1]
            padded = name + "=" * (-len(name) % 4)
            self.assertEqual(base64.b64decode(padded).decode(), localpart)

    def test_base62(self) -> None:
        """Numbers are written with the digits 0-9A-Za-z, and padded with zeros."""
        for number, text in [(0, "000000"), (61, "00000z"), (62, "000010"), (2**32 - 1, "4gfFC3")]:
            self.assertEqual(base62(number, 6), text)

    def test_storedHash(self) -> None:
        """The store keeps the SHA-256 of a token, in hex, even of one that is not valid Unicode."""
        self.assertEqual(
            token_hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )
        self.assertEqual(len(token_hash("\ud800")), 64)


class RandomLettersTests(SynchronousTestCase):
    def test_lengthAndAlphabet(self) -> None:
        """As many letters as asked for, all of the given alphabet and all of it used."""
        for alphabet in (LETTERS, CAPITALS, SYMBOLS):
            self.assertEqual(len(random_letters(10, alphabet)), 10)
            self.assertEqual(set(random_letters(5000, alphabet)), set(alphabet))

    def test_unforeseeable(self) -> None:
        """No two tokens are alike, and no letter is more likely than another."""
        self.assertEqual(len({random_letters(20) for _ in range(1000)}), 1000)
        # Chance fails this once in a hundred million runs at most.
        self.assertLess(unevenness(random_letters(20_000), LETTERS), 140)


class DerivedLettersTests(SynchronousTestCase):
    def test_sameInputsSameLetters(self) -> None:
        """The same secret, purpose and key give the same letters, in every release."""
        self.assertEqual(derived_letters(b"secret", "access", "key", 20), "iOBHDahTVyMzukThkJUN")

    def test_otherInputsOtherLetters(self) -> None:
        """If any input differs, the letters are unrelated."""
        found = [
            derived_letters(b"secret", "access", "key", 20),
            derived_letters(b"Secret", "access", "key", 20),
            derived_letters(b"secret", "refresh", "key", 20),
            derived_letters(b"secret", "access", "yek", 20),
            derived_letters(b"secret", "accessk", "ey", 20),
        ]
        for position in range(4):
            self.assertEqual(
                len({letters[position * 5 : position * 5 + 5] for letters in found}), 5
            )

    def test_lengthAndAlphabet(self) -> None:
        """Any length of any alphabet works; a longer text begins like a shorter one."""
        for alphabet in (LETTERS, CAPITALS, SYMBOLS):
            letters = derived_letters(b"secret", "purpose", "key", 5000, alphabet)
            self.assertEqual((len(letters), set(letters)), (5000, set(alphabet)))
            self.assertEqual(derived_letters(b"secret", "purpose", "key", 7, alphabet), letters[:7])

    def test_noLetterIsFavoured(self) -> None:
        """All letters are equally likely, although 52 does not divide 256."""
        letters = derived_letters(b"secret", "purpose", "key", 52_000)
        self.assertLess(unevenness(letters, LETTERS), MOST_UNEVEN)


class SourceTests(SynchronousTestCase):
    def test_nothingUsesTheRandomModule(self) -> None:
        """No file of regsys imports ``random``, whose output is predictable."""
        root = Path(regsys.__file__).parent
        files = sorted(root.rglob("*.py"))
        self.assertIn(root / "model/token_text.py", files)
        guilty = [str(path.relative_to(root)) for path in files if "random" in _imports(path)]
        self.assertEqual(guilty, [])


def _imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, anywhere in the file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
