"""Passwords: the policy that they must meet, and their hashes (contract B14)."""

from __future__ import annotations

import base64
import hashlib
import unicodedata

import bcrypt

from regsys.config import PasswordPolicy
from regsys.errors import (
    InvalidParam,
    PasswordNoDigit,
    PasswordNoLowercase,
    PasswordNoSymbol,
    PasswordNoUppercase,
    PasswordTooShort,
)

# bcrypt reads no further than this, and its library refuses more.
BCRYPT_BYTES = 72
# Stands before the stored hash of an input that was longer, and so was pre-hashed.
PREHASHED = "sha384:"


def check_policy(policy: PasswordPolicy, password: str) -> None:
    """Raise the first refusal of contract B14.3, or pass. A symbol is neither letter nor digit."""
    if not policy.enabled:
        return
    if len(password) < policy.minimum_length:
        raise PasswordTooShort(f"The password needs {policy.minimum_length} characters or more.")
    if policy.require_digit and not any(map(str.isdigit, password)):
        raise PasswordNoDigit()
    if policy.require_symbol and all(map(str.isalnum, password)):
        raise PasswordNoSymbol()
    if policy.require_uppercase and not any(map(str.isupper, password)):
        raise PasswordNoUppercase()
    if policy.require_lowercase and not any(map(str.islower, password)):
        raise PasswordNoLowercase()


def prepare(password: str, pepper: str) -> bytes:
    """What is hashed: the password, however its characters were composed, and the pepper.

    Raises InvalidParam for a lone surrogate.
    """
    try:
        return (unicodedata.normalize("NFKC", password) + pepper).encode("utf-8")
    except UnicodeEncodeError:
        # Without its cause, which holds the password.
        raise InvalidParam("The password is not valid text.") from None


def hash_password(prepared: bytes, rounds: int, truncate: bool = False) -> str:
    """The bcrypt hash to store of what ``prepare`` returned. Slow on purpose.

    Input that bcrypt would not read to its end is hashed to 64 characters first, and marked
    so; with ``truncate`` it is cut off instead, for other servers that read our hashes.
    """
    marked = len(prepared) > BCRYPT_BYTES and not truncate
    hashed = bcrypt.hashpw(_readable(prepared, marked), bcrypt.gensalt(rounds))
    return (PREHASHED if marked else "") + hashed.decode("ascii")


def verify_password(prepared: bytes, stored: str) -> bool:
    """Whether ``stored`` is a hash of this, made by us or by a server that truncates.

    False for a ``stored`` that is no bcrypt hash at all.
    """
    marked = stored.startswith(PREHASHED)
    hashed = stored[len(PREHASHED) :] if marked else stored
    try:
        return bcrypt.checkpw(_readable(prepared, marked), hashed.encode("ascii"))
    except ValueError:
        return False


def _readable(prepared: bytes, marked: bool) -> bytes:
    if not marked:
        return prepared[:BCRYPT_BYTES]
    # In base 64, since some bcrypts stop at a zero byte.
    return base64.b64encode(hashlib.sha384(prepared).digest())
