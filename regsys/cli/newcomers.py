"""``regsys newcomers`` and ``regsys approve-user``: each returns what to print."""

from __future__ import annotations

from argparse import Namespace
from typing import Optional

from regsys.accounts.approvals import Approvals
from regsys.accounts.newcomers import Newcomers
from regsys.cli.tables import json_text
from regsys.cli.times import utc
from regsys.errors import RegistrationError, UserNotFound
from regsys.model import UserID
from regsys.model.administration import CLI
from regsys.model.newcomers import SuspendedNewcomer
from regsys.wiring.subsystem import Subsystem

NOBODY = "No newcomer is suspended."
RELEASED = "{} is no longer suspended, as soon as the homeserver is told."


async def approve(approvals: Approvals, user_id: UserID) -> str:
    """Let the user log in, and speak. RegistrationError if there is none."""
    try:
        decided = await approvals.approve(user_id, CLI)
    except UserNotFound:
        raise RegistrationError(f"there is no user {user_id}") from None
    if decided.released:
        return RELEASED.format(user_id)
    return f"{user_id} may log in."


async def listed(subsystem: Subsystem, arguments: Namespace) -> str:
    """The suspended newcomers, one a line."""
    newcomers = subsystem.newcomers
    # Without an auth service nobody is suspended.
    found = () if newcomers is None else await newcomers.store.suspended(arguments.most)
    times = [(str(item.user_id), item.suspended_ms, _until_ms(newcomers, item)) for item in found]
    if arguments.json:
        keys = ("user_id", "suspended_ts", "until_ts")
        return json_text([dict(zip(keys, item, strict=True)) for item in times])
    lines = [
        f"{user_id}  suspended since {utc(since_ms)}"
        + (f"  until {utc(until_ms)}" if until_ms else "")
        for user_id, since_ms, until_ms in times
    ]
    if len(found) == arguments.most:
        lines.append(f"These are the oldest {arguments.most}; --most N shows more.")
    return "\n".join(lines) or NOBODY


def _until_ms(newcomers: Optional[Newcomers], item: SuspendedNewcomer) -> Optional[int]:
    """None if only an administrator or an address ends it."""
    if newcomers is None or newcomers.config is None:
        return item.suspended_ms
    after_ms = newcomers.config.after_ms
    return None if after_ms is None else item.suspended_ms + after_ms
