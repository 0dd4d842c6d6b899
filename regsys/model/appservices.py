"""Application services, as their registration files describe them (contract B3.1)."""

from __future__ import annotations

import re

import attr

from regsys.model.identity import Secret


@attr.frozen
class UserNamespace:
    """User IDs that a service takes an interest in: those that ``regex`` matches from their
    start. ``exclusive``: only this service may register them."""

    regex: re.Pattern[str]
    exclusive: bool


@attr.frozen(kw_only=True)
class Appservice:
    """``sender_localpart`` names the service's own user. Of ``users`` the first entry that matches
    a user ID decides whether that is exclusive. ``may_log_in`` False: accounts and nothing else
    for its users, no devices or tokens (MSC4190, or accounts that come by OAuth only)."""

    id: str
    as_token: Secret
    sender_localpart: str
    users: tuple[UserNamespace, ...] = ()
    may_log_in: bool = True
