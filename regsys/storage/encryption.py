"""Encrypts what must be kept in the database for other servers, their secrets and passwords for
them: the database alone does not give it away."""

from __future__ import annotations

import base64
import hmac
import os
from typing import Optional

import attr
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12


@attr.frozen
class Encryptor:
    """AES-GCM with a key that is derived from the server's ``secret``. The ``purpose`` is
    authenticated with the text, so that a ciphertext that was copied to another row does not
    decrypt."""

    secret: bytes = attr.field(repr=False)

    def encrypt(self, text: str, purpose: str) -> str:
        nonce = os.urandom(_NONCE)
        encrypted = self._cipher().encrypt(nonce, text.encode("utf-8"), purpose.encode("utf-8"))
        return base64.b64encode(nonce + encrypted).decode("ascii")

    def decrypt(self, ciphertext: str, purpose: str) -> Optional[str]:
        """The plain text; None if this was encrypted with another secret or purpose, or is no
        ciphertext of ours."""
        try:
            raw = base64.b64decode(ciphertext, validate=True)
            text = self._cipher().decrypt(raw[:_NONCE], raw[_NONCE:], purpose.encode("utf-8"))
        except (InvalidTag, ValueError):
            return None
        return text.decode("utf-8")

    def _cipher(self) -> AESGCM:
        return AESGCM(hmac.digest(self.secret, b"regsys sealed", "sha256"))
