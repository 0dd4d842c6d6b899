"""Deactivates guests that have been inactive for long (``regsys.guest_expiry``)."""

from __future__ import annotations

import attr
from twisted.logger import Logger
from zope.interface import implementer

from regsys.interfaces.internal import IExpiring
from regsys.model.accounts import SEEN_AGAIN_MS
from regsys.storage.guests import GuestStore

log = Logger()

# At most so many in one round, so that a million idle guests are no long transaction.
BATCH = 100
# Activity is recorded up to an hour late, and written a moment after that: no guest ends early.
LATENESS_MS = 2 * SEEN_AGAIN_MS
# A longer gap in the recording of activity means that nothing is known of that time.
MAX_GAP_MS = 24 * 3600 * 1000


@implementer(IExpiring)
@attr.frozen(kw_only=True)
class GuestExpiry:
    """Deactivates guests that were made and last active more than ``expiry_ms`` ago; their names
    stay taken. Until activity has been recorded for that long without a gap no guest is
    deactivated: when the option is switched on, nothing is known of earlier activity."""

    store: GuestStore
    expiry_ms: int

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        """Deactivate up to BATCH idle guests; returns how many."""
        tracked_ms = await self.store.tracked_since(now_ms, MAX_GAP_MS)
        if now_ms - tracked_ms < self.expiry_ms:
            return 0
        idle_since_ms = now_ms - self.expiry_ms - LATENESS_MS
        ended = await self.store.deactivate_idle(idle_since_ms, min(at_most, BATCH))
        if ended:
            log.info("deactivated {count} guests for being idle", count=ended)
        return ended
