"""The audit log's values: by what rule an account was allowed, and an entry."""

from __future__ import annotations

import secrets
from typing import Any, Mapping, Optional

import attr

from regsys.model.typed import typed

# What has happened, where an account was made or refused. Other entries name an act.
REGISTERED, REFUSED, ERASED = "registered", "refused", "erased"
# Letters of a registration token that are told. A short token would be told whole.
HINT_LETTERS, HINT_PART = 4, 3


@attr.frozen(kw_only=True, field_transformer=typed)
class Allowed:
    """By what ``rule`` an account is allowed, for the entry that is written with it. ``by``: who
    makes it for its person; None if they do that themselves. ``address``: where it is asked for
    from, as far as addresses are kept; None if that is not known."""

    rule: str
    by: Optional[str] = None
    address: Optional[str] = None
    details: Mapping[str, Any] = attr.field(factory=dict)


def _drawn() -> str:
    return secrets.token_hex(16)


@attr.frozen(kw_only=True)
class AuditEntry:
    """One entry. ``user_id``: the account that it is about; None for none, or if that must not be
    told. ``by``: who has done it (``@admin:server``, ``cli`` …); None if the account's person has.
    ``rule``: what has allowed or refused it; None where no rule decides. ``times``: how often,
    since ``when_ms``, as refusals of one minute are one entry."""

    when_ms: int
    what: str
    user_id: Optional[str] = None
    by: Optional[str] = None
    address: Optional[str] = None
    rule: Optional[str] = None
    times: int = 1
    details: Mapping[str, Any] = attr.field(factory=dict)
    entry_id: str = attr.field(factory=_drawn)


@attr.frozen(kw_only=True)
class AuditFilter:
    """Which entries are meant; None for any. ``addresses``: any of these. ``rule`` is a whole rule,
    or its first word. ``since_ms`` is included, ``until_ms`` is not."""

    user_id: Optional[str] = None
    by: Optional[str] = None
    what: Optional[str] = None
    rule: Optional[str] = None
    addresses: Optional[tuple[str, ...]] = None
    since_ms: Optional[int] = None
    until_ms: Optional[int] = None


def token_hint(token: str) -> str:
    """The first letters of a registration token, which tell an operator which one is meant and do
    not let anybody register."""
    return token[: min(HINT_LETTERS, len(token) // HINT_PART)] + "…"
