"""``regsys approvals list | approve | refuse``: each returns what to print."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Awaitable, Callable, Mapping, Sequence

from regsys.accounts.approvals import Approvals
from regsys.cli.names import user_id_of
from regsys.cli.newcomers import RELEASED
from regsys.cli.results import Done
from regsys.cli.tables import json_text, printable
from regsys.cli.times import utc
from regsys.errors import AlreadyDecided, RegistrationError, UserNotFound
from regsys.model import UserID
from regsys.model.administration import CLI
from regsys.model.approvals import Decided, WaitingAccount
from regsys.web.approvals import account_json, decided_json

Action = Callable[[Approvals, str, Namespace], Awaitable[Done]]


async def _list(approvals: Approvals, server_name: str, arguments: Namespace) -> Done:
    page = await approvals.waiting(arguments.most)
    if arguments.json:
        return Done(json_text([account_json(it) for it in page.accounts]))
    lines = [_line(account) for account in page.accounts]
    if page.next_token is not None:
        lines.append(f"These are the oldest {arguments.most}; --most N shows more.")
    return Done("\n".join(lines) or "Nobody waits for approval.")


async def _approve(approvals: Approvals, server_name: str, arguments: Namespace) -> Done:
    return await _decide(arguments, server_name, lambda user_id: approvals.approve(user_id, CLI))


async def _refuse(approvals: Approvals, server_name: str, arguments: Namespace) -> Done:
    return await _decide(
        arguments, server_name, lambda user_id: approvals.refuse(user_id, arguments.reason, CLI)
    )


ACTIONS: Mapping[str, Action] = {"list": _list, "approve": _approve, "refuse": _refuse}


async def _decide(
    arguments: Namespace, server_name: str, decide: Callable[[UserID], Awaitable[Decided]]
) -> Done:
    """Decide about each name; all are tried."""
    done: list[Decided] = []
    problems: list[str] = []
    for name in arguments.names:
        try:
            done.append(await decide(user_id_of(name, server_name)))
        except UserNotFound:
            problems.append(f"there is no user {name!r}")
        except AlreadyDecided as error:
            problems.append(error.text.rstrip("."))
        except RegistrationError as error:
            problems.append(f"{name}: {error.reason or error.text}")
    if arguments.json:
        text = json_text([decided_json(it) for it in done])
    else:
        text = "\n".join(map(_decided_line, done))
    if not problems:
        return Done(text)
    return Done(text, 1, "\nregsys: ".join(map(printable, problems)))


def _line(account: WaitingAccount) -> str:
    held: Sequence[str] = (*account.emails, *account.phones)
    about = [
        str(account.user_id),
        f"waits since {utc(account.requested_ms)}",
        " ".join(held) or "no address",
        f"from {account.address}" if account.address else "",
        # On one line, whatever is in it.
        json.dumps(account.reason, ensure_ascii=False) if account.reason else "",
    ]
    return printable("  ".join(filter(None, about)))


def _decided_line(decided: Decided) -> str:
    if decided.released:
        return RELEASED.format(decided.user_id)
    text = f"{decided.user_id} is {decided.decision.value}"
    if decided.is_new:
        return f"{text}."
    by = "" if decided.by is None else f" by {decided.by}"
    when = "" if decided.decided_ms is None else f", {utc(decided.decided_ms)}"
    return f"{text} already{by}{when}."
