"""``regsys token create | list | show | revoke``: each returns what to print."""

from __future__ import annotations

from argparse import Namespace
from typing import Any, Awaitable, Callable, Mapping

from regsys.accounts.allowed import COMMAND_LINE
from regsys.cli.times import utc
from regsys.config.values import duration_ms
from regsys.errors import InvalidParam
from regsys.model.registration_tokens import RegistrationToken
from regsys.registration_tokens import RegistrationTokens


async def _create(tokens: RegistrationTokens, arguments: Namespace) -> str:
    settings: dict[str, Any] = {"uses_allowed": arguments.uses, "note": arguments.note}
    if arguments.expires is not None:
        settings["expiry_ms"] = tokens.now_ms() + _duration(arguments.expires)
    new = await tokens.create(
        token=arguments.token, length=arguments.length, settings=settings, by=COMMAND_LINE
    )
    return new.token


async def _list(tokens: RegistrationTokens, arguments: Namespace) -> str:
    lines = [_line(item, tokens.now_ms()) for item in await tokens.list()]
    return "\n".join(lines) or "There are no tokens."


async def _show(tokens: RegistrationTokens, arguments: Namespace) -> str:
    found = await tokens.get(arguments.token)
    whence = f"by {found.creator}" if found.creator else "on the command line"
    made = f"made {utc(found.created_ms)} {whence}"
    uses = [f"{utc(use.used_ms)}  {use.user_id}" for use in await tokens.uses(found.token)]
    return "\n".join([_line(found, tokens.now_ms()), made, *uses])


async def _revoke(tokens: RegistrationTokens, arguments: Namespace) -> str:
    changed = await tokens.change(arguments.token, {"revoked": not arguments.undo}, COMMAND_LINE)
    return _line(changed, tokens.now_ms())


ACTIONS: Mapping[str, Callable[[RegistrationTokens, Namespace], Awaitable[str]]] = {
    "create": _create,
    "list": _list,
    "show": _show,
    "revoke": _revoke,
}


def _line(token: RegistrationToken, now_ms: int) -> str:
    state = "valid" if token.is_valid(now_ms) else "revoked" if token.revoked else "not valid"
    limit = "any number" if token.uses_allowed is None else str(token.uses_allowed)
    used = f"{token.completed} of {limit} used, {token.pending} under way"
    ends = "never ends" if token.expiry_ms is None else f"ends {utc(token.expiry_ms)}"
    return "  ".join(filter(None, [token.token, state, used, ends, token.note]))


def _duration(text: str) -> int:
    duration = duration_ms(text)
    if duration is None:
        raise InvalidParam(f"{text!r} is not a duration: write 90s, 5m, 1h, 2d, 1w or 1y")
    return duration
