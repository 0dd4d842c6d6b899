"""Who may register, and under which names."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.config.values import DAY_MS, Reader
from regsys.model import Secret
from regsys.model.accounts import UNREAL_USER_TYPES


@attr.frozen(kw_only=True)
class RegistrationConfig:
    """Who may register, and under which names (contract B1, B2).

    ``user_types``: every type that an account may have beside None, a normal user. If
    ``guest_expiry_ms`` is None, idle guests do not expire. If ``server_notices_localpart`` is None,
    there is no such user. If ``shared_secret`` is None, registration with it is off.
    ``in_directory``: new users may be found in the user directory.
    ``appservice_may_set_password``: application services may give the accounts that they create a
    password, a display name and addresses. ``hold_names``: a user name is held for the UIA session
    that has named it.
    """

    enabled: bool = False
    allow_guest_access: bool = False
    guest_expiry_ms: Optional[int] = None
    inhibit_user_in_use_error: bool = False
    allow_underscore_prefixed_localpart: bool = False
    default_user_type: Optional[str] = None
    user_types: frozenset[str] = UNREAL_USER_TYPES
    enable_set_displayname: bool = True
    requires_approval: bool = False
    requires_token: bool = False
    token_bypasses_3pid: bool = False
    server_notices_localpart: Optional[str] = None
    shared_secret: Optional[Secret] = None
    appservice_may_set_password: bool = False
    in_directory: bool = True
    hold_names: bool = False


def read_registration(reader: Reader, oauth_only: bool) -> RegistrationConfig:
    enabled = reader.word_flag("enable_registration")
    disabled = reader.word_flag("disable_registration")
    allow_guests = reader.flag("allow_guest_access")
    if disabled is not None:
        enabled = not disabled
    shared_secret = reader.secret("registration_shared_secret", makes_file=True)
    if oauth_only and (enabled or allow_guests or shared_secret is not None):
        reader.warnings.append(
            "Accounts come from an authentication service (OAuth only): enable_registration, "
            "allow_guest_access and registration_shared_secret have no effect."
        )
    default_type, types = _read_user_types(reader.section("user_types"))
    return RegistrationConfig(
        enabled=bool(enabled) and not oauth_only,
        allow_guest_access=allow_guests and not oauth_only,
        guest_expiry_ms=_read_guest_expiry(reader.section("regsys")),
        inhibit_user_in_use_error=reader.flag("inhibit_user_in_use_error"),
        allow_underscore_prefixed_localpart=reader.flag("allow_underscore_prefixed_localpart"),
        default_user_type=default_type,
        user_types=types,
        enable_set_displayname=reader.flag("enable_set_displayname", default=True),
        requires_approval=_read_approval(reader),
        requires_token=reader.flag("registration_requires_token"),
        token_bypasses_3pid=reader.flag("enable_registration_token_3pid_bypass"),
        server_notices_localpart=_read_server_notices(reader.section("server_notices")),
        shared_secret=None if oauth_only else shared_secret,
        appservice_may_set_password=reader.section("regsys").flag("appservice_may_set_password"),
        in_directory=reader.flag("show_users_in_user_directory", default=True),
        hold_names=reader.section("regsys").flag("hold_names"),
    )


def read_oauth_only(reader: Reader) -> bool:
    """Whether only application services may register users (either form of the option)."""
    experimental = reader.section("experimental_features").section("msc3861")
    stable = reader.section("matrix_authentication_service")
    # Read both, so that neither is reported as unused.
    return any([stable.flag("enabled"), experimental.flag("enabled")])


def _read_guest_expiry(section: Reader) -> Optional[int]:
    expiry_ms = section.duration("guest_expiry")
    if expiry_ms is not None and expiry_ms < DAY_MS:
        mend = "write a day or more, such as 30d, or leave the option out"
        section.problem("guest_expiry", "shorter than a day", mend, section.take("guest_expiry"))
    return expiry_ms


def _read_user_types(section: Reader) -> tuple[Optional[str], frozenset[str]]:
    default = section.text("default_user_type")
    types = UNREAL_USER_TYPES | {*section.texts("extra_user_types")}
    if default is not None and default not in types:
        known = ", ".join(sorted(types))
        section.problem(
            "default_user_type",
            f"not a known type: {known}",
            "take one of these, or add it to extra_user_types",
            default,
        )
    return default, types


def _read_approval(reader: Reader) -> bool:
    section = reader.section("experimental_features").section("msc3866")
    enabled = section.flag("enabled")
    required = section.flag("require_approval_for_new_accounts")
    if required and not enabled:
        reader.warnings.append(
            f"{section.path}.require_approval_for_new_accounts has no effect "
            f"without {section.path}.enabled: new accounts need no approval."
        )
    return enabled and required


def _read_server_notices(section: Reader) -> Optional[str]:
    localpart = section.text("system_mxid_localpart")
    if localpart is not None and any(sign in localpart for sign in "@:"):
        section.problem(
            "system_mxid_localpart",
            "a whole user ID",
            "write only the part between @ and the colon",
            localpart,
        )
    return localpart
