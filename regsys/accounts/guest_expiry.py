"""Removes guests that have been inactive for long (``regsys.guest_expiry``)."""

from __future__ import annotations

import attr
from twisted.logger import Logger
from zope.interface import implementer

from regsys.interfaces import IExpiring
from regsys.model import SEEN_AGAIN_MS
from regsys.storage.guests import GuestStore

log = Logger()

# Ended in one round, which is thereby as cheap with a million idle guests as with ten.
BATCH = 100
# Activity may be noted an hour later, and written a moment after that: no guest ends early.
LATENESS_MS = 2 * SEEN_AGAIN_MS
# Where activity was not recorded for longer than this, nothing is known of that time.
MAX_GAP_MS = 24 * 3600 * 1000


@implementer(IExpiring)
@attr.frozen(kw_only=True)
class GuestExpiry:
    """A guest who was neither seen nor born for ``expiry_ms`` is deactivated: the name stays
    taken. Guests are spared until they have been watched for so long without a break: to switch
    this on ends nobody whose comings and goings were not looked at before."""

    store: GuestStore
    expiry_ms: int

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        """End up to BATCH idle guests; returns how many went."""
        watched_ms = await self.store.tracked_since(now_ms, MAX_GAP_MS)
        if now_ms - watched_ms < self.expiry_ms:
            return 0
        idle_since_ms = now_ms - self.expiry_ms - LATENESS_MS
        ended = await self.store.deactivate_idle(idle_since_ms, min(at_most, BATCH))
        if ended:
            log.info("deactivated {count} guests for being idle", count=ended)
        return ended
