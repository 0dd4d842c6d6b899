"""The captcha of registrations (contract B8.7, B15)."""

from __future__ import annotations

from typing import Any, Literal, Mapping, Optional

import attr

from regsys.config.values import Reader, is_given, is_url
from regsys.model import Secret

Kind = Literal["recaptcha", "hcaptcha", "turnstile", "proof_of_work"]

# Where each service that we know checks responses.
SERVICES: Mapping[str, str] = {
    "recaptcha": "https://www.recaptcha.net/recaptcha/api/siteverify",
    "hcaptcha": "https://api.hcaptcha.com/siteverify",
    "turnstile": "https://challenges.cloudflare.com/turnstile/v0/siteverify",
}
PROOF_OF_WORK = "proof_of_work"
# 500 keep a laptop of two cores busy for a second on average, now and then for four. Checking
# takes us one part in four thousand of that.
DIFFICULTY, HARDEST = 500, 10_000

_KEYS = ("public_key", "private_key", "private_key_path", "siteverify_api")


@attr.frozen(kw_only=True)
class CaptchaConfig:
    """The captcha. ``required``: every flow has its stage. A proof of work has a ``difficulty``, to
    which the time it takes is proportional, and no keys; any other kind has keys and the URL
    ``siteverify_api``."""

    kind: Kind
    required: bool = True
    public_key: str = ""
    private_key: Secret = Secret("")
    siteverify_api: str = ""
    difficulty: int = DIFFICULTY

    @property
    def is_complete(self) -> bool:
        """Whether it has the keys that it needs."""
        has_keys = bool(self.public_key and self.private_key.reveal())
        return has_keys or self.kind == PROOF_OF_WORK


def read_captcha(reader: Reader) -> Optional[CaptchaConfig]:
    """The captcha of ``regsys.captcha``; without a kind there, the reCAPTCHA of the
    ``recaptcha_…`` options. Without ``enable_registration_captcha`` it is not required, and it is
    None if its keys are missing (B16.2)."""
    own = reader.section("regsys").section("captcha")
    kind: Any = own.choice("kind", (*SERVICES, PROOF_OF_WORK)) or "recaptcha"
    theirs = _read_service(reader, "recaptcha", "recaptcha_")
    ours = _read_service(own, kind)
    difficulty = own.whole("difficulty", 1, HARDEST)
    _refuse_options_of_other_kinds(own, kind)
    if kind != "recaptcha":
        _skip(reader, "recaptcha_")
    chosen = theirs if kind == "recaptcha" else ours
    if kind == PROOF_OF_WORK:
        chosen = CaptchaConfig(kind=kind, difficulty=difficulty or DIFFICULTY)
    if not reader.word_flag("enable_registration_captcha"):
        if kind != "recaptcha":
            reader.warnings.append(
                "regsys.captcha has no effect without enable_registration_captcha: "
                "users may register without a captcha."
            )
        return attr.evolve(chosen, required=False) if chosen.is_complete else None
    if kind == "recaptcha":
        _need_keys(reader, "recaptcha_", chosen)
    elif kind != PROOF_OF_WORK:
        _need_keys(own, "", chosen)
    return chosen


def _read_service(reader: Reader, kind: Any, prefix: str = "") -> CaptchaConfig:
    url = reader.text(f"{prefix}siteverify_api")
    if url is not None and not is_url(url):
        mend = "write the whole address at which the service checks responses, or leave it out"
        reader.problem(f"{prefix}siteverify_api", "not the address of a website", mend, url)
    return CaptchaConfig(
        kind=kind,
        public_key=reader.text(f"{prefix}public_key") or "",
        private_key=reader.secret(f"{prefix}private_key") or Secret(""),
        siteverify_api=url or SERVICES.get(kind, ""),
    )


def _refuse_options_of_other_kinds(own: Reader, kind: str) -> None:
    """Report options of regsys.captcha that have no effect with this kind."""
    wrong: tuple[str, ...]
    if kind == PROOF_OF_WORK:
        wrong, mend = _KEYS, "leave it out: a proof of work has no keys and asks no service"
    elif kind == "recaptcha":
        wrong = (*_KEYS, "difficulty")
        mend = "write the recaptcha_… options outside of regsys, or name another kind here"
    else:
        wrong, mend = ("difficulty",), "leave it out: only proof_of_work has a difficulty"
    for name in wrong:
        if is_given(own.data.get(name)):
            own.problem(name, f"has no effect with the kind {kind}", mend)


def _need_keys(reader: Reader, prefix: str, found: CaptchaConfig) -> None:
    for name, value in (
        ("public_key", found.public_key),
        ("private_key", found.private_key.reveal()),
    ):
        given = any(reader.data.get(f"{prefix}{name}{end}") for end in ("", "_path"))
        # A wrong value has been reported already.
        if not value and not given:
            reader.problem(
                f"{prefix}{name}",
                f"missing, but enable_registration_captcha asks every user for a {found.kind}",
                "write the key that the service gave you, set enable_registration_captcha to "
                "false, or take regsys.captcha.kind: proof_of_work, which needs no keys",
            )


def _skip(reader: Reader, prefix: str) -> None:
    """Count these as unused: they are for another server that reads the same file."""
    for name in (prefix + key for key in _KEYS):
        if reader.data.get(name) is not None:
            reader.skip(name)
