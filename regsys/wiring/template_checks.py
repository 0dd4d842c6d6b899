"""Renders each template that may be an administrator's, once at the start (contract B15)."""

from __future__ import annotations

from typing import Any, Iterable, Iterator, Mapping, Sequence

import attr
from jinja2 import Undefined

from regsys.config import Config, ConfigError, PasswordPolicy
from regsys.interfaces import StagePage
from regsys.model import MailPurpose, UserID
from regsys.model.threepids import Validation
from regsys.templates import Templates, fault
from regsys.threepids.validation_mail import Mails
from regsys.web.consent import PolicyTemplates
from regsys.web.pages import Pages
from regsys.web.validation_pages import AddressPages

_KINDS = ("registration", "add_threepid", "password_reset")
_SERVER = "example.com"
# What the stages' own pages get as their params.
_PARAMS: Mapping[str, Mapping[str, Any]] = {
    "altcha": {
        "parameters": {
            "algorithm": "PBKDF2/SHA-256",
            "cost": 500,
            "expiresAt": 1,
            "keyLength": 32,
            "keyPrefix": "000",
            "nonce": "0",
            "salt": "0",
        },
        "signature": "0",
    },
    "hcaptcha": {"public_key": "key"},
    "recaptcha": {"public_key": "key"},
    "registration_token": {},
    "terms": {
        "policies": {"privacy_policy": {"version": "1", "en": {"name": "P", "url": "https://p/"}}}
    },
    "turnstile": {"public_key": "key"},
}


@attr.frozen
class _SampleStage:
    type: str
    page: StagePage


def problems(
    config: Config, directories: Sequence[str], pages: Iterable[StagePage] = ()
) -> list[str]:
    """What is wrong with the templates of these directories and of the configuration, a sentence
    each. ``pages`` are those of an embedder's own stages. Their params are not known yet, so they
    are only compiled."""
    found = [*_of_pages(config, directories, pages), *PolicyTemplates(config.terms).problems()]
    return list(dict.fromkeys(found))


def _of_pages(
    config: Config, directories: Sequence[str], pages: Iterable[StagePage]
) -> Iterator[str]:
    if not directories:
        return  # our tests try our own
    templates = Templates.load(config.public_baseurl, directories)
    for name, values in _samples():
        for language in templates.languages:
            try:
                templates.render_strictly(name, (language,), **values)
            except Exception as error:  # a template may raise anything
                yield f"{fault(name, error)} — mend it, or take it away"
    for page in pages:
        try:
            templates.compile(page.template)
        except Exception as error:
            yield f"{fault(page.template, error)} — mend it"


def mail_problems(config: Config, directories: Sequence[str]) -> Iterator[str]:
    """The same for the templates of mails, and of the pages that their links lead to. A start finds
    these problems itself, when it makes the mail sender."""
    email = config.email
    if email is None:
        return
    url, own = config.public_baseurl, [email.template_dir] if email.template_dir else []
    theirs = Templates.load(url, [*directories, *own], Undefined)
    try:
        Mails.load(email, config.server_name, url, directories)
    except ConfigError as error:
        yield from error.problems
    for kind in _KINDS:
        try:
            AddressPages(
                pages=Pages(theirs),
                theirs=theirs,
                chosen=email.templates,
                kind=kind,
                server_name=config.server_name,
            )
        except ConfigError as error:
            yield from error.problems


def _samples() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each of our templates by its name, with the values of docs/pages.md, once a variant."""
    yield "refused.html", {"error": "It failed."}
    yield "consent_given.html", {}
    yield "reset_keys_allowed.html", {}
    for failure in (None, "It failed."):
        yield "reset_keys.html", {"user": "alice", "failure": failure}
    yield "passed.js", {}
    yield "passed.html", {}
    for name, params in _PARAMS.items():
        page = StagePage(template=f"stages/{name}.html")
        stage = _SampleStage(f"m.login.{name}", page)
        for failure in (None, "It failed."):
            values = {"stage": stage, "params": params, "session_id": "s", "failure": failure}
            yield "stage.html", {**values, "page": page}
    yield from _address_samples()
    for on in (True, False):
        yield (
            "register.html",
            {
                "server_name": _SERVER,
                "public_baseurl": f"https://{_SERVER}/",
                "policy": PasswordPolicy(
                    enabled=on,
                    minimum_length=8,
                    require_digit=on,
                    require_symbol=on,
                    require_lowercase=on,
                    require_uppercase=on,
                ),
                "proves_email": on,
                "countries": (("DE", "49"),) if on else (),
                "names_are_secret": on,
                "scripts": ("register/dom.js",),
                "clients": ({"name": "app", "url": "https://app.example/"},) if on else (),
                "admin_contact": "mailto:admin@example.com" if on else None,
            },
        )


def _address_samples() -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in _KINDS:
        validation = Validation(
            sid="s",
            medium="email",
            address="alice@example.com",
            client_secret="c",  # noqa: S106 (a sample's)
            next_link=None,
            expires_ms=1,
            user_id=None if kind == "registration" else UserID("alice", _SERVER),
            purpose=MailPurpose(kind),
        )
        common = {"kind": kind, "server_name": _SERVER}
        for token in ("", "t"):
            yield "confirm_address.html", {**common, "validation": validation, "token": token}
        yield "address_confirmed.html", common
        for again in (None, validation):
            refused: dict[str, Any] = {"kind": kind, "validation": again, "error": "It failed."}
            yield "address_refused.html", refused
    for kind in (*_KINDS, "already_in_use"):
        for registering in (True, False):
            values = {
                "code": "123456",
                "server_name": _SERVER,
                "registering": registering,
                "user_id": f"@alice:{_SERVER}",
            }
            yield f"sms/{kind}.txt", values
