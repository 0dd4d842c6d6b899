"""The email section: when mails are on, their sender, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regsys.config import EmailConfig
from regsys.model import Secret
from tests.config.case import ConfigCase

SENDER = {"notif_from": "noreply@hs.example"}


class EmailCase(ConfigCase):
    def email(self, **options: Any) -> EmailConfig:
        """The section with a sender and these options."""
        email = self.parse({"email": {**SENDER, **options}}).email
        assert email is not None
        return email

    def assertRefused(self, options: dict[str, Any], *parts: str) -> None:
        self.assertProblem({"email": {**SENDER, **options}}, *parts)


class EmailTests(EmailCase):
    def test_absent(self) -> None:
        """No mails without the section, nor with an empty one."""
        for section in (None, {}, {"smtp_host": None, "notif_from": None, "subjects": None}):
            self.assertIsNone(self.parse({"email": section}).email, section)

    def test_anythingSwitchesItOn(self) -> None:
        """Any option of the section switches mails on, and mails require a sender."""
        for options in ({"smtp_host": "localhost"}, {"force_tls": False}, {"enable_notifs": True}):
            self.assertProblem({"email": options}, "email.notif_from: missing")

    def test_defaults(self) -> None:
        """A sender is enough: the defaults are those of Synapse."""
        expected = EmailConfig(
            host="localhost",
            port=25,
            tls_name="localhost",
            from_name="",
            from_address="noreply@hs.example",
            app_name="Matrix",
        )
        email = self.email()
        self.assertEqual(email, expected)
        self.assertEqual((email.force_tls, email.starttls, email.require_tls), (False, True, False))

    def test_notifications(self) -> None:
        """New users are notified if both options are set; the second is by default."""
        for options, notified in (
            ({"notif_for_new_users": True}, False),
            ({"enable_notifs": True}, True),
            ({"enable_notifs": True, "notif_for_new_users": False}, False),
        ):
            self.assertIs(self.email(**options).notifies_newcomers, notified, options)

    def test_whole(self) -> None:
        """Each option is read; the certificate's name is the host's unless given."""
        email = self.email(
            smtp_host="mail.example",
            smtp_user="robot",
            smtp_pass="s",
            force_tls=True,
            require_transport_security=True,
        )
        self.assertEqual(
            (email.host, email.port, email.tls_name), ("mail.example", 465, "mail.example")
        )
        self.assertEqual((email.user, email.password), ("robot", Secret("s")))
        self.assertEqual((email.force_tls, email.require_tls), (True, True))
        self.assertEqual(self.email(tlsname="other.example").tls_name, "other.example")
        self.assertEqual(self.email(force_tls=True, smtp_port=587).port, 587)
        self.assertEqual(
            self.email(smtp_user="robot", smtp_pass_path=self.file("s\n")).password, Secret("s")
        )

    def test_unused(self) -> None:
        """Options about clients have no effect yet, and are listed so."""
        names = ("invite_client_location", "riot_base_url")
        config = self.parse({"email": {**SENDER, **dict.fromkeys(names, "x")}})
        self.assertEqual(set(config.unused), {f"email.{name}" for name in names})
        self.assertEqual(config.warnings, ())

    def test_client(self) -> None:
        """The address of the web app must be one."""
        self.assertIsNone(self.email().client_base_url)
        url = "https://app.example/#/"
        self.assertEqual(self.email(client_base_url=url).client_base_url, url)
        self.assertProblem(
            {"email": {**SENDER, "client_base_url": "app.example"}},
            "email.client_base_url",
            "https://",
        )


class SenderTests(EmailCase):
    def test_forms(self) -> None:
        """The sender is an address, with or without a name, which may contain the app's name,
        however odd: it never becomes part of the address."""
        app = 'Acme, "Inc" <a@b>'
        for written, name, address in (
            ("noreply@hs.example", "", "noreply@hs.example"),
            ("<noreply@hs.example>", "", "noreply@hs.example"),
            (
                "Your %(app)s server <noreply@hs.example>",
                f"Your {app} server",
                "noreply@hs.example",
            ),
            ('"A, B %(app)s" <a@hs.example>', f"A, B {app}", "a@hs.example"),
            ("100%% Größe <a@hs.example>", "100% Größe", "a@hs.example"),
            ("a@bücher.example", "", "a@xn--bcher-kva.example"),
            ("Example.com Chat <a@b.example>", "Example.com Chat", "a@b.example"),
            ("Dr. A. Who at %(app)s <a@b.example>", f"Dr. A. Who at {app}", "a@b.example"),
            ("a@mail_relay", "", "a@mail_relay"),
        ):
            email = self.email(notif_from=written, app_name=app)
            self.assertEqual((email.from_name, email.from_address), (name, address))

    def test_refused(self) -> None:
        """Anything but exactly one address stops the start."""
        for written in (
            "nobody", "a@b.example, c@b.example", "A, B <a@b.example>", "%(app)s@hs.example",
            "a@%(app)s",
            "%(server)s <a@hs.example>", "%s <a@hs.example>", "50% <a@hs.example>",
            "jörg@hs.example", "a@☃.example", "A <a@hs.example", "<>", "a b@hs.example",
            "Example.com, Chat <a@hs.example>", "a@[192.0.2.1]", "A <@hs.example:a@hs.example>",
            f"a@{'x' * 64}.example",
        ):  # fmt: skip
            self.assertRefused({"notif_from": written}, "email.notif_from: not one address")
        self.assertRefused({"notif_from": "A, B <a@b.example>"}, "a comma in it stands in quotes")

    def test_lineEnds(self) -> None:
        """A value for a header must not contain a line end or another control character."""
        for end in ("\r\nBcc: a@b.example", "\x00", "\u202e"):
            for name in ("notif_from", "app_name"):
                self.assertRefused(
                    {name: f"A{end} <a@hs.example>"}, f"email.{name}: has a line end"
                )
            subjects = {"email_validation": f"a{end}"}
            self.assertRefused(
                {"subjects": subjects}, "email.subjects.email_validation: has a line"
            )


class HostTests(EmailCase):
    def test_names(self) -> None:
        """Any name that a resolver may know is a host: an underscore is allowed, an address may
        have brackets, and letters beyond ASCII are written in A-labels."""
        for written, host in (
            ("mail_relay", "mail_relay"),
            ("Mail.Example", "mail.example"),
            ("a--b.example.", "a--b.example."),
            ("[::1]", "::1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("127.0.0.1", "127.0.0.1"),
            ("bücher.example", "xn--bcher-kva.example"),
        ):
            email = self.email(smtp_host=written)
            self.assertEqual((email.host, email.tls_name), (host, host))
            self.assertEqual(self.email(tlsname=written).tls_name, host)

    def test_refused(self) -> None:
        """A name that no resolver can know is refused at the start, with what to write instead."""
        for written, mend in (
            ("mail.example:587", "write smtp_host: mail.example and smtp_port: 587"),
            ("[::1]:25", "write smtp_host: [::1] and smtp_port: 25"),
            ("smtp://mail.example", "without smtp:// and port"),
            (f"{'x' * 70}.example", "write its name alone"),
            ("mail example", "write its name alone"),
            ("*.example", "write its name alone"),
            ("mail..example", "write its name alone"),
            ("192.0.2.256", "write its name alone"),
            ("☃.example", "write its name alone"),
        ):
            self.assertRefused({"smtp_host": written}, "email.smtp_host: not the name", mend)
        self.assertRefused({"tlsname": "*.example.com"}, "email.tlsname: not the name", "one name")
        self.assertRefused({"tlsname": "a.example:25"}, "write tlsname: a.example")


class SubjectTests(EmailCase):
    def test_subjects(self) -> None:
        """Subjects may use the names of server and app, and no other."""
        given = {"email_validation": "[%(server_name)s] %(app)s", "email_already_in_use": "x"}
        self.assertEqual(self.email(subjects=given).subjects, given)
        for subject in ("%(user)s", "%s", "%d%%", "100%"):
            self.assertRefused(
                {"subjects": {"email_already_in_use": subject}},
                "email.subjects.email_already_in_use: not a subject",
            )


class SecurityTests(EmailCase):
    def test_contradictions(self) -> None:
        """Half of a login, and TLS that is both required and switched off, are refused."""
        self.assertRefused({"smtp_user": "robot"}, "email.smtp_pass: missing")
        self.assertRefused({"smtp_pass": "s"}, "email.smtp_user: missing")
        # A value that is present but invalid is not reported as missing too.
        path = self.file("s")
        for wrong in (
            {"smtp_pass": "s", "smtp_pass_path": path},
            {"smtp_pass": "", "smtp_pass_path": None},
            {"smtp_pass": 5},
            {"smtp_pass_path": "/nowhere"},
        ):
            self.assertRefused({"smtp_user": "robot", **wrong}, "email.smtp_pass")
        self.assertRefused(
            {"require_transport_security": True, "enable_tls": False},
            "email.require_transport_security: enable_tls switches off",
        )
        self.email(require_transport_security=True, enable_tls=False, force_tls=True)

    def test_unencryptedLogin(self) -> None:
        """A password that would be sent unencrypted over a network causes a warning."""
        login = {**SENDER, "smtp_user": "robot", "smtp_pass": "s", "enable_tls": False}
        self.assertWarning({"email": {**login, "smtp_host": "mail.example"}}, "unencrypted")
        for quiet in ({}, {"smtp_host": "127.0.0.1"}, {"smtp_host": "a", "force_tls": True}):
            self.assertEqual(self.parse({"email": {**login, **quiet}}).warnings, ())


class TemplateTests(EmailCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        (self.directory / "mails").mkdir(parents=True)

    def write(self, *names: str) -> None:
        for name in names:
            (self.directory / name).write_text("")

    def test_found(self) -> None:
        """An administrator's templates replace ours: by a homeserver's names for them, by those
        that the options give, or by our own, which need no entry."""
        self.write("registration.html", "my.txt", "registration_failure.html", "add_threepid.txt")
        self.write("mails/add_threepid.txt")
        expected = {
            "mails/registration.html": "registration.html",
            "mails/registration.txt": "my.txt",
            "registration_failure.html": "registration_failure.html",
        }
        named = {"registration_template_text": "my.txt"}
        old = self.email(template_dir=str(self.directory), **named)
        self.assertEqual((old.templates, old.template_dir), (expected, str(self.directory)))
        new = self.parse(
            {
                "email": {**SENDER, **named},
                "templates": {"custom_template_directory": str(self.directory)},
            }
        ).email
        assert new is not None
        self.assertEqual((new.templates, new.template_dir), (expected, None))

    def test_missing(self) -> None:
        """A file that is named but missing is refused; a default name may have no file."""
        self.assertRefused(
            {"add_threepid_template_html": "mine.html"},
            "email.add_threepid_template_html: there is no such file ('mine.html')",
        )
        self.assertRefused({"template_dir": "nowhere"}, "email.template_dir: not a directory")
        usual = {"registration_template_html": "registration.html"}
        self.assertEqual(self.email(**usual).templates, {})
