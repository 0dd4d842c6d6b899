"""``regsys token create | list | show | revoke``."""

from __future__ import annotations

import argparse
from datetime import datetime, timezone
from typing import Any

from regsys.config.values import duration_ms
from regsys.errors import InvalidParam
from regsys.model import RegistrationToken
from regsys.registration_tokens import RegistrationTokens


async def token(tokens: RegistrationTokens, arguments: argparse.Namespace, now_ms: int) -> str:
    """Do what the arguments say; returns what to print. Raises RegistrationError."""
    if arguments.action == "create":
        settings: dict[str, Any] = {"uses_allowed": arguments.uses, "note": arguments.note}
        if arguments.expires is not None:
            settings["expiry_ms"] = now_ms + _duration(arguments.expires)
        new = await tokens.create(token=arguments.token, length=arguments.length, settings=settings)
        return new.token
    if arguments.action == "list":
        found = await tokens.list()
        return "\n".join(_line(item, now_ms) for item in found) or "There are no tokens."
    if arguments.action == "show":
        found_one = await tokens.get(arguments.token)
        uses = await tokens.uses(arguments.token)
        return "\n".join(
            [
                _line(found_one, now_ms),
                f"made {_day(found_one.created_ms)} by {found_one.creator or 'the command line'}",
                *(f"{_day(use.used_ms)}  {use.user_id}" for use in uses),
            ]
        )
    changed = await tokens.change(arguments.token, {"revoked": not arguments.undo})
    return _line(changed, now_ms)


def _line(token: RegistrationToken, now_ms: int) -> str:
    state = "valid" if token.is_valid(now_ms) else "revoked" if token.revoked else "not valid"
    limit = "any number" if token.uses_allowed is None else str(token.uses_allowed)
    used = f"{token.completed} of {limit} used, {token.pending} under way"
    ends = f"ends {_day(token.expiry_ms)}" if token.expiry_ms is not None else "never ends"
    return "  ".join(filter(None, [token.token, state, used, ends, token.note]))


def _day(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _duration(text: str) -> int:
    duration = duration_ms(text)
    if duration is None:
        raise InvalidParam(f"{text!r} is no duration: write 90s, 5m, 1h, 2d, 1w or 1y")
    return duration
