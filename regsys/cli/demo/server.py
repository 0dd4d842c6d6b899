"""``regsys serve --demo``: a flow for every stage, for the developers of clients."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from regsys import wiring
from regsys.captcha.stages import CaptchaStage
from regsys.cli.demo import DIRECTORY, messages, write
from regsys.cli.demo.flows import FLOWS, OFFERED
from regsys.config import Config, ConfigError
from regsys.errors import InvalidParam, Unavailable
from regsys.templates import Templates
from regsys.threepids.validation_mail import Mails, ValidationMailSender
from regsys.uia.stage_types import (
    EMAIL_IDENTITY,
    HCAPTCHA,
    MSISDN_STAGE,
    RECAPTCHA,
    REGISTRATION_TOKEN,
    TURNSTILE,
)
from regsys.web.pages import Pages
from regsys.wiring.process import open_process, prepare
from regsys.wiring.subsystem import Subsystem, hooks

HERE = Path(__file__).parent
TOKEN = "demo"  # noqa: S105 (the introduction prints it)

# The services' own test keys, with which their widgets let every visitor pass.
TEST_KEYS: Mapping[str, str] = {
    RECAPTCHA: "6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI",
    HCAPTCHA: "10000000-ffff-ffff-ffff-000000000001",
    TURNSTILE: "1x00000000000000000000AA",
}

_TEMPLATE = """\
# Written by `regsys serve --demo`, for the developers of clients. Delete this directory to start
# afresh; see sample_config.yaml for a server of your own.
server_name: localhost
public_baseurl: http://localhost:8008/
listeners:
  - port: 8008
    bind_addresses: ["127.0.0.1"]
    resources:
      - names: [client, consent, health]
enable_registration: true
enable_registration_without_verification: true
allow_guest_access: true
enable_registration_token_3pid_bypass: true
enable_registration_captcha: true
bcrypt_rounds: 4
rc_registration: {{per_second: 1000, burst_count: 1000}}
rc_registration_token_validity: {{per_second: 1000, burst_count: 1000}}
rc_3pid_validation: {{per_second: 1000, burst_count: 1000}}
rc_login:
  address: {{per_second: 1000, burst_count: 1000}}
  account: {{per_second: 1000, burst_count: 1000}}
  failed_attempts: {{per_second: 1000, burst_count: 1000}}
email: {{notif_from: demo@localhost}}
macaroon_secret_key: {secret}
regsys:
  database: {{name: sqlite3, args: {{database: {directory}/every-stage.db}}}}
  captcha: {{kind: proof_of_work, difficulty: 100}}
  sms: {{enabled: true}}
  rc_availability: false
  rc_validation_total:
    email: {{per_second: 1000, burst_count: 1000}}
    msisdn: {{per_second: 1000, burst_count: 1000}}
  sessions_per_ip: 10000
  policies:
    terms_of_service:
      version: "1.0"
"""
_LANGUAGES = {
    "en": "Terms of the demonstration",
    "de": "Bedingungen der Vorführung",
    "fr": "Conditions de la démonstration",
}

# Instructions for the developer, each with the stages that it is for.
_INSTRUCTIONS: Sequence[tuple[frozenset[str], str]] = (
    (frozenset({REGISTRATION_TOKEN}), f'The registration token is "{TOKEN}".'),
    (
        frozenset(TEST_KEYS),
        'A captcha\'s response is anything: "wrong" is refused, "down" cannot be checked.\n'
        "  The public keys are the services' own for tests.",
    ),
    (
        frozenset({EMAIL_IDENTITY, MSISDN_STAGE}),
        "Messages go nowhere; read them, links and codes included, at {messages}",
    ),
)

log = Logger()


def config_file() -> str:
    """The path of the demonstration's configuration, which is written if it is missing."""
    policies = "".join(
        f"      {language}: {{{{name: {name}, file: {HERE}/policies/terms-{language}.html}}}}\n"
        for language, name in _LANGUAGES.items()
    )
    path = os.path.join(DIRECTORY, "every-stage.yaml")
    if not os.path.exists(path):
        write(path, _TEMPLATE + policies)
    return path


async def verify_captcha(response: str, address: str) -> bool:
    """Stands in for a captcha's service: the response says what it is to find."""
    if response == "down":
        raise Unavailable("The captcha cannot be checked now: try again shortly.")
    return response != "wrong"


async def use_again(fingerprint: str, until_ms: int) -> bool:
    """A response may pass any number of sessions here: "solved" is easily typed again."""
    return True


def subsystem(config: Config, reactor: Any, names: Optional[Sequence[str]]) -> Subsystem:
    """The demonstration's subsystem. ``names``: which of FLOWS to offer; None for OFFERED."""
    _, secret = prepare(config)
    captchas = [
        CaptchaStage(
            type=stage,
            public_key=key,
            verify=verify_captcha,
            use_once=use_again,
            clock=reactor,
        )
        for stage, key in TEST_KEYS.items()
    ]
    outbox, templates = messages.Outbox(), [str(HERE / "templates")]
    system = wiring.standalone(
        config,
        reactor,
        process=open_process(config, reactor, secret),
        hooks=hooks(
            reactor,
            stages=captchas,
            flows=[FLOWS[name] for name in names or OFFERED],
            template_directories=templates,
            mails=_mail_sender(config, outbox),
            sms=messages.TextOutbox(outbox),
        ),
    )
    reactor.callLater(0, _start_token, system)
    pages = Pages(Templates.load(config.public_baseurl, templates, brand=config.pages.brand))
    return system.having(messages.messages_page(outbox, pages))


def introduction(config: Config, names: Optional[Sequence[str]]) -> str:
    """The flows on offer, and the instructions that they need."""
    url, chosen = config.public_baseurl, names or OFFERED
    flows = "\n".join(f"    {name:10} {' → '.join(FLOWS[name])}" for name in chosen)
    stages = {stage for name in chosen for stage in FLOWS[name]}
    texts = [text for needed, text in _INSTRUCTIONS if needed & stages]
    if not names:
        texts.insert(
            0, "--flow all leads a browser through several, --flow dummy asks for nothing."
        )
    return (
        "regsys: a demonstration of the stages, on this machine only, for trying clients out.\n"
        f"  In a browser: {url}_matrix/static/client/register/\n"
        f"  For clients: {url.rstrip('/')}, which offers these flows"
        f" (--flow NAME: only that one):\n{flows}"
        + "".join(f"\n  {text}" for text in texts).format(messages=f"{url}{messages.PATH}")
    )


def _mail_sender(config: Config, outbox: messages.Outbox) -> ValidationMailSender:
    if config.email is None or "msisdn" not in config.threepids.offered:
        raise ConfigError([f"{DIRECTORY} is of an older version — delete it"])
    composing = Mails.load(config.email, config.server_name, config.public_baseurl)
    return ValidationMailSender(mails=composing, deliver=outbox.catch_mail)


def _start_token(system: Subsystem) -> None:
    making = Deferred.fromCoroutine(_make_token(system))
    making.addErrback(lambda failure: log.failure("making the registration token", failure))


async def _make_token(system: Subsystem) -> None:
    with contextlib.suppress(InvalidParam):  # it exists from an earlier run
        await system.registration_tokens.create(token=TOKEN, settings={})
