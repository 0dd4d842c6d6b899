"""Accounts that we have not yet: their rows."""

from __future__ import annotations

from typing import Any, Sequence

import attr

from regsys.adoption.decisions import AdoptedUser
from regsys.adoption.report import Findings
from regsys.adoption.rows import Belongings, Hints, insert_rows
from regsys.config.terms import PRIVACY_POLICY
from regsys.storage.database import Transaction


@attr.frozen(kw_only=True)
class NewAccounts:
    """Adds accounts, with what they have, in the transaction ``txn``."""

    txn: Transaction
    hints: Hints
    now_ms: int
    belongings: Belongings
    report: Findings

    def add(self, users: Sequence[AdoptedUser]) -> None:
        """Add these accounts, but for those that are locked."""
        for user in users:
            if user.is_locked:
                self.report.found("locked", str(user.user_id))
        added = self._add_users([user for user in users if not user.is_locked])
        self._add_what_they_have(added)

    def _add_users(self, users: Sequence[AdoptedUser]) -> Sequence[AdoptedUser]:
        """Insert the accounts; returns those that were inserted."""
        plain = [user for user in users if not self._has_twin(user)]
        inserted = self._insert_users(plain, lambda user: user.user_id.name_key)
        # The name is another account's but for the case of letters: it gets its own spelling as
        # its key (see ``storage/users.py``).
        rest = [user for user in users if str(user.user_id) not in inserted]
        respelled = self._insert_users(rest, lambda user: user.user_id.localpart)
        added = []
        for user in users:
            user_id = str(user.user_id)
            if user_id in respelled:
                self.report.found("same_but_case", user_id)
            if user_id in inserted or user_id in respelled:
                added.append(user)
                self._count(user)
            else:
                # It was made by regsys just now.
                self.report.found("made_here", user_id)
        return added

    def _has_twin(self, user: AdoptedUser) -> bool:
        """Whether the name in lower case is another user's there."""
        key, localpart = user.user_id.name_key, user.user_id.localpart
        return key != localpart and f"@{key}:{user.user_id.server}" in self.hints.twins

    def _insert_users(self, users: Sequence[AdoptedUser], key: Any) -> set[str]:
        columns = (
            *("user_id", "name_key", "password_hash", "is_guest", "admin", "user_type"),
            *("approved", "shadow_banned", "deactivated", "appservice_id", "created_ms"),
            *("upgraded_ms", "seen_ms", "at_homeserver"),
        )
        rows = [
            (
                *(str(user.user_id), key(user), *user.columns.values, user.is_deactivated),
                *(user.appservice_id, user.created_ms, user.upgraded_ms, user.seen_ms, True),
            )
            for user in users
        ]
        return {row[0] for row in insert_rows(self.txn, "users", columns, rows, "user_id")}

    def _count(self, user: AdoptedUser) -> None:
        for finding, detail in user.findings:
            self.report.found(finding, str(user.user_id), detail)
        columns = user.columns
        for name, is_so in (
            ("accounts", True),
            ("guests", columns.is_guest),
            ("ghosts", user.appservice_id is not None),
            ("deactivated", user.is_deactivated),
            ("unapproved", not columns.approved),
            ("passwords", columns.password_hash is not None),
        ):
            if is_so:
                self.report.counts[name] += 1

    def _add_what_they_have(self, users: Sequence[AdoptedUser]) -> None:
        insert_rows(
            self.txn,
            "adopted_users",
            ("user_id", "mark", "last_token", "adopted_ms"),
            [
                (str(user.user_id), user.columns.mark, user.last_token, self.now_ms)
                for user in users
            ],
        )
        self.belongings.add_devices((user, user.devices) for user in users)
        self.belongings.add_logins((user, user.logins) for user in users)
        self.belongings.add_addresses((user, user.addresses) for user in users)
        insert_rows(
            self.txn,
            "consents",
            ("user_id", "policy", "version", "accepted_ms"),
            [
                (str(user.user_id), PRIVACY_POLICY, *user.consent)
                for user in users
                if user.consent is not None
            ],
        )
