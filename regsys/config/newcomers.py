"""What newcomers may do at first (``regsys.newcomers``, contract B17.7)."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.config.values import Reader

WAITING, SUSPENDED = "waiting", "suspended"


@attr.frozen(kw_only=True)
class NewcomersConfig:
    """Newcomers are suspended at the homeserver whose auth service this is, until somebody releases
    them. ``after_ms``: they are released after that time; None if not by time. ``or_with_address``:
    an address that they have validated releases them."""

    after_ms: Optional[int] = None
    or_with_address: bool = False


def read_newcomers(
    section: Reader, *, is_delegated: bool, waits: bool
) -> tuple[bool, Optional[NewcomersConfig]]:
    """``regsys.newcomers``: whether newcomers wait for approval, and how they are suspended; None
    if they are not. ``waits``: they wait by the option of homeservers."""
    state = section.choice("state", (WAITING, SUSPENDED))
    after_ms, or_with_address = section.duration("after"), section.flag("or_with_address")
    if state != SUSPENDED:
        for name, value in (("after", after_ms), ("or_with_address", or_with_address)):
            if value:
                mend = f"write state: {SUSPENDED}, or leave it out"
                section.problem(name, "is about suspended newcomers alone", mend)
        return waits or state == WAITING, None
    if not is_delegated:
        section.problem(
            "state",
            "only a homeserver can suspend users, and only its auth service may ask it to",
            "write waiting, or let regsys be the auth service of your Synapse (docs/synapse.md)",
            state,
        )
    if waits:
        section.problem(
            "state",
            "newcomers who wait for approval (experimental_features.msc3866) have no login that"
            " could be suspended",
            "keep one of the two",
            state,
        )
    return waits, NewcomersConfig(after_ms=after_ms, or_with_address=or_with_address)
