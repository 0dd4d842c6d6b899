"""Application services, as their registration files describe them (contract B3.1)."""

from __future__ import annotations

import re

import attr

from regsys.model.identity import Secret


@attr.frozen
class UserNamespace:
    """The user IDs that ``regex`` matches at their start. ``exclusive``: only this service may
    register them."""

    regex: re.Pattern[str]
    exclusive: bool


@attr.frozen(kw_only=True)
class Appservice:
    """An application service. ``sender_localpart``: the service's own user. The first of ``users``
    that matches a user ID decides whether it is exclusive. If ``may_log_in`` is False, the service
    may register users, but they get no devices or tokens (MSC4190, or accounts by OAuth only)."""

    id: str
    as_token: Secret
    sender_localpart: str
    users: tuple[UserNamespace, ...] = ()
    may_log_in: bool = True
