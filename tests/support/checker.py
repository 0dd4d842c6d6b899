"""What clients were told, held against what a homeserver has: nothing half-made, nothing lost,
nothing double.

``broken(told, reading)`` finds what does not hold. ``told`` says what each client was told,
``reading`` how to read the homeserver; ``tests.support.invariants.Tables`` is the one of regsys's
own tables. It may be asked at any moment at which no request is under way.

This file needs nothing but Python.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Iterable, Mapping, Optional, Protocol, Sequence


@dataclass(frozen=True)
class Told:
    """What a client was told of the one account that it has asked for.

    ``user_id``: the name that it asked for, or the one that it got. ``tokens``: by device, for each
    login that it was told of. ``unsure``: how many more devices it may have, because it was not
    told what became of a request that makes one. ``is_made``: whether it was told of the account.
    """

    user_id: str
    tokens: Mapping[str, str]
    unsure: int = 0
    is_made: bool = True


@dataclass(frozen=True)
class Account:
    """An account as the homeserver has it, with the ids of its devices."""

    user_id: str
    devices: Sequence[str]


class Reading(Protocol):
    """How to read a homeserver."""

    def accounts(self) -> Iterable[Account]:
        """All accounts."""

    def whose(self, token: str) -> Optional[str]:
        """The user ID of a valid access token; None if it is of nobody."""

    def half_made(self) -> Mapping[str, Sequence[object]]:
        """What is there in part: a rule, and what breaks it. Empty if all is whole. Only the
        homeserver knows what an account consists of."""


def broken(told: Iterable[Told], reading: Reading) -> dict[str, Sequence[object]]:
    """The rules that don't hold, each with what breaks it; empty if all is well."""
    clients = {client.user_id: client for client in told}
    accounts = {account.user_id: account for account in reading.accounts()}
    found: dict[str, Sequence[object]] = {
        "a name belongs to one account": _several(user_id.lower() for user_id in accounts),
        "an account that a client was told of is there": [
            client.user_id
            for client in clients.values()
            if client.is_made and client.user_id not in accounts
        ],
        "a client has made one account, and no other": sorted(accounts.keys() - clients.keys()),
        "a login that a client was told of is valid": [
            (client.user_id, device_id)
            for client in clients.values()
            for device_id, token in client.tokens.items()
            if not _has(accounts.get(client.user_id), device_id)
            or reading.whose(token) != client.user_id
        ],
        "a client has no more devices than it has asked for": [
            (client.user_id, *accounts[client.user_id].devices)
            for client in clients.values()
            if client.user_id in accounts
            and len(accounts[client.user_id].devices) > len(client.tokens) + client.unsure
        ],
        **reading.half_made(),
    }
    return {rule: what for rule, what in found.items() if what}


def _several(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _has(account: Optional[Account], device_id: str) -> bool:
    return account is not None and device_id in account.devices
