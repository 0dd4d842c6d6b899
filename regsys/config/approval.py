"""``regsys.approval``: what surrounds the approval of new accounts (contract B2.8)."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.config.values import DAY_MS, MINUTE_MS, Reader
from regsys.errors import InvalidParam
from regsys.model.canonical_threepids import EMAIL, canonical_threepid

INTERVAL_MS, KEPT_MS = 60 * MINUTE_MS, 30 * DAY_MS


@attr.frozen(kw_only=True)
class ApprovalConfig:
    """``ask_reason``: people who register are asked why. ``notify``: the addresses of
    administrators who are told by mail of accounts that wait, in ``notify_language`` (a language
    tag; None for English) and at most once in ``notify_interval_ms``. ``kept_ms``: how long a
    decision is kept."""

    ask_reason: bool = False
    notify: tuple[str, ...] = ()
    notify_language: Optional[str] = None
    notify_interval_ms: int = INTERVAL_MS
    kept_ms: int = KEPT_MS


def read_approval(section: Reader, *, requires_approval: bool, has_mails: bool) -> ApprovalConfig:
    ask_reason, notify = section.flag("ask_reason"), _read_addresses(section)
    interval_ms = section.duration("notify_interval")
    if interval_ms is not None and interval_ms < MINUTE_MS:
        mend = "write a minute or more, such as 1h"
        wrong = "shorter than a minute"
        section.problem("notify_interval", wrong, mend, section.take("notify_interval"))
    if ask_reason and not requires_approval:
        section.warnings.append(
            f"{section.path}.ask_reason has no effect: new accounts need no approval"
            " (experimental_features.msc3866)."
        )
    if notify and not has_mails:
        section.problem(
            "notify", "there is no mail server", "set the section email, or leave notify out"
        )
    return ApprovalConfig(
        ask_reason=ask_reason and requires_approval,
        notify=notify,
        notify_language=section.text("notify_language"),
        notify_interval_ms=interval_ms or INTERVAL_MS,
        kept_ms=section.duration("keep_decisions") or KEPT_MS,
    )


def _read_addresses(section: Reader) -> tuple[str, ...]:
    found = []
    for index, text in enumerate(section.texts("notify")):
        try:
            found.append(canonical_threepid(EMAIL, text))
        except InvalidParam:
            mend = "write one address an item, such as admin@example.com"
            section.problem(f"notify[{index}]", "not an email address", mend, text)
    return tuple(dict.fromkeys(found))
