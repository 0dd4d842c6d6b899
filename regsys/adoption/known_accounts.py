"""Accounts that we have already: what has changed there since."""

from __future__ import annotations

from typing import Iterable, Mapping, Optional, Sequence

import attr

from regsys.adoption.decisions import AdoptedUser, Columns
from regsys.adoption.report import Findings
from regsys.adoption.rows import Belongings, Hints, chunks
from regsys.storage.database import Transaction


@attr.frozen
class Known:
    """An account that we have. ``mark``: None if it was not adopted."""

    columns: Columns
    is_deactivated: bool
    mark: Optional[str]
    last_token: int
    adopted_ms: int


@attr.frozen(kw_only=True)
class KnownAccounts:
    """Takes over changes, in the transaction ``txn``. What has changed here stays ours."""

    txn: Transaction
    hints: Hints
    belongings: Belongings
    report: Findings

    def among(self, users: Sequence[AdoptedUser]) -> Mapping[str, Known]:
        """Those of these accounts that we have."""
        found = {}
        for some in chunks([str(user.user_id) for user in users]):
            marks = ", ".join("?" * len(some))
            for row in self.txn.all(
                "SELECT u.user_id, u.password_hash, u.is_guest, u.admin, u.user_type, u.approved,"
                " u.shadow_banned, u.deactivated, a.mark, a.last_token, a.adopted_ms"
                " FROM users u LEFT JOIN adopted_users a ON a.user_id = u.user_id"
                f" WHERE u.user_id IN ({marks})",
                some,
            ):
                found[str(row[0])] = Known(
                    Columns(*row[1:7]), bool(row[7]), row[8], row[9] or 0, row[10] or 0
                )
        return found

    def take_over(self, users: Sequence[AdoptedUser], known: Mapping[str, Known]) -> None:
        """Change these accounts as they have changed there."""
        logins = self._adopted_logins(users) if self.hints.has_tokens else {}
        for user in users:
            user_id = str(user.user_id)
            self._again(user, known[user_id], logins.get(user_id, ()))

    def _adopted_logins(self, users: Sequence[AdoptedUser]) -> Mapping[str, list[tuple[str, int]]]:
        """(access hash, id there) of the adopted logins of these users."""
        found: dict[str, list[tuple[str, int]]] = {}
        for some in chunks([str(user.user_id) for user in users]):
            marks = ", ".join("?" * len(some))
            for user_id, access_hash, adopted_id in self.txn.all(
                "SELECT user_id, access_hash, adopted_id FROM logins"
                f" WHERE user_id IN ({marks}) AND adopted_id IS NOT NULL",
                some,
            ):
                found.setdefault(user_id, []).append((access_hash, adopted_id))
        return found

    def _again(self, user: AdoptedUser, known: Known, logins: Iterable[tuple[str, int]]) -> None:
        user_id, counts = str(user.user_id), self.report.counts
        if known.mark is None:
            # Synapse knows those that regsys has made, too, without a password or a token.
            if user.is_in_use:
                self.report.found("made_here", user_id)
            else:
                counts["born_here"] += 1
            return
        counts["known"] += 1
        if user.is_locked:
            self.report.found("locked_since", user_id)
        if known.is_deactivated:
            return
        if user.is_deactivated:
            self._deactivate(user_id)
            counts["changed"] += 1
            return
        is_changed = self._take_over(user, known)
        fresh = [login for login in user.logins if login.adopted_id > known.last_token]
        if fresh:
            self.belongings.add_devices(
                [(user, {one.device_id: user.devices[one.device_id] for one in fresh})]
            )
            self.belongings.add_logins([(user, fresh)])
            self.txn.run(
                "UPDATE adopted_users SET last_token = ? WHERE user_id = ?",
                (user.last_token, user_id),
            )
        later = [item for item in user.addresses if item.added_ms > known.adopted_ms]
        if later:
            self.belongings.add_addresses([(user, later)])
        ended = [item for item in logins if item[1] not in user.token_ids]
        for access_hash, _ in ended:
            self._end_login(user, access_hash)
        counts["changed"] += bool(is_changed or fresh or later or ended)

    def _take_over(self, user: AdoptedUser, known: Known) -> bool:
        """Change the account's row as it has changed there; False if it has not."""
        user_id, mark = str(user.user_id), user.columns.mark
        if mark in (known.mark, known.columns.mark):
            return False
        if known.columns.mark != known.mark:
            self.report.found("other_since", user_id)
            return False
        self.txn.run(
            "UPDATE users SET password_hash = ?, is_guest = ?, admin = ?, user_type = ?,"
            " approved = ?, shadow_banned = ? WHERE user_id = ?",
            (*user.columns.values, user_id),
        )
        self.txn.run("UPDATE adopted_users SET mark = ? WHERE user_id = ?", (mark, user_id))
        return True

    def _end_login(self, user: AdoptedUser, access_hash: str) -> None:
        """End a login that has ended there, and with the last one of its device the device, if that
        is gone there."""
        row = self.txn.one(
            "DELETE FROM logins WHERE access_hash = ? RETURNING device_id", (access_hash,)
        )
        if row is not None and row[0] not in user.devices:
            values = (str(user.user_id), row[0])
            self.txn.run(
                "DELETE FROM devices WHERE user_id = ? AND device_id = ? AND NOT EXISTS"
                " (SELECT 1 FROM logins WHERE user_id = ? AND device_id = ?)",
                (*values, *values),
            )
        self.report.counts["ended"] += 1

    def _deactivate(self, user_id: str) -> None:
        self.txn.run(
            "UPDATE users SET deactivated = TRUE, password_hash = NULL WHERE user_id = ?",
            (user_id,),
        )
        for table in ("devices", "threepids"):
            self.txn.run(f"DELETE FROM {table} WHERE user_id = ?", (user_id,))
