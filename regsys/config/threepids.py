"""Email addresses and phone numbers (3PIDs): which are allowed or required, and how validated."""

from __future__ import annotations

import re
from itertools import compress
from typing import Optional, Sequence

import attr

from regsys.config.values import MINUTE_MS, Reader

MEDIA = ("email", "msisdn")


@attr.frozen
class AllowedThreepid:
    """One entry of ``allowed_local_3pids``. ``pattern`` must match at the start of the canonical
    address, not to its end."""

    medium: str
    pattern: re.Pattern[str]


@attr.frozen(kw_only=True)
class ThreepidsConfig:
    """Third-party identifiers (contract B7).

    ``offered``: the media whose addresses a registration can validate; ``addable``: those whose
    addresses an account can add; ``required``: those that every registration must validate. If
    ``allowed`` is empty, every address is allowed. ``hide_taken``: requestToken does not tell that
    an address is taken. ``may_change``: users may add and remove addresses. ``name_from``: the
    medium whose address becomes the user name; None if it is chosen. ``email_is_display_name``: the
    address becomes the first display name. If ``next_link_domains`` is None, every host is allowed.
    ``token_lifetime_ms``: how long the link in a mail is valid. ``confirm_on_get``: opening it
    confirms, without a button. ``mail_needs_stages``: no mail before the earlier stages are passed.
    """

    offered: frozenset[str] = frozenset()
    addable: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    allowed: tuple[AllowedThreepid, ...] = ()
    hide_taken: bool = False
    may_change: bool = True
    name_from: Optional[str] = None
    email_is_display_name: bool = False
    next_link_domains: Optional[frozenset[str]] = None
    token_lifetime_ms: int = 60 * MINUTE_MS
    confirm_on_get: bool = False
    mail_needs_stages: bool = False


_THREEPIDS = ThreepidsConfig()


def read_threepids(
    reader: Reader, has_mails: bool, has_phones: bool, oauth_only: bool
) -> ThreepidsConfig:
    """``oauth_only``: changes of addresses are off, unless the file switches them on."""
    lifetime_ms = reader.section("email").duration("validation_token_lifetime")
    addable = frozenset(compress(MEDIA, (has_mails, has_phones)))
    no_phones = reader.flag("disable_msisdn_registration")
    offered = addable - {"msisdn"} if no_phones else addable
    required, allowed = _read_required(reader, offered), _read_allowed(reader)
    _check_allowed(reader, required, allowed)
    return ThreepidsConfig(
        offered=offered,
        addable=addable,
        required=required,
        allowed=allowed,
        hide_taken=reader.flag("request_token_inhibit_3pid_errors"),
        name_from=reader.choice("register_mxid_from_3pid", MEDIA),
        email_is_display_name=reader.flag("register_just_use_email_for_display_name"),
        may_change=reader.flag("enable_3pid_changes", default=not oauth_only),
        next_link_domains=_read_domains(reader),
        token_lifetime_ms=lifetime_ms or _THREEPIDS.token_lifetime_ms,
        mail_needs_stages=reader.section("regsys").flag("mail_needs_stages"),
        confirm_on_get=reader.section("regsys").flag("email_confirm_on_get"),
    )


def _read_required(reader: Reader, offered: frozenset[str]) -> frozenset[str]:
    """The required media; a problem for one that cannot be validated (contract B8.6)."""
    name = "registrations_require_3pid"
    required = set()
    no_phones = reader.flag("disable_msisdn_registration")
    for index, medium in enumerate(reader.texts(name)):
        if medium not in MEDIA:
            mend = f"write one of {', '.join(MEDIA)}"
            reader.problem(f"{name}[{index}]", "not known here", mend, medium)
        elif medium != "msisdn" or not no_phones:
            required.add(medium)
    if "email" in required - offered:
        mend = "set the email section, or don't require an address"
        reader.problem(name, "without mails no email address can be validated", mend, "email")
    if "msisdn" in required - offered:
        mend = (
            "set regsys.sms or account_threepid_delegates.msisdn, or "
            "disable_msisdn_registration, or don't require a number"
        )
        reader.problem(name, "phone numbers cannot be validated", mend, "msisdn")
    return frozenset(required)


def _read_allowed(reader: Reader) -> tuple[AllowedThreepid, ...]:
    allowed = []
    for entry in reader.items("allowed_local_3pids"):
        medium, pattern = entry.choice("medium", MEDIA), _read_pattern(entry)
        if entry.data.get("medium") is None:
            entry.problem("medium", "missing", f"write one of {', '.join(MEDIA)}")
        if medium is not None and pattern is not None:
            allowed.append(AllowedThreepid(medium, pattern))
    return tuple(allowed)


def _check_allowed(
    reader: Reader, required: frozenset[str], allowed: Sequence[AllowedThreepid]
) -> None:
    """A problem for a required medium of which no address is allowed."""
    lacking = sorted(required - {item.medium for item in allowed}) if allowed else []
    for medium in lacking:
        reader.problem(
            "allowed_local_3pids",
            f"allows no address of the medium {medium}, which registrations_require_3pid asks for",
            f"add an entry for {medium}, or don't require it",
        )


def _read_pattern(entry: Reader) -> Optional[re.Pattern[str]]:
    text = entry.text("pattern")
    if text is None:
        if not entry.data.get("pattern"):
            entry.problem("pattern", "missing", "write a regular expression in quotes")
        return None
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        entry.problem("pattern", f"no regular expression: {error}", "mend it", text)
        return None
    if not re.search(r"(?<!\\)(\\\\)*(\$|\\Z)\)*$", text):
        entry.warnings.append(
            f"{entry.name_of('pattern')} has no $ at its end: it also allows addresses that only "
            f"begin as it says, such as those of longer domains ({text!r})."
        )
    return pattern


def _read_domains(reader: Reader) -> Optional[frozenset[str]]:
    name = "next_link_domain_whitelist"
    domains = frozenset(domain.lower() for domain in reader.texts(name))
    # An empty list allows none; without a list all are allowed.
    return None if reader.take(name) is None else domains
