"""What our tables say of accounts that a Synapse may get back."""

from __future__ import annotations

from typing import Any, Callable, Iterator, Mapping, Optional, Sequence, TypeVar

import attr

from regsys.adoption.decisions import Columns
from regsys.adoption.rows import chunks
from regsys.model import LoginTerms
from regsys.storage.database import Transaction

T = TypeVar("T")
Address = tuple[str, str]


@attr.frozen
class OurAccount:
    """``mark``, ``last_token`` and ``adopted_ms`` are None if it was made here."""

    user_id: str
    columns: Columns
    is_deactivated: bool
    mark: Optional[str]
    last_token: Optional[int]
    adopted_ms: Optional[int]

    @property
    def is_unchanged(self) -> bool:
        """Whether its row is as it was adopted."""
        return self.mark == self.columns.mark


@attr.frozen
class OurLogin:
    """A pair that is not spent. ``adopted_id``: of tokens that come from Synapse; ``made_with``: of
    tokens that can be made again."""

    user_id: str
    access_hash: str
    is_refreshable: bool = attr.field(converter=bool)
    device_id: str
    device_name: Optional[str]
    valid_until_ms: Optional[int]
    refresh_until_ms: Optional[int]
    session_until_ms: Optional[int]
    replaces: Optional[str]
    adopted_id: Optional[int]
    made_with: Optional[str] = attr.field(repr=False)

    @property
    def terms(self) -> LoginTerms:
        return LoginTerms(
            device_id=self.device_id,
            refreshable=self.is_refreshable,
            valid_until_ms=self.valid_until_ms,
            refresh_until_ms=self.refresh_until_ms,
            session_until_ms=self.session_until_ms,
        )


@attr.frozen
class OurThreepid:
    user_id: str
    medium: str
    address: str
    validated_ms: int
    added_ms: int


@attr.frozen
class Ours:
    """Reads in the transaction ``txn``."""

    txn: Transaction

    def accounts(self, names: Sequence[str]) -> Mapping[str, OurAccount]:
        """Those of these accounts that are ours, by user ID."""
        found = self._of(names, _account, _ACCOUNTS)
        return {name: accounts[0] for name, accounts in found.items()}

    def logins(self, names: Sequence[str]) -> Mapping[str, list[OurLogin]]:
        return self._of(names, OurLogin, _LOGINS)

    def threepids(self, names: Sequence[str]) -> Mapping[str, list[OurThreepid]]:
        return self._of(names, OurThreepid, _THREEPIDS)

    def taken(self, addresses: Sequence[str]) -> frozenset[Address]:
        """(medium, address) of those that anybody has."""
        found: set[Address] = set()
        for some in chunks(addresses):
            marks = ", ".join("?" * len(some))
            sql = f"SELECT medium, address FROM threepids WHERE address IN ({marks})"
            found.update((row[0], row[1]) for row in self.txn.all(sql, some))
        return frozenset(found)

    def living_users(self, size: int) -> Iterator[Sequence[str]]:
        """The user IDs of all accounts that somebody may use, so many at a time."""
        after = ""
        while True:
            rows = self.txn.all(
                "SELECT user_id FROM users WHERE user_id > ? AND NOT is_guest AND NOT deactivated"
                " ORDER BY user_id LIMIT ?",
                (after, size),
            )
            if not rows:
                return
            yield [str(row[0]) for row in rows]
            after = rows[-1][0]

    def _of(self, names: Sequence[str], make: Callable[..., T], sql: str) -> Mapping[str, list[T]]:
        found: dict[str, list[T]] = {}
        for some in chunks(names):
            for row in self.txn.all(sql.format(marks=", ".join("?" * len(some))), some):
                found.setdefault(row[0], []).append(make(*row))
        return found


_ACCOUNTS = (
    "SELECT u.user_id, u.password_hash, u.is_guest, u.admin, u.user_type, u.approved,"
    " u.shadow_banned, u.deactivated, a.mark, a.last_token, a.adopted_ms"
    " FROM users u LEFT JOIN adopted_users a ON a.user_id = u.user_id"
    " WHERE u.user_id IN ({marks})"
)
_LOGINS = (
    "SELECT l.user_id, l.access_hash, l.refresh_hash IS NOT NULL, l.device_id, d.display_name,"
    " l.valid_until_ms, l.refresh_until_ms, l.session_until_ms, l.replaces, l.adopted_id,"
    " l.made_with FROM logins l"
    " JOIN devices d ON d.user_id = l.user_id AND d.device_id = l.device_id"
    " WHERE l.user_id IN ({marks}) AND l.spent_ms IS NULL"
)
_THREEPIDS = (
    "SELECT user_id, medium, address, validated_at_ms, added_ms FROM threepids"
    " WHERE user_id IN ({marks})"
)


def _account(user_id: str, *row: Any) -> OurAccount:
    return OurAccount(user_id, Columns(*row[:6]), bool(row[6]), *row[7:])
