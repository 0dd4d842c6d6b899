"""Validation sessions of addresses: one row each, and one row for each token that was sent.

The tokens themselves are not stored: they are computed from the server's secret.
"""

from __future__ import annotations

from typing import Optional

import attr
from zope.interface import implementer

from regsys.errors import ThreepidNotValidated
from regsys.interfaces.internal import IAccountData, IExpiring
from regsys.model import MailPurpose, NewAccount, Threepid, UserID
from regsys.model.threepids import (
    CODE_TRIES,
    VALIDATED_MS,
    NewValidation,
    Validation,
    ValidationBegun,
)
from regsys.storage import jobs
from regsys.storage.batches import delete_some
from regsys.storage.database import Database, Transaction
from regsys.storage.validation_requesters import ANY_ACCOUNT, purpose_and_user, requester


def use(txn: Transaction, new: NewAccount) -> None:
    """The validation sessions that the account's UIA session has claimed are used up."""
    txn.run("UPDATE validations SET used = TRUE WHERE claimed_by = ?", (new.session_id or new.key,))


def use_for_reset(txn: Transaction, user_id: UserID, sid: str) -> bool:
    """The session, which is for a reset of this user's password, is used up; False if it was
    before. Raises ThreepidNotValidated if there is no such validated session, or if the user does
    not have its address any more."""
    row = txn.one(
        "SELECT v.used, t.user_id FROM validations v LEFT JOIN threepids t"
        " ON t.medium = v.medium AND t.address = v.address"
        " WHERE v.sid = ? AND v.user_id = ? AND v.validated_ms IS NOT NULL",
        (sid, requester(MailPurpose.PASSWORD_RESET, user_id)),
    )
    if row is None or row[1] != str(user_id):
        raise ThreepidNotValidated()
    return txn.run("UPDATE validations SET used = TRUE WHERE sid = ? AND NOT used", (sid,)) == 1


def end_resets(txn: Transaction, user_id: UserID) -> None:
    """No session that was begun to reset this user's password can do so any more."""
    txn.run(
        "DELETE FROM validations WHERE user_id = ? AND NOT used",
        (requester(MailPurpose.PASSWORD_RESET, user_id),),
    )


def undo(txn: Transaction, new: NewAccount) -> None:
    """The account is removed as if it had never been made: its UIA session keeps what it has
    claimed."""
    txn.run(
        "UPDATE validations SET used = FALSE WHERE claimed_by = ?", (new.session_id or new.key,)
    )


@implementer(IExpiring, IAccountData)
@attr.frozen
class ValidationStore:
    """The validation sessions of addresses. They survive a restart (contract B16.19)."""

    db: Database

    async def begin(self, new: NewValidation) -> ValidationBegun:
        """The session of this medium, address, client secret and requester that is not validated
        yet; it is created if there is none (contract B7.5).

        A ``send_attempt`` above the last one adds a token, and the job that sends it, in the same
        transaction; earlier tokens stay valid. Any other changes nothing. If the code of a phone
        number's session has had its CODE_TRIES, a higher attempt replaces the session by a new one
        with a new code.
        """
        return await self.db.transaction("begin_validation", _begin, new)

    async def get(self, sid: str, now_ms: int) -> Optional[Validation]:
        """The session; None if it does not exist or has expired."""
        return await self.db.autocommit("get_validation", _get, sid, now_ms)

    async def count_try(self, sid: str) -> bool:
        """Count one more try of the session's code; False if it has had CODE_TRIES."""
        return await self.db.autocommit("count_try", _count_try, sid)

    async def confirm(self, sid: str, now_ms: int) -> bool:
        """Mark the session as validated, unless it is already, and keep it for VALIDATED_MS; False
        if it has expired."""
        return await self.db.autocommit("confirm_validation", _confirm, sid, now_ms)

    async def claim(self, sid: str, session_id: str, until_ms: int) -> bool:
        """Claim the session for this UIA session, and keep it at least until ``until_ms``. False if
        another UIA session has claimed it, it is for an account, or it is not validated."""
        return await self.db.autocommit("claim_validation", _claim, sid, session_id, until_ms)

    async def adopt(self, validated: Threepid, session_id: str, until_ms: int) -> bool:
        """Store an identifier that another server has validated, as a session that this UIA session
        has claimed, until ``until_ms``; False if another UIA session has claimed it."""
        return await self.db.transaction("adopt_proof", _adopt, validated, session_id, until_ms)

    async def adopt_for(
        self, user_id: UserID, validated: Threepid, until_ms: int
    ) -> Optional[Validation]:
        """Store an identifier that another server has validated, as a session of this account,
        until ``until_ms``; None if it belongs to another account."""
        return await self.db.transaction(
            "adopt_proof_for", _adopt_for, user_id, validated, until_ms
        )

    async def adopt_for_reset(self, user_id: UserID, validated: Threepid, until_ms: int) -> str:
        """Store an identifier that another server has validated, as a session for a reset of this
        user's password, until ``until_ms``; its sid. It is no such session if it was adopted
        for something else before."""
        return await self.db.transaction(
            "adopt_proof_for_reset",
            _adopted,
            validated,
            requester(MailPurpose.PASSWORD_RESET, user_id),
            until_ms,
        )

    async def claim_for(self, user_id: UserID, sid: str) -> bool:
        """Claim the session for this account. False if it belongs to another account, is for a
        registration, or is not validated."""
        return await self.db.autocommit("claim_validation_for", _claim_for, user_id, sid)

    async def use(self, sid: str) -> bool:
        """The address has been added to the account: the session is used up. False if it was
        already, or is not for an account."""
        return await self.db.autocommit("use_validation", _use, sid)

    async def delete_for(self, user_id: UserID) -> None:
        await self.db.transaction("forget_validations", _delete_for, user_id)

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        return await self.db.transaction("expire_validations", _delete_expired, now_ms, at_most)


_OPEN = "medium = ? AND address = ? AND client_secret = ? AND user_id = ? AND validated_ms IS NULL"


def _begin(txn: Transaction, new: NewValidation) -> ValidationBegun:
    whose = requester(new.purpose, new.user_id)
    key = (new.medium, new.address, new.client_secret, whose)
    # An expired session may still have its row. A session whose code has had its tries is useless
    # if its messages have no link.
    txn.run(
        f"DELETE FROM validations WHERE {_OPEN} AND (expires_ms <= ?"
        " OR (medium = 'msisdn' AND tries >= ? AND send_attempt < ?))",
        (*key, new.now_ms, CODE_TRIES, new.send_attempt),
    )
    while not txn.insert(
        "validations",
        sid=new.sid,
        medium=new.medium,
        address=new.address,
        client_secret=new.client_secret,
        send_attempt=new.send_attempt,
        user_id=whose,
        next_link=new.next_link,
        tries=0,
        used=False,
        expires_ms=new.until_ms,
    ):
        row = txn.one(
            f"SELECT sid, send_attempt FROM validations WHERE {_OPEN}{txn.dialect.for_update}",
            key,
        )
        if row is not None:
            return _go_on(txn, new, *row)
        # Validated just now: a new session is needed after all.
    return _with_token(txn, new, new.sid)


def _go_on(txn: Transaction, new: NewValidation, sid: str, last_attempt: int) -> ValidationBegun:
    if new.send_attempt <= last_attempt:
        return ValidationBegun(sid)
    txn.run(
        "UPDATE validations SET send_attempt = ?, next_link = ?, expires_ms = ?, refusal = NULL"
        " WHERE sid = ?",
        (new.send_attempt, new.next_link, new.until_ms, sid),
    )
    return _with_token(txn, new, sid)


def _with_token(txn: Transaction, new: NewValidation, sid: str) -> ValidationBegun:
    txn.insert("validation_tokens", sid=sid, send_attempt=new.send_attempt, made_ms=new.now_ms)
    job = attr.evolve(new.job, payload={**new.job.payload, "sid": sid})
    jobs.insert_held(txn, (job,), new.now_ms)
    return ValidationBegun(sid, job)


def _get(txn: Transaction, sid: str, now_ms: int) -> Optional[Validation]:
    rows = txn.all(
        "SELECT v.medium, v.address, v.client_secret, v.next_link, v.expires_ms, v.validated_ms,"
        " v.claimed_by, v.used, v.user_id, t.send_attempt, t.made_ms"
        " FROM validations v JOIN validation_tokens t ON t.sid = v.sid"
        " WHERE v.sid = ? AND v.expires_ms > ?",
        (sid, now_ms),
    )
    if not rows:
        return None
    row = rows[0]
    purpose, user_id = purpose_and_user(row[8])
    return Validation(
        sid=sid,
        medium=row[0],
        address=row[1],
        client_secret=row[2],
        next_link=row[3],
        expires_ms=row[4],
        validated_ms=row[5],
        claimed_by=row[6],
        used=bool(row[7]),
        user_id=user_id,
        purpose=purpose,
        tokens={send_attempt: made_ms for *_, send_attempt, made_ms in rows},
    )


def _count_try(txn: Transaction, sid: str) -> bool:
    counted = txn.run(
        "UPDATE validations SET tries = tries + 1 WHERE sid = ? AND tries < ?", (sid, CODE_TRIES)
    )
    return counted == 1


def _confirm(txn: Transaction, sid: str, now_ms: int) -> bool:
    changed = txn.run(
        "UPDATE validations SET validated_ms = COALESCE(validated_ms, ?),"
        " expires_ms = CASE WHEN validated_ms IS NULL THEN ? ELSE expires_ms END"
        " WHERE sid = ? AND expires_ms > ?",
        (now_ms, now_ms + VALIDATED_MS, sid, now_ms),
    )
    return changed == 1


def _claim(txn: Transaction, sid: str, session_id: str, until_ms: int) -> bool:
    changed = txn.run(
        "UPDATE validations SET claimed_by = ?,"
        " expires_ms = CASE WHEN expires_ms < ? THEN ? ELSE expires_ms END"
        " WHERE sid = ? AND validated_ms IS NOT NULL AND user_id = ''"
        " AND COALESCE(claimed_by, ?) = ?",
        (session_id, until_ms, until_ms, sid, session_id, session_id),
    )
    return changed == 1


def _claim_for(txn: Transaction, user_id: UserID, sid: str) -> bool:
    changed = txn.run(
        "UPDATE validations SET user_id = ?"
        " WHERE sid = ? AND validated_ms IS NOT NULL AND user_id IN (?, ?)",
        (str(user_id), sid, ANY_ACCOUNT, str(user_id)),
    )
    return changed == 1


def _adopt(txn: Transaction, validated: Threepid, session_id: str, until_ms: int) -> bool:
    return _claim(txn, _adopted(txn, validated, "", until_ms), session_id, until_ms)


def _adopt_for(
    txn: Transaction, user_id: UserID, validated: Threepid, until_ms: int
) -> Optional[Validation]:
    sid = _adopted(txn, validated, str(user_id), until_ms)
    row = txn.one(
        "SELECT expires_ms, used FROM validations WHERE sid = ? AND user_id = ?",
        (sid, str(user_id)),
    )
    if row is None:
        return None
    return Validation(
        sid=sid,
        medium=validated.medium,
        address=validated.address,
        client_secret="",
        next_link=None,
        expires_ms=row[0],
        validated_ms=validated.validated_at_ms,
        used=bool(row[1]),
        user_id=user_id,
    )


def _adopted(txn: Transaction, validated: Threepid, user_id: str, until_ms: int) -> str:
    """The sid of the row for this identifier, which is written unless it exists already."""
    # The row is not named after the other server's sid, of which that server may accept several
    # spellings. It has no token, so that it cannot be confirmed here.
    sid = f"{validated.medium} {validated.address} {validated.validated_at_ms}"
    txn.insert(
        "validations",
        sid=sid,
        medium=validated.medium,
        address=validated.address,
        user_id=user_id,
        client_secret="",
        send_attempt=0,
        tries=0,
        validated_ms=validated.validated_at_ms,
        used=False,
        expires_ms=until_ms,
    )
    return sid


def _use(txn: Transaction, sid: str) -> bool:
    used = txn.run(
        "UPDATE validations SET used = TRUE WHERE sid = ? AND user_id <> '' AND NOT used", (sid,)
    )
    return used == 1


def _delete_for(txn: Transaction, user_id: UserID) -> None:
    for purpose in (MailPurpose.ADD_THREEPID, MailPurpose.PASSWORD_RESET):
        whose = requester(purpose, user_id)
        txn.run("DELETE FROM validations WHERE user_id = ? AND user_id <> ''", (whose,))


def _delete_expired(txn: Transaction, now_ms: int, at_most: int) -> int:
    return delete_some(txn, "validations", "sid", "expires_ms <= ?", (now_ms,), at_most)
