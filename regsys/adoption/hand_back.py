"""The SQL by which a Synapse keeps its accounts itself again. It is printed, never executed.

Each statement names the row as it is now, and changes nothing if the row is another by then.
"""

from __future__ import annotations

from typing import Mapping

import attr

from regsys.adoption.hand_back_tokens import Issue, TokenStatements
from regsys.adoption.ours import OurAccount, Ours, OurThreepid
from regsys.adoption.registration_tokens import TokenScript
from regsys.adoption.report import Findings, Report
from regsys.adoption.sql import Script
from regsys.adoption.synapse import BATCH, Batch, Synapse, SynapseUser
from regsys.errors import InvalidParam
from regsys.model.canonical_threepids import canonical_threepid
from regsys.model.identity import masked

# The beginning of a hash of ours that Synapse could not check (``credentials.passwords``).
PREHASHED = "sha384:"

# What cannot go back, and what becomes of it.
LOST: Mapping[str, str] = {
    "unknown": "an account that Synapse does not know: it stays here alone; make it there by the"
    " admin API",
    "long_password": "a password of more than 72 bytes, which Synapse could not check: the account"
    " gets none there, as an older one must not come back; its user can reset it by an address",
    "token": "an access token that was made here and is only known as a digest: its device must be"
    " logged in again",
    "deactivated": "deactivated here, and not there: its password, logins and addresses are"
    " deleted, but it stays in its rooms; deactivate it by the admin API, too",
    "registration_token": "a registration token of which there is another one there, or that was"
    " deleted there since it was adopted: left as it is there",
    "address": "an address that another account has there: left as it is there",
}
WRITTEN: Mapping[str, str] = {
    "accounts": "accounts were compared",
    "passwords": "passwords go back",
    "admins": "accounts become administrators there",
    "upgraded": "guests have become users",
    "kept": "access tokens are Synapse's own, and work there again",
    "tokens": "access tokens made here go back",
    "ended": "access tokens that have ended here are deleted there",
    "added": "addresses go back",
    "removed": "addresses that were removed here are deleted there",
    "registration_tokens": "registration tokens go back",
    "registration_tokens_ended": "registration tokens that were deleted or revoked here are deleted"
    " there",
}


@attr.frozen(kw_only=True)
class HandBack:
    """``issue`` makes the tokens of a login again (``Logins.issue``)."""

    synapse: Synapse
    ours: Ours
    issue: Issue
    script: Script
    report: Report

    def write(self) -> None:
        """Write all statements. Raises Unreadable."""
        for batch in self.synapse.batches():
            self._batch(batch)
        self._registration_tokens()
        for names in self.ours.living_users(BATCH):
            known, found = self.synapse.names_among(names), Findings()
            for name in names:
                if name not in known:
                    found.found("unknown", name)
            self.report.add(found)

    def _registration_tokens(self) -> None:
        found = Findings()
        self.script.about("Registration tokens")
        tokens = TokenScript(txn=self.ours.txn, script=self.script, report=found)
        tokens.write(self.synapse.registration_tokens())
        self.report.add(found)

    def _batch(self, batch: Batch) -> None:
        names = [user.name for user in batch.users]
        found = Findings()
        accounts = self.ours.accounts(names)
        logins = self.ours.logins(names)
        tokens = TokenStatements(script=self.script, issue=self.issue, found=found)
        alive = []
        for user in batch.users:
            account = accounts.get(user.name)
            if account is None:
                continue
            found.counts["accounts"] += 1
            self.script.about(user.name)
            if account.is_deactivated and not user.deactivated:
                self._deactivate(user.name, found)
            elif not (account.is_deactivated or user.deactivated):
                self._row(user, account, found)
                tokens.write(account, batch, logins.get(user.name, ()))
                alive.append(account)
        self._threepids(batch, alive, found)
        self.report.add(found)

    def _deactivate(self, name: str, found: Findings) -> None:
        found.found("deactivated", name)
        self.script.statement(
            "UPDATE users SET deactivated = 1, password_hash = NULL"
            " WHERE name = {name} AND deactivated = 0",
            name=name,
        )
        for table in ("access_tokens", "refresh_tokens", "user_threepids"):
            self.script.statement(f"DELETE FROM {table} WHERE user_id = {{name}}", name=name)

    def _row(self, user: SynapseUser, account: OurAccount, found: Findings) -> None:
        ours, theirs = account.columns, user.password_hash
        if ours.admin and not user.admin and not account.is_unchanged:
            found.counts["admins"] += 1
            self.script.statement(
                "UPDATE users SET admin = 1 WHERE name = {name} AND admin = 0", name=user.name
            )
        if user.is_guest and not ours.is_guest:
            found.counts["upgraded"] += 1
            self.script.statement(
                "UPDATE users SET is_guest = 0 WHERE name = {name} AND is_guest = 1", name=user.name
            )
        hashed = ours.password_hash
        # Without one of ours it is left: it may be a hash that was not adopted.
        if account.is_unchanged or hashed is None or hashed == theirs:
            return
        if hashed.startswith(PREHASHED):
            found.found("long_password", user.name)
            hashed = None
        found.counts["passwords"] += hashed is not None
        self.script.statement(
            "UPDATE users SET password_hash = {new} WHERE name = {name} AND deactivated = 0 AND "
            + self.script.equals("password_hash", theirs),
            new=hashed,
            name=user.name,
        )

    def _threepids(self, batch: Batch, accounts: list[OurAccount], found: Findings) -> None:
        self.script.about("Addresses of these accounts")
        ours = self.ours.threepids([account.user_id for account in accounts])
        missing: list[OurThreepid] = []
        gone: list[tuple[str, str, str, tuple[str, str]]] = []
        for account in accounts:
            mine = {(item.medium, item.address): item for item in ours.get(account.user_id, ())}
            there = set()
            for item in batch.threepids.get(account.user_id, ()):
                try:
                    key = (item.medium, canonical_threepid(item.medium, item.address))
                except InvalidParam:
                    continue
                there.add(key)
                is_adopted = account.adopted_ms is None or item.added_ms <= account.adopted_ms
                if key not in mine and is_adopted:
                    gone.append((account.user_id, item.medium, item.address, key))
            missing += [item for key, item in mine.items() if key not in there]
        self._add_threepids(missing, found)
        # One that another account has here was left there when it was adopted.
        kept = self.ours.taken([key[1] for *_, key in gone])
        for name, medium, address, key in gone:
            if key not in kept:
                found.counts["removed"] += 1
                self.script.statement(
                    "DELETE FROM user_threepids WHERE user_id = {name} AND medium = {medium}"
                    " AND address = {address}",
                    name=name,
                    medium=medium,
                    address=address,
                )

    def _add_threepids(self, missing: list[OurThreepid], found: Findings) -> None:
        taken = self.synapse.addresses_among(item.address for item in missing)
        for item in missing:
            if (item.medium, item.address) in taken:
                found.found("address", item.user_id, masked(item.address))
                continue
            found.counts["added"] += 1
            self.script.statement(
                "INSERT INTO user_threepids (user_id, medium, address, validated_at, added_at)"
                " SELECT {name}, {medium}, {address}, {validated}, {added} WHERE EXISTS"
                " (SELECT 1 FROM users WHERE name = {name} AND deactivated = 0) AND NOT EXISTS"
                " (SELECT 1 FROM user_threepids WHERE medium = {medium} AND address = {address})",
                name=item.user_id,
                medium=item.medium,
                address=item.address,
                validated=item.validated_ms,
                added=item.added_ms,
            )
