"""The bindings that this server has had made at identity servers."""

from __future__ import annotations

import json
from typing import Any, Optional, Sequence

import attr

from regsys.model import Secret, UserID
from regsys.model.identity_server_bindings import Binding, IdentityServerSession
from regsys.storage.database import Database, Transaction
from regsys.storage.encryption import Encryptor

_COLUMNS = "user_id, medium, address, id_server, binding_id, proof, asked_until_ms"


@attr.frozen
class BindingStore:
    """The validation sessions of the bindings are encrypted: with one of them the address can be
    bound to any user."""

    db: Database
    encryptor: Encryptor

    async def add(self, binding: Binding, now_ms: int) -> bool:
        """Store it in place of an earlier binding of this user, address and server; True if there
        was none."""
        session = None if binding.session is None else self._encrypted(binding, binding.session)
        return await self.db.transaction("add_binding", _add, binding, session, now_ms)

    async def of_user(self, user_id: UserID) -> Sequence[Binding]:
        """All bindings of this user, ordered by the server's name."""
        rows = await self.db.autocommit("bindings_of_user", _of_user, user_id)
        return [self._binding(row) for row in rows]

    async def get(self, binding_id: str) -> Optional[Binding]:
        """The binding with this id; None if it is gone or was made again since."""
        row = await self.db.autocommit("get_binding", _get, binding_id)
        return None if row is None else self._binding(row)

    async def mark_answered(self, binding_id: str) -> None:
        """The server has answered the request to bind it: ``asked_until_ms`` becomes 0."""
        await self.db.autocommit("binding_answered", _mark_answered, binding_id)

    async def remove(self, binding_id: str) -> bool:
        """Delete it; False if there is none."""
        return await self.db.autocommit("remove_binding", _remove, binding_id)

    def _encrypted(self, binding: Binding, session: IdentityServerSession) -> str:
        text = json.dumps([session.sid, session.client_secret.reveal()])
        return self.encryptor.encrypt(text, binding.binding_id)

    def _binding(self, row: Any) -> Binding:
        user_id, medium, address, id_server, binding_id, encrypted, asked_until_ms = row
        # After a change of the server's secret it cannot be decrypted: the session is lost.
        text = None if encrypted is None else self.encryptor.decrypt(encrypted, binding_id)
        sid, client_secret = json.loads(text or "[null, null]")
        return Binding(
            user_id=UserID.parse(user_id),
            medium=medium,
            address=address,
            id_server=id_server,
            binding_id=binding_id,
            session=None
            if sid is None
            else IdentityServerSession(sid=sid, client_secret=Secret(client_secret)),
            asked_until_ms=asked_until_ms,
        )


def _add(txn: Transaction, binding: Binding, session: Optional[str], now_ms: int) -> bool:
    known = txn.one(
        "SELECT 1 FROM bindings WHERE user_id = ? AND medium = ? AND address = ? AND id_server = ?",
        (str(binding.user_id), binding.medium, binding.address, binding.id_server),
    )
    txn.run(
        f"INSERT INTO bindings ({_COLUMNS}, bound_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (user_id, medium, address, id_server) DO UPDATE SET"
        " binding_id = excluded.binding_id, proof = excluded.proof, bound_ms = excluded.bound_ms,"
        " asked_until_ms = excluded.asked_until_ms",
        (
            str(binding.user_id),
            binding.medium,
            binding.address,
            binding.id_server,
            binding.binding_id,
            session,
            binding.asked_until_ms,
            now_ms,
        ),
    )
    return known is None


def _of_user(txn: Transaction, user_id: UserID) -> Sequence[Any]:
    return txn.all(
        f"SELECT {_COLUMNS} FROM bindings WHERE user_id = ? ORDER BY id_server, medium, address",
        (str(user_id),),
    )


def _get(txn: Transaction, binding_id: str) -> Optional[Any]:
    return txn.one(f"SELECT {_COLUMNS} FROM bindings WHERE binding_id = ?", (binding_id,))


def _mark_answered(txn: Transaction, binding_id: str) -> None:
    txn.run("UPDATE bindings SET asked_until_ms = 0 WHERE binding_id = ?", (binding_id,))


def _remove(txn: Transaction, binding_id: str) -> bool:
    return txn.run("DELETE FROM bindings WHERE binding_id = ?", (binding_id,)) == 1
