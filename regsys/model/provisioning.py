"""What a homeserver says of a user whom its auth service asks about, and attempts to make one."""

from __future__ import annotations

from enum import Enum, auto
from typing import Optional

import attr

from regsys.model.identity import UserID


class Provisioned(Enum):
    """How a call to make a user has ended."""

    MADE = auto()
    # The user was there before this call.
    THERE = auto()
    # The user is there. The call was sent twice, so this may be its own doing.
    UNCLEAR = auto()


@attr.frozen(kw_only=True)
class HomeserverUser:
    """``appservice_id``: the application service that has made the user; None if none has, or one
    whose namespace is not exclusive. ``created_ms`` is by our clock, to a second or two."""

    appservice_id: Optional[str]
    created_ms: int
    deactivated: bool = False


@attr.frozen(kw_only=True)
class Attempt:
    """The lease to make this account at the homeserver. Of several attempts the latest ``number``
    has it. ``earlier_ms``: since when an earlier one, whose answer nobody knows, may have made the
    user; None if none may have. ``is_made``: one is known to have."""

    user_id: UserID
    job_id: str
    number: int
    began_ms: int
    earlier_ms: Optional[int] = None
    is_made: bool = False

    @classmethod
    def first(cls, user_id: UserID, job_id: str, began_ms: int) -> Attempt:
        """The one with which the account is born."""
        return cls(user_id=user_id, job_id=job_id, number=1, began_ms=began_ms)
