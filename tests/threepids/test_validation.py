"""Validating an email address: who gets a mail, how requests are answered, and how long tokens are
valid."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from regsys.errors import Unavailable
from regsys.interfaces import IValidationMails
from regsys.model import JOB_LEASE_MS, MailPurpose, ValidationMail
from regsys.model.threepids import CODE_TRIES
from regsys.testing import MemoryMails, provides
from tests.support.due_jobs import run_due
from tests.support.validations import ALICE, REQUEST, SECRET, EmailValidationCase

LIFE_S = 3600
TIGHT = {"per_second": 0.01, "burst_count": 3}


@implementer(IValidationMails)
class SilentMails:
    """Mails are sent, but their sending never returns."""

    def __init__(self) -> None:
        self.sent: list[ValidationMail] = []

    async def send(self, mail: ValidationMail) -> None:
        self.sent.append(mail)
        await Deferred()


class RequestTests(EmailValidationCase):
    def test_fake(self) -> None:
        """The fake mails are sent in the same way as real ones."""
        provides(IValidationMails, MemoryMails())

    def test_mail(self) -> None:
        """The mail goes to the canonical address, with a link and a code, in the client's language;
        it is sent as soon as its row exists, and once."""
        body = {"email": " Alice@Mail.EXAMPLE", "client_secret": SECRET, "send_attempt": 1}
        answer = self.client.post(REQUEST, body, Accept_Language="de-CH, fr;q=0.5")
        sid = answer.json["sid"]
        self.assertRegex(sid, "^[A-Za-z]{16}$")
        (mail,) = self.mails.sent
        self.assertEqual((mail.address, mail.purpose), (ALICE, MailPurpose.REGISTRATION))
        self.assertEqual(mail.languages, ("de-ch", "fr"))
        link = self.link()
        self.assertEqual((link["sid"], link["client_secret"]), (sid, SECRET))
        self.assertRegex(link["token"], "^[A-Za-z]{32}$")
        self.assertRegex(mail.code or "", "^[A-Z]{8}$")
        self.assertEqual(self.rows("SELECT COUNT(*) FROM jobs")[0][0], 0)

    def test_r0(self) -> None:
        """The older path is the same endpoint."""
        path = REQUEST.replace("v3", "r0")
        body = {"email": ALICE, "client_secret": SECRET, "send_attempt": 1}
        self.assertEqual(self.client.post(path, body).json["sid"], self.start_validation())

    def test_order(self) -> None:
        """Medium, registration, parameters, allowed addresses, the limit, in use: the first check
        that fails answers (B7.2)."""
        denied = [{"medium": "email", "pattern": r"[^@]+@mail\.example$"}]
        options: dict[str, Any] = {"allowed_local_3pids": denied, "rc_3pid_validation": TIGHT}
        self.system(**options)
        self.register_with_address()
        wrong: dict[str, Any] = {"attempt": "1"}
        self.system(database=self.database, **{**options, "email": None})
        self.assertRefused(self.request_token(**wrong), 400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")
        self.system(database=self.database, **options, enable_registration=False)
        self.assertRefused(self.request_token(**wrong), 403, "M_FORBIDDEN")
        self.system(database=self.database, **options)
        self.assertRefused(self.request_token("bob@evil.example", **wrong), 400, "M_BAD_JSON")
        for _ in range(9):
            self.assertRefused(self.request_token("bob@evil.example"), 403, "M_THREEPID_DENIED")
        for _ in range(3):
            self.assertRefused(self.request_token(), 400, "M_THREEPID_IN_USE")
        self.assertRefused(self.request_token(), 429, "M_LIMIT_EXCEEDED")

    def test_parameters(self) -> None:
        """A missing, malformed or invalid parameter is refused; nothing is written."""
        missing, bad, invalid = "M_MISSING_PARAM", "M_BAD_JSON", "M_INVALID_PARAM"
        good = {"email": ALICE, "client_secret": SECRET, "send_attempt": 1}
        for changes, errcode in (
            *(({name: ...}, missing) for name in good),
            *(({name: None}, bad) for name in good),
            *(({"email": 5}, bad), ({"send_attempt": True}, bad), ({"send_attempt": 1.0}, bad)),
            *(({"email": "alice"}, invalid), ({"email": f"{'a' * 500}@b.example"}, invalid)),
            *(({"client_secret": "a b"}, invalid), ({"client_secret": "a" * 256}, invalid)),
            *(({"send_attempt": 2**63}, invalid), ({"next_link": "javascript:x"}, invalid)),
        ):
            body = {**good, **changes}
            body = {name: value for name, value in body.items() if value is not ...}
            self.assertRefused(self.client.post(REQUEST, body), 400, errcode, changes)
        self.assertEqual(self.rows("SELECT * FROM validations"), [])
        self.assertEqual(self.mails.sent, [])

    def test_attempts(self) -> None:
        """A repeated request sends nothing, unless its send_attempt is higher."""
        sid = self.start_validation(attempt=1)
        for attempt, mails in ((1, 1), (0, 1), (-5, 1), (2, 2), (2, 2), (2**63 - 1, 3)):
            self.assertEqual(self.start_validation(attempt=attempt), sid)
            self.assertEqual(len(self.mails.sent), mails, attempt)
        self.assertEqual(len({self.link(number)["token"] for number in range(3)}), 3)
        self.assertNotEqual(self.start_validation("bob@mail.example"), sid)
        self.assertNotEqual(self.start_validation(client_secret="another"), sid)

    def test_counted(self) -> None:
        """Requests are counted by their attempt, but not by every number that a client sends."""
        for attempt in (1, 1, 2, 6, -1, 2**63 - 1):
            self.start_validation(attempt=attempt)
        self.assertEqual(self.request_token(email=5).status, 400)
        registry = self.subsystem.process.metrics.registry
        found = {
            sample.labels["attempt"]: sample.value
            for metric in registry.collect()
            for sample in metric.samples
            if sample.name == "regsys_validation_requests_total"
        }
        self.assertEqual(found, {"1": 2, "2": 1, "other": 3})

    def test_denied(self) -> None:
        """A module is asked about the canonical address, and its refusal means no mail."""
        start_validation = []

        def rule(*args: Any) -> bool:
            start_validation.append(args)
            return False

        hooks = self.hooks(mails=self.mails)
        hooks.threepids.register("module", rule)
        self.system(hooks=hooks)
        self.assertRefused(self.request_token("Alice@Mail.example"), 403, "M_THREEPID_DENIED")
        self.assertEqual((start_validation, self.mails.sent), ([("email", ALICE, True)], []))

    def test_secretsAreNoRows(self) -> None:
        """Neither a token nor a code is stored in any table, not even while its mail waits."""
        self.mails.trouble = Unavailable()
        self.start_validation()
        self.flushLoggedErrors()
        tables = ("validations", "validation_tokens", "jobs")
        stored = str([tuple(row) for name in tables for row in self.rows(f"SELECT * FROM {name}")])
        self.mails.trouble = None
        self.assertGreater(len(self.failed_jobs.flush()), 0)
        self.clock.advance(LIFE_S - 1)
        self.wait(run_due(self.subsystem.jobs))
        self.assertIn(self.link()["sid"], stored)
        self.assertNotIn(self.link()["token"], stored)
        assert self.mail.code is not None
        self.assertNotIn(self.mail.code, stored)


class MailTests(EmailValidationCase):
    def waiting(self) -> int:
        count = self.rows("SELECT COUNT(*) FROM jobs")[0][0]
        assert isinstance(count, int)
        return count

    def later(self, seconds: float) -> None:
        """Time goes by, and all due jobs are run."""
        self.clock.advance(seconds)
        self.wait(run_due(self.subsystem.jobs))

    def test_retried(self) -> None:
        """A mail that can't be sent is retried unchanged; the request is answered anyway."""
        self.mails.trouble = Unavailable()
        self.start_validation()
        self.assertEqual((self.waiting(), self.mails.sent), (1, []))
        self.mails.trouble = None
        self.assertGreater(len(self.failed_jobs.flush()), 0)
        self.later(60)
        self.assertEqual((self.waiting(), len(self.mails.sent)), (0, 1))
        self.assertEqual(self.submit(**self.link()).status, 200)

    def test_notAfterAllHasEnded(self) -> None:
        """A validation session that has expired, or was validated by another mail meanwhile, needs
        no mail any more."""
        self.mails.trouble = Unavailable()
        self.start_validation("late@mail.example")
        self.start_validation(attempt=1)
        self.mails.trouble = None
        self.assertGreater(len(self.failed_jobs.flush()), 0)
        self.start_validation(attempt=2)
        self.assertEqual(self.submit(**self.link()).status, 200)
        self.mails.sent.clear()
        self.later(LIFE_S)
        self.assertEqual((self.waiting(), self.mails.sent), (0, []))

    def test_afterARestart(self) -> None:
        """A mail that was not sent is sent after a restart, and its link is valid."""
        self.mails.trouble = Unavailable()
        self.start_validation()
        self.mails.trouble = None
        self.assertGreater(len(self.failed_jobs.flush()), 0)
        self.system(database=self.database)
        self.later(60)
        self.assertEqual(self.submit(**self.link()).json, {"success": True})

    def test_afterACrash(self) -> None:
        """A process that dies while its mail may have been sent leaves it to the next, which sends
        the same mail once more, and not again."""
        silent = SilentMails()
        self.system(hooks=self.hooks(mails=silent))
        self.start_validation()
        for timer in self.clock.getDelayedCalls():
            timer.cancel()  # those of the process die with it
        self.system(database=self.database)
        self.later(JOB_LEASE_MS / 1000 - 1)
        self.assertEqual(self.mails.sent, [])
        for _ in range(5):
            self.later(60)
        self.assertEqual((silent.sent, self.waiting()), (self.mails.sent, 0))
        self.assertEqual(len(self.mails.sent), 1)

    def test_nobodySends(self) -> None:
        """If there is no sender, mails wait in the database."""
        self.system(hooks=self.hooks())
        self.start_validation()
        self.assertEqual(self.waiting(), 1)


class TakenTests(EmailValidationCase):
    def setUp(self) -> None:
        super().setUp()
        self.register_with_address()
        self.mails.sent.clear()

    def test_reported(self) -> None:
        """An address in use is reported, in whatever spelling, and no mail is sent."""
        for email in (ALICE, "ALICE@MAIL.example"):
            self.assertRefused(self.request_token(email), 400, "M_THREEPID_IN_USE")
        self.assertEqual(self.mails.sent, [])

    def test_hidden(self) -> None:
        """If it is hidden, an address in use is answered as a free one, with the same rows; the
        mail says that it is in use, and has no token."""
        self.system(database=self.database, request_token_inhibit_3pid_errors=True)
        answers, rows = [], []
        for email in (ALICE, "free1@mail.example"):
            answer = self.request_token(email)
            sid = answer.json.pop("sid")
            answers.append((answer, len(sid)))
            rows.append(
                self.rows(
                    "SELECT LENGTH(v.address), v.send_attempt, v.tries, v.validated_ms,"
                    " v.claimed_by, v.used, v.expires_ms, t.send_attempt, t.made_ms"
                    " FROM validations v"
                    " JOIN validation_tokens t ON t.sid = v.sid WHERE v.sid = ?",
                    sid,
                )
            )
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(
            [tuple(row) for row in rows[0]], [(len(ALICE), *row[1:]) for row in rows[1]]
        )
        register_with_address, free = self.mails.sent
        self.assertEqual(
            (register_with_address.purpose, register_with_address.link, register_with_address.code),
            (MailPurpose.IN_USE, None, None),
        )
        self.assertEqual(free.purpose, MailPurpose.REGISTRATION)

    def test_hiddenAfterwards(self) -> None:
        """Nor do the answers to codes and to the stage tell the two apart."""
        self.system(database=self.database, request_token_inhibit_3pid_errors=True)
        seen = []
        for email in (ALICE, "free@mail.example"):
            sid = self.start_validation(email)
            answers = []
            for token in ("x" * 32, *(["ABCDEFGH"] * (CODE_TRIES + 1))):
                answer = self.submit(sid=sid, client_secret=SECRET, token=token)
                answers.append((answer.status, answer.json))
            session = self.begin()
            failed = self.present(session, sid)
            failed.json.pop("session")
            answers.append((failed.status, failed.json))
            seen.append(answers)
        self.assertEqual(seen[0], seen[1])
