"""Accounts that were made while regsys was nobody's auth service, and are not known to the
homeserver whose auth service it is now."""

from __future__ import annotations

from typing import Optional, Sequence

import attr

from regsys.errors import UserNotFound
from regsys.model import UserID
from regsys.model.canonical_threepids import EMAIL
from regsys.model.jobs import NewJob
from regsys.model.provisioning import Attempt
from regsys.storage import jobs, provisioning
from regsys.storage.database import Database, Transaction
from regsys.storage.provisioning import EARLIER

# How many accounts one step looks at.
BATCH = 500


@attr.frozen(kw_only=True)
class Earlier:
    """What the homeserver is told of the account, besides its name and its devices."""

    deactivated: bool
    user_type: Optional[str]
    shadow_banned: bool
    display_name: Optional[str]
    has_emails: bool
    suspended: bool


@attr.frozen
class EarlierAccountStore:
    """``EARLIER`` in storage/provisioning.py says which accounts these are."""

    db: Database

    async def after(self, user_id: str) -> tuple[Optional[str], Sequence[UserID]]:
        """Of the next BATCH users after this one: the last of them (None if there are no more), and
        those whom the homeserver does not know yet."""
        return await self.db.autocommit("earlier_accounts", _after, user_id)

    async def find(self, user_id: UserID) -> Earlier:
        """UserNotFound."""
        return await self.db.autocommit("earlier_account", _find, user_id)

    async def begin(self, user_id: UserID, job: NewJob, now_ms: int) -> Optional[Attempt]:
        """Begin the first attempt to make the account there; ``job`` goes on with it. None if it
        has begun already. UserNotFound."""
        return await self.db.transaction("begin_earlier", _begin, user_id, job, now_ms)

    async def give_up(self, attempt: Attempt) -> bool:
        """The homeserver cannot have the account; False if another attempt has it."""
        return await self.db.transaction("give_up_earlier", _give_up, attempt)

    async def lost(self, user_id: UserID) -> None:
        """The homeserver does not know an account of which it has been told."""
        await self.db.autocommit("lost_account", _lost, user_id)


def _after(txn: Transaction, user_id: str) -> tuple[Optional[str], Sequence[UserID]]:
    rows = txn.all(
        f"SELECT user_id, {EARLIER} FROM users WHERE user_id > ? ORDER BY user_id LIMIT ?",
        (user_id, BATCH),
    )
    last = rows[-1][0] if len(rows) == BATCH else None
    return last, [UserID.parse(row[0]) for row in rows if row[1]]


def _find(txn: Transaction, user_id: UserID) -> Earlier:
    row = txn.one(
        "SELECT deactivated, user_type, shadow_banned, display_name, EXISTS"
        " (SELECT 1 FROM threepids t WHERE t.user_id = u.user_id AND t.medium = ?),"
        " EXISTS (SELECT 1 FROM newcomers n WHERE n.user_id = u.user_id)"
        " FROM users u LEFT JOIN profiles p ON p.user_id = u.user_id WHERE u.user_id = ?",
        (EMAIL, str(user_id)),
    )
    if row is None:
        raise UserNotFound()
    return Earlier(
        deactivated=bool(row[0]),
        user_type=row[1],
        shadow_banned=bool(row[2]),
        display_name=row[3],
        has_emails=bool(row[4]),
        suspended=bool(row[5]),
    )


def _begin(txn: Transaction, user_id: UserID, job: NewJob, now_ms: int) -> Optional[Attempt]:
    row = txn.one(
        f"SELECT {EARLIER} FROM users WHERE user_id = ?" + txn.dialect.for_update,
        (str(user_id),),
    )
    if row is None:
        raise UserNotFound()
    if not row[0]:
        return None
    _set(txn, user_id, True)
    attempt = Attempt.first(user_id, job.job_id, now_ms)
    provisioning.begin_first(txn, attempt)
    jobs.insert_held(txn, (job,), now_ms)
    return attempt


def _give_up(txn: Transaction, attempt: Attempt) -> bool:
    if not provisioning.give_up(txn, attempt):
        return False
    _set(txn, attempt.user_id, False)
    return True


def _lost(txn: Transaction, user_id: UserID) -> None:
    txn.run(
        "UPDATE users SET at_homeserver = FALSE WHERE user_id = ? AND NOT EXISTS"
        " (SELECT 1 FROM provisioning p WHERE p.user_id = users.user_id AND p.device_id = ?)",
        (str(user_id), provisioning.ACCOUNT),
    )


def _set(txn: Transaction, user_id: UserID, at_homeserver: bool) -> None:
    sql = "UPDATE users SET at_homeserver = ? WHERE user_id = ?"
    txn.run(sql, (at_homeserver, str(user_id)))
