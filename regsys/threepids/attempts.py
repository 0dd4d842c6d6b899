"""Limits the failed attempts to validate an address (contract B7.9, threat A4)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import AsyncIterator, Callable

import attr

from regsys.errors import Unavailable
from regsys.interfaces.internal import ILimiter
from regsys.model import Client


@attr.frozen(kw_only=True)
class ValidationAttempts:
    """``key_of`` returns the limit's key for a client's IP address: some addresses share one."""

    limiter: ILimiter
    key_of: Callable[[str], str]

    @asynccontextmanager
    async def counted(self, client: Client) -> AsyncIterator[None]:
        """Counts an attempt against the client's address, unless this block succeeds.

        Raises LimitExceeded before the block begins, so that no other server is asked beyond the
        limit.
        """
        key = self.key_of(client.address)
        await self.limiter.take(key)
        try:
            yield
        except Unavailable:
            # The other server has not answered whether the attempt was right.
            await self.limiter.give_back(key)
            raise
        await self.limiter.give_back(key)
