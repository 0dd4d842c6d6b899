"""Approval from the newcomer's reason to the decision, over HTTP and by the class itself."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping, Optional
from urllib.parse import urlencode

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from regsys.accounts.approval_notices import ApprovalMailer
from regsys.accounts.approvals import Approvals
from regsys.errors import AlreadyDecided, InvalidParam, MailDeferred, MailRefused, UserNotFound
from regsys.model import UserID
from regsys.model.approvals import MAX_REASON, Queue
from regsys.model.jobs import Job
from regsys.outbound.email import SMTPMailer
from regsys.storage.approval_decisions import DECISION_MAIL
from regsys.storage.approvals import WAITING_MAIL
from regsys.uia.stage_types import REASON
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import V3, Answer
from tests.support.fakes import stands_for
from tests.test_mails import MailsCase, Server

AWAITING = "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL"
NEEDED = {"msc3866": {"enabled": True, "require_approval_for_new_accounts": True}}
WHY = "I sing in the choir.\nAnn knows me <3"
MAIL = "alice@mail.example"


class ApprovalCase(SystemCase):
    """Newcomers are asked for a reason, and wait."""

    options: ClassVar[Mapping[str, Any]] = {
        "experimental_features": NEEDED,
        "regsys": {"approval": {"ask_reason": True}},
    }

    @property
    def approvals(self) -> Approvals:
        assert self.subsystem.approvals is not None
        return self.subsystem.approvals

    def begin(self, name: str = "alice") -> str:
        return str(self.challenge(username=name, password=PASSWORD)["session"])

    def go_on(self, session: str, stage: Mapping[str, Any], **headers: str) -> Answer:
        self.clock.advance(0)
        body = {"auth": {"session": session, **stage}}
        return self.client.ask("POST", f"{V3}/register", body, **headers)

    def ask_for(self, name: str = "alice", reason: str = WHY, **headers: str) -> None:
        """Register an account that waits."""
        session = self.begin(name)
        self.assertEqual(
            self.go_on(session, {"type": REASON, "reason": reason}).json["completed"], [REASON]
        )
        self.assertRefused(self.go_on(session, DUMMY, **headers), 403, AWAITING)

    def make_admin(self, name: str = "root") -> str:
        """An administrator's access token."""
        token = self.wait(self.subsystem.handler.register_user(_by_admin(name))).login.access_token
        self.change("UPDATE users SET admin = TRUE WHERE name_key = ?", name)
        return str(token.reveal())

    def log_in(self, name: str = "alice", password: str = PASSWORD) -> Answer:
        body = {"type": "m.login.password", "user": name, "password": password}
        return self.client.post(f"{V3}/login", body)

    def add_mail(self, name: str = "alice", address: str = MAIL) -> None:
        sql = "INSERT INTO threepids VALUES ('email', ?, ?, 1, 1)"
        self.change(sql, address, f"@{name}:test.example")


def _by_admin(name: str) -> Any:
    from regsys.model import DeviceRequest, Registration, Secret

    return Registration(
        localpart=name, password=Secret(PASSWORD), by_admin=True, device=DeviceRequest()
    )


class ReasonTests(ApprovalCase):
    def test_inEveryFlow(self) -> None:
        """The stage comes before the ways to choose from, with its limit; without approval, and
        without the option, nobody is asked."""
        required = {"registrations_require_3pid": [], "email": {"notif_from": "a@test.example"}}
        self.system(**{**self.options, **required})
        asked = self.challenge(username="alice", password=PASSWORD)
        flows = [flow["stages"] for flow in asked["flows"]]
        self.assertEqual(flows, [[REASON, "m.login.dummy"], [REASON, "m.login.email.identity"]])
        self.assertEqual(asked["params"][REASON], {"max_length": MAX_REASON})
        for options in (
            {"experimental_features": NEEDED},
            {"regsys": {"approval": {"ask_reason": True}}},
        ):
            self.system(**options)
            asked = self.challenge(username="alice", password=PASSWORD)
            self.assertEqual([flow["stages"] for flow in asked["flows"]], [["m.login.dummy"]])

    def test_kept(self) -> None:
        """The reason is kept with the account, and what else helps to decide and to answer."""
        self.ask_for(X_Forwarded_For="192.0.2.7", Accept_Language="de-AT, de;q=0.8, en;q=0.5")
        rows = self.rows("SELECT reason, address, languages, requested_ms FROM approvals")
        self.assertEqual(rows, [(WHY, "192.0.2.7", '["de-at", "de", "en"]', self.now_ms)])

    def test_bounded(self) -> None:
        """What a client sends as its languages is kept within bounds."""
        tags = ",".join("x" * 50 for _ in range(50))
        self.ask_for(Accept_Language=tags)
        ((kept,),) = self.rows("SELECT languages FROM approvals")
        self.assertLess(len(kept), 250)

    def test_refused(self) -> None:
        """A reason that is missing, empty, too long or deceptive is refused, and may be mended."""
        session = self.begin()
        for reason, errcode in (
            (None, "M_INVALID_PARAM"),
            (1, "M_INVALID_PARAM"),
            ([], "M_INVALID_PARAM"),
            ("", "M_MISSING_PARAM"),
            (" \n\t ", "M_MISSING_PARAM"),
            ("a\x1b[2J", "M_INVALID_PARAM"),
            ("a\u202eb", "M_INVALID_PARAM"),
            ("a\rb", "M_INVALID_PARAM"),
            ("a\tb", "M_INVALID_PARAM"),
            ("x" * (MAX_REASON + 1), "M_INVALID_PARAM"),
        ):
            answer = self.go_on(session, {"type": REASON, "reason": reason})
            self.assertRefused(answer, 401, errcode, reason)
        answer = self.go_on(session, {"type": REASON})
        self.assertRefused(answer, 401, "M_MISSING_PARAM")
        good = {"type": REASON, "reason": f"\r\n{'x' * (MAX_REASON - 2)}\r\ny "}
        self.assertEqual(self.go_on(session, good).json["completed"], [REASON])
        self.go_on(session, DUMMY)
        ((kept,),) = self.rows("SELECT reason FROM approvals")
        self.assertEqual(kept, f"{'x' * (MAX_REASON - 2)}\ny")

    def test_fallback(self) -> None:
        """A browser without JavaScript passes the stage, in the reader's language; what is refused
        is said in the form."""
        session = self.begin()
        path = f"{V3}/auth/{REASON}/fallback/web"
        page = self.client.get(f"{path}?session={session}")
        self.assertEqual(page.status, 200)
        for part in (b"<textarea", b'name="reason"', b"required", b'maxlength="1000"'):
            self.assertIn(part, page.json)
        again = self.client.post(path, urlencode({"session": session, "reason": " "}).encode())
        self.assertIn(b"Please say why you would like an account.", again.json)
        self.assertIn(b"<textarea", again.json)
        body = urlencode({"session": session, "reason": WHY.replace("\n", "\r\n")}).encode()
        self.assertNotIn(b"<form", self.client.post(path, body).json)
        self.assertRefused(self.go_on(session, DUMMY), 403, AWAITING)
        self.assertEqual(self.rows("SELECT reason FROM approvals"), [(WHY,)])

    def test_onlyOfThoseWhoWait(self) -> None:
        """Of an account that need not wait nothing is kept."""
        self.make_admin()
        self.client.register("?kind=guest")
        self.assertEqual(self.rows("SELECT COUNT(*) FROM approvals"), [(0,)])


class DecisionCase(ApprovalCase):
    """Alice waits. ``sent`` are the mails, of which no mail server is asked."""

    options: ClassVar[Mapping[str, Any]] = {
        **ApprovalCase.options,
        "email": {"notif_from": "a@test.example"},
    }

    def setUp(self) -> None:
        self.sent: list[Any] = []
        self.patch(SMTPMailer, "send", self.send)
        super().setUp()
        self.ask_for()
        self.add_mail()
        self.alice = UserID("alice", "test.example")

    async def send(self, mail: Any) -> None:
        self.sent.append(mail)

    def fail(self, coroutine: Any, error: Any) -> Any:
        return self.failureResultOf(Deferred.fromCoroutine(coroutine), error).value


class DecisionTests(DecisionCase):
    """``approvals.approve`` and ``refuse``."""

    def test_approved(self) -> None:
        """The account can log in, its person is told at once, and it is not told twice."""
        self.assertRefused(self.log_in(), 403, AWAITING)
        self.assertTrue(self.wait(self.approvals.approve(self.alice, "cli")).is_new)
        self.assertEqual(self.log_in().status, 200)
        again = self.wait(
            self.approvals.approve(UserID("Alice", "test.example"), "@b:test.example")
        )
        self.assertEqual((again.is_new, again.by), (False, "cli"))
        (mail,) = self.sent
        self.assertEqual((mail.to, mail.subject), (MAIL, "[test.example] Your account is approved"))
        self.assertEqual(self.rows("SELECT COUNT(*) FROM jobs"), [(0,)])

    def test_refused(self) -> None:
        """The account has ended, its person is told why, its address is free and its name taken."""
        self.wait(self.approvals.refuse(self.alice, " Unknown\r\nhere ", "cli"))
        self.assertRefused(self.log_in(), 403, "M_FORBIDDEN")
        (mail,) = self.sent
        self.assertIn("\n    Unknown\n    here\n", mail.text)
        self.assertIn("Unknown<br>here", mail.html)
        self.assertEqual(self.rows("SELECT * FROM threepids"), [])
        self.assertEqual(self.rows("SELECT COUNT(*) FROM jobs"), [(0,)])
        answer = self.client.get(f"{V3}/register/available?username=alice")
        self.assertRefused(answer, 400, "M_USER_IN_USE")
        again = self.wait(self.approvals.refuse(self.alice, "another", "@b:test.example"))
        self.assertEqual((again.is_new, again.reason), (False, "Unknown\nhere"))
        self.assertEqual(len(self.sent), 1)

    def test_tooLate(self) -> None:
        """Who decides the opposite is told by whom and what was decided."""
        self.wait(self.approvals.refuse(self.alice, None, "@root:test.example"))
        error = self.fail(self.approvals.approve(self.alice, "cli"), AlreadyDecided)
        expected = "The account @alice:test.example is refused already by @root:test.example."
        self.assertEqual(error.text, expected)
        self.assertEqual((error.status, error.body["by"]), (409, "@root:test.example"))

    def test_nobody(self) -> None:
        """A user who is not here is not found; a bad reason changes nothing."""
        for user_id in (UserID("nobody", "test.example"), UserID("alice", "other.example")):
            self.fail(self.approvals.approve(user_id, "cli"), UserNotFound)
        for reason in ("x" * (MAX_REASON + 1), "a\x00b"):
            self.fail(self.approvals.refuse(self.alice, reason, "cli"), InvalidParam)
        self.assertEqual(self.wait(self.approvals.queue()).count, 1)

    def test_logged(self) -> None:
        """The log says who has decided what about whom, and nothing that people have written."""
        with capturedLogs() as events:
            self.wait(self.approvals.refuse(self.alice, "secret-canary", "cli"))
        lines = "\n".join(filter(None, map(formatEvent, events)))
        self.assertIn("refused the account @alice:test.example (by cli)", lines)
        for canary in ("secret-canary", "choir", MAIL):
            self.assertNotIn(canary, lines)

    def test_audited(self) -> None:
        """Each decision is an entry of its transaction; the same again is none."""
        audit = {"audit": {"enabled": True}, "approval": {"ask_reason": True}}
        self.system(database=self.database, **{**self.options, "regsys": audit})
        self.ask_for("bob")
        self.change("DELETE FROM audit")
        bob = UserID("bob", "test.example")
        for _ in range(2):
            self.wait(self.approvals.approve(self.alice, "cli"))
            self.wait(self.approvals.refuse(bob, "secret-canary", "@root:test.example"))
        self.fail(self.approvals.approve(bob, "cli"), AlreadyDecided)
        self.assertEqual(
            self.rows("SELECT what, user_id, actor, details FROM audit ORDER BY what"),
            [
                ("approved", str(self.alice), "cli", "{}"),
                ("rejected", str(bob), "@root:test.example", "{}"),
            ],
        )

    def test_withdrawn(self) -> None:
        """An approval that is withdrawn leaves the account in the queue, with its reason; it is
        decided about anew, and its person told anew."""
        for count in (1, 2):
            self.wait(self.approvals.approve(self.alice, "cli"))
            self.assertEqual((len(self.sent), self.log_in().status), (count, 200))
            self.assertTrue(self.wait(self.approvals.withdraw(self.alice, "cli")))
            self.assertFalse(self.wait(self.approvals.withdraw(self.alice, "cli")))
            self.assertRefused(self.log_in(), 403, AWAITING)
            (account,) = self.wait(self.approvals.waiting()).accounts
            self.assertEqual(account.reason, WHY)
            self.assertIsNone(self.wait(self.approvals.decided(self.alice)))
        nobody = UserID("nobody", "test.example")
        self.fail(self.approvals.withdraw(nobody, "cli"), UserNotFound)
        guest = UserID.parse(self.client.register("?kind=guest").json["user_id"])
        self.fail(self.approvals.withdraw(guest, "cli"), InvalidParam)

    def test_erased(self) -> None:
        """A deactivation of an account that waits takes its reason along."""
        self.wait(self.subsystem.handler.deactivated(self.alice))
        self.assertEqual(self.rows("SELECT * FROM approvals"), [])


class WatchTests(DecisionCase):
    """Administrators are told, and the metrics are brought up to date."""

    options: ClassVar[Mapping[str, Any]] = {
        **DecisionCase.options,
        "regsys": {"approval": {"ask_reason": True, "notify": ["root@mail.example"]}},
        "public_baseurl": "https://hs.example/sub/",
    }

    def setUp(self) -> None:
        super().setUp()
        self.told, self.sent[:] = list(self.sent), []

    def gauge(self, name: str) -> Optional[float]:
        return self.subsystem.process.metrics.registry.get_sample_value(name)

    def test_told(self) -> None:
        """One mail at once for the first who waits, with the page's address, and one at the end of
        the interval for all others, with nothing that they have written."""
        (mail,) = self.told
        self.assertEqual(mail.to, "root@mail.example")
        self.assertIn("wait for approval: 1\n", mail.text)
        self.assertIn("\nhttps://hs.example/sub/_regsys/approvals/\n", mail.text)
        self.assertNotIn("choir", mail.text)
        self.subsystem.start()
        for name in ("bob", "carol"):
            self.ask_for(name)
        self.clock.advance(3599)
        self.assertEqual(self.sent, [])
        self.clock.advance(61)
        (mail,) = self.sent
        self.assertIn("wait for approval: 3\n", mail.text)
        self.clock.advance(7200)
        self.assertEqual(len(self.sent), 1)

    def test_metrics(self) -> None:
        """How many wait, and how long the first has waited."""
        self.assertEqual(self.gauge("regsys_approvals_waiting"), 1)
        self.subsystem.start()
        self.clock.advance(60)
        self.assertEqual(self.gauge("regsys_oldest_approval_age_seconds"), 60)
        self.wait(self.approvals.approve(self.alice, "cli"))
        self.clock.advance(60)
        for name in ("regsys_approvals_waiting", "regsys_oldest_approval_age_seconds"):
            self.assertEqual(self.gauge(name), 0)


class MailerTests(MailsCase):
    def mailer(self, server: Server, count: int = 0, language: Optional[str] = None) -> Any:
        stands_for(SMTPMailer, server)

        async def queue() -> Queue:
            return Queue(count=count, oldest_ms=None)

        return ApprovalMailer(
            mails=self.mails(),
            deliver=server.send,
            queue=queue,
            language=language,
            page="https://hs.example/_regsys/approvals/",
        )

    def run_job(self, handler: Any, kind: str, **payload: Any) -> Deferred[None]:
        job = Job(job_id="0123", kind=kind, payload=payload, attempts=1, claimed_until_ms=1)
        return Deferred.fromCoroutine(handler(job))

    def decide(self, server: Server, decision: str = "approved", **more: Any) -> Deferred[None]:
        payload = {
            "user_id": "@anna:hs.example",
            "decision": decision,
            "reason": None,
            "languages": ["fr-ca", "de"],
            "address": "anna@hs.example",
            **more,
        }
        return self.run_job(self.mailer(server).tell_decision, DECISION_MAIL, **payload)

    def test_decision(self) -> None:
        """The person is told in the language in which they have registered; the same job has the
        same Message-ID."""
        server = Server()
        self.successResultOf(self.decide(server))
        (mail,) = server.sent
        self.assertEqual((mail.to, mail.message_id), ("anna@hs.example", "0123"))
        self.assertEqual(mail.subject, "[hs.example] Votre compte est approuvé")
        for part in (mail.text, mail.html):
            self.assertIn("@anna:hs.example", part)
            self.assertIn("Bonjour,", part)

    def test_refusal(self) -> None:
        """With and without a reason."""
        server = Server()
        self.successResultOf(self.decide(server, "refused", reason="Zu jung.", languages=["de"]))
        self.successResultOf(self.decide(server, "refused", languages=[]))
        first, second = server.sent
        self.assertEqual(first.subject, "[hs.example] Ihr Konto ist abgelehnt")
        self.assertIn("\n\n    Zu jung.\n\n", first.text)
        self.assertEqual(second.subject, "[hs.example] Your account is refused")
        self.assertNotIn("says", second.text)

    def test_administrators(self) -> None:
        """Administrators are told in their language how many wait now; nobody if none does."""
        server = Server()
        for count in (2, 0):
            mailer = self.mailer(server, count, "de")
            given = {"address": "root@hs.example"}
            self.successResultOf(self.run_job(mailer.tell_administrator, WAITING_MAIL, **given))
        (mail,) = server.sent
        self.assertEqual(mail.subject, "[hs.example] Konten warten auf Freigabe")
        self.assertIn(": 2", mail.text)

    def test_trouble(self) -> None:
        """A temporary error has the job run again; a final one ends in the log, masked."""
        self.failureResultOf(self.decide(Server(MailDeferred())), MailDeferred)
        with capturedLogs() as events:
            self.successResultOf(self.decide(Server(MailRefused("said 550 to RCPT"))))
        (line,) = [formatEvent(event) for event in events]
        self.assertEqual(line, "mail 0123 for a…@hs.example is given up: said 550 to RCPT")
