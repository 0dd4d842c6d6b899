"""When nobody may register or log in: the server is disabled, or full (contract B9)."""

from __future__ import annotations

import re
from typing import Mapping, Optional

import attr

from regsys.config.threepids import MEDIA
from regsys.config.values import DAY_MS, Reader

# More users than there are people, and more days than a life has.
_MOST_USERS, _MOST_DAYS = 10**10, 36_500
_ADDRESSES = {"email": re.compile(r"[^@\s]+@[^@\s]+"), "msisdn": re.compile(r"\+?[0-9]{3,15}")}


@attr.frozen(kw_only=True)
class BlockingConfig:
    """``disabled``: nobody may register or log in, and ``disabled_message`` says why; None for our
    own sentence. ``admin_contact``: where a refused user may ask; None if nowhere.

    ``max_users``: how many may use the server in a month; None for any number. ``counts_users``:
    monthly active users are counted, with a limit or without. The owners of ``reserved`` addresses
    (medium, canonical form) pass the limit. A user counts once the account is older than
    ``trial_ms``, an application service's user after the ``service_trial_ms`` of the service's id.
    ``counts_services``: whether application services' users count at all.
    """

    admin_contact: Optional[str] = None
    disabled: bool = False
    disabled_message: Optional[str] = None
    max_users: Optional[int] = None
    counts_users: bool = False
    reserved: frozenset[tuple[str, str]] = frozenset()
    trial_ms: int = 0
    service_trial_ms: Mapping[str, int] = attr.field(factory=dict)
    counts_services: bool = False


def read_blocking(reader: Reader) -> BlockingConfig:
    limited = reader.flag("limit_usage_by_mau")
    max_users = reader.whole("max_mau_value", 0, _MOST_USERS) or 0
    only_counted = reader.flag("mau_stats_only")
    # The default is on: warn only if the file sets it.
    alerting = reader.flag("mau_limit_alerting")
    if limited and not max_users:
        reader.warnings.append(
            "limit_usage_by_mau is on, but max_mau_value is 0: nobody may register or log in."
        )
    if limited and alerting:
        reader.warnings.append(
            "mau_limit_alerting has no effect: regsys sends no server notice when the limit is "
            "reached. Watch the metric regsys_monthly_active_users."
        )
    trial_days = reader.whole("mau_trial_days", 0, _MOST_DAYS) or 0
    return BlockingConfig(
        admin_contact=reader.text("admin_contact"),
        disabled=reader.flag("hs_disabled"),
        disabled_message=reader.text("hs_disabled_message"),
        max_users=max_users if limited else None,
        counts_users=limited or only_counted,
        reserved=_read_reserved(reader),
        trial_ms=trial_days * DAY_MS,
        service_trial_ms=_read_service_trials(reader.section("mau_appservice_trial_days")),
        counts_services=reader.flag("track_appservice_user_ips"),
    )


def _read_reserved(reader: Reader) -> frozenset[tuple[str, str]]:
    reserved = set()
    for entry in reader.items("mau_limit_reserved_threepids"):
        medium, address = entry.choice("medium", MEDIA), entry.text("address")
        for name, value in (("medium", medium), ("address", address)):
            if value is None and entry.data.get(name) is None:
                entry.problem(name, "missing", "write {medium: email, address: who@example.com}")
        if medium is None or address is None:
            continue
        if not _ADDRESSES[medium].fullmatch(address.strip()):
            mend = "write name@domain for an email, the digits of E.164 for a phone number"
            entry.problem("address", "not an address of this kind", mend, address)
            continue
        reserved.add((medium, _canonical(medium, address.strip())))
    return frozenset(reserved)


def _canonical(medium: str, address: str) -> str:
    """The canonical form of an address (contract B7.1), in which they are compared."""
    if medium == "msisdn":
        return address.lstrip("+")
    local, _, domain = address.partition("@")
    return f"{local.casefold()}@{domain.lower()}"


def _read_service_trials(section: Reader) -> Mapping[str, int]:
    days = {str(name): section.whole(name, 0, _MOST_DAYS) for name in section.data}
    return {name: number * DAY_MS for name, number in days.items() if number is not None}
