"""Rate limits, UIA sessions, and the proxies whose X-Forwarded-For is trusted."""

from __future__ import annotations

import ipaddress
from typing import Literal, Mapping, Optional, Union

import attr

from regsys.config.values import MINUTE_MS, Reader

# A whole institution may sit behind one address (contract B16.16).
_FEWEST_SESSIONS = 200


@attr.frozen
class Rate:
    """A leaky bucket: ``burst_count`` at once, then ``per_second``."""

    per_second: float
    burst_count: int


@attr.frozen(kw_only=True)
class LimitsConfig:
    """The rate limits. ``availability``: a rate, or ``one_at_a_time`` (one look-up at a time for
    each address, contract B16.9), or ``off``. ``all_mails`` and ``all_texts`` limit all users
    together (threat A3). ``registrations_per_hour`` and ``registrations_per_day`` cap those of all
    clients; None for no cap. ``shared``: whether all processes count together; None if only those
    do that are known to be several. ``connections`` and ``connections_per_ip``: the most open
    connections, in all and from one address; None to derive them from the process's limit of
    descriptors."""

    registration: Rate = Rate(0.17, 3)
    token_validity: Rate = Rate(0.1, 5)
    validation: Rate = Rate(0.003, 5)
    all_mails: Rate = Rate(10, 1000)
    all_texts: Rate = Rate(1, 100)
    registrations_per_hour: Optional[int] = None
    registrations_per_day: Optional[int] = None
    login_address: Rate = Rate(0.003, 5)
    login_account: Rate = Rate(0.003, 5)
    login_failed: Rate = Rate(0.17, 3)
    availability: Union[Rate, Literal["one_at_a_time", "off"]] = "one_at_a_time"
    shared: Optional[bool] = None
    connections: Optional[int] = None
    connections_per_ip: Optional[int] = None


_LIMITS = LimitsConfig()


def read_limits(reader: Reader) -> LimitsConfig:
    login = reader.section("rc_login")
    own = reader.section("regsys")
    total = own.section("rc_validation_total")
    caps = own.section("rc_registration_total")
    return LimitsConfig(
        registration=_read_rate(reader, "rc_registration", _LIMITS.registration),
        token_validity=_read_rate(reader, "rc_registration_token_validity", _LIMITS.token_validity),
        validation=_read_rate(reader, "rc_3pid_validation", _LIMITS.validation),
        all_mails=_read_rate(total, "email", _LIMITS.all_mails),
        all_texts=_read_rate(total, "msisdn", _LIMITS.all_texts),
        registrations_per_hour=caps.whole("per_hour", 1, 10**9),
        registrations_per_day=caps.whole("per_day", 1, 10**9),
        login_address=_read_rate(login, "address", _LIMITS.login_address),
        login_account=_read_rate(login, "account", _LIMITS.login_account),
        login_failed=_read_rate(login, "failed_attempts", _LIMITS.login_failed),
        availability=_read_availability(own),
        shared=own.word_flag("shared_limits"),
        connections=own.whole("connections", 1, 10**6),
        connections_per_ip=own.whole("connections_per_ip", 1, 10**6),
    )


def _read_rate(reader: Reader, name: str, default: Rate) -> Rate:
    section = reader.section(name)
    return Rate(
        section.number("per_second", 1e-6, 1e6) or default.per_second,
        section.whole("burst_count", 1, 10**9) or default.burst_count,
    )


def _read_availability(own: Reader) -> Union[Rate, Literal["one_at_a_time", "off"]]:
    value = own.take("rc_availability")
    if value is None or value is False:
        return "one_at_a_time" if value is None else "off"
    if not isinstance(value, Mapping):
        mend = "write {per_second: 1, burst_count: 10}, or false for no limit at all"
        own.problem("rc_availability", "neither a rate nor false", mend, value)
        return "one_at_a_time"
    rate = own.section("rc_availability")
    for name in ("per_second", "burst_count"):
        if name not in rate.data:
            rate.problem(name, "missing", "give both numbers")
    return _read_rate(own, "rc_availability", Rate(1, 1))


@attr.frozen(kw_only=True)
class SessionsConfig:
    """UIA sessions. ``replay_window_ms``: for how long a finished one repeats its answer (contract
    B8.4). ``per_address``: how many unfinished ones an address may have. ``confirmed_ms``: for how
    long a device need not reauthenticate again; 0 if it always must."""

    replay_window_ms: int = 10 * MINUTE_MS
    per_address: int = _FEWEST_SESSIONS
    confirmed_ms: int = 0


_SESSIONS = SessionsConfig()


def read_sessions(reader: Reader) -> SessionsConfig:
    own = reader.section("regsys")
    return SessionsConfig(
        replay_window_ms=own.duration("replay_window") or _SESSIONS.replay_window_ms,
        per_address=own.whole("sessions_per_ip", _FEWEST_SESSIONS, 10**9) or _SESSIONS.per_address,
        confirmed_ms=_read_confirmed(reader.section("ui_auth")),
    )


def _read_confirmed(section: Reader) -> int:
    # 0 means never for this option; elsewhere it is no duration.
    if section.data.get("session_timeout") in (0, "0"):
        section.take("session_timeout")
        return 0
    return section.duration("session_timeout") or 0


def read_trusted_proxies(reader: Reader) -> tuple[str, ...]:
    """Addresses and networks, each one valid for ``ipaddress.ip_network``."""
    own = reader.section("regsys")
    proxies = own.texts("trusted_proxies")
    for index, proxy in enumerate(proxies):
        try:
            ipaddress.ip_network(proxy)
        except ValueError:
            name, mend = f"trusted_proxies[{index}]", "write one such as 192.0.2.7 or 10.0.0.0/8"
            own.problem(name, "not an address or a network's own address", mend, proxy)
    return proxies
