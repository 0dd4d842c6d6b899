"""``regsys signups``: what an operator reads, and what becomes of it."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any, ClassVar, Mapping, Optional
from urllib.parse import urlencode

from twisted.internet.defer import Deferred
from zope.interface import implementer

from regsys.cli import commands, signups
from regsys.cli.arguments.signups import STEPS
from regsys.cli.tables import printable
from regsys.cli.times import ago
from regsys.client_api.signup_desk import BETWEEN_MS
from regsys.config import Config
from regsys.errors import LimitExceeded, MailDeferred, RegistrationError
from regsys.interfaces import IValidationMails
from regsys.model import MailPurpose, ValidationMail
from tests.accounts.test_approvals import NEEDED
from tests.cli.test_commands import CommandCase
from tests.support import postgres
from tests.support.case import PASSWORD
from tests.support.client import V3
from tests.support.patience import until
from tests.support.service_process import ServiceProcess, psycopg2, sqlite, write_config
from tests.support.smtp_process import smtp_process
from tests.support.validations import ALICE, SECRET, EmailValidationCase

TERMS, TOKEN = "m.login.terms", "m.login.registration_token"
POLICIES: Any = {"terms": {"version": "1", "en": {"name": "T", "url": "https://t.example/"}}}


class DeskCase(EmailValidationCase):
    options: ClassVar[Mapping[str, Any]] = {
        "registrations_require_3pid": ["email"],
        "registration_requires_token": True,
        "regsys": {"policies": POLICIES},
        "rc_registration_token_validity": {"per_second": 1000, "burst_count": 1000},
    }

    def asked(self, action: str, which: Optional[str] = None, **more: Any) -> Deferred[str]:
        given = {"most": 100, "older_than": None, "stage": None, "address": None, "name": None}
        given |= {"json": False, "medium": None, "language": [], "id": which}
        arguments = Namespace(**{**given, "action": action, **more})
        running = signups.run(self.subsystem.signups, "test.example", arguments)
        return Deferred.fromCoroutine(running)

    def do(self, action: str, which: Optional[str] = None, **more: Any) -> str:
        return self.successResultOf(self.asked(action, which, **more))

    def refused(self, action: str, which: Optional[str] = None, **more: Any) -> str:
        failure = self.failureResultOf(self.asked(action, which, **more), RegistrationError)
        return failure.getErrorMessage()

    def line(self) -> str:
        """The only line of the list."""
        (line,) = self.do("list").splitlines()
        return line

    def its_id(self) -> str:
        return self.line().split()[0]

    def token_stage(self, session: str, text: str = "wrong") -> None:
        self.go_on(session, {"type": TOKEN, "token": text})

    def up_to_the_mail(self, name: str = "alice") -> str:
        """A session that has passed token and terms."""
        tokens = self.subsystem.registration_tokens
        if not self.wait(tokens.list()):
            self.wait(tokens.create(token="good", settings={}))
        session = self.begin(name)
        self.token_stage(session, "good")
        self.go_on(session, {"type": TERMS})
        return session


class ListTests(DeskCase):
    def test_steps(self) -> None:
        """A line says how old it is, under which name, what it waits for and why that has not
        come, from the first step to the last."""
        self.assertEqual(self.do("list"), "There are no unfinished registrations.")
        session = self.begin("Alice")
        self.clock.advance(150)
        self.assertTrue(self.line().endswith("  2 min  alice  waits for token  not done"))
        for _ in range(4):
            self.token_stage(session)
        self.assertIn("refused 4 times, last 0 s ago: This registration token is not", self.line())
        session, first = self.up_to_the_mail("bob"), self.id_of("alice")
        self.do("end", first)
        self.assertIn("waits for email  no mail of it is known", self.line())
        sid = self.start_validation()
        self.present(session, sid)
        self.clock.advance(60)
        self.assertIn(
            f"waits for email  mail to {ALICE} sent 1 min ago, not confirmed", self.line()
        )
        self.submit(sid=sid, client_secret=SECRET, token="ABCDEFGH")
        self.assertIn("not confirmed, 1 codes tried", self.line())
        self.submit(**self.link())
        self.assertIn(f"{ALICE} is confirmed, and its app has not gone on", self.line())
        self.change("UPDATE uia_sessions SET password_mark = NULL, password_hash = NULL")
        self.assertRefused(self.present(session, sid), 400, "M_MISSING_PARAM")
        self.assertIn("waits for client  all steps are done, no password was sent", self.line())
        ended = self.present(session, sid, username="bob", password=PASSWORD)
        self.assertRegistered(ended, "bob")
        self.assertEqual(self.do("list"), "There are no unfinished registrations.")

    def test_onFallbackPage(self) -> None:
        """What fails on a stage's page of its own is counted as well."""
        session = self.begin()
        self.token_stage(session)
        form = urlencode({"session": session, "token": "wrong"}).encode()
        self.client.post(f"{V3}/auth/{TOKEN}/fallback/web", form)
        self.assertIn("waits for token  refused 2 times", self.line())

    def id_of(self, name: str) -> str:
        return self.do("list", name=name).split()[0]

    def test_filters(self) -> None:
        """By age, step, address of either kind, name with and without its server; as many as one
        wants."""
        self.begin("old")
        self.clock.advance(3600)
        session = self.up_to_the_mail("young")
        self.present(session, self.start_validation())
        self.start_validation("zoe@mail.example", client_secret="other")
        for given, names in (
            ({}, ["old", "young", "(no"]),
            ({"older_than": "59m"}, ["old"]),
            ({"stage": "token"}, ["old"]),
            ({"stage": "email"}, ["young", "(no"]),
            ({"stage": "m.login.email.identity"}, ["young", "(no"]),
            ({"address": "Alice@MAIL.example"}, ["young"]),
            ({"address": "127.0.0.1"}, ["old", "young"]),
            ({"address": "127.0.0.2"}, ["There"]),
            ({"name": "@Young:test.example"}, ["young"]),
            ({"name": "YOUNG"}, ["young"]),
            ({"name": "young", "stage": "token"}, ["There"]),
        ):
            lines = self.do("list", **given).splitlines()
            found = [(line.split("  ") + [""] * 2)[2] or "There" for line in lines]
            self.assertEqual([name.split()[0] for name in found], names, given)
        self.assertIn("oldest 1;", self.do("list", most=1))
        self.assertIn("not a duration", self.refused("list", older_than="soon"))
        self.assertIn("is not of this server", self.refused("list", name="@a:other.example"))
        self.assertIn("of this kind", self.do("list", stage="captcha"))

    def test_json(self) -> None:
        """The same as JSON, and all of one; neither has what would let anybody go on with it."""
        session = self.up_to_the_mail()
        self.token_stage(session)
        sid = self.start_validation()
        self.present(session, sid)
        (one,) = json.loads(self.do("list", json=True))
        self.assertEqual(json.loads(self.do("show", one["id"][:5], json=True)), one)
        self.assertEqual(
            {key: one[key] for key in ("name", "stage", "waits_for", "passed", "ip")},
            {
                "name": "alice",
                "stage": "m.login.email.identity",
                "waits_for": "email",
                "passed": [TOKEN, TERMS],
                "ip": "127.0.0.1",
            },
        )
        self.assertEqual(one["messages"][0]["address"], ALICE)
        shown = self.do("show", one["id"])
        for text in (shown, self.do("list"), json.dumps(one)):
            for secret in (session, sid, SECRET, "good", self.link()["token"]):
                self.assertNotIn(secret, text)
        self.assertIn(f"passed: {TOKEN}, {TERMS}", shown)
        self.assertIn("from 127.0.0.1", shown)

    def test_hostile(self) -> None:
        """What people and servers write reaches no terminal as it is."""
        session = self.up_to_the_mail()
        self.present(session, self.start_validation())
        evil = "550 \x1b[2J\x9b1m\u202e\nlast"
        self.change("UPDATE validations SET refusal = ?", evil)
        text = r"550 \x1b[2J\x9b1m\u202e\nlast"
        self.assertIn(text, self.line())
        self.assertIn(text, self.do("show", self.its_id()))
        self.assertTrue(self.do("list", json=True).replace("\n", "").isprintable())
        self.assertEqual(printable("zoë 🦊\x7f\ud800"), "zoë 🦊\\x7f\\ud800")

    def test_ago(self) -> None:
        """Times in their largest unit; a clock that is behind says none."""
        for passed_s, words in (
            (-5, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (7199, "1 h"),
            (3 * 86_400, "3 d"),
        ):
            self.assertEqual(ago(0, passed_s * 1000), words)


class WayTests(DeskCase):
    options: ClassVar[Mapping[str, Any]] = {"email": {"notif_from": "s@test.example"}}

    def test_chosenWay(self) -> None:
        """Where there are several ways, the one that a message shows was chosen."""
        session = self.begin()
        self.assertIn("waits for m.login.dummy  not done", self.line())
        self.present(session, self.start_validation())
        self.assertIn("waits for email  mail to", self.line())


@implementer(IValidationMails)
class Refusing:
    """Mails that a server refuses: for good, or for now."""

    def __init__(self) -> None:
        self.error: Optional[Exception] = None
        self.sent: list[ValidationMail] = []

    async def send(self, mail: ValidationMail) -> Optional[str]:
        if self.error is not None:
            raise self.error
        self.sent.append(mail)
        return "The mail server said 550 to RCPT: no such user."


class ActionTests(DeskCase):
    def waiting(self) -> str:
        """A session that waits for its mail; its sid."""
        self.session = self.up_to_the_mail()
        sid = self.start_validation()
        self.present(self.session, sid)
        return sid

    def test_resend(self) -> None:
        """The mail goes out again with the same link, in the language that is said, once a minute
        and within the limits; the link is as good as a new one."""
        sid = self.waiting()
        self.assertIn("less than a minute", self.refused("resend", self.its_id()))
        self.clock.advance(3000)
        self.assertIn(f"to {ALICE} goes out", self.do("resend", self.its_id(), language=["de"]))
        self.subsystem.start()
        first, again = self.mails.sent
        self.assertEqual((again.link, again.code), (first.link, first.code))
        self.assertEqual(again.languages, ("de",))
        self.clock.advance(3000)
        self.submit(**self.link())
        self.assertIn("confirmed already", self.refused("resend", self.its_id()))
        self.assertRegistered(self.present(self.session, sid), "alice")

    def test_resendLimited(self) -> None:
        """A mailbox gets no more than its limit."""
        tight = {"rc_3pid_validation": {"per_second": 0.0001, "burst_count": 2}}
        self.system(**self.options, **tight)
        self.waiting()
        for allowed in (True, False):
            self.clock.advance(BETWEEN_MS / 1000)
            asked = self.asked("resend", self.its_id())
            if allowed:
                self.successResultOf(asked)
            self.change("DELETE FROM jobs")
        self.failureResultOf(asked, LimitExceeded)

    def test_taken(self) -> None:
        """Where it is hidden that an account has the address, its owner hears so again."""
        self.system(**self.options, request_token_inhibit_3pid_errors=True)
        owned = "VALUES ('email', ?, '@owner:test.example', 1, 1)"
        self.wait(self.subsystem.handler.register_user(localpart="owner", by_admin=True))
        self.waiting()
        self.change(f"INSERT INTO threepids {owned}", ALICE)
        self.clock.advance(BETWEEN_MS / 1000)
        self.do("resend", self.its_id())
        self.subsystem.start()
        self.clock.advance(0)
        self.assertEqual(self.mail.purpose, MailPurpose.IN_USE)

    def test_refusedMail(self) -> None:
        """A mail that its server refuses, or does not take yet, says so in the server's words; one
        that waits is tried at once."""
        mails = Refusing()
        self.system(**self.options, hooks=self.hooks(mails=mails))
        self.waiting()
        refused = "was refused for good: The mail server said 550 to RCPT: no such user."
        self.assertIn(f"mail to {ALICE} {refused}", self.line())
        mails.error = MailDeferred("The mail server said 451 to RCPT: greylisted.")
        self.clock.advance(BETWEEN_MS / 1000)
        self.start_validation(attempt=2)
        self.assertIn(f"mail to {ALICE} not sent, attempt 1, again ", self.line())
        self.assertIn("MailDeferred: The mail server said 451 to RCPT: greylisted.", self.line())
        self.failed_jobs.flush()
        mails.error = None
        self.do("resend", self.its_id())
        self.subsystem.start()
        self.assertEqual(len(mails.sent), 2)

    def test_confirm(self) -> None:
        """An operator who vouches for the address lets the registration go on; the client's next
        look is enough. Again, or for a phone that it has not, it is refused."""
        sid = self.waiting()
        name = self.its_id()
        self.assertIn("no message of it", self.refused("confirm", name, medium="msisdn"))
        self.assertIn("counts as confirmed", self.do("confirm", name, medium="email"))
        self.assertIn("confirmed already", self.refused("confirm", name, medium="email"))
        self.assertRegistered(self.present(self.session, sid), "alice")
        self.assertEqual(self.owners(), {ALICE: "@alice:test.example"})
        self.assertIn("there is no unfinished registration", self.refused("confirm", name))

    def test_end(self) -> None:
        """The session and its validation are gone; nothing else is."""
        sid = self.waiting()
        self.begin("bob")
        name = self.do("list", name="alice").split()[0]
        self.assertIn("has to begin anew", self.do("end", name))
        self.submit(**self.link())
        self.assertRefused(self.present(self.session, sid), 400, "M_UNKNOWN")
        self.assertEqual(self.rows("SELECT COUNT(*) FROM validations")[0][0], 0)
        self.assertIn("  bob  ", self.line())

    def test_unknownId(self) -> None:
        """Too short an id, and one of nobody's, name nothing."""
        self.waiting()
        for name in ("", self.its_id()[:3], "ffffffffff", "%", self.session):
            for action in ("show", "resend", "end"):
                self.assertIn("there is no unfinished registration", self.refused(action, name))


class AuditTests(DeskCase):
    options: ClassVar[Mapping[str, Any]] = {
        **DeskCase.options,
        "regsys": {"policies": POLICIES, "audit": {"enabled": True}},
    }

    def test_audited(self) -> None:
        """What an operator does is in the audit log, with the short id and no address."""
        session = self.up_to_the_mail()
        self.present(session, self.start_validation())
        self.change("DELETE FROM audit")
        self.clock.advance(61)
        name = self.its_id()
        for action in ("resend", "confirm", "end"):
            self.do(action, name, medium="email")
        rows = self.rows("SELECT what, user_id, actor, details FROM audit ORDER BY what")
        words = ("signup-confirmed", "signup-ended", "signup-message-sent")
        details = json.dumps({"id": name})
        self.assertEqual(rows, [(word, None, "cli", details) for word in words])


class ReasonTests(DeskCase):
    options: ClassVar[Mapping[str, Any]] = {
        "experimental_features": NEEDED,
        "regsys": {"approval": {"ask_reason": True}},
    }

    def test_reason(self) -> None:
        """A registration that waits for the person's reason, by the word that the help has."""
        self.begin("alice")
        self.assertIn("  waits for reason  not done", self.do("list"))
        self.assertIn("reason", STEPS)


class ArgumentTests(CommandCase):
    def test_wrong(self) -> None:
        """What is no command is refused with exit status 2."""
        config = self.config()
        for wrong in (["show"], ["confirm", "x"], ["mend", "x"], ["list", "--most", "0"]):
            done = self.called("signups", *wrong, "-c", config)
            self.assertEqual(done.returncode, 2, wrong)

    def test_listSpelledOut(self) -> None:
        """The action's name changes nothing, wherever the options stand."""
        given: list[Namespace] = []

        def kept(config: Config, arguments: Namespace) -> int:
            given.append(arguments)
            return 0

        self.patch(commands, "signups", kept)
        config, options = self.config(), ["--stage", "email", "--json"]
        for arguments in (options, ["list", *options], [*options, "list"]):
            self.assertEqual(self.called("signups", "-c", config, *arguments).returncode, 0)
        self.assertEqual(given[1:], given[:1] * 2)
        self.assertEqual((given[0].stage, given[0].json, given[0].most), ("email", True, 100))


class ServiceTests(CommandCase):
    def helped(self, database: Mapping[str, Any]) -> None:
        """While the service runs, an operator sees a mail refused, has it sent again, and confirms
        by hand; the registration goes on."""
        with smtp_process() as server:
            server.set_faults({"RCPT": 550})
            mails = {"smtp_host": "127.0.0.1", "smtp_port": server.port, "enable_tls": False}
            path = write_config(
                self.folder,
                database,
                email={**mails, "notif_from": "s@test.example"},
                registrations_require_3pid=["email"],
                public_baseurl="https://test.example/",
            )
            service = ServiceProcess(self, path)
            api = "/_matrix/client/v3/register"
            body = {"username": "alice", "password": "correct horse"}
            session = service.ask("POST", api, body).json["session"]
            ask = {"email": ALICE, "client_secret": "s", "send_attempt": 1}
            sid = service.ask("POST", f"{api}/email/requestToken", ask).json["sid"]
            creds = {"sid": sid, "client_secret": "s"}
            auth = {"type": "m.login.email.identity", "threepid_creds": creds, "session": session}
            self.assertEqual(service.ask("POST", api, {"auth": auth}).status, 401)
            service.wait_for("is given up")

            def listed() -> Any:
                done = self.regsys("signups", "--json", "--name", "alice", "-c", path.name)
                self.assertEqual(done.returncode, 0, done.stderr)
                return json.loads(done.stdout)[0]

            # It is stored just after it is logged.
            found: list[Any] = []

            def is_refused() -> bool:
                found.append(listed())
                return found[-1]["messages"][0]["refusal"] is not None

            until(is_refused, lambda: str(found))
            one = found[-1]
            self.assertIn("refused for good: The mail server said 550 to RCPT", one["why"])
            done = self.regsys("signups", "confirm", one["id"], "--email", "-c", path.name)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(service.ask("POST", api, {"auth": auth}).status, 200)
            done = self.regsys("signups", "show", one["id"], "-c", path.name)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
            self.assertIn("there is no unfinished registration", done.stderr)
            service.stop()

    def test_sqlite(self) -> None:
        """Beside a service over SQLite."""
        self.helped(sqlite(self.folder))

    def test_postgres(self) -> None:
        """Beside a service over PostgreSQL."""
        self.helped(psycopg2(postgres.dsn(self)))
