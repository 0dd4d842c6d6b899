"""Secrets of others that must be kept for a while: unreadable for who has the database alone."""

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
    """``secret`` is the server's; the key is derived from it. A seal is good for one ``purpose``:
    in another row's place it opens nothing."""

    secret: bytes = attr.field(repr=False)

    def seal(self, text: str, purpose: str) -> str:
        nonce = os.urandom(_NONCE)
        sealed = self._cipher().encrypt(nonce, text.encode("utf-8"), purpose.encode("utf-8"))
        return base64.b64encode(nonce + sealed).decode("ascii")

    def opened(self, sealed: str, purpose: str) -> Optional[str]:
        """What was sealed; None if this is another secret's or another purpose's seal, or none."""
        try:
            raw = base64.b64decode(sealed, validate=True)
            text = self._cipher().decrypt(raw[:_NONCE], raw[_NONCE:], purpose.encode("utf-8"))
        except (InvalidTag, ValueError):
            return None
        return text.decode("utf-8")

    def _cipher(self) -> AESGCM:
        return AESGCM(hmac.digest(self.secret, b"regsys sealed", "sha256"))
