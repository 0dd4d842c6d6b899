"""``regsys newcomers`` and ``regsys approve-user``: each returns what to print."""

from __future__ import annotations

from argparse import Namespace

from regsys.accounts.approvals import Approvals
from regsys.accounts.newcomers import Newcomers
from regsys.cli.times import utc
from regsys.errors import RegistrationError, UserNotFound
from regsys.model import UserID
from regsys.model.administration import CLI
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
    if newcomers is None:
        return NOBODY
    found = await newcomers.store.suspended(arguments.most)
    lines = [
        f"{item.user_id}  suspended since {utc(item.suspended_ms)}"
        f"{_until(newcomers, item.suspended_ms)}"
        for item in found
    ]
    if len(found) == arguments.most:
        lines.append(f"These are the oldest {arguments.most}; --most N shows more.")
    return "\n".join(lines) or NOBODY


def _until(newcomers: Newcomers, suspended_ms: int) -> str:
    after_ms = 0 if newcomers.config is None else newcomers.config.after_ms
    return "" if after_ms is None else f"  until {utc(suspended_ms + after_ms)}"
