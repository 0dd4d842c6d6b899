"""Passwords: where they may be used, how they are hashed, and what a new one must contain."""

from __future__ import annotations

import attr

from regsys.config.values import Reader
from regsys.json_body import MAX_PASSWORD
from regsys.model import Secret


@attr.frozen(kw_only=True)
class PasswordPolicy:
    """What a new password must contain (contract B14.3); nothing unless ``enabled``."""

    enabled: bool = False
    minimum_length: int = 0
    require_digit: bool = False
    require_symbol: bool = False
    require_lowercase: bool = False
    require_uppercase: bool = False


@attr.frozen(kw_only=True)
class PasswordsConfig:
    """How passwords are checked and hashed (contract B14).

    ``login_enabled``: users may log in with a password; ``reauth_enabled``: they may
    reauthenticate with it; ``localdb_enabled``: both with the passwords of our database.
    ``truncate_long``: bytes after the 72nd do not count, as on other servers.
    """

    login_enabled: bool = True
    reauth_enabled: bool = True
    localdb_enabled: bool = True
    pepper: Secret = Secret("")
    bcrypt_rounds: int = 12
    policy: PasswordPolicy = PasswordPolicy()
    truncate_long: bool = False


_PASSWORDS = PasswordsConfig()


def read_passwords(reader: Reader, oauth_only: bool) -> PasswordsConfig:
    section = reader.section("password_config")
    policy = section.section("policy")
    pepper = section.take("pepper")
    if pepper is not None and not isinstance(pepper, str):
        section.problem("pepper", "not text", "put it in quotes")
    long_passwords = reader.section("regsys").choice("long_passwords", ("prehash", "truncate"))
    login, reauth = _read_password_login(section)
    return PasswordsConfig(
        login_enabled=login and not oauth_only,
        reauth_enabled=reauth and not oauth_only,
        localdb_enabled=section.flag("localdb_enabled", default=True),
        pepper=Secret(pepper if isinstance(pepper, str) else ""),
        bcrypt_rounds=reader.whole("bcrypt_rounds", 4, 31) or _PASSWORDS.bcrypt_rounds,
        policy=PasswordPolicy(
            enabled=policy.flag("enabled"),
            minimum_length=policy.whole("minimum_length", 0, MAX_PASSWORD) or 0,
            require_digit=policy.flag("require_digit"),
            require_symbol=policy.flag("require_symbol"),
            require_lowercase=policy.flag("require_lowercase"),
            require_uppercase=policy.flag("require_uppercase"),
        ),
        truncate_long=long_passwords == "truncate",
    )


def _read_password_login(section: Reader) -> tuple[bool, bool]:
    """Whether passwords may be used for login, and for reauthentication."""
    value = section.take("enabled")
    if not (value is None or isinstance(value, bool) or value == "only_for_reauth"):
        mend = "write true, false or only_for_reauth"
        section.problem("enabled", "not known here", mend, value)
    login = value is None or value is True
    return login, login or value == "only_for_reauth"
