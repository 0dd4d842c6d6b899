"""Secrets that the server generates for itself, such as an unconfigured macaroon key, and whether
all processes over a database have the same ones."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from regsys.storage.database import Transaction


def get_or_keep(txn: Transaction, name: str, candidate: str) -> str:
    """The secret stored under this name; ``candidate`` is stored if there is none yet."""
    txn.insert("secrets", name=name, value=candidate)
    row = txn.one("SELECT value FROM secrets WHERE name = ?", (name,))
    assert row is not None
    return str(row[0])


def is_as_before(txn: Transaction, name: str, secret: str) -> bool:
    """Whether the process that was last started over this database had this secret, too; the next
    one will be compared with this one. True for the first. One wrong secret of 256 is not
    noticed."""
    row = _row(name)
    known = get_or_keep(txn, row, _fingerprint(secret, secrets.token_hex(16)))
    if _fits(secret, known):
        return True
    new = _fingerprint(secret, secrets.token_hex(16))
    txn.run("UPDATE secrets SET value = ? WHERE name = ?", (new, row))
    return False


def would_be_as_before(txn: Transaction, name: str, secret: str) -> bool:
    """What ``is_as_before`` would say; nothing is written."""
    row = txn.one("SELECT value FROM secrets WHERE name = ?", (_row(name),))
    return row is None or _fits(secret, str(row[0]))


def _row(name: str) -> str:
    return f"fingerprint of {name}"


def _fits(secret: str, known: str) -> bool:
    salt, _, _ = known.partition(":")
    return hmac.compare_digest(_fingerprint(secret, salt), known)


def _fingerprint(secret: str, salt: str) -> str:
    """A salted digest of one byte: it fits one guess of 256, so it confirms none. It takes some
    milliseconds all the same, so that not even so many are ruled out quickly."""
    digest = hashlib.scrypt(
        secret.encode("utf-8"), salt=salt.encode("ascii"), n=2**12, r=8, p=1, dklen=1
    )
    return f"{salt}:{digest.hex()}"
