"""What administrators see of accounts, and change."""

from __future__ import annotations

import enum
from typing import Optional

import attr

from regsys.model.identity import UserID

# Who makes a change on the command line, where nobody has an access token.
CLI = "cli"


@attr.frozen(kw_only=True)
class AccountChange:
    """What an administrator changes of one account, in one transaction.

    ``by``: the administrator's user ID, or CLI. None leaves a field as it is; an empty
    ``display_name`` or ``user_type`` removes it. ``ends_logins``: a new password ends all logins
    but that of ``keeps_device``. ``external_ids``: all that the account is to have, as pairs of
    login provider and id there.
    """

    user_id: UserID
    by: str
    password_hash: Optional[str] = attr.field(default=None, repr=False)
    ends_logins: bool = True
    keeps_device: Optional[str] = None
    admin: Optional[bool] = None
    display_name: Optional[str] = None
    user_type: Optional[str] = None
    external_ids: Optional[tuple[tuple[str, str], ...]] = None


@attr.frozen(kw_only=True)
class UserEntry:
    """An account in a list. ``seen_ms`` is None if it is not known."""

    user_id: UserID
    created_ms: int
    is_guest: bool
    admin: bool
    approved: bool
    deactivated: bool
    erased: bool
    shadow_banned: bool
    user_type: Optional[str]
    appservice_id: Optional[str]
    display_name: Optional[str]
    seen_ms: Optional[int]


class UserOrder(enum.Enum):
    """By what a list of accounts is ordered; accounts that are equal in it are ordered by their
    user IDs."""

    NAME = "name"
    CREATED = "creation_ts"
    SEEN = "last_seen_ts"
    DISPLAY_NAME = "displayname"
    GUEST = "is_guest"
    ADMIN = "admin"
    DEACTIVATED = "deactivated"
    SHADOW_BANNED = "shadow_banned"
    USER_TYPE = "user_type"


@attr.frozen(kw_only=True)
class UserFilter:
    """Which accounts are listed. None does not restrict; True are those alone, False the others.

    ``name``: a part of the user name or of the display name; ``user_id``: a part of the user ID;
    both whatever the case of letters. ``address``: medium and address in canonical form; an address
    that begins with ``@`` is a whole domain. ``without_types``: user types that are left out, with
    None for users who have none.
    """

    name: Optional[str] = None
    user_id: Optional[str] = None
    address: Optional[tuple[str, str]] = None
    is_guest: Optional[bool] = None
    admin: Optional[bool] = None
    approved: Optional[bool] = None
    deactivated: Optional[bool] = None
    without_types: tuple[Optional[str], ...] = ()
