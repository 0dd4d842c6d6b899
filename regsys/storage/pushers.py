"""Pushers of our own accounts, each of which belongs to a device."""

from __future__ import annotations

import json
from typing import Sequence

import attr
from zope.interface import implementer

from regsys.interfaces import IPushers
from regsys.model import Pusher, UserID
from regsys.storage import logins
from regsys.storage.database import Database, Transaction


@implementer(IPushers)
@attr.frozen
class PusherStore:
    """Pushers of our own accounts."""

    db: Database

    async def add(self, pusher: Pusher) -> None:
        await self.db.transaction("add_pusher", _add, pusher)

    async def of_user(self, user_id: UserID) -> Sequence[Pusher]:
        """All pushers of this user, ordered by app and pushkey."""
        return await self.db.autocommit("pushers_of_user", _of_user, user_id)


def _add(txn: Transaction, pusher: Pusher) -> None:
    # Locked, so that the device cannot be deleted before its pusher is there to be deleted with it.
    if not logins.lock_device(txn, str(pusher.user_id), pusher.device_id):
        return
    txn.run(
        "DELETE FROM pushers WHERE user_id = ? AND app_id = ? AND pushkey = ?",
        (str(pusher.user_id), pusher.app_id, pusher.pushkey),
    )
    txn.insert(
        "pushers",
        user_id=str(pusher.user_id),
        app_id=pusher.app_id,
        pushkey=pusher.pushkey,
        device_id=pusher.device_id,
        kind=pusher.kind,
        app_display_name=pusher.app_display_name,
        device_display_name=pusher.device_display_name,
        lang=pusher.lang,
        data=json.dumps(dict(pusher.data)),
    )


def _of_user(txn: Transaction, user_id: UserID) -> Sequence[Pusher]:
    rows = txn.all(
        "SELECT device_id, kind, app_id, app_display_name, device_display_name, pushkey, lang, data"
        " FROM pushers WHERE user_id = ? ORDER BY app_id, pushkey",
        (str(user_id),),
    )
    return [
        Pusher(
            user_id=user_id,
            device_id=row[0],
            kind=row[1],
            app_id=row[2],
            app_display_name=row[3],
            device_display_name=row[4],
            pushkey=row[5],
            lang=row[6],
            data=json.loads(row[7]),
        )
        for row in rows
    ]
