"""Writes a batch of adopted accounts into our tables, in one transaction."""

from __future__ import annotations

from typing import Iterable, Optional, Sequence

import attr

from regsys.adoption.decisions import AdoptedUser
from regsys.adoption.known_accounts import KnownAccounts
from regsys.adoption.new_accounts import NewAccounts
from regsys.adoption.report import Findings
from regsys.adoption.rows import Belongings, Hints
from regsys.storage import server_state
from regsys.storage.database import Transaction

PROGRESS = "users"


@attr.frozen(kw_only=True)
class BatchWriter:
    """Writes in the transaction ``txn``."""

    txn: Transaction
    hints: Hints
    now_ms: int
    report: Findings

    def write(self, users: Sequence[AdoptedUser], after_user: Optional[str]) -> None:
        """``after_user``: the last user ID of the batch, where a later run goes on; None leaves it
        where it is."""
        txn, hints, report = self.txn, self.hints, self.report
        belongings = Belongings(txn=txn, hints=hints, report=report)
        accounts = KnownAccounts(txn=txn, hints=hints, belongings=belongings, report=report)
        known = accounts.among(users)
        NewAccounts(
            txn=txn, hints=hints, now_ms=self.now_ms, belongings=belongings, report=report
        ).add([user for user in users if str(user.user_id) not in known])
        accounts.take_over([user for user in users if str(user.user_id) in known], known)
        self._raise_number(user.number for user in users)
        if after_user is not None:
            txn.run(
                "INSERT INTO adoption_progress (name, after_user) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET after_user = excluded.after_user",
                (PROGRESS, after_user),
            )

    def _raise_number(self, numbers: Iterable[Optional[int]]) -> None:
        """Generated names go on after the numbers that are names there. If a process draws one
        just now, a number may come twice: then the name is taken, and the next one is drawn."""
        highest = max((number for number in numbers if number is not None), default=0)
        if highest:
            self.txn.run(self.txn.dialect.raise_number, (highest, highest))


def after_user(txn: Transaction) -> str:
    """The last user ID of an adoption that was interrupted; "" if none was."""
    row = txn.one("SELECT after_user FROM adoption_progress WHERE name = ?", (PROGRESS,))
    return "" if row is None else str(row[0])


def finish(txn: Transaction, now_ms: int) -> None:
    """The adoption has looked at all users."""
    txn.run("DELETE FROM adoption_progress WHERE name = ?", (PROGRESS,))
    # Nobody who registers from now on is the first real user, for whom rooms would be created.
    row = txn.one(
        "SELECT user_id FROM users WHERE NOT is_guest AND appservice_id IS NULL"
        " AND user_type IS NULL ORDER BY created_ms LIMIT 1"
    )
    if row is not None:
        txn.insert(
            "milestones", name=server_state.FIRST_REAL_USER, user_id=row[0], reached_ms=now_ms
        )
