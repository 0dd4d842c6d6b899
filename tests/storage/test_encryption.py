"""Secrets that are stored encrypted."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from regsys.storage.encryption import Encryptor


class EncryptorTests(SynchronousTestCase):
    def test_opens(self) -> None:
        """A ciphertext decrypts with its secret and purpose alone, and contains no plain text;
        encrypting the same again gives another one."""
        encryptor = Encryptor(b"a secret")
        ciphertext = encryptor.encrypt("canary é", "a row")
        self.assertEqual(encryptor.decrypt(ciphertext, "a row"), "canary é")
        self.assertEqual(Encryptor(b"a secret").decrypt(ciphertext, "a row"), "canary é")
        self.assertNotEqual(encryptor.encrypt("canary é", "a row"), ciphertext)
        self.assertNotIn("canary", ciphertext)
        self.assertNotIn("secret", repr(encryptor))
        self.assertIsNone(encryptor.decrypt(ciphertext, "another row"))
        self.assertIsNone(Encryptor(b"another").decrypt(ciphertext, "a row"))

    def test_broken(self) -> None:
        """What was changed, or is no ciphertext, does not decrypt."""
        encryptor = Encryptor(b"a secret")
        ciphertext = encryptor.encrypt("canary", "a row")
        flipped = ("B" if ciphertext[20] == "A" else "A").join((ciphertext[:20], ciphertext[21:]))
        for text in (flipped, ciphertext[:-4], "", "x", "????", ciphertext[:16]):
            self.assertIsNone(encryptor.decrypt(text, "a row"), text)
