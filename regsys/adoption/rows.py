"""What accounts have, and rows by the hundred: what is written for new and for known accounts."""

from __future__ import annotations

import itertools
from typing import Any, Iterable, Iterator, Mapping, Optional, Sequence

import attr

from regsys.adoption.decisions import AdoptedAddress, AdoptedLogin, AdoptedUser
from regsys.adoption.report import Findings
from regsys.model.identity import masked
from regsys.storage.database import Transaction

# Bound values in one statement: SQLite takes no more than 32,766.
AT_ONCE = 500


@attr.frozen(kw_only=True)
class Hints:
    """What Synapse's tables say beside a batch. ``twins``: user IDs there that are one of the batch
    in lower case. ``addresses``: (medium, address)
    of rows there. ``has_tokens``: whether Synapse keeps any access token itself."""

    twins: frozenset[str]
    addresses: frozenset[tuple[str, str]]
    has_tokens: bool


@attr.frozen(kw_only=True)
class Belongings:
    """Adds devices, logins and addresses to accounts, in the transaction ``txn``."""

    txn: Transaction
    hints: Hints
    report: Findings

    def add_devices(
        self, devices: Iterable[tuple[AdoptedUser, Mapping[str, Optional[str]]]]
    ) -> None:
        rows = [
            (str(user.user_id), device_id, name)
            for user, found in devices
            for device_id, name in found.items()
        ]
        insert_rows(self.txn, "devices", ("user_id", "device_id", "display_name"), rows)
        self.report.counts["devices"] += len(rows)

    def add_logins(self, logins: Iterable[tuple[AdoptedUser, Sequence[AdoptedLogin]]]) -> None:
        columns = (
            *("access_hash", "refresh_hash", "user_id", "device_id", "valid_until_ms"),
            *("refresh_until_ms", "session_until_ms", "replaces", "adopted_id"),
        )
        rows = [
            (
                *(login.access_hash, login.refresh_hash, str(user.user_id), login.device_id),
                *(login.valid_until_ms, login.refresh_until_ms, login.session_until_ms),
                *(login.replaces, login.adopted_id),
            )
            for user, found in logins
            for login in found
        ]
        insert_rows(self.txn, "logins", columns, rows)
        self.report.counts["tokens"] += len(rows)
        self.report.counts["refresh_tokens"] += sum(row[1] is not None for row in rows)

    def add_addresses(
        self, addresses: Iterable[tuple[AdoptedUser, Sequence[AdoptedAddress]]]
    ) -> None:
        wanted: dict[tuple[str, str], tuple[str, AdoptedAddress]] = {}
        for user, found in addresses:
            for item in found:
                key = (item.medium, item.address)
                is_taken = key in wanted or (item.is_respelled and key in self.hints.addresses)
                if is_taken:
                    self.report.found("address_twice", str(user.user_id), masked(item.address))
                else:
                    wanted[key] = (str(user.user_id), item)
        inserted = insert_rows(
            self.txn,
            "threepids",
            ("medium", "address", "user_id", "validated_at_ms", "added_ms"),
            [
                (*key, user_id, item.validated_ms, item.added_ms)
                for key, (user_id, item) in wanted.items()
            ],
            "medium, address",
        )
        added = {(row[0], row[1]) for row in inserted}
        self.report.counts["addresses"] += len(added)
        for key in wanted.keys() - added:
            self._report_address(key, *wanted[key])

    def _report_address(self, key: tuple[str, str], user_id: str, item: AdoptedAddress) -> None:
        row = self.txn.one(
            "SELECT t.user_id, a.user_id FROM threepids t"
            " LEFT JOIN adopted_users a ON a.user_id = t.user_id"
            " WHERE t.medium = ? AND t.address = ?",
            key,
        )
        if row is not None and row[0] != user_id:
            finding = "address_here" if row[1] is None else "address_twice"
            self.report.found(finding, user_id, masked(item.address))


def insert_rows(
    txn: Transaction,
    table: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    returning: str = "",
) -> Sequence[Sequence[Any]]:
    """Insert the rows whose keys are free; returns these columns of those that were."""
    inserted: list[Sequence[Any]] = []
    one = f"({', '.join('?' * len(columns))})"
    for some in chunks(rows):
        sql = (
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([one] * len(some))}"
            " ON CONFLICT DO NOTHING"
        )
        values = [*itertools.chain.from_iterable(some)]
        if returning:
            inserted += txn.all(f"{sql} RETURNING {returning}", values)
        else:
            txn.run(sql, values)
    return inserted


def chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The items, at most AT_ONCE at a time."""
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]
