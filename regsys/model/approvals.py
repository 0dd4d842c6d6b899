"""Accounts that wait for an administrator's approval, and what was decided about them."""

from __future__ import annotations

import enum
import re
from typing import Optional

import attr

from regsys.model.identity import UserID

# Characters of a reason, that of a newcomer or that of a refusal.
MAX_REASON = 1000
# Control characters but for the end of a line, and marks that change the direction of the text:
# what an administrator reads must be what was written.
_CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain_text(text: str) -> Optional[str]:
    """The text with plain line ends, without white space around it; None if it contains control
    characters."""
    text = text.replace("\r\n", "\n").strip()
    return None if _CONTROLS.search(text) else text


@attr.frozen(kw_only=True)
class ApprovalRequest:
    """What is kept of the request for an account that waits. ``reason``: why the person wants an
    account; None if they were not asked. ``address``: the client's IP address. ``languages``: the
    client's, the preferred one first."""

    reason: Optional[str] = attr.field(default=None, repr=False)
    address: Optional[str] = attr.field(default=None, repr=False)
    languages: tuple[str, ...] = ()


@attr.frozen(kw_only=True)
class WaitingAccount:
    """An account that waits. ``emails`` and ``phones`` are those that it has validated. ``reason``
    and ``address`` as in ApprovalRequest; None if nothing is known of the request. ``created_ms``
    is when the account's row was made, which is the order of the queue: a guest's is older than its
    request."""

    user_id: UserID
    requested_ms: int
    created_ms: int
    display_name: Optional[str] = attr.field(default=None, repr=False)
    reason: Optional[str] = attr.field(default=None, repr=False)
    address: Optional[str] = attr.field(default=None, repr=False)
    emails: tuple[str, ...] = attr.field(default=(), repr=False)
    phones: tuple[str, ...] = attr.field(default=(), repr=False)

    @property
    def place(self) -> Place:
        """Its place in the queue."""
        return self.created_ms, str(self.user_id)


Place = tuple[int, str]


@attr.frozen(kw_only=True)
class Queue:
    """How many accounts wait, and since when the oldest of them does; None if none waits. At most
    MOST_COUNTED are looked at."""

    count: int
    oldest_ms: Optional[int]


MOST_COUNTED = 10_000


class Decision(str, enum.Enum):
    APPROVED = "approved"
    REFUSED = "refused"


@attr.frozen(kw_only=True)
class Decided:
    """What was decided about an account. ``by`` and ``decided_ms`` are None if that is not known:
    the account never waited, or its record has been deleted. ``is_new``: it was decided just now,
    not before. ``reason``: why it was refused. ``released``: it was a suspended newcomer's, who is
    released now."""

    user_id: UserID
    decision: Decision
    by: Optional[str] = None
    decided_ms: Optional[int] = None
    reason: Optional[str] = attr.field(default=None, repr=False)
    is_new: bool = False
    released: bool = False
