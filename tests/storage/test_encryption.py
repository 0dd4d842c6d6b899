"""Secrets that are kept sealed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from regsys.storage.encryption import Encryptor


class EncryptorTests(SynchronousTestCase):
    def test_opens(self) -> None:
        """A seal opens for its secret and its purpose alone, and holds nothing that can be read;
        the same sealed again looks different."""
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
        """What has been changed, or is no seal, opens nothing."""
        encryptor = Encryptor(b"a secret")
        seal = encryptor.encrypt("canary", "a row")
        flipped = ("B" if seal[20] == "A" else "A").join((seal[:20], seal[21:]))
        for text in (flipped, seal[:-4], "", "x", "????", seal[:16]):
            self.assertIsNone(encryptor.decrypt(text, "a row"), text)
