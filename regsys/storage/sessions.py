"""The sessions of user-interactive authentication: one row each. Progress is merged under a lock on
the row."""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional, Sequence

import attr
from zope.interface import implementer

from regsys.errors import UnknownSession
from regsys.interfaces.internal import IAccountData, IExpiring
from regsys.model import Client, NewAccount, UIASession, UserID
from regsys.model.devices import WhichDevices
from regsys.model.uia import SESSION_LIFETIME_MS, NameHold, StageFailure
from regsys.storage import idempotency_keys, name_holds, new_sessions, stage_failures
from regsys.storage.batches import delete_some
from regsys.storage.database import Database, Transaction
from regsys.storage.new_sessions import clients_json, to_json
from regsys.storage.which_devices import condition

# The limit of a session's clients as JSON: enough for the spam checkers, and too little for a
# client that sends a longer user agent each time. A session keeps the first clients.
CLIENTS_BYTES = 8192


def finish(txn: Transaction, new: NewAccount) -> None:
    """The session of ``new`` has made its account: it is kept only to repeat its answer."""
    if new.session_id is not None:
        device_id = None if new.device is None else new.device.login.device_id
        txn.run(
            "UPDATE uia_sessions SET finished = TRUE, expires_ms = ?, held_name = NULL,"
            " held_until_ms = NULL, made_user_id = ?, made_device_id = ? WHERE session_id = ?",
            (new.session_until_ms, str(new.user_id), device_id, new.session_id),
        )


def finish_confirmed(txn: Transaction, session_id: Optional[str], until_ms: int) -> bool:
    """What this session confirms is carried out in this transaction: the session is kept until
    ``until_ms``, only to answer once more. False if it was carried out before. None is a request
    that needed no session. Raises UnknownSession if the session is gone."""
    if session_id is None:
        return True
    finished = txn.run(
        "UPDATE uia_sessions SET finished = TRUE, expires_ms = ?"
        " WHERE session_id = ? AND NOT finished",
        (until_ms, session_id),
    )
    if finished:
        return True
    if txn.one("SELECT 1 FROM uia_sessions WHERE session_id = ?", (session_id,)) is None:
        raise UnknownSession()
    return False


def end_confirmations(txn: Transaction, user_id: UserID) -> None:
    """Nothing that the user has begun to confirm can be completed any more."""
    txn.run("DELETE FROM uia_sessions WHERE user_id = ? AND NOT finished", (str(user_id),))


def undo(txn: Transaction, new: NewAccount) -> None:
    """The account is removed as if it had never been made: its session goes on."""
    if new.session_id is not None:
        txn.run(
            "UPDATE uia_sessions SET finished = FALSE, expires_ms = created_ms + ?,"
            " made_user_id = NULL, made_device_id = NULL WHERE session_id = ?",
            (SESSION_LIFETIME_MS, new.session_id),
        )


def end_replays(txn: Transaction, user_id: UserID, which: WhichDevices) -> None:
    """These devices of the user are logged out: delete the sessions that registered them, so that
    their answers are not repeated any more."""
    chosen, values = condition("made_device_id", which)
    txn.run(
        f"DELETE FROM uia_sessions WHERE made_user_id = ? AND made_device_id IS NOT NULL{chosen}",
        (str(user_id), *values),
    )


@implementer(IExpiring, IAccountData)
@attr.frozen
class SessionStore:
    """The UIA sessions. They survive a restart (contract B16.19)."""

    db: Database

    async def add(
        self, session: UIASession, at_most: int, failure: Optional[StageFailure] = None
    ) -> bool:
        """Store a new session; False if its address has ``at_most`` unfinished ones already, or
        its site WHOLE_SITE times as many. It holds ``held_name`` from then on, unless its address
        holds MOST_HELD names already; UsernameHeld, and nothing is stored, if another session holds
        that. ``failure``: the stage that has failed in its first request."""
        return await self.db.autocommit("add_session", new_sessions.add, session, at_most, failure)

    async def get(self, session_id: str, now_ms: int) -> Optional[UIASession]:
        """The session with its outcome, if it has one; None if it does not exist or has expired."""
        return await self.db.autocommit("get_session", _get, session_id, now_ms)

    async def holder_of(self, name: str, now_ms: int) -> Optional[str]:
        """The id of the session that holds this user name; None if none does."""
        return await self.db.autocommit("holder_of_name", name_holds.holder_of, name, now_ms)

    async def save(
        self,
        session_id: str,
        client: Client,
        params: Optional[Mapping[str, Any]],
        results: Mapping[str, Any],
        password_id: Optional[str] = None,
        hashing_until_ms: Optional[int] = None,
        guest_id: Optional[UserID] = None,
        hold: Optional[NameHold] = None,
        failure: Optional[StageFailure] = None,
    ) -> bool:
        """Save progress. ``params`` replace the stored ones, unless they are None; ``client`` and
        ``results`` are added to what is stored. A new ``password_id`` stands for a new password:
        the stored hash is deleted, and ``hashing_until_ms`` becomes the end of the lease under
        which the new hash is made; None if no process makes it. If ``guest_id`` is None, the stored
        guest stays. A session that is gone is not created again.

        ``hold``: the name that the session asks for, which it holds from then on, in place of an
        earlier one; False if another session holds it. It gets none where its address holds
        MOST_HELD already, and by naming it again no longer one. If it is None, what the session
        holds stays as it is. ``failure``: the stage that has failed now, which is counted."""
        return await self.db.transaction(
            "save_session",
            _save,
            session_id,
            client,
            params,
            results,
            password_id,
            hashing_until_ms,
            guest_id,
            hold,
            failure,
        )

    async def keep_hash(self, session_id: str, password_id: str, password_hash: str) -> None:
        """Store the hash of the password with this id, unless there is a newer password or the
        session is finished."""
        await self.db.autocommit("keep_hash", _keep_hash, session_id, password_id, password_hash)

    async def give_up_hashes(self, password_ids: Mapping[str, str]) -> None:
        """Release the leases of these passwords' hashes: ``hashing_until_ms`` becomes None.
        The ids are by session; a session that has a newer password is left alone."""
        if password_ids:
            await self.db.autocommit("give_up_hashes", _give_up_hashes, password_ids)

    async def remove(self, session_id: str) -> bool:
        """Delete the session; False if there is none. Of several calls at most one returns True;
        none does if its reply from the database was lost."""
        return await self.db.autocommit("remove_session", _remove, session_id)

    async def end_replays(self, user_id: UserID, device_id: Optional[str]) -> None:
        """Delete the finished sessions whose answers log in this device, or any of the user's
        devices if ``device_id`` is None."""
        which = WhichDevices.one_or_all(device_id)
        await self.db.autocommit("end_replays", end_replays, user_id, which)

    async def clients_of(self, user_id: UserID) -> Sequence[tuple[Client, int]]:
        """The clients of the sessions that have registered this user, or by which the user
        confirms requests, as far as they are kept; each with the time at which its session began,
        in milliseconds. The latest sessions come first."""
        return await self.db.autocommit("clients_of_user", _clients_of, user_id)

    async def delete_for(self, user_id: UserID) -> None:
        await self.db.autocommit("forget_sessions", _delete_for, user_id)

    async def delete_expired(self, now_ms: int, at_most: int) -> int:
        return await self.db.transaction("expire_sessions", _delete_expired, now_ms, at_most)


def _clients_of(txn: Transaction, user_id: UserID) -> Sequence[tuple[Client, int]]:
    rows = txn.all(
        "SELECT clients, created_ms FROM uia_sessions WHERE user_id = ? OR made_user_id = ?"
        " ORDER BY created_ms DESC, session_id",
        (str(user_id), str(user_id)),
    )
    return [(Client(*item), row[1]) for row in rows for item in json.loads(row[0])]


def _delete_for(txn: Transaction, user_id: UserID) -> None:
    txn.run(
        "DELETE FROM uia_sessions WHERE user_id = ? OR made_user_id = ?",
        (str(user_id), str(user_id)),
    )


def _get(txn: Transaction, session_id: str, now_ms: int) -> Optional[UIASession]:
    row = txn.one(
        "SELECT s.method, s.uri, s.user_id, s.address, s.params, s.password_hash, s.results,"
        " s.clients, s.password_mark, s.hashing_until_ms, s.guest_id, s.held_name,"
        " s.held_until_ms, s.created_ms, s.expires_ms, s.site, s.finished,"
        " o.user_id, o.terms, o.finished, o.created_ms"
        " FROM uia_sessions s LEFT JOIN outcomes o ON o.key = s.session_id"
        " WHERE s.session_id = ? AND s.expires_ms > ?",
        (session_id, now_ms),
    )
    if row is None:
        return None
    return UIASession(
        session_id=session_id,
        method=row[0],
        uri=row[1],
        user_id=None if row[2] is None else UserID.parse(row[2]),
        address=row[3],
        params=json.loads(row[4]),
        password_hash=row[5],
        results=json.loads(row[6]),
        clients=tuple(Client(*client) for client in json.loads(row[7])),
        password_id=row[8],
        hashing_until_ms=row[9],
        guest_id=None if row[10] is None else UserID.parse(row[10]),
        held_name=row[11],
        held_until_ms=row[12],
        created_ms=row[13],
        expires_ms=row[14],
        site=row[15],
        carried_out=bool(row[16]),
        outcome=None if row[17] is None else idempotency_keys.from_row(session_id, *row[17:]),
    )


def _save(
    txn: Transaction,
    session_id: str,
    client: Client,
    params: Optional[Mapping[str, Any]],
    results: Mapping[str, Any],
    password_id: Optional[str],
    hashing_until_ms: Optional[int],
    guest_id: Optional[UserID],
    hold: Optional[NameHold],
    failure: Optional[StageFailure],
) -> bool:
    row = txn.one(
        "SELECT params, results, clients, password_mark, password_hash, hashing_until_ms,"
        " guest_id, failures, finished, address, site, held_name, held_until_ms"
        " FROM uia_sessions WHERE session_id = ?" + txn.dialect.for_update,
        (session_id,),
    )
    if row is None:
        return True
    address, site, *before = row[9:]
    held, is_free = tuple(before), True
    if hold is not None and not row[8]:
        held, is_free = name_holds.moved(txn, address, site, held, hold)
    seen = [Client(*item) for item in json.loads(row[2])]
    clients = row[2] if client in seen else clients_json([*seen, client])
    # With the same id it is a retry after a lost reply: a hash may have been stored since.
    is_new = password_id not in (None, row[3])
    txn.run(
        "UPDATE uia_sessions SET params = ?, results = ?, clients = ?, password_mark = ?,"
        " password_hash = ?, hashing_until_ms = ?, guest_id = ?, failures = ?, held_name = ?,"
        " held_until_ms = ? WHERE session_id = ?",
        (
            row[0] if params is None else to_json(params),
            to_json({**json.loads(row[1]), **results}),
            clients if len(clients.encode("utf-8")) <= CLIENTS_BYTES else row[2],
            password_id if is_new else row[3],
            None if is_new else row[4],
            hashing_until_ms if is_new else row[5],
            row[6] if guest_id is None else str(guest_id),
            stage_failures.added(row[7], failure),
            *held,
            session_id,
        ),
    )
    return is_free


def _keep_hash(txn: Transaction, session_id: str, password_id: str, password_hash: str) -> None:
    txn.run(
        "UPDATE uia_sessions SET password_hash = ?, hashing_until_ms = NULL"
        " WHERE session_id = ? AND password_mark = ? AND NOT finished",
        (password_hash, session_id, password_id),
    )


def _give_up_hashes(txn: Transaction, password_ids: Mapping[str, str]) -> None:
    places = ", ".join("?" * len(password_ids))
    # An id belongs to one password only, so the two lists need not be paired.
    txn.run(
        "UPDATE uia_sessions SET hashing_until_ms = NULL"
        f" WHERE session_id IN ({places}) AND password_mark IN ({places})",
        (*password_ids, *password_ids.values()),
    )


def _remove(txn: Transaction, session_id: str) -> bool:
    return txn.run("DELETE FROM uia_sessions WHERE session_id = ?", (session_id,)) == 1


def _delete_expired(txn: Transaction, now_ms: int, at_most: int) -> int:
    return delete_some(txn, "uia_sessions", "session_id", "expires_ms <= ?", (now_ms,), at_most)
