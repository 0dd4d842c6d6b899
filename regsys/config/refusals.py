"""What the start refuses, or warns about, although each value is valid (BEHAVIOUR B15)."""

from __future__ import annotations

from typing import Sequence

from regsys.config.listeners import Listener
from regsys.config.logins import TokensConfig
from regsys.config.registration import RegistrationConfig
from regsys.config.threepids import ThreepidsConfig
from regsys.config.values import Reader, is_on

# What counts as the verification of people who register.
_VERIFICATIONS = ("registration_requires_token", "enable_registration_captcha")
# What else matters once people register, and what it means that it is not done.
_MISSED = {
    "modules": "no module is asked whether somebody may register",
}


def check_registration(
    reader: Reader,
    registration: RegistrationConfig,
    tokens: TokensConfig,
    threepids: ThreepidsConfig,
) -> None:
    """Refuse to let in people whom the file means to keep out; warn of what is not done."""
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
    for name, meaning in _MISSED.items():
        if reader.peek(name):
            reader.warnings.append(f"{name} has no effect yet, but registration is on: {meaning}.")


def check_process(reader: Reader) -> None:
    """Refuse to run as a worker: it would be a second main process."""
    app = reader.text("worker_app")
    if app not in (None, "synapse.app.homeserver"):
        reader.problem(
            "worker_app",
            "this version of regsys runs as a single process",
            "start it from the main process's file alone",
            app,
        )


def address_warnings(
    listeners: Sequence[Listener], trusted_proxies: Sequence[str]
) -> tuple[str, ...]:
    """A warning where anybody can claim any address (BEHAVIOUR B16.10)."""
    if trusted_proxies or not any(listener.x_forwarded for listener in listeners):
        return ()
    return (
        "A listener has x_forwarded, but regsys.trusted_proxies is not set: the first address "
        "of X-Forwarded-For counts, and a client can write there what it likes. "
        "List your reverse proxies.",
    )
