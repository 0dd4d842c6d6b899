"""Problems and warnings about options whose values are valid one by one (contract B15)."""

from __future__ import annotations

from typing import Mapping, Optional, Sequence

from regsys.config.access_tokens import TokensConfig
from regsys.config.database import DatabaseConfig
from regsys.config.limits import LimitsConfig
from regsys.config.listeners import Listener
from regsys.config.redis import RedisConfig
from regsys.config.registration import RegistrationConfig
from regsys.config.threepids import ThreepidsConfig
from regsys.config.values import Reader, is_on

# The options that count as verification of new users.
_VERIFICATIONS = ("registration_requires_token", "enable_registration_captcha")
# Options that elsewhere decide who may register or log in and here have no effect; what that means.
_GUARDS = {
    "spam_checker": "no spam checker is asked about registrations",
    "third_party_event_rules": "no such rules are asked about addresses or events",
    "password_providers": "passwords are compared with regsys's own accounts alone, not with LDAP"
    " or whatever else the providers ask; modules that check passwords stand under modules",
    "ldap_config": "passwords are not compared with LDAP",
    "oidc_providers": "nobody registers or logs in through OpenID Connect",
    "oidc_config": "nobody registers or logs in through OpenID Connect",
    "saml2_config": "nobody registers or logs in through SAML",
    "cas_config": "nobody registers or logs in through CAS",
    "jwt_config": "nobody registers or logs in with a JSON Web Token",
    "sso": "there is no single sign-on, so its rules do not apply",
    "account_validity": "accounts do not expire",
    "login_via_existing_session": "no session can log another one in",
}


def _is_used(value: object) -> bool:
    """Whether an option asks for something: it is neither empty nor switched off."""
    if isinstance(value, Mapping):
        if "enabled" in value:
            return is_on(value["enabled"])
        return any(_is_used(item) for item in value.values())
    return value not in (None, False, "", [])


def check_guards(reader: Reader) -> None:
    """Warn of each option that should refuse or allow registrations or logins, and does not."""
    for name, meaning in _GUARDS.items():
        if _is_used(reader.peek(name)):
            reader.warnings.append(f"{name} has no effect in regsys: {meaning}.")


def check_registration(
    reader: Reader,
    registration: RegistrationConfig,
    tokens: TokensConfig,
    threepids: ThreepidsConfig,
) -> None:
    """Report open registration without verification; warn if guests are refused in spite of
    ``allow_guest_access``."""
    if registration.allow_guest_access and tokens.session_lifetime_ms is not None:
        reader.warnings.append(
            "session_lifetime is set, but a guest's login cannot end: "
            "guests are refused in spite of allow_guest_access."
        )
    verified = threepids.required or any(is_on(reader.peek(name)) for name in _VERIFICATIONS)
    unverified_allowed = reader.word_flag("enable_registration_without_verification")
    if not registration.enabled:
        return
    if not (verified or unverified_allowed):
        reader.problem(
            "enable_registration",
            "anybody could register, without any verification",
            "set it to false, or registration_requires_token or enable_registration_captcha to "
            "true, or registrations_require_3pid to [email], or, if that is what you want, "
            "enable_registration_without_verification",
            True,
        )


def check_shared_limits(
    reader: Reader, database: DatabaseConfig, limits: LimitsConfig, redis: Optional[RedisConfig]
) -> None:
    """Report limits that are to be shared, where there is no place to count them together."""
    if limits.shared and redis is None and database.engine != "postgres":
        reader.section("regsys").problem(
            "shared_limits",
            "processes cannot count together in SQLite",
            "use PostgreSQL, or enable redis, or leave the option out",
            True,
        )


def address_warnings(
    listeners: Sequence[Listener], trusted_proxies: Sequence[str]
) -> tuple[str, ...]:
    """A warning if any client can claim any address (contract B16.10)."""
    if trusted_proxies or not any(listener.x_forwarded for listener in listeners):
        return ()
    return (
        "A listener has x_forwarded, but regsys.trusted_proxies is not set: the first address "
        "of X-Forwarded-For counts, and a client can write there what it likes. "
        "List your reverse proxies.",
    )
