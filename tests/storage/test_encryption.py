"""Secrets that are stored encrypted."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from regsys.storage.encryption import Encryptor


class EncryptorTests(SynchronousTestCase):
    def test_opens(self) -> None:
        """A ciphertext decrypts with its secret and its purpose alone, and contains nothing
        readable; encrypting the same text again gives another ciphertext."""
        encryptor = Encryptor(b"a secret")
        seal = encryptor.encrypt("canary é", "a row")
        self.assertEqual(encryptor.decrypt(seal, "a row"), "canary é")
        self.assertEqual(Encryptor(b"a secret").decrypt(seal, "a row"), "canary é")
        self.assertNotEqual(encryptor.encrypt("canary é", "a row"), seal)
        self.assertNotIn("canary", seal)
        self.assertNotIn("secret", repr(encryptor))
        self.assertIsNone(encryptor.decrypt(seal, "another row"))
        self.assertIsNone(Encryptor(b"another").decrypt(seal, "a row"))

    def test_broken(self) -> None:
        """A ciphertext that was changed, or is none, does not decrypt."""
        encryptor = Encryptor(b"a secret")
        seal = encryptor.encrypt("canary", "a row")
        flipped = ("B" if seal[20] == "A" else "A").join((seal[:20], seal[21:]))
        for text in (flipped, seal[:-4], "", "x", "????", seal[:16]):
            self.assertIsNone(encryptor.decrypt(text, "a row"), text)
