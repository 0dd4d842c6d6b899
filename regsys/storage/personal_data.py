"""What our tables have about one account, for its person (docs/privacy.md)."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import attr

from regsys.model import UserID
from regsys.storage.database import Database, Transaction
from regsys.storage.validation_requesters import RESET

# By table: the columns that name the account, and those that are told. Left out are hashes,
# digests and secrets, which would help whoever gets hold of the copy, and the user ID itself.
TOLD: Mapping[str, tuple[str, str]] = {
    "users": (
        "user_id",
        "is_guest admin user_type approved deactivated erased appservice_id at_homeserver"
        " created_ms upgraded_ms seen_ms",
    ),
    "profiles": ("user_id", "display_name"),
    "external_ids": ("user_id", "auth_provider_id external_id"),
    "consents": ("user_id", "policy version accepted_ms"),
    "registration_token_uses": ("user_id", "token used_ms"),
    "registration_tokens": ("creator", "note"),
    "approvals": (
        "user_id",
        "reason address languages requested_ms told_ms decision decided_ms refusal_reason",
    ),
    "administrator_sessions": ("user_id", "expires_ms"),
    "milestones": ("user_id", "reached_ms"),
    "active_users": ("user_id", "seen_ms"),
    "devices": (
        "user_id",
        "device_id display_name auth_provider_id auth_provider_session_id",
    ),
    "logins": ("user_id", "device_id valid_until_ms refresh_until_ms session_until_ms spent_ms"),
    "pushers": (
        "user_id",
        "app_id pushkey device_id kind app_display_name device_display_name lang data",
    ),
    "threepids": ("user_id", "medium address validated_at_ms added_ms"),
    "validations": (
        "user_id",
        "medium address next_link send_attempt validated_ms used expires_ms refusal",
    ),
    "bindings": ("user_id", "medium address id_server bound_ms"),
    "uia_sessions": (
        "user_id made_user_id guest_id",
        "method uri address site clients params created_ms expires_ms finished",
    ),
    "outcomes": ("user_id", "created_ms"),
    "replication_calls": ("user_id", "created_ms"),
    "provisioning": ("user_id", "device_id sent_ms made"),
    "adopted_users": ("user_id", "adopted_ms"),
    "audit": ("user_id actor", "when_ms what address rule times details"),
    "newcomers": ("user_id", "suspended_ms"),
}

# SQLite has numbers for them.
_BOOLEANS = frozenset(
    "is_guest admin approved deactivated erased at_homeserver used finished made".split()
)


@attr.frozen
class PersonalDataStore:
    db: Database

    async def of(self, user_id: UserID) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """The rows about this account, by table; a table without any is left out."""
        return await self.db.transaction("personal_data", _of, user_id)


def _of(txn: Transaction, user_id: UserID) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    found = {}
    # A reset of the password names its account in another way than other validation sessions.
    names = (str(user_id), f"{RESET}{user_id}")
    for table, (of, told) in TOLD.items():
        columns, keys = told.split(), of.split()
        where = " OR ".join(f"{key} IN (?, ?)" for key in keys)
        rows = txn.all(f"SELECT {', '.join(columns)} FROM {table} WHERE {where}", names * len(keys))
        if rows:
            found[table] = [_told(columns, row) for row in rows]
    return found


def _told(columns: Sequence[str], row: Sequence[Any]) -> Mapping[str, Any]:
    told = zip(columns, row, strict=True)
    return {name: bool(value) if name in _BOOLEANS else value for name, value in told}
