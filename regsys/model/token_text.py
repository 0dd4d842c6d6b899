"""The text form of tokens: their letters, their checksum, and where the letters come from.

Random letters come from ``secrets``. The letters of a token that is issued under an idempotency key
are derived from the server's secret and the key, so that a repeated request gets the same token,
while the stored rows alone cannot produce it (contract B4.7).
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import secrets
import string
import zlib
from typing import Callable

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
LETTERS = string.ascii_letters
CAPITALS = string.ascii_uppercase
# The characters of a guest token's nonce (contract B4.2).
SYMBOLS = string.digits + string.ascii_letters + ".,;:^&*-_+=#~@"


def random_letters(length: int, alphabet: str = LETTERS) -> str:
    """``length`` characters of ``alphabet``, unpredictable."""
    return _letters(lambda block: secrets.token_bytes(2 * length), length, alphabet)


def derived_letters(
    secret: bytes, purpose: str, key: str, length: int, alphabet: str = LETTERS
) -> str:
    """``length`` characters of ``alphabet`` that nobody can predict without ``secret``.

    The same secret, purpose and key give the same letters; other purposes or keys give unrelated
    ones.
    """

    def block(number: int) -> bytes:
        # hmac.digest would let other threads run, and then wait for them.
        return hmac.new(secret, f"{purpose}\0{key}\0{number}".encode(), "sha256").digest()

    return _letters(block, length, alphabet)


def _letters(block: Callable[[int], bytes], length: int, alphabet: str) -> str:
    """``length`` letters of the blocks with the numbers 0, 1, 2 …, as many as it takes."""
    table, unfair = _translation(alphabet)
    letters, number = b"", 0
    while len(letters) < length:
        letters += block(number).translate(table, unfair)
        number += 1
    return letters[:length].decode("ascii")


@functools.cache
def _translation(alphabet: str) -> tuple[bytes, bytes]:
    """The character for each byte, and the bytes to skip because they would favour the alphabet's
    first characters."""
    size = len(alphabet)
    table = bytes(ord(alphabet[byte % size]) for byte in range(256))
    return table, bytes(range(256 - 256 % size, 256))


def base62(number: int, width: int) -> str:
    """``number`` in digits 0-9A-Za-z, padded with zeros to ``width``."""
    digits = ""
    while number:
        number, rest = divmod(number, 62)
        digits = BASE62[rest] + digits
    return digits.rjust(width, "0")


def opaque_token(prefix: str, localpart: str, letters: str) -> str:
    """``<prefix>_<localpart in base64>_<letters>_<checksum>`` (contract B4.3).

    The checksum, a CRC-32 of everything before it, lets scanners for leaked secrets recognise a
    token; it protects nothing.
    """
    name = base64.b64encode(localpart.encode("utf-8")).decode("ascii").rstrip("=")
    body = f"{prefix}_{name}_{letters}"
    return f"{body}_{base62(zlib.crc32(body.encode('ascii')), 6)}"


def access_token(localpart: str, letters: str) -> str:
    return opaque_token("syt", localpart, letters)


def refresh_token(localpart: str, letters: str) -> str:
    return opaque_token("syr", localpart, letters)


def token_hash(token: str) -> str:
    """What is stored of a token: its SHA-256 in hex."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
