"""``regsys signups list | show | resend | confirm | end``: each returns what to print."""

from __future__ import annotations

from argparse import Namespace
from typing import Any, Awaitable, Callable, Iterator, Mapping, Optional

from regsys.accounts.usernames import ascii_lower
from regsys.cli.names import user_id_of
from regsys.cli.tables import json_text, printable
from regsys.cli.times import ago, utc
from regsys.client_api.signup_desk import MEDIA, SignupDesk
from regsys.config.values import duration_ms
from regsys.errors import InvalidParam
from regsys.model.networks import address_key
from regsys.model.signups import Failures, HalfFinished, SentMessage
from regsys.uia.stage_types import (
    CAPTCHAS,
    EMAIL_IDENTITY,
    MSISDN_STAGE,
    REASON,
    REGISTRATION_TOKEN,
    TERMS,
)

_WORDS: Mapping[str, str] = {
    **dict.fromkeys(CAPTCHAS.values(), "captcha"),
    REGISTRATION_TOKEN: "token",
    TERMS: "terms",
    REASON: "reason",
    EMAIL_IDENTITY: "email",
    MSISDN_STAGE: "phone",
}
_MESSAGE = {"email": "mail", "msisdn": "text message"}
_NOTHING = "There are no unfinished registrations"


async def run(desk: SignupDesk, server_name: str, arguments: Namespace) -> str:
    """RegistrationError for what cannot be done."""
    return await _ACTIONS[arguments.action](desk, server_name, arguments)


async def _list(desk: SignupDesk, server_name: str, arguments: Namespace) -> str:
    now_ms, found = desk.now_ms(), []
    matches = _filter(desk, server_name, arguments, now_ms)
    async for page in desk.store.pages(now_ms):
        found += [item for item in page if matches(item)]
        if len(found) >= arguments.most:
            break
    shown = found[: arguments.most]
    if arguments.json:
        return json_text([_as_json(desk, item) for item in shown])
    lines = [_line(desk, item, now_ms) for item in shown]
    if len(shown) == arguments.most:
        lines.append(f"These are the oldest {arguments.most}; --most N shows more.")
    filters = (arguments.older_than, arguments.stage, arguments.address, arguments.name)
    nothing = f"{_NOTHING} of this kind." if any(filters) else f"{_NOTHING}."
    return "\n".join(lines) or nothing


async def _show(desk: SignupDesk, server_name: str, arguments: Namespace) -> str:
    found, now_ms = await desk.find(arguments.id), desk.now_ms()
    if arguments.json:
        return json_text(_as_json(desk, found))
    return "\n".join([_line(desk, found, now_ms), *map(printable, _details(found, now_ms))])


async def _resend(desk: SignupDesk, server_name: str, arguments: Namespace) -> str:
    message = await desk.resend(await desk.find(arguments.id), arguments.medium, arguments.language)
    words = _MESSAGE[message.medium]
    return f"The {words} to {printable(message.address)} goes out within seconds, by regsys serve."


async def _confirm(desk: SignupDesk, server_name: str, arguments: Namespace) -> str:
    message = await desk.confirm(await desk.find(arguments.id), arguments.medium)
    return f"{printable(message.address)} counts as confirmed: the registration page goes on."


async def _end(desk: SignupDesk, server_name: str, arguments: Namespace) -> str:
    found = await desk.find(arguments.id)
    await desk.end(found)
    return f"{found.id} is ended: the person has to begin anew."


_ACTIONS: Mapping[str, Callable[[SignupDesk, str, Namespace], Awaitable[str]]] = {
    "list": _list,
    "show": _show,
    "resend": _resend,
    "confirm": _confirm,
    "end": _end,
}


def _filter(
    desk: SignupDesk, server_name: str, arguments: Namespace, now_ms: int
) -> Callable[[HalfFinished], bool]:
    older_ms = _duration(arguments.older_than)
    wanted, address, stage = None, arguments.address, arguments.stage
    if arguments.name is not None:
        wanted = ascii_lower(user_id_of(arguments.name, server_name).localpart)

    def matches(found: HalfFinished) -> bool:
        of = {message.address for message in found.messages}
        if found.session is not None:
            of.add(found.session.address)
        return (
            (older_ms is None or now_ms - found.begun_ms > older_ms)
            and (wanted is None or _name(found) == wanted)
            and (address is None or bool(of & _spellings(address)))
            and (stage is None or stage in (_step(desk, found), desk.next_stage(found)))
        )

    return matches


def _duration(text: Optional[str]) -> Optional[int]:
    duration = None if text is None else duration_ms(text)
    if text is not None and duration is None:
        raise InvalidParam(f"{text!r} is not a duration: write 90s, 5m, 1h or 2d")
    return duration


def _spellings(address: str) -> set[str]:
    """As it may be stored: an email address, a number without its plus, an IPv6 network."""
    local, at, domain = address.strip().rpartition("@")
    mail = f"{local.casefold()}@{domain.lower()}" if at else ""
    return {address, mail, address.lstrip("+"), address_key(address)} - {""}


def _name(found: HalfFinished) -> Optional[str]:
    username = None if found.session is None else found.session.params.get("username")
    return ascii_lower(username) if isinstance(username, str) else None


def _step(desk: SignupDesk, found: HalfFinished) -> str:
    """What it waits for, in a word."""
    stage = desk.next_stage(found)
    return "client" if stage is None else _WORDS.get(stage, stage)


def _line(desk: SignupDesk, found: HalfFinished, now_ms: int) -> str:
    begun, name = ago(found.begun_ms, now_ms), _name(found) or "(no name)"
    if found.session is None:
        name = "(no session known)"
    words = [found.id, begun, name, f"waits for {_step(desk, found)}", _why(desk, found, now_ms)]
    return "  ".join(map(printable, words))


def _why(desk: SignupDesk, found: HalfFinished, now_ms: int) -> str:
    """What it waits for, and why that may not come."""
    stage = desk.next_stage(found)
    if stage is None:
        has_password = found.session is not None and found.session.has_password
        return "all steps are done" if has_password else "all steps are done, no password was sent"
    if stage in MEDIA:
        message = found.message_of(MEDIA[stage])
        if message is None:
            return f"no {_MESSAGE[MEDIA[stage]]} of it is known"
        return _message(message, now_ms)
    failures = None if found.session is None else found.session.failures.get(stage)
    return "not done" if failures is None else _failed(failures, now_ms)


def _failed(failures: Failures, now_ms: int) -> str:
    times = "once" if failures.count == 1 else f"{failures.count} times"
    return f"refused {times}, last {ago(failures.last.failed_ms, now_ms)} ago: {failures.last.text}"


def _message(message: SentMessage, now_ms: int) -> str:
    what = f"{_MESSAGE[message.medium]} to {message.address}"
    asked = f"{ago(message.asked_ms, now_ms)} ago"
    if message.validated_ms is not None:
        return f"{message.address} is confirmed, and its app has not gone on"
    if message.refusal is not None:
        return f"{what} was refused for good: {message.refusal}"
    delivery = message.delivery
    if delivery is None:
        tried = f", {message.tries} codes tried" if message.tries else ""
        return f"{what} sent {asked}, not confirmed{tried}"
    if delivery.error is None:
        return f"{what} asked for {asked}, not sent yet"
    again = utc(delivery.due_ms)
    return f"{what} not sent, attempt {delivery.attempts}, again {again}: {delivery.error}"


def _details(found: HalfFinished, now_ms: int) -> Iterator[str]:
    session = found.session
    if session is not None:
        yield f"begun {utc(session.created_ms)} from {session.address}"
        yield f"passed: {', '.join(session.passed) or 'nothing'}"
        if session.held_name is not None and session.held_until_ms is not None:
            yield f"{session.held_name} is held until {utc(session.held_until_ms)}"
        for stage, failures in session.failures.items():
            yield f"{stage}: {_failed(failures, now_ms)}"
    for message in found.messages:
        yield _message(message, now_ms)


def _as_json(desk: SignupDesk, found: HalfFinished) -> Mapping[str, Any]:
    """Without anything that would let somebody else go on with it."""
    session, now_ms = found.session, desk.now_ms()
    of_session: dict[str, Any] = {}
    if session is not None:
        of_session = {
            "ip": session.address,
            "passed": list(session.passed),
            "has_password": session.has_password,
            "held_until_ms": session.held_until_ms,
            "failures": {
                stage: {
                    "count": item.count,
                    "last_ms": item.last.failed_ms,
                    "errcode": item.last.errcode,
                    "error": item.last.text,
                }
                for stage, item in session.failures.items()
            },
        }
    return {
        "id": found.id,
        "name": _name(found),
        "begun_ms": found.begun_ms,
        "stage": desk.next_stage(found),
        "waits_for": _step(desk, found),
        "why": _why(desk, found, now_ms),
        **of_session,
        "messages": [_message_json(message) for message in found.messages],
    }


def _message_json(message: SentMessage) -> Mapping[str, Any]:
    delivery = message.delivery
    return {
        "medium": message.medium,
        "address": message.address,
        "asked_ms": message.asked_ms,
        "send_attempt": message.send_attempt,
        "codes_tried": message.tries,
        "confirmed_ms": message.validated_ms,
        "refusal": message.refusal,
        "waiting": None
        if delivery is None
        else {"attempts": delivery.attempts, "due_ms": delivery.due_ms, "error": delivery.error},
    }
