"""``regsys audit``."""

from __future__ import annotations

import argparse
from datetime import datetime, timezone

from regsys.cli.arguments.numbers import number_to
from regsys.cli.arguments.output import add_json

MOST = 1_000_000


def add_audit(audit: argparse.ArgumentParser) -> None:
    audit.add_argument("--user", metavar="NAME", help="entries about this account")
    audit.add_argument(
        "--by", metavar="WHO", help="entries of this administrator: a user ID, cli, a module …"
    )
    audit.add_argument(
        "--what", metavar="WORD", help="only these: registered, refused, token-created …"
    )
    audit.add_argument(
        "--rule", metavar="RULE", help="what has allowed or refused it, or its first word"
    )
    audit.add_argument(
        "--address", metavar="IP", help="from this address, or its network if no more is kept"
    )
    when = "a time in UTC, such as 2026-11-27 or 2026-11-27T14:30, or how long ago, such as 7d"
    audit.add_argument("--since", type=moment, metavar="WHEN", help=f"not before {when}")
    audit.add_argument("--until", type=moment, metavar="WHEN", help="before that time")
    audit.add_argument(
        "--limit",
        type=number_to(MOST),
        default=100,
        metavar="N",
        help="at most this many, the newest first (default: 100)",
    )
    add_json(audit, "one JSON object a line")


def moment(text: str) -> tuple[bool, int]:
    """Milliseconds, and whether they count backward from now."""
    from regsys.config.values import duration_ms

    ago_ms = None if text.isdecimal() else duration_ms(text)
    if ago_ms is not None:
        return True, ago_ms
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a time, such as 2026-11-27T14:30, nor a duration, such as 7d"
        ) from None
    if given.tzinfo is None:
        given = given.replace(tzinfo=timezone.utc)
    return False, int(given.timestamp() * 1000)
