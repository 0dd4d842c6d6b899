"""Devices that are logged out, and who is told of it."""

from __future__ import annotations

from typing import Callable, Optional, Protocol, Sequence

import attr

from regsys.model import Secret, UserID
from regsys.model.devices import WhichDevices
from regsys.model.jobs import NewJob
from regsys.storage import jobs, sessions
from regsys.storage.database import Transaction
from regsys.storage.which_devices import condition


class EndedLogins(Protocol):
    """Tells a homeserver that devices are no longer logged in: the job is written with their
    removal, and the one who has asked for that waits until it is done, or has failed once."""

    def job(self, user_id: UserID, device_ids: Sequence[str], erase: Optional[bool]) -> NewJob: ...

    def now_ms(self) -> int: ...

    async def tell(self, job: NewJob) -> None: ...


# Called with the devices of a user that have been logged out, and with the access token that one of
# them has shown for it; None if no token is known.
LoggedOut = Callable[[UserID, Sequence[str], Optional[Secret]], None]


@attr.frozen
class Removed:
    """The devices of a user that a transaction has removed, and the job that tells the homeserver;
    None if there is nothing to tell."""

    user_id: UserID
    device_ids: Sequence[str] = ()
    job: Optional[NewJob] = None


def nobody_told(user_id: UserID, device_ids: Sequence[str], token: Optional[Secret]) -> None:
    """A LoggedOut that does nothing."""


async def tell(
    removed: Removed,
    ended: Optional[EndedLogins],
    logged_out: LoggedOut,
    token: Optional[Secret] = None,
) -> None:
    """What follows a transaction that has removed devices. ``token``: as in LoggedOut."""
    if removed.device_ids:
        logged_out(removed.user_id, removed.device_ids, token)
    if ended is not None and removed.job is not None:
        await ended.tell(removed.job)


# The lease of such a job, which is idempotent: no longer than the homeserver needs as a rule, since
# a token is to be dead there within a second also if this process dies.
ENDED_LEASE_MS = 400


def remove(
    txn: Transaction,
    user_id: UserID,
    which: WhichDevices,
    ended: Optional[EndedLogins] = None,
    erase: Optional[bool] = None,
) -> Removed:
    """Log these devices of the user out. Whatever ends the login of a user who is no guest calls
    this, in the transaction of what causes it.

    Their tokens and pushers are deleted too, and so are the sessions that registered them, which
    would repeat the tokens (contract B8.4). The job that tells the homeserver is written here;
    there is none without a homeserver (``ended``). ``erase``: whether the user, who is deactivated,
    wants to be forgotten; None if the account goes on. Its caller calls ``tell`` after the commit.
    """
    chosen, values = condition("device_id", which)
    rows = txn.all(
        f"DELETE FROM devices WHERE user_id = ?{chosen} RETURNING device_id",
        (str(user_id), *values),
    )
    sessions.end_replays(txn, user_id, which)
    removed = Removed(user_id, sorted(row[0] for row in rows))
    if ended is None or not (rows or erase is not None):
        return removed
    job = ended.job(user_id, removed.device_ids, erase)
    jobs.insert_held(txn, (job,), ended.now_ms(), ENDED_LEASE_MS)
    return attr.evolve(removed, job=job)
