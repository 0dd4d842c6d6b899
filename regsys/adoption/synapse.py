"""What a Synapse's tables say of its users, a batch at a time, in order of user ID."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Iterator, Optional, Sequence, TypeVar

import attr

from regsys.adoption.connections import READ, Source, Unreadable

T = TypeVar("T")

# So many users are read, and written, in one transaction.
BATCH = 1000


def _approved(value: Optional[Any]) -> bool:
    return value is None or bool(value)


@attr.frozen
class SynapseUser:
    """Times are in seconds, but for ``consent_ms``."""

    name: str
    password_hash: Optional[str] = attr.field(repr=False)
    created_s: Optional[int]
    admin: bool = attr.field(converter=bool)
    upgraded_s: Optional[int]
    is_guest: bool = attr.field(converter=bool)
    appservice_id: Optional[str]
    consent_version: Optional[str]
    consent_ms: Optional[int]
    user_type: Optional[str]
    deactivated: bool = attr.field(converter=bool)
    shadow_banned: bool = attr.field(converter=bool)
    # Null for those that are older than approval.
    approved: bool = attr.field(converter=_approved)
    locked: bool = attr.field(converter=bool)


@attr.frozen
class SynapseToken:
    """An access token, with the refresh token of its pair, if any. ``next_id``: the refresh token
    by which that one was replaced. ``used``: of pairs, whether the access token was used."""

    id: int
    user_id: str
    device_id: Optional[str]
    token: str = attr.field(repr=False)
    valid_until_ms: Optional[int]
    puppets: Optional[str]
    used: bool = attr.field(converter=bool)
    refresh_id: Optional[int]
    refresh_token: Optional[str] = attr.field(repr=False)
    next_id: Optional[int]
    refresh_until_ms: Optional[int]
    session_until_ms: Optional[int]


@attr.frozen
class SynapseDevice:
    user_id: str
    device_id: str
    display_name: Optional[str]
    seen_ms: Optional[int]


@attr.frozen
class SynapseThreepid:
    user_id: str
    medium: str
    address: str
    validated_ms: int
    added_ms: int


@attr.frozen
class SynapseRegistrationToken:
    """What its table says of a registration token, but for the dialogues that are under way."""

    token: str = attr.field(repr=False)
    uses_allowed: Optional[int]
    completed: int
    expiry_ms: Optional[int]

    @property
    def limits(self) -> tuple[Optional[int], Optional[int]]:
        """How often, and until when it may be used."""
        return self.uses_allowed, self.expiry_ms


@attr.frozen
class Batch:
    """Users, and what they have, by user ID. ``of_sso``: the IDs of those whom a single sign-on
    provider knows."""

    users: Sequence[SynapseUser]
    devices: dict[str, list[SynapseDevice]]
    tokens: dict[str, list[SynapseToken]]
    threepids: dict[str, list[SynapseThreepid]]
    of_sso: frozenset[str]


@attr.frozen
class Synapse:
    """A Synapse's accounts. Raises Unreadable."""

    source: Source

    def check(self, server_name: str) -> int:
        """Check that these are the tables of a Synapse of this name; returns the version of its
        schema."""
        self.source.begin()
        try:
            for table, columns in READ.items():
                self.source.all(f"SELECT {', '.join(columns)} FROM {table} LIMIT 0")
            ((version,),) = self.source.all("SELECT version FROM schema_version")
            others = self.source.all(
                "SELECT name FROM users WHERE name NOT LIKE ? LIMIT 1", (f"%:{server_name}",)
            )
            if others and not self._count("users WHERE name LIKE ?", f"%:{server_name}"):
                raise Unreadable(
                    f"{self.source.place}: its users are of another server, such as"
                    f" {others[0][0]!r}, and server_name here is {server_name}"
                )
            return int(version)
        finally:
            self.source.end()

    def count(self, after: str = "") -> int:
        """How many users there are after this user ID."""
        self.source.begin()
        try:
            return self._count("users WHERE name > ?", after)
        finally:
            self.source.end()

    def has_tokens(self) -> bool:
        """Whether it keeps any access token itself."""
        self.source.begin()
        try:
            return bool(self.source.all("SELECT 1 FROM access_tokens LIMIT 1"))
        finally:
            self.source.end()

    def batches(self, after: str = "", size: int = BATCH) -> Iterator[Batch]:
        """All users after this user ID."""
        while True:
            self.source.begin()
            try:
                batch = self._batch(after, size)
            finally:
                self.source.end()
            if batch is None:
                return
            yield batch
            after = batch.users[-1].name

    def registration_tokens(self) -> Sequence[SynapseRegistrationToken]:
        """All of them."""
        columns = ", ".join(READ["registration_tokens"])
        self.source.begin()
        try:
            rows = self.source.all(f"SELECT {columns} FROM registration_tokens ORDER BY token")
        finally:
            self.source.end()
        return [SynapseRegistrationToken(*row) for row in rows]

    def names_among(self, names: Iterable[str]) -> frozenset[str]:
        """Those of these user IDs that exist."""
        return frozenset(row[0] for row in self._among("name FROM users WHERE name", names))

    def addresses_among(self, addresses: Iterable[str]) -> frozenset[tuple[str, str]]:
        """(medium, address) of the rows that have one of these addresses."""
        sql = "medium, address FROM user_threepids WHERE address"
        return frozenset((row[0], row[1]) for row in self._among(sql, addresses))

    def _among(self, sql: str, values: Iterable[str]) -> Sequence[Sequence[Any]]:
        wanted = sorted(set(values))
        if not wanted:
            return ()
        self.source.begin()
        try:
            marks = ", ".join("?" * len(wanted))
            return self.source.all(f"SELECT {sql} IN ({marks})", wanted)
        finally:
            self.source.end()

    def _count(self, what: str, value: str) -> int:
        ((count,),) = self.source.all(f"SELECT COUNT(*) FROM {what}", (value,))
        return int(count)

    def _batch(self, after: str, size: int) -> Optional[Batch]:
        columns = ", ".join(READ["users"])
        rows = self.source.all(
            f"SELECT {columns} FROM users WHERE name > ? ORDER BY name LIMIT ?", (after, size)
        )
        if not rows:
            return None
        users = [SynapseUser(*row) for row in rows]
        span = (after, users[-1].name)

        def of_users(make: Callable[..., T], sql: str) -> dict[str, list[T]]:
            found: dict[str, list[T]] = {}
            for row in self.source.all(sql, span):
                item = make(*row)
                found.setdefault(item.user_id, []).append(item)  # type: ignore[attr-defined]
            return found

        return Batch(
            users=users,
            devices=of_users(SynapseDevice, _DEVICES),
            tokens=of_users(SynapseToken, _TOKENS),
            threepids=of_users(SynapseThreepid, _THREEPIDS),
            of_sso=frozenset(row[0] for row in self.source.all(_OF_SSO, span)),
        )


_SPAN = "user_id > ? AND user_id <= ?"
# Hidden rows are the keys of cross-signing, and no devices.
_DEVICES = (
    "SELECT user_id, device_id, display_name, last_seen FROM devices"
    f" WHERE {_SPAN} AND NOT COALESCE(hidden, FALSE)"
)
_TOKENS = (
    "SELECT a.id, a.user_id, a.device_id, a.token, a.valid_until_ms, a.puppets_user_id, a.used,"
    " r.id, r.token, r.next_token_id, r.expiry_ts, r.ultimate_session_expiry_ts"
    " FROM access_tokens a LEFT JOIN refresh_tokens r ON r.id = a.refresh_token_id"
    " WHERE a.user_id > ? AND a.user_id <= ? ORDER BY a.id"
)
_THREEPIDS = (
    "SELECT user_id, medium, address, validated_at, added_at FROM user_threepids"
    f" WHERE {_SPAN} ORDER BY added_at"
)
_OF_SSO = f"SELECT user_id FROM user_external_ids WHERE {_SPAN}"
