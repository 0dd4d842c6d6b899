"""What newcomers may do at first (``regsys.newcomers``, contract B17.7)."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.config.values import Reader, is_given

WAITING, SUSPENDED = "waiting", "suspended"
_RELEASES = ("after", "or_with_address")


@attr.frozen(kw_only=True)
class NewcomersConfig:
    """Newcomers are suspended at the homeserver whose auth service this is, until somebody releases
    them. ``after_ms``: they are released after that time; None if not by time. ``or_with_address``:
    an address that they have validated releases them."""

    after_ms: Optional[int] = None
    or_with_address: bool = False


def read_newcomers(section: Reader, *, is_delegated: bool, waits: bool) -> Optional[str]:
    """``regsys.newcomers.state``. ``waits``: newcomers wait for approval, by the option of old."""
    state = section.choice("state", (WAITING, SUSPENDED))
    given = [name for name in _RELEASES if is_given(section.data.get(name))]
    if state == SUSPENDED and not is_delegated:
        section.problem(
            "state",
            "only a homeserver can suspend users, and only its auth service may ask it to",
            "write waiting, or let regsys be the auth service of your Synapse (docs/synapse.md)",
            state,
        )
    if state == SUSPENDED and waits:
        section.problem(
            "state",
            "newcomers who wait for approval (experimental_features.msc3866) have no login that"
            " could be suspended",
            "keep one of the two",
            state,
        )
    if state != SUSPENDED and given:
        mend = f"write state: {SUSPENDED}, or leave it out"
        section.problem(given[0], "is about suspended newcomers alone", mend)
    return state


def read_suspension(section: Reader) -> NewcomersConfig:
    """The rest of ``regsys.newcomers``, where they are suspended."""
    return NewcomersConfig(
        after_ms=section.duration("after"), or_with_address=section.flag("or_with_address")
    )
