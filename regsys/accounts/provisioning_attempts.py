"""One attempt at a time to make an account at the homeserver.

Whether a user who is there is ours, only the one who has made them knows: the homeserver has no
mark for it. So calls that make the same account wait for each other, and the answer to the first is
certain. Only if that was lost, and the user is there, something else must decide (``Provisioner``
in accounts/provisioning.py).
"""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from regsys import clock, deadlines
from regsys.errors import HomeserverUnavailable
from regsys.model import UserID
from regsys.model.jobs import NewJob
from regsys.model.provisioning import Attempt
from regsys.storage.earlier_accounts import EarlierAccountStore
from regsys.storage.provisioning import ATTEMPT_MS, ProvisioningStore

# The kind of the job that goes on with an account from before regsys was an auth service.
PROVISION_EARLIER = "provision_earlier_account"
# How long a call waits for another one's attempt: if its process was killed, until it has ended.
WAIT_S = ATTEMPT_MS / 1000 + 1
# How often it looks, at first and later.
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.4


@attr.frozen(kw_only=True)
class Begun:
    """An attempt that has begun, and the job that goes on with the account."""

    attempt: Attempt
    job: NewJob


@attr.frozen(kw_only=True)
class Attempts:
    pending: ProvisioningStore
    earlier: EarlierAccountStore
    clock: IReactorTime

    async def begin(self, user_id: UserID) -> Optional[Begun]:
        """Begin an attempt with an account that the homeserver does not know; None if it knows it.
        While another is under way, wait. UserNotFound if there is no such account: it was undone.
        HomeserverUnavailable if the other lasts too long."""
        now_s = self.clock.seconds()
        ends_s, pause_s = now_s + deadlines.seconds_for(WAIT_S, now_s), SHORTEST_PAUSE_S
        while True:
            waiting = await self.pending.pending(user_id)
            if waiting is None:
                return None
            job = NewJob(kind=PROVISION_EARLIER, payload={"user_id": str(user_id)})
            now_ms = clock.now_ms(self.clock)
            if waiting.has_begun:
                job = _job(waiting.job_id, waiting.kind, waiting.payload)
                attempt = await self.pending.attempt(user_id, job.job_id, now_ms)
            else:
                attempt = await self.earlier.begin(user_id, job, now_ms)
            if attempt is not None:
                return Begun(attempt=attempt, job=job)
            if self.clock.seconds() + pause_s > ends_s:
                raise HomeserverUnavailable(f"another call is making {user_id}")
            await deferLater(self.clock, pause_s, lambda: None)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _job(job_id: str, kind: str, payload: Mapping[str, Any]) -> NewJob:
    return NewJob(kind=kind, payload=payload, job_id=job_id)
