"""``regsys audit``: returns what to print."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any, Iterator, Mapping, Optional

from regsys.cli.names import user_id_of
from regsys.cli.tables import printable
from regsys.cli.times import utc
from regsys.model.audit import AuditEntry, AuditFilter
from regsys.model.networks import address_key, network_of
from regsys.storage.audit import AuditStore


async def show(entries: AuditStore, arguments: Namespace, now_ms: int, server_name: str) -> str:
    user, address = arguments.user, arguments.address
    wanted = AuditFilter(
        user_id=None if user is None else str(user_id_of(user, server_name)),
        by=arguments.by,
        what=arguments.what,
        rule=arguments.rule,
        # As it is kept, now or before the configuration was changed.
        addresses=None if address is None else _kept_as(address),
        since_ms=_moment_ms(arguments.since, now_ms),
        until_ms=_moment_ms(arguments.until, now_ms),
    )
    found = await entries.list(wanted, arguments.limit)
    if arguments.json:
        return "\n".join(json.dumps(as_json(entry)) for entry in found)
    lines = [" ".join(_words(entry)) for entry in found]
    if len(found) == arguments.limit:
        lines.append(f"These are the newest {arguments.limit}; --limit N shows more.")
    return "\n".join(lines) or "There are no such entries."


def _kept_as(address: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((address, address_key(address), network_of(address))))


def _moment_ms(given: Optional[tuple[bool, int]], now_ms: int) -> Optional[int]:
    if given is None:
        return None
    is_ago, ms = given
    return now_ms - ms if is_ago else ms


def as_json(entry: AuditEntry) -> Mapping[str, Any]:
    """What is not known is null."""
    return {
        "time_ms": entry.when_ms,
        "what": entry.what,
        "user_id": entry.user_id,
        "by": entry.by,
        "address": entry.address,
        "rule": entry.rule,
        "times": entry.times,
        "details": dict(entry.details),
    }


def _words(entry: AuditEntry) -> Iterator[str]:
    yield utc(entry.when_ms)
    yield printable(entry.what)
    for name, value in (
        (None, entry.user_id),
        ("by", entry.by),
        ("from", entry.address),
        ("rule", entry.rule),
    ):
        if value is not None:
            yield printable(f"{name} {value}" if name else value)
    if entry.times > 1:
        yield f"{entry.times} times"
    if entry.details:
        yield json.dumps(dict(entry.details), sort_keys=True)
