"""The password policy, and password hashes (contract B14)."""

from __future__ import annotations

import base64
import hashlib
import unicodedata

import bcrypt

from regsys.config import PasswordPolicy
from regsys.errors import InvalidParam, PasswordRefused

# bcrypt reads no more than this, and its library refuses longer input.
BCRYPT_BYTES = 72
# The prefix of a stored hash whose input was longer, and was therefore hashed before.
PREHASHED = "sha384:"


def check_policy(policy: PasswordPolicy, password: str) -> None:
    """Raise PasswordRefused for the first part of the policy that the password does not fulfil
    (contract B14.3). A symbol is any character that is neither a letter nor a digit."""
    if not policy.enabled:
        return
    if len(password) < policy.minimum_length:
        raise PasswordRefused(
            "M_PASSWORD_TOO_SHORT",
            f"The password needs {policy.minimum_length} characters or more.",
        )
    if policy.require_digit and not any(map(str.isdigit, password)):
        raise PasswordRefused("M_PASSWORD_NO_DIGIT", "The password must contain a digit.")
    if policy.require_symbol and all(map(str.isalnum, password)):
        raise PasswordRefused("M_PASSWORD_NO_SYMBOL", "The password must contain a symbol.")
    if policy.require_uppercase and not any(map(str.isupper, password)):
        raise PasswordRefused(
            "M_PASSWORD_NO_UPPERCASE", "The password must contain an upper-case letter."
        )
    if policy.require_lowercase and not any(map(str.islower, password)):
        raise PasswordRefused(
            "M_PASSWORD_NO_LOWERCASE", "The password must contain a lower-case letter."
        )


def prepare(password: str, pepper: str) -> bytes:
    """The input to hash: the password in Unicode normal form KC, and the pepper.

    Raises InvalidParam for a lone surrogate.
    """
    try:
        return (unicodedata.normalize("NFKC", password) + pepper).encode("utf-8")
    except UnicodeEncodeError:
        # Raised without its cause, which contains the password.
        raise InvalidParam("The password is not valid text.") from None


def hash_password(prepared: bytes, rounds: int, truncate: bool = False) -> str:
    """The bcrypt hash to store, of the result of ``prepare``. Slow on purpose.

    Input that is too long for bcrypt is hashed to 64 characters first, and its hash gets the prefix
    PREHASHED. With ``truncate`` it is cut off instead, for other servers that read our hashes.
    """
    prehash = len(prepared) > BCRYPT_BYTES and not truncate
    hashed = bcrypt.hashpw(_bcrypt_input(prepared, prehash), bcrypt.gensalt(rounds))
    return (PREHASHED if prehash else "") + hashed.decode("ascii")


def verify_password(prepared: bytes, stored: str) -> bool:
    """Whether ``stored`` is a hash of this, made by us or by a server that truncates.

    False if ``stored`` is not a bcrypt hash.
    """
    prehash = stored.startswith(PREHASHED)
    hashed = stored[len(PREHASHED) :] if prehash else stored
    try:
        return bcrypt.checkpw(_bcrypt_input(prepared, prehash), hashed.encode("ascii"))
    except ValueError:
        return False


def _bcrypt_input(prepared: bytes, prehash: bool) -> bytes:
    if not prehash:
        return prepared[:BCRYPT_BYTES]
    # In base 64, since some implementations of bcrypt stop at a zero byte.
    return base64.b64encode(hashlib.sha384(prepared).digest())
