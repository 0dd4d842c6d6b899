"""Who may use a validation session, and for what: the column user_id of its row."""

from __future__ import annotations

from typing import Optional

from regsys.model import MailPurpose, UserID

# In the column user_id, where an account that is to get the address has its user ID: for the first
# account that presents the session, and for a reset of the password of the user who follows. No
# user ID begins like these, so that no session is good for another purpose.
ANY_ACCOUNT, RESET = "*", "reset "


def requester(purpose: MailPurpose, user_id: Optional[UserID]) -> str:
    """What the column user_id holds."""
    if purpose is MailPurpose.PASSWORD_RESET:
        return f"{RESET}{user_id or ''}"
    if user_id is not None:
        return str(user_id)
    return ANY_ACCOUNT if purpose is MailPurpose.ADD_THREEPID else ""


def purpose_and_user(value: str) -> tuple[MailPurpose, Optional[UserID]]:
    """What the column user_id means."""
    if value == "":
        return MailPurpose.REGISTRATION, None
    if value == ANY_ACCOUNT:
        return MailPurpose.ADD_THREEPID, None
    if not value.startswith(RESET):
        return MailPurpose.ADD_THREEPID, UserID.parse(value)
    user_id = value[len(RESET) :]
    return MailPurpose.PASSWORD_RESET, UserID.parse(user_id) if user_id else None
