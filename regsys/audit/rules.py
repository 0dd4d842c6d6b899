"""What the audit log calls the rules that refuse a registration (docs/audit.md)."""

from __future__ import annotations

from typing import Mapping, Optional

from regsys import errors
from regsys.errors import RegistrationError

# A class stands for its subclasses, too. What is not here is no rule's refusal: the request makes
# no sense, a server that is needed is away, or the account is there and waits.
RULES: Mapping[type[RegistrationError], str] = {
    errors.AllNamesReserved: "no-free-name",
    errors.AppserviceLoginUnsupported: "appservice",
    errors.Forbidden: "forbidden",
    errors.GuestsNotWelcome: "guests-disabled",
    errors.InvalidNonce: "shared-secret",
    errors.InvalidRegistrationToken: "registration-token",
    errors.InvalidUsername: "name-invalid",
    errors.LimitExceeded: "rate-limit",
    errors.ModuleRefusal: "module",
    errors.NoFreeName: "no-free-name",
    errors.NoSharedSecret: "shared-secret",
    errors.PasswordRefused: "password-policy",
    errors.RegistrationDisabled: "registration-disabled",
    errors.ServerDisabled: "server-disabled",
    errors.ServerFull: "server-full",
    errors.StagesMissing: "stages-missing",
    errors.ThreepidChangeRefused: "module",
    errors.ThreepidDenied: "address-denied",
    errors.ThreepidInUse: "address-in-use",
    errors.UnknownToken: "access-token",
    errors.UsernameHeld: "name-held",
    errors.UsernameReserved: "name-reserved",
    errors.UsernameTaken: "name-taken",
    errors.WrongMac: "shared-secret",
}


def rule_of(error: RegistrationError) -> Optional[str]:
    """The rule that this refusal is of; None if it is of none."""
    if error.rule is not None:
        return error.rule
    return next((RULES[kind] for kind in type(error).__mro__ if kind in RULES), None)
