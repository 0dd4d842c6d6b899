"""The words of our mails: a text and an HTML part from templates, in the reader's language."""

from __future__ import annotations

import itertools
import re
from typing import Awaitable, Callable, Optional, Sequence

import attr
from jinja2 import Undefined
from twisted.logger import Logger
from zope.interface import implementer

from regsys.config.email import ADD_THREEPID, IN_USE, KINDS, REGISTRATION, SUBJECTS, EmailConfig
from regsys.config.values import ConfigError
from regsys.errors import MailRefused
from regsys.interfaces import IValidationMails
from regsys.model import Mail, ValidationMail, masked
from regsys.templates import Templates, fault

__all__ = ["ADD_THREEPID", "IN_USE", "REGISTRATION", "Mails", "ValidationMailSender"]

# Hands a mail to the mail server. Raises MailDeferred if the mail should be sent again, MailRefused
# if that would be useless.
Deliver = Callable[[Mail], Awaitable[None]]

_log = Logger()
_PARTS = ("txt", "html")
# What no mail shows: controls, and marks that reverse the order of what is read.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@attr.frozen
class Mails:
    """Makes mails. ``theirs`` renders the administrator's templates, ``ours`` all others."""

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
        """``directories`` are searched for templates before ours. ConfigError if one of the
        administrator's cannot be rendered: better now than when somebody waits for a mail."""
        own = [config.template_dir] if config.template_dir else []
        mails = cls(
            config,
            server_name,
            Templates.load(public_baseurl, directories),
            # Written for a homeserver, where what is undefined is empty.
            Templates.load(public_baseurl, [*directories, *own], Undefined),
        )
        if directories or own:
            mails._try_out()
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
    ) -> Mail:
        """A mail to this address, in the best of the reader's ``languages``.

        ``kind`` is REGISTRATION or ADD_THREEPID, which have a ``link`` to be opened and a
        ``code`` to be typed instead, or IN_USE, which tells the owner of an address that it
        has been tried, and has neither; ``registering`` says whether for a new account.
        ``message_id`` as in Mail.
        """
        shown = self._values(to, link, code, registering)
        text, html = (self._render(f"mails/{kind}.{part}", languages, shown) for part in _PARTS)
        return Mail(
            to=to,
            subject=_CONTROLS.sub("", self._subject(kind, languages, registering)),
            text=text,
            html=html,
            message_id=message_id,
        )

    def _values(
        self, to: str, link: Optional[str], code: Optional[str], registering: bool
    ) -> dict[str, object]:
        values = {
            "link": link or "",
            "code": code or "",
            "address": to,
            "server_name": self.server_name,
            "app_name": self.config.app_name,
        }
        shown: dict[str, object] = {
            name: _CONTROLS.sub("", value) for name, value in values.items()
        }
        shown["registering"] = registering
        return shown

    def _render(self, name: str, languages: Sequence[str], values: dict[str, object]) -> str:
        replaced = self.config.templates.get(name)
        if replaced is not None:
            try:
                return self.theirs.render_strictly(replaced, languages, **values)
            except Exception as error:  # it was tried at the start, and changed since
                _log.error("{told}: ours takes its place", told=fault(replaced, error))
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

    def _try_out(self) -> None:
        problems = []
        for kind, part, registering in itertools.product(KINDS, _PARTS, (True, False)):
            shown = self._values("a@example.com", "https://example.com/", "abcdefgh", registering)
            name = f"mails/{kind}.{part}"
            chosen = self.config.templates.get(name)
            templates = self.ours if chosen is None else self.theirs
            subject = {"kind": kind, "app_name": "", "registering": registering}
            for file, values in ((chosen or name, shown), ("mails/subject.txt", subject)):
                try:
                    for language in templates.languages:
                        templates.render_strictly(file, (language,), **values)
                except Exception as error:  # whatever its author made it do
                    problems.append(f"{fault(file, error)} — mend it, or take it away")
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))


@implementer(IValidationMails)
@attr.frozen(kw_only=True)
class ValidationMailSender:
    """Composes the mails of validation sessions, and has them delivered."""

    mails: Mails
    deliver: Deliver

    async def send(self, mail: ValidationMail) -> None:
        composed = self.mails.compose(
            mail.purpose.value,
            mail.address,
            mail.languages,
            link=mail.link,
            code=mail.code,
            message_id=mail.message_id,
            registering=mail.registering,
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
