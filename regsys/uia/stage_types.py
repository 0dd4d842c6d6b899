"""The types of the stages of user-interactive authentication."""

from __future__ import annotations

from typing import Mapping

DUMMY = "m.login.dummy"
TERMS = "m.login.terms"
REGISTRATION_TOKEN = "m.login.registration_token"  # noqa: S105 (the name of a stage)
EMAIL_IDENTITY = "m.login.email.identity"
MSISDN_STAGE = "m.login.msisdn"
RECAPTCHA = "m.login.recaptcha"
HCAPTCHA = "org.regsys.hcaptcha"
TURNSTILE = "org.regsys.turnstile"
PROOF_OF_WORK = "org.regsys.altcha"
REASON = "org.regsys.registration_reason"

# The stage of each kind of captcha that can be configured.
CAPTCHAS: Mapping[str, str] = {
    "recaptcha": RECAPTCHA,
    "hcaptcha": HCAPTCHA,
    "turnstile": TURNSTILE,
    "proof_of_work": PROOF_OF_WORK,
}
