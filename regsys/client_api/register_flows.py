"""The flows of POST /register, from the configuration (contract B8.6)."""

from __future__ import annotations

from regsys.config import Config, RegistrationConfig
from regsys.uia.stage_types import (
    CAPTCHAS,
    DUMMY,
    EMAIL_IDENTITY,
    MSISDN_STAGE,
    REASON,
    REGISTRATION_TOKEN,
    TERMS,
)


def registration_flows(config: Config) -> tuple[tuple[str, ...], ...]:
    """The flows of POST /register, in the order of the 401."""
    required = _required_stages(config)
    return tuple(
        (*(stage for stage in required if stage not in way), *way) for way in _alternatives(config)
    )


def _alternatives(config: Config) -> list[tuple[str, ...]]:
    """The alternative stages by which a user registers."""
    offered, required = config.threepids.offered, config.threepids.required
    table = (
        ((DUMMY,), not required),
        ((EMAIL_IDENTITY,), "email" in offered and "msisdn" not in required),
        ((MSISDN_STAGE,), "msisdn" in offered and "email" not in required),
        ((MSISDN_STAGE, EMAIL_IDENTITY), {"email", "msisdn"} <= offered),
    )
    ways: list[tuple[str, ...]] = [way for way, is_open in table if is_open]
    if config.registration.token_bypasses_3pid:
        ways.append((REGISTRATION_TOKEN,))
    return ways


def _required_stages(config: Config) -> tuple[str, ...]:
    """The stages that every flow begins with, unless it has them already."""
    captcha = config.captcha
    table = (
        (REGISTRATION_TOKEN, config.registration.requires_token),
        (CAPTCHAS[captcha.kind] if captcha else "", captcha is not None and captcha.required),
        (TERMS, bool(config.terms.at_registration)),
        (REASON, config.approval.ask_reason),
    )
    return tuple(stage for stage, asked in table if asked)


def uses_tokens(config: RegistrationConfig) -> bool:
    """Whether the token stage is on offer at all (B16.2)."""
    return config.requires_token or config.token_bypasses_3pid
