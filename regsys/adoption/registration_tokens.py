"""Registration tokens: those of a Synapse become ours, and ours its own again.

There are few of them beside the users, so all are read at once.
"""

from __future__ import annotations

from typing import Mapping, Optional, Sequence

import attr

from regsys.adoption.decisions import is_text
from regsys.adoption.report import Findings
from regsys.adoption.rows import insert_rows
from regsys.adoption.sql import Script
from regsys.adoption.synapse import SynapseRegistrationToken
from regsys.storage.database import Transaction

# The largest number that Synapse's columns for uses hold.
MOST_USES = 2**31 - 1
NOTE = "adopted from Synapse"
Tokens = Mapping[str, SynapseRegistrationToken]


@attr.frozen
class OurToken:
    """``terms`` are what Synapse's table says of a token, too."""

    terms: SynapseRegistrationToken
    is_revoked: bool


@attr.frozen(kw_only=True)
class RegistrationTokens:
    """Adopts them, in the transaction ``txn``."""

    txn: Transaction
    now_ms: int
    report: Findings

    def adopt(self, found: Sequence[SynapseRegistrationToken]) -> None:
        """Add those that are new, and take over what has changed there since the last time. What
        has changed here stays ours."""
        theirs = {item.token: item for item in found if is_text(item.token)}
        ours, adopted = our_tokens(self.txn), adopted_tokens(self.txn)
        new = [item for token, item in theirs.items() if token not in adopted and token not in ours]
        self._add(new)
        for token, item in theirs.items():
            if token in adopted and token in ours:
                self._again(item, ours[token], adopted[token])
            elif token in ours:
                self.report.found("token_here", shortened(token))
        for token, was in adopted.items():
            if token not in theirs:
                self._ended(was, ours.get(token))

    def _add(self, new: Sequence[SynapseRegistrationToken]) -> None:
        columns = ("token", "uses_allowed", "completed", "expiry_ms")
        more = ("revoked", "note", "created_ms")
        rows = [attr.astuple(item) for item in new]
        added = insert_rows(
            self.txn,
            "registration_tokens",
            (*columns, *more),
            [(*row, False, NOTE, self.now_ms) for row in rows],
            "token",
        )
        names = {row[0] for row in added}
        mine = [row for row in rows if row[0] in names]
        insert_rows(self.txn, "adopted_registration_tokens", columns, mine)
        self.report.counts["registration_tokens"] += len(mine)

    def _again(
        self,
        theirs: SynapseRegistrationToken,
        ours: OurToken,
        was: SynapseRegistrationToken,
    ) -> None:
        if theirs == was:
            return
        mine = ours.terms
        # A use is taken on one side at a time, and never given back.
        completed = max(mine.completed, theirs.completed)
        limits = theirs.limits if mine.limits == was.limits else mine.limits
        if theirs.limits not in (was.limits, limits):
            self.report.found("token_since", shortened(mine.token))
        if (completed, limits) != (mine.completed, mine.limits):
            self.report.counts["registration_tokens_changed"] += 1
        sql = "SET uses_allowed = ?, expiry_ms = ?, completed = ? WHERE token = ?"
        self.txn.run(f"UPDATE registration_tokens {sql}", (*limits, completed, mine.token))
        self.txn.run(
            f"UPDATE adopted_registration_tokens {sql}",
            (*theirs.limits, theirs.completed, mine.token),
        )

    def _ended(self, was: SynapseRegistrationToken, ours: Optional[OurToken]) -> None:
        """It was deleted there: nobody may use it here either, unless it has changed here."""
        if ours is not None and (ours.is_revoked or ours.terms != was):
            return
        if ours is not None:
            self.txn.run("DELETE FROM registration_tokens WHERE token = ?", (was.token,))
            self.report.counts["registration_tokens_changed"] += 1
        self.txn.run("DELETE FROM adopted_registration_tokens WHERE token = ?", (was.token,))


@attr.frozen(kw_only=True)
class TokenScript:
    """Writes the statements by which they go back, from our tables, in the transaction ``txn``."""

    txn: Transaction
    script: Script
    report: Findings

    def write(self, found: Sequence[SynapseRegistrationToken]) -> None:
        theirs = {item.token: item for item in found}
        adopted = adopted_tokens(self.txn)
        ours = {token: _fitting(mine) for token, mine in our_tokens(self.txn).items()}
        for token, mine in ours.items():
            known = token in adopted
            if token in theirs and known:
                self._change(mine, theirs[token])
            elif token in theirs or known:
                if token not in theirs or theirs[token] != mine.terms:
                    self.report.found("registration_token", shortened(token))
            elif not mine.is_revoked:
                self._insert(mine.terms)
        for token in adopted:
            if token in theirs and token not in ours:
                self._delete(theirs[token])

    def _change(self, ours: OurToken, theirs: SynapseRegistrationToken) -> None:
        if ours.is_revoked:
            self._delete(theirs)
        elif ours.terms != theirs:
            self.report.counts["registration_tokens"] += 1
            self.script.statement(
                "UPDATE registration_tokens SET uses_allowed = {uses}, completed = {completed},"
                f" expiry_time = {{expiry}} WHERE {self._is_still(theirs)}",
                uses=ours.terms.uses_allowed,
                completed=ours.terms.completed,
                expiry=ours.terms.expiry_ms,
            )

    def _insert(self, token: SynapseRegistrationToken) -> None:
        self.report.counts["registration_tokens"] += 1
        self.script.statement(
            "INSERT INTO registration_tokens (token, uses_allowed, pending, completed, expiry_time)"
            " SELECT {token}, {uses}, 0, {completed}, {expiry} WHERE NOT EXISTS"
            " (SELECT 1 FROM registration_tokens WHERE token = {token})",
            token=token.token,
            uses=token.uses_allowed,
            completed=token.completed,
            expiry=token.expiry_ms,
        )

    def _delete(self, theirs: SynapseRegistrationToken) -> None:
        self.report.counts["registration_tokens_ended"] += 1
        self.script.statement(f"DELETE FROM registration_tokens WHERE {self._is_still(theirs)}")

    def _is_still(self, token: SynapseRegistrationToken) -> str:
        parts = [
            self.script.equals("token", token.token),
            self.script.equals("uses_allowed", token.uses_allowed),
            self.script.equals("completed", token.completed),
            self.script.equals("expiry_time", token.expiry_ms),
        ]
        return " AND ".join(parts)


def _fitting(token: OurToken) -> OurToken:
    """As Synapse's columns can hold it."""
    uses = token.terms.uses_allowed
    terms = attr.evolve(
        token.terms,
        uses_allowed=None if uses is None else min(uses, MOST_USES),
        completed=min(token.terms.completed, MOST_USES),
    )
    return attr.evolve(token, terms=terms)


def our_tokens(txn: Transaction) -> Mapping[str, OurToken]:
    rows = txn.all(
        "SELECT token, uses_allowed, completed, expiry_ms, revoked FROM registration_tokens"
        " ORDER BY token"
    )
    return {row[0]: OurToken(SynapseRegistrationToken(*row[:4]), bool(row[4])) for row in rows}


def adopted_tokens(txn: Transaction) -> Tokens:
    """As they were when they were adopted."""
    rows = txn.all(
        "SELECT token, uses_allowed, completed, expiry_ms FROM adopted_registration_tokens"
        " ORDER BY token"
    )
    return {row[0]: SynapseRegistrationToken(*row) for row in rows}


def shortened(token: str) -> str:
    """Enough of it that an operator finds it; whoever has all of it can register."""
    return f"{token[:3]}…"
