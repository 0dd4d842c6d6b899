"""Mails: their text, their language, and their templates."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Optional

import attr
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from regsys.config import ConfigError, parse
from regsys.errors import MailDeferred, MailRefused
from regsys.interfaces import IValidationMails
from regsys.model import MailPurpose, ValidationMail
from regsys.model.threepids import Mail
from regsys.outbound.email import SMTPMailer
from regsys.outbound.email_message import EnvelopeAddress, MessageBuilder
from regsys.testing import provides
from regsys.threepids.validation_mail import (
    ADD_THREEPID,
    IN_USE,
    REGISTRATION,
    Mails,
    ValidationMailSender,
)
from tests.doubles.smtp import Delivered
from tests.support.fakes import stands_for

LINK = "https://hs.example/_matrix/submit_token?token=link-canary&sid=1"
CODE = "codecode"
HOSTILE = "<x onload>\r\nBcc: canary@x.example\n\n\x00\u202e&"


class MailsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        (self.directory / "mails").mkdir(parents=True)

    def mails(self, **email: Any) -> Mails:
        config = parse(
            {
                "server_name": "hs.example",
                "macaroon_secret_key": "k",
                "email": {"notif_from": "%(app)s <noreply@hs.example>", **email},
                "templates": {"custom_template_directory": str(self.directory)},
            }
        )
        assert config.email is not None
        return Mails.load(
            config.email, config.server_name, config.public_baseurl, [str(self.directory)]
        )

    def compose(
        self, mails: Optional[Mails] = None, kind: str = REGISTRATION, *languages: str
    ) -> Mail:
        secrets = {} if kind == IN_USE else {"link": LINK, "code": CODE}
        return (mails or self.mails()).compose(
            kind, "anna@hs.example", languages, message_id="0123", **secrets
        )

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)


class TextTests(MailsCase):
    def test_confirmation(self) -> None:
        """Both parts have the whole link and the code, and say which address is confirmed where; no
        external resource is loaded."""
        for kind in (REGISTRATION, ADD_THREEPID):
            mail = self.compose(kind=kind)
            self.assertEqual(mail.subject, "[hs.example] Confirm your email address")
            self.assertIn(f"\n{LINK}\n", mail.text)
            self.assertIn(f"\n    {CODE}\n", mail.text)
            links = re.findall('href="([^"]*)"', mail.html)
            self.assertEqual({link.replace("&amp;", "&") for link in links}, {LINK})
            self.assertIn(f">{LINK.replace('&', '&amp;')}<", mail.html)
            self.assertIn(f">{CODE}<", mail.html)
            self.assertNotRegex(mail.html, r"(?i)<(img|script|link|iframe)\b|\bsrc=|url\(")
            for part in (mail.text, mail.html):
                self.assertIn("anna@hs.example", part)
                self.assertIn("hs.example", part.replace("@hs.example", ""))

    def test_inUse(self) -> None:
        """The owner of an address in use is told, without link or code."""
        mail = self.compose(kind=IN_USE)
        self.assertEqual(mail.subject, "[hs.example] You already have an account")
        for part in (mail.text, mail.html):
            self.assertIn("anna@hs.example", part)
            self.assertNotRegex(part, "href|http")

    def test_inUseByAnother(self) -> None:
        """If the address was to be added to an account, the mail does not mention a new one; an
        administrator's subject is unchanged."""
        add = {"kind": IN_USE, "to": "anna@hs.example", "languages": (), "registering": False}
        mail = self.mails().compose(**add)
        self.assertEqual(mail.subject, "[hs.example] Your address already belongs to an account")
        for part in (mail.text, mail.html):
            self.assertIn("anna@hs.example", part)
            self.assertIn("remove it from that account first", part)
            self.assertNotIn("new account", part)
        self.write("already_in_use.txt", "It is {{ address }}.")
        mail = self.mails(subjects={"email_already_in_use": "Known"}).compose(**add)
        self.assertEqual((mail.subject, mail.text), ("Known", "It is anna@hs.example."))

    def test_languages(self) -> None:
        """A mail is in the reader's language, the subject and both parts."""
        for language, subject, greeting in (
            ("de-at", "[hs.example] Bestätigen Sie Ihre E-Mail-Adresse", "Guten Tag!"),
            ("fr", "[hs.example] Confirmez votre adresse e-mail", "Bonjour,"),
            ("it", "[hs.example] Confirm your email address", "Hello,"),
        ):
            mail = self.compose(None, REGISTRATION, language)
            self.assertEqual(mail.subject, subject)
            for part in (mail.text, mail.html):
                self.assertIn(greeting, part)
                self.assertNotIn("{{", part)

    def test_paragraphs(self) -> None:
        """The text part has its paragraphs, one empty line between two."""
        for kind in (REGISTRATION, ADD_THREEPID, IN_USE):
            text = self.compose(kind=kind).text
            self.assertTrue(text.startswith("Hello,\n\nSomeone, hopefully you, "), text)
            self.assertNotIn("\n\n\n", text)
            self.assertTrue(text.endswith("."), text)

    def test_subjects(self) -> None:
        """An administrator's subject is used unchanged, with the names filled in."""
        mails = self.mails(
            app_name="Chat",
            subjects={
                "email_validation": "%(app)s: 100%% %(server_name)s",
                "email_already_in_use": "Known",
            },
        )
        for kind, subject in (
            (REGISTRATION, "Chat: 100% hs.example"),
            (ADD_THREEPID, "Chat: 100% hs.example"),
            (IN_USE, "Known"),
        ):
            self.assertEqual(self.compose(mails, kind).subject, subject)

    def test_secrets(self) -> None:
        """A mail's repr shows neither its content nor its recipient."""
        text = repr(self.compose())
        for secret in (LINK, CODE, "anna"):
            self.assertNotIn(secret, text)


class CustomTemplatesTests(MailsCase):
    def test_homeservers(self) -> None:
        """A homeserver's templates are found in the directory of templates by their usual names,
        and work unchanged: they get the link and the app's name, and other variables are empty."""
        self.write("base.html", "<b>{% block body %}{% endblock %}</b>")
        self.write(
            "registration.html",
            '{% extends "base.html" %}{% block body %}'
            '<a href="{{ link }}">{{ app_name }}</a>{{ strange }}{% endblock %}',
        )
        self.write("registration.txt", "Follow {{ link }}\n")
        mail = self.compose()
        escaped = LINK.replace("&", "&amp;")
        self.assertEqual(mail.html, f'<b><a href="{escaped}">Matrix</a></b>')
        self.assertEqual(mail.text, f"Follow {LINK}")
        self.assertIn("is adding", self.compose(kind=ADD_THREEPID).text)

    def test_named(self) -> None:
        """A template may have any name, and be in the old directory of mail templates."""
        old = Path(self.mktemp())
        old.mkdir()
        (old / "mine.txt").write_text("mine {{ code }}")
        mails = self.mails(template_dir=str(old), add_threepid_template_text="mine.txt")
        self.assertEqual(self.compose(mails, ADD_THREEPID).text, f"mine {CODE}")
        self.assertIn("is creating", self.compose(mails, REGISTRATION).text)

    def test_ourNames(self) -> None:
        """A template under our own name takes precedence over one under a homeserver's, and may
        extend ours."""
        self.write("already_in_use.txt", "theirs")
        self.write("mails/already_in_use.txt", "{{ server_name }}")
        self.write("mails/mail.html", "{% block content %}{% endblock %}")
        mail = self.compose(kind=IN_USE)
        self.assertEqual(mail.text, "hs.example")
        self.assertTrue(mail.html.startswith("<p"), mail.html)

    def test_broken(self) -> None:
        """A template that can't be rendered stops the start, so that no user waits for a mail in
        vain."""
        for text in (
            "{{ link|mxc_to_http }}",
            "{% if %}",
            '{% include "nowhere" %}',
            "{{ 1 + '' }}",
        ):
            self.write("registration.html", text)
            error = self.assertRaises(ConfigError, self.mails)
            self.assertIn("'registration.html'", str(error))

    def test_brokenLater(self) -> None:
        """If a template breaks while the service runs, our own is used, and the log says why,
        without the mail's content."""
        for name in ("registration.html", "mails/registration.html"):
            self.write(name, "theirs {{ link }}")
            mails = self.mails()
            self.assertIn("theirs", self.compose(mails).html)
            self.write(name, "{{ link|nowhere }}")
            os.utime(self.directory / name, (1, 1))
            with capturedLogs() as logs:
                self.assertIn("is creating", self.compose(mails).html)
            (line,) = map(formatEvent, logs)
            self.assertIn(f"{name!r} cannot be rendered: TemplateAssertionError", line)
            self.assertNotIn("canary", line)
            (self.directory / name).unlink()


class InjectionTests(MailsCase):
    def test_everyField(self) -> None:
        """Markup and line ends in any value of a mail stay text: no element, no header, no control
        character."""
        self.write("registration.html", "{{ link }}|{{ code }}|{{ app_name }}|{{ server_name }}")
        self.write("registration.txt", "{{ link }}|{{ code }}|{{ app_name }}|{{ server_name }}")
        mails = self.mails()
        hostile = attr.evolve(
            mails, config=attr.evolve(mails.config, app_name=HOSTILE), server_name=HOSTILE
        )
        mail = hostile.compose(REGISTRATION, "a@hs.example", (), link=HOSTILE, code=HOSTILE)
        plain = "<x onload>Bcc: canary@x.example&"
        self.assertEqual(mail.text, "|".join([plain] * 4))
        escaped = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        self.assertEqual(mail.html, "|".join([escaped] * 4))
        self.assertNotRegex(mail.subject, "[\x00-\x1f\u202e]")

    def test_encodedAddress(self) -> None:
        """An address that header libraries would decode gets no mail at all (threat A11)."""
        for address in (
            "=?utf-8?q?a=40b.c=0d=0a=53ubject=3a_urgent=0d=0a?=@evil.example",
            '"=?utf-8?q?=0d=0abcc=3a_c?="@evil.example',
            "=?utf-8?b?Cg==?=é@evil.example",
        ):
            self.assertRaises(MailRefused, EnvelopeAddress.parse, address)

    def test_headers(self) -> None:
        """Whatever a name or a subject contains, a mail program reads the headers that we wrote and
        no others."""
        for name in (
            'A, "B" <c@x.example>', "Größe & Söhne, GmbH", "=?utf-8?q?a?=", "x" * 300, "ü" * 300,
            "a; b: c@x.example,", "(comment", "\\", '"', "",
        ):  # fmt: skip
            head = MessageBuilder(
                server_name="hs.example", from_name=name, from_address="noreply@hs.example"
            )
            mail = Mail(to="a,b@hs.example", subject=f"[{name}]", text="x", html="y")
            to = EnvelopeAddress.parse(mail.to)
            raw = head.message(mail, to, 0.0)
            read = Delivered(sender="", to="", raw=raw).message
            self.assertEqual(
                sorted(read.keys()),
                sorted(
                    "From To Subject Date Message-ID Auto-Submitted X-Auto-Response-Suppress "
                    "MIME-Version Content-Type".split()
                ),
            )
            (sender,), (recipient,) = read["From"].addresses, read["To"].addresses
            self.assertEqual(sender.addr_spec, "noreply@hs.example", name)
            self.assertEqual(recipient.addr_spec, '"a,b"@hs.example', name)
            self.assertEqual(to.spec, '"a,b"@hs.example')
            if "=?" not in name:
                # Python 3.11 puts a space where it folds a long encoded name.
                self.assertEqual(sender.display_name.replace(" ", ""), name.replace(" ", ""))
                self.assertEqual(read["Subject"], f"[{name}]")
            self.assertTrue(raw.isascii())
            self.assertLess(max(map(len, raw.split(b"\r\n"))), 999)

    def test_lineEnds(self) -> None:
        """A subject or a name with a line end is an error, never a header."""
        head = MessageBuilder(
            server_name="x", from_name="a\r\nBcc: b@c", from_address="a@x.example"
        )
        good = MessageBuilder(server_name="x", from_name="", from_address="a@x.example")
        to = EnvelopeAddress.parse("b@x.example")
        fine = Mail(to="b@x.example", subject="s", text="x", html="y")
        self.assertRaises(ValueError, head.message, fine, to, 0.0)
        for end in "\r", "\n", "\r\n":
            mail = Mail(to="b@x.example", subject=f"s{end}Bcc: b@c", text="x", html="y")
            self.assertRaises(ValueError, good.message, mail, to, 0.0)


class MessageTests(MailsCase):
    def test_asRead(self) -> None:
        """A mail program sees one mail in two forms with the same link, sender, date, and a mark
        for automatic mails; the same mail again has the same Message-ID."""
        mail = self.compose()
        head = MessageBuilder(
            server_name="hs.example:8448", from_name="Matrix", from_address="noreply@hs.example"
        )
        first, again = (
            Delivered(
                sender="", to="", raw=head.message(mail, EnvelopeAddress.parse(mail.to), 86400.5)
            )
            for _ in range(2)
        )
        message = first.message
        self.assertEqual(message.get_content_type(), "multipart/alternative")
        kinds = [part.get_content_type() for part in message.iter_parts()]
        self.assertEqual(kinds, ["text/plain", "text/html"])
        for kind in ("plain", "html"):
            self.assertIn(LINK, first.part(kind).replace("&amp;", "&"))
        self.assertEqual(message["From"], "Matrix <noreply@hs.example>")
        self.assertEqual(message["Date"], "Fri, 02 Jan 1970 00:00:00 +0000")
        self.assertEqual(message["Auto-Submitted"], "auto-generated")
        self.assertEqual(message["Message-ID"], "<0123@hs.example>")
        self.assertEqual(again.message["Message-ID"], message["Message-ID"])


class Server:
    """A mailer that may fail."""

    def __init__(self, trouble: Optional[Exception] = None) -> None:
        self.sent: list[Mail] = []
        self.trouble = trouble

    async def send(self, mail: Mail) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.sent.append(mail)


class MailSenderTests(MailsCase):
    def post(self, server: Server) -> Deferred[None]:
        stands_for(SMTPMailer, server)
        post = ValidationMailSender(mails=self.mails(), deliver=server.send)
        provides(IValidationMails, post)
        mail = ValidationMail(
            purpose=MailPurpose.REGISTRATION,
            address="anna@hs.example",
            languages=("de",),
            message_id="0123",
            link=LINK,
            code=CODE,
        )
        return Deferred.fromCoroutine(post.send(mail))

    def test_sent(self) -> None:
        """A validation is sent as the mail of its purpose, in the user's language."""
        server = Server()
        self.successResultOf(self.post(server))
        self.assertEqual(server.sent, [self.compose(None, REGISTRATION, "de")])

    def test_trouble(self) -> None:
        """A temporary error is raised to the sender; a final one ends in the log, with the address
        masked."""
        self.failureResultOf(self.post(Server(MailDeferred())), MailDeferred)
        with capturedLogs() as events:
            self.successResultOf(self.post(Server(MailRefused("said 550 to RCPT"))))
        (line,) = [formatEvent(event) for event in events]
        self.assertEqual(line, "mail 0123 for a…@hs.example is given up: said 550 to RCPT")
