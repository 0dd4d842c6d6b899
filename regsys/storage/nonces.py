"""Used nonces and captcha responses, kept until they would be too old anyway."""

from __future__ import annotations

import attr
from zope.interface import implementer

from regsys.interfaces.internal import IExpiring
from regsys.storage.batches import delete_some
from regsys.storage.database import Database, Transaction


@implementer(IExpiring)
@attr.frozen
class NonceStore:
    """What is good once: nonces for one attempt, captcha responses for one session."""

    db: Database

    async def use(self, nonce: str, until_ms: int) -> bool:
        """Use it up; False if it was used already. It is remembered until ``until_ms``."""
        return await self.db.transaction("use_nonce", _use, nonce, until_ms)

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        return await self.db.transaction("expire_nonces", _delete_expired, now_ms, at_most)


def _use(txn: Transaction, nonce: str, until_ms: int) -> bool:
    return txn.insert("used_nonces", nonce=nonce, expires_ms=until_ms)


def _delete_expired(txn: Transaction, now_ms: int, at_most: int) -> int:
    return delete_some(txn, "used_nonces", "nonce", "expires_ms <= ?", (now_ms,), at_most)
