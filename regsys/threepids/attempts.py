"""Limits how many failed attempts to prove an address are allowed (contract B7.9, threat A4)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import AsyncIterator, Callable

import attr

from regsys.errors import Unavailable
from regsys.interfaces import ILimiter
from regsys.model import Client


@attr.frozen(kw_only=True)
class ProofAttempts:
    """``key_of`` tells which addresses of clients count as one."""

    limiter: ILimiter
    key_of: Callable[[str], str]

    @asynccontextmanager
    async def counted(self, client: Client) -> AsyncIterator[None]:
        """What is tried in this block counts against the client's address unless it succeeds.

        Raises LimitExceeded before it begins, so that no other server is asked beyond the limit.
        """
        key = self.key_of(client.address)
        await self.limiter.take(key)
        try:
            yield
        except Unavailable:
            # The other server has not judged the proof.
            await self.limiter.give_back(key)
            raise
        await self.limiter.give_back(key)
