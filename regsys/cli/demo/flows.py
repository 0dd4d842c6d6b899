"""The flows of ``regsys serve --demo``, apart from its server, so that other commands do not import
that."""

from __future__ import annotations

from typing import Mapping

from regsys.uia.stage_types import (
    DUMMY,
    EMAIL_IDENTITY,
    HCAPTCHA,
    MSISDN_STAGE,
    PROOF_OF_WORK,
    RECAPTCHA,
    REGISTRATION_TOKEN,
    TERMS,
    TURNSTILE,
)

# By the name that --flow takes.
FLOWS: Mapping[str, tuple[str, ...]] = {
    "dummy": (DUMMY,),
    "terms": (TERMS, DUMMY),
    "token": (REGISTRATION_TOKEN, DUMMY),
    "altcha": (PROOF_OF_WORK, DUMMY),
    "recaptcha": (RECAPTCHA, DUMMY),
    "hcaptcha": (HCAPTCHA, DUMMY),
    "turnstile": (TURNSTILE, DUMMY),
    "email": (EMAIL_IDENTITY, DUMMY),
    "phone": (MSISDN_STAGE, DUMMY),
    "all": (REGISTRATION_TOKEN, PROOF_OF_WORK, TERMS, DUMMY),
}
# Without the shortest, which a client would always choose.
OFFERED = tuple(name for name in FLOWS if name != "dummy")
