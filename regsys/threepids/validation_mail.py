"""Renders our mails: a text and an HTML part from templates, in the reader's language."""

from __future__ import annotations

import itertools
import re
from typing import Awaitable, Callable, Optional, Sequence

import attr
from jinja2 import Undefined
from twisted.logger import Logger
from zope.interface import implementer

from regsys.config.email import (
    ADD_THREEPID,
    IN_USE,
    KINDS,
    PASSWORD_RESET,
    REGISTRATION,
    SUBJECTS,
    EmailConfig,
)
from regsys.config.values import ConfigError
from regsys.errors import MailRefused
from regsys.interfaces import IValidationMails
from regsys.model import ValidationMail
from regsys.model.identity import masked
from regsys.model.threepids import Mail
from regsys.templates import Templates, fault

__all__ = [
    "ADD_THREEPID",
    "APPROVED",
    "IN_USE",
    "PASSWORD_RESET",
    "REFUSED",
    "REGISTRATION",
    "WAITING",
    "Mails",
    "ValidationMailSender",
]

# Hands a mail to the mail server. Raises MailDeferred if the mail should be sent again, MailRefused
# if that would be useless.
Deliver = Callable[[Mail], Awaitable[None]]

# Mails about approval: to people, and to administrators.
APPROVED, REFUSED, WAITING = "approved", "refused", "approvals_waiting"
_ABOUT = (APPROVED, REFUSED, WAITING)

_log = Logger()
_PARTS = ("txt", "html")
# Characters that are removed from mails: control characters, and marks that change the direction of
# the text.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@attr.frozen
class Mails:
    """Renders mails. ``theirs`` renders the administrator's templates, ``ours`` all others."""

    config: EmailConfig
    server_name: str
    ours: Templates
    theirs: Templates

    @classmethod
    def load(
        cls,
        config: EmailConfig,
        server_name: str,
        public_baseurl: str,
        directories: Sequence[str] = (),
    ) -> Mails:
        """``directories`` are searched for templates before ours. Raises ConfigError if one of the
        administrator's templates cannot be rendered: better now than when a mail is to be sent."""
        own = [config.template_dir] if config.template_dir else []
        mails = cls(
            config,
            server_name,
            Templates.load(public_baseurl, directories),
            # They are written for a homeserver that renders undefined variables as empty text.
            Templates.load(public_baseurl, [*directories, *own], Undefined),
        )
        if directories or own:
            mails._check_templates()
        return mails

    def compose(
        self,
        kind: str,
        to: str,
        languages: Sequence[str],
        *,
        link: Optional[str] = None,
        code: Optional[str] = None,
        message_id: Optional[str] = None,
        registering: bool = True,
        user_id: str = "",
        requested_from: str = "",
    ) -> Mail:
        """A mail to this address, in the best of the reader's ``languages``.

        ``kind`` is REGISTRATION, ADD_THREEPID or PASSWORD_RESET, with a ``link`` to open and a
        ``code`` that can be typed instead, or IN_USE, without either, which informs the owner of an
        address that it was requested. ``registering``: whether it was requested for a new account.
        ``user_id`` is the account whose password is to be reset, ``requested_from`` the IP address
        of that request. ``message_id`` as in Mail.
        """
        values = self._values(to, link, code, registering, user_id, requested_from)
        text, html = (self._render(f"mails/{kind}.{part}", languages, values) for part in _PARTS)
        return Mail(
            to=to,
            subject=_CONTROLS.sub("", self._subject(kind, languages, registering)),
            text=text,
            html=html,
            message_id=message_id,
        )

    def compose_about(
        self,
        kind: str,
        to: str,
        languages: Sequence[str],
        *,
        message_id: Optional[str] = None,
        user_id: str = "",
        reason: str = "",
        link: str = "",
        count: int = 0,
    ) -> Mail:
        """A mail about approval, in the best of the reader's ``languages``: APPROVED or REFUSED to
        the person of ``user_id``, with the ``reason`` that the administrator gives, if any; WAITING
        to an administrator, that ``count`` accounts wait, with the ``link`` of the page."""
        values = {**self._values(to, link, None, False, user_id, ""), "count": count}
        # Of these only the line ends are kept.
        values["reason"] = [_CONTROLS.sub("", line) for line in reason.splitlines()]
        text, html = (self._render(f"mails/{kind}.{part}", languages, values) for part in _PARTS)
        subject = self.ours.render(
            "mails/subject.txt", languages, kind=kind, app_name=self.config.app_name, count=count
        )
        return Mail(
            to=to,
            subject=_CONTROLS.sub("", f"[{self.server_name}] {subject.strip()}"),
            text=text,
            html=html,
            message_id=message_id,
        )

    def _values(
        self,
        to: str,
        link: Optional[str],
        code: Optional[str],
        registering: bool,
        user_id: str,
        requested_from: str,
    ) -> dict[str, object]:
        texts = {
            "link": link or "",
            "code": code or "",
            "address": to,
            "user_id": user_id,
            "requested_from": requested_from,
            "server_name": self.server_name,
            "app_name": self.config.app_name,
        }
        values: dict[str, object] = {name: _CONTROLS.sub("", text) for name, text in texts.items()}
        values["registering"] = registering
        return values

    def _render(self, name: str, languages: Sequence[str], values: dict[str, object]) -> str:
        replaced = self.config.templates.get(name)
        if replaced is not None:
            try:
                return self.theirs.render_strictly(replaced, languages, **values)
            except Exception as error:  # it was checked at the start, and has changed since
                _log.error(
                    "{problem}: the built-in template is used instead",
                    problem=fault(replaced, error),
                )
        return self.ours.render(name, languages, **values)

    def _subject(self, kind: str, languages: Sequence[str], registering: bool) -> str:
        names = {"server_name": self.server_name, "app": self.config.app_name}
        chosen = self.config.subjects.get(SUBJECTS[kind])
        if chosen is not None:
            return chosen % names
        subject = self.ours.render(
            "mails/subject.txt",
            languages,
            kind=kind,
            app_name=self.config.app_name,
            registering=registering,
        )
        return f"[{self.server_name}] {subject.strip()}"

    def _check_templates(self) -> None:
        problems = []
        for kind, part, registering in itertools.product((*KINDS, *_ABOUT), _PARTS, (True, False)):
            body = self._values(
                "a@example.com",
                "https://example.com/",
                "abcdefgh",
                registering,
                "@a:example.com",
                "192.0.2.1",
            )
            if kind in _ABOUT:
                body = {**body, "count": 2, "reason": ["why"] if registering else []}
            name = f"mails/{kind}.{part}"
            chosen = self.config.templates.get(name)
            templates = self.ours if chosen is None else self.theirs
            subject = {"kind": kind, "app_name": "", "registering": registering, "count": 2}
            for file, values in ((chosen or name, body), ("mails/subject.txt", subject)):
                try:
                    for language in templates.languages:
                        templates.render_strictly(file, (language,), **values)
                except Exception as error:  # a template may raise anything
                    problems.append(f"{fault(file, error)} — mend it, or take it away")
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))


@implementer(IValidationMails)
@attr.frozen(kw_only=True)
class ValidationMailSender:
    """Composes validation mails and hands them to the mail server."""

    mails: Mails
    deliver: Deliver

    async def send(self, mail: ValidationMail) -> Optional[str]:
        composed = self.mails.compose(
            mail.purpose.value,
            mail.address,
            mail.languages,
            link=mail.link,
            code=mail.code,
            message_id=mail.message_id,
            registering=mail.registering,
            user_id="" if mail.user_id is None else str(mail.user_id),
            requested_from=mail.requested_from or "",
        )
        try:
            await self.deliver(composed)
        except MailRefused as refusal:
            _log.warn(
                "mail {message_id} for {to} is given up: {reason}",
                message_id=mail.message_id,
                to=masked(mail.address),
                reason=refusal.text,
            )
            return refusal.text
        return None
