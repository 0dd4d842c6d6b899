"""Passwords (contract B14): the policy, the hash."""

from __future__ import annotations

import random
import unicodedata

import attr
import bcrypt
from twisted.trial.unittest import SynchronousTestCase

from regsys.config import PasswordPolicy
from regsys.credentials import passwords
from regsys.credentials.passwords import (
    PREHASHED,
    check_policy,
    hash_password,
    prepare,
    verify_password,
)
from regsys.errors import (
    InvalidParam,
    PasswordRefused,
)

# The cheapest hash that bcrypt makes.
ROUNDS = 4


class PolicyTests(SynchronousTestCase):
    strict = PasswordPolicy(
        enabled=True,
        minimum_length=8,
        require_digit=True,
        require_symbol=True,
        require_uppercase=True,
        require_lowercase=True,
    )

    def test_firstRefusalInOrderIsRaised(self) -> None:
        """Length, digit, symbol, upper case and lower case are required in that order."""
        for password, errcode in [
            ("", "M_PASSWORD_TOO_SHORT"),
            ("é" * 7, "M_PASSWORD_TOO_SHORT"),
            ("        ", "M_PASSWORD_NO_DIGIT"),
            ("ABCDEFG1", "M_PASSWORD_NO_SYMBOL"),
            ("       1", "M_PASSWORD_NO_UPPERCASE"),
            ("ABCDEF 1", "M_PASSWORD_NO_LOWERCASE"),
        ]:
            refused = self.assertRaises(PasswordRefused, check_policy, self.strict, password)
            self.assertEqual(refused.errcode, errcode)

    def test_passwordWithEverythingPasses(self) -> None:
        """A password that fulfils all requirements passes, whatever its alphabet."""
        check_policy(self.strict, "Abcdef 1")
        check_policy(self.strict, "Щука, 1 рубль")

    def test_onlyWhatIsRequiredIsAsked(self) -> None:
        """Each requirement is independent: a policy with one of them accepts any password that
        fulfils it."""
        for kind, password in [
            ("require_digit", "1"),
            ("require_symbol", "-"),
            ("require_uppercase", "A"),
            ("require_lowercase", "a"),
        ]:
            check_policy(PasswordPolicy(enabled=True, **{kind: True}), password)

    def test_lettersOfAnyAlphabetAreNoSymbols(self) -> None:
        """A symbol is neither a letter nor a digit, so an umlaut is none."""
        policy = PasswordPolicy(enabled=True, require_symbol=True)
        self.assertRaises(PasswordRefused, check_policy, policy, "Übergrößenträger1")

    def test_lengthIsReported(self) -> None:
        """A password that is too short is refused with the required length."""
        refusal = self.assertRaises(PasswordRefused, check_policy, self.strict, "short")
        self.assertIn("8", refusal.text)

    def test_disabledPolicyAsksNothing(self) -> None:
        """A policy that isn't enabled accepts even the empty password."""
        check_policy(attr.evolve(self.strict, enabled=False), "")


class HashTests(SynchronousTestCase):
    def hashed(self, password: str, pepper: str = "", truncate: bool = False) -> str:
        return hash_password(prepare(password, pepper), ROUNDS, truncate)

    def verifies(self, password: str, stored: str, pepper: str = "") -> bool:
        return verify_password(prepare(password, pepper), stored)

    def test_hashIsPlainBcrypt(self) -> None:
        """A password of at most 72 bytes is hashed as on any other server."""
        stored = self.hashed("pässword", "pepper")
        self.assertTrue(stored.startswith("$2b$04$"))
        self.assertTrue(bcrypt.checkpw("pässwordpepper".encode(), stored.encode()))

    def test_hashOfAnotherMakerVerifies(self) -> None:
        """A published hash of the crypt_blowfish test suite verifies."""
        stored = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
        self.assertTrue(self.verifies("U*U", stored))
        self.assertFalse(self.verifies("U*V", stored))

    def test_compositionMakesNoDifference(self) -> None:
        """A password is the same whether the keyboard composes its characters or not."""
        stored = self.hashed("caf\N{LATIN SMALL LETTER E WITH ACUTE}")
        self.assertTrue(self.verifies("cafe\N{COMBINING ACUTE ACCENT}", stored))
        self.assertTrue(self.verifies("\N{FULLWIDTH LATIN SMALL LETTER C}afé", stored))

    def test_bytesAreCountedNotCharacters(self) -> None:
        """72 bytes are hashed directly, 73 are marked, however many characters they make."""
        self.assertFalse(self.hashed("é" * 36).startswith(PREHASHED))
        self.assertTrue(self.hashed("é" * 36 + "e").startswith(PREHASHED))

    def test_longPasswordCountsToItsEnd(self) -> None:
        """In a long password the last character counts, and so does the pepper behind it."""
        stored = self.hashed("x" * 100, "pepper")
        self.assertTrue(self.verifies("x" * 100, stored, "pepper"))
        self.assertFalse(self.verifies("x" * 99 + "y", stored, "pepper"))
        self.assertFalse(self.verifies("x" * 72, stored, "pepper"))
        self.assertFalse(self.verifies("x" * 100, stored, "salt"))

    def test_digestIsNoPassword(self) -> None:
        """The intermediate digest of a long password is not a valid password."""
        stored = self.hashed("x" * 100)
        entered = passwords._bcrypt_input(b"x" * 100, True).decode()
        self.assertTrue(bcrypt.checkpw(entered.encode(), stored[len(PREHASHED) :].encode()))
        self.assertFalse(self.verifies(entered, stored))

    def test_pepperPushesAPasswordOverTheLimit(self) -> None:
        """A password of just 72 bytes keeps its pepper."""
        stored = self.hashed("x" * 72, "pepper")
        self.assertTrue(stored.startswith(PREHASHED))
        self.assertFalse(self.verifies("x" * 72, stored, "salt"))

    def test_truncatingMakesHashesForOthers(self) -> None:
        """With ``truncate`` the hash of a long password is that of a truncating server."""
        stored = self.hashed("x" * 100, truncate=True)
        self.assertTrue(bcrypt.checkpw(b"x" * 72, stored.encode()))
        self.assertTrue(self.verifies("x" * 100, stored))

    def test_whatIsNoHashFitsNothing(self) -> None:
        """A stored value that is no bcrypt hash verifies nothing, and raises no error."""
        for stored in ["", "x", PREHASHED, "$2b$99$" + "a" * 53, "$2b$04$é", "$argon2id$v=19$"]:
            self.assertFalse(self.verifies("password", stored), stored)

    def test_loneSurrogateIsRefused(self) -> None:
        """A password that is not valid Unicode is refused, without showing it."""
        refusal = self.assertRaises(InvalidParam, prepare, "secret\ud800", "")
        self.assertNotIn("secret", str(refusal))
        self.assertTrue(refusal.__suppress_context__)

    def test_agreesWithPlainTruncatingBcrypt(self) -> None:
        """Over 2000 random passwords a truncating bcrypt and ours verify each other's hashes."""
        chance = random.Random(18)
        long = 0
        for _ in range(2000):
            password = _random_text(chance)
            data = unicodedata.normalize("NFKC", password).encode()
            long += len(data) > 72
            # Short passwords have the same hash with and without the option.
            ours = self.hashed(password, truncate=len(data) > 72)
            theirs = bcrypt.hashpw(data[:72], ours[:29].encode()).decode()
            self.assertEqual(ours, theirs)
            self.assertTrue(self.verifies(password, theirs))
        self.assertTrue(100 < long < 1900, long)

    def test_longRandomPasswordsAreMarked(self) -> None:
        """Without the option no truncating bcrypt verifies our hash of a long password."""
        chance = random.Random(19)
        for _ in range(100):
            password = _random_text(chance) + "x" * 72
            stored = self.hashed(password)
            self.assertTrue(self.verifies(password, stored))
            self.assertFalse(self.verifies(password + "y", stored))
            self.assertRaises(ValueError, bcrypt.checkpw, password.encode()[:72], stored.encode())


def _random_text(chance: random.Random) -> str:
    """1 to 600 characters from all of Unicode, short ones as likely as long ones."""
    length = chance.randint(1, chance.choice([20, 600]))
    points = (chance.randint(1, 0x10FFFF - 0x800) for _ in range(length))
    return "".join(chr(point if point < 0xD800 else point + 0x800) for point in points)
