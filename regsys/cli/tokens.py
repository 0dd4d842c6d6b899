"""``regsys token create | list | show | revoke | delete``: each returns what to print."""

from __future__ import annotations

import io
import json
import sys
from argparse import Namespace
from typing import Any, Awaitable, Callable, Mapping, Union

import attr

from regsys.cli.results import Done
from regsys.cli.tables import json_text, printable
from regsys.cli.times import utc
from regsys.config.values import duration_ms
from regsys.errors import InvalidParam, TokenNotFound
from regsys.model.administration import CLI
from regsys.model.registration_tokens import RegistrationToken
from regsys.registration_tokens import RegistrationTokens

# The address of the page that a token opens.
LinkOf = Callable[[str], str]
Action = Callable[[RegistrationTokens, Namespace, LinkOf], Awaitable[Union[str, Done]]]


async def _create(tokens: RegistrationTokens, arguments: Namespace, link_of: LinkOf) -> str:
    settings: dict[str, Any] = {"uses_allowed": arguments.uses, "note": arguments.note}
    if arguments.expires is not None:
        settings["expiry_ms"] = tokens.now_ms() + _duration(arguments.expires)
    new = await tokens.create(
        token=arguments.token, length=arguments.length, settings=settings, by=CLI
    )
    link = link_of(new.token)
    if arguments.json:
        return json.dumps({"token": new.token, "link": link})
    if sys.stdout.isatty():
        return f"{new.token}\n{link}\n{_qr_code(link)}"
    # A script that reads the token from standard output wants nothing else there.
    print(link, file=sys.stderr)
    return new.token


async def _list(tokens: RegistrationTokens, arguments: Namespace, link_of: LinkOf) -> str:
    if arguments.json:
        return json_text([_facts(item, tokens.now_ms()) for item in await tokens.list()])
    lines = [_line(item, tokens.now_ms()) for item in await tokens.list()]
    return "\n".join(lines) or "There are no tokens."


async def _show(tokens: RegistrationTokens, arguments: Namespace, link_of: LinkOf) -> str:
    found = await tokens.get(arguments.token)
    if arguments.json:
        used = [attr.asdict(use) for use in await tokens.uses(found.token)]
        return json_text({**_facts(found, tokens.now_ms()), "uses": used})
    whence = f"by {found.creator}" if found.creator else "on the command line"
    made = f"made {utc(found.created_ms)} {printable(whence)}"
    uses = [f"{utc(use.used_ms)}  {use.user_id}" for use in await tokens.uses(found.token)]
    return "\n".join([_line(found, tokens.now_ms()), made, *uses])


async def _revoke(tokens: RegistrationTokens, arguments: Namespace, link_of: LinkOf) -> str:
    changed = await tokens.change(arguments.token, {"revoked": not arguments.undo}, CLI)
    return _line(changed, tokens.now_ms())


async def _delete(tokens: RegistrationTokens, arguments: Namespace, link_of: LinkOf) -> Done:
    """Each of these, as far as it is there."""
    deleted = {}
    for name in dict.fromkeys(arguments.tokens):
        try:
            await tokens.delete(name, CLI)
            deleted[name] = True
        except TokenNotFound:
            deleted[name] = False
    status = 0 if all(deleted.values()) else 1
    if arguments.json:
        return Done(json_text(deleted), status)
    lines = [
        f"{printable(name)}  {'deleted' if done else 'not found'}" for name, done in deleted.items()
    ]
    return Done("\n".join(lines), status)


ACTIONS: Mapping[str, Action] = {
    "create": _create,
    "list": _list,
    "show": _show,
    "revoke": _revoke,
    "delete": _delete,
}


def _qr_code(text: str) -> str:
    """The text for a phone's camera: half a character a module, white on black whatever the
    terminal's colours are. "" if the terminal cannot show it."""
    # Here, because nothing else needs it.
    import segno

    drawn = io.StringIO()
    segno.make(text, micro=False).terminal(drawn, compact=True)
    try:
        drawn.getvalue().encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return ""
    lines = drawn.getvalue().splitlines()
    return "\n".join(f"\x1b[97;40m{line}\x1b[0m" for line in lines)


def _line(token: RegistrationToken, now_ms: int) -> str:
    state = "valid" if token.is_valid(now_ms) else "revoked" if token.revoked else "not valid"
    limit = "any number" if token.uses_allowed is None else str(token.uses_allowed)
    used = f"{token.completed} of {limit} used, {token.pending} under way"
    ends = "never ends" if token.expiry_ms is None else f"ends {utc(token.expiry_ms)}"
    note = None if token.note is None else printable(token.note)
    return "  ".join(filter(None, [token.token, state, used, ends, note]))


def _facts(token: RegistrationToken, now_ms: int) -> Mapping[str, Any]:
    return {**attr.asdict(token), "valid": token.is_valid(now_ms)}


def _duration(text: str) -> int:
    duration = duration_ms(text)
    if duration is None:
        raise InvalidParam(f"{text!r} is not a duration: write 90s, 5m, 1h, 2d, 1w or 1y")
    return duration
