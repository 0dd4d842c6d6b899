"""``regsys approvals list | approve | refuse``: each returns what to print."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Awaitable, Callable, Mapping, Sequence

from regsys.accounts.approvals import Approvals
from regsys.cli.times import utc
from regsys.errors import AlreadyDecided, RegistrationError, UserNotFound
from regsys.model import UserID
from regsys.model.approvals import Decided, WaitingAccount
from regsys.web.approvals import account_json, decided_json, user_id_of

BY = "cli"
Action = Callable[[Approvals, str, Namespace], Awaitable[str]]


async def _list(approvals: Approvals, server_name: str, arguments: Namespace) -> str:
    page = await approvals.waiting(arguments.most)
    if arguments.json:
        return json.dumps([account_json(it) for it in page.accounts], indent=2, ensure_ascii=False)
    lines = [_line(account) for account in page.accounts]
    if page.next_token is not None:
        lines.append(f"These are the oldest {arguments.most}; --most N shows more.")
    return "\n".join(lines) or "Nobody waits for approval."


async def _approve(approvals: Approvals, server_name: str, arguments: Namespace) -> str:
    return await _decide(arguments, server_name, lambda user_id: approvals.approve(user_id, BY))


async def _refuse(approvals: Approvals, server_name: str, arguments: Namespace) -> str:
    return await _decide(
        arguments, server_name, lambda user_id: approvals.refuse(user_id, arguments.reason, BY)
    )


ACTIONS: Mapping[str, Action] = {"list": _list, "approve": _approve, "refuse": _refuse}


async def _decide(
    arguments: Namespace, server_name: str, decide: Callable[[UserID], Awaitable[Decided]]
) -> str:
    """Decide about each name; all are tried. RegistrationError if any of them failed."""
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
            problems.append(f"{name}: {error.text}")
    if arguments.json:
        text = json.dumps([decided_json(it) for it in done], indent=2, ensure_ascii=False)
    else:
        text = "\n".join(map(_decided_line, done))
    if not problems:
        return text
    # What was done is told on standard output all the same.
    if text:
        print(text)
        sys.stdout.flush()
    raise RegistrationError("\nregsys: ".join(problems))


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
    return "  ".join(filter(None, about))


def _decided_line(decided: Decided) -> str:
    text = f"{decided.user_id} is {decided.decision.value}"
    if decided.is_new:
        return f"{text}."
    by = "" if decided.by is None else f" by {decided.by}"
    when = "" if decided.decided_ms is None else f", {utc(decided.decided_ms)}"
    return f"{text} already{by}{when}."
