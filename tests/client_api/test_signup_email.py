"""Registering with a validated email address: the stage, which session may use it, and what the
account has."""

from __future__ import annotations

from typing import Any

from regsys.interfaces import IStage
from regsys.model.threepids import VALIDATED_MS
from regsys.testing import provides
from regsys.threepids.stages import EmailIdentityStage
from tests.support.case import DUMMY, PASSWORD
from tests.support.client import Answer
from tests.support.validations import ALICE, SECRET, STAGE, EmailValidationCase

BOB = "bob@mail.example"


class EmailCase(EmailValidationCase):
    def assertFailed(self, answer: Answer, errcode: str, case: Any = None, done: Any = ()) -> None:
        """A stage that was not passed: a 401 with all that the client needs to go on."""
        self.assertRefused(answer, 401, errcode, case)
        self.assertEqual(answer.json["completed"], [*done], case)
        self.assertEqual(answer.json["flows"], [{"stages": [STAGE]}], case)

    def open(self, username: str = "alice") -> str:
        """A new session that still lacks a password when its stages are passed."""
        session = self.challenge(username=username)["session"]
        assert isinstance(session, str)
        return session


class UIASessionTests(EmailCase):
    def test_byLink(self) -> None:
        """From the first request to the account: requested, mailed, confirmed, passed. The address
        is the account's, and another client that requests it is refused."""
        session = self.begin()
        sid = self.start_validation("Alice@Mail.Example")
        self.assertFailed(self.present(session, sid), "M_UNAUTHORIZED")
        self.assertEqual(self.submit(**self.link()).json, {"success": True})
        answer = self.present(session, sid)
        self.assertRegistered(answer, "alice")
        self.assertEqual(self.whoami(answer.json["access_token"]).status, 200)
        self.assertEqual(self.owners(), {ALICE: "@alice:test.example"})
        sql = "SELECT validated_at_ms, added_ms FROM threepids"
        self.assertEqual(tuple(self.rows(sql)[0]), (self.now_ms, self.now_ms))
        self.assertEqual(self.rows("SELECT used FROM validations")[0][0], 1)
        self.assertRefused(self.request_token(), 400, "M_THREEPID_IN_USE")
        self.assertEqual(self.present(session, sid).json, answer.json)

    def test_byCode(self) -> None:
        """The same with the code, and with the stage sent again without threepid_creds."""
        session, sid = self.begin(), self.start_validation()
        code = self.mail.code
        self.assertEqual(self.submit(sid=sid, client_secret=SECRET, token=code).status, 200)
        self.assertRegistered(self.present(session, sid), "alice")
        self.assertEqual(self.owners(), {ALICE: "@alice:test.example"})

    def test_needsASession(self) -> None:
        """A validation session is claimed by a UIA session: without one nothing is claimed."""
        sid = self.validate_address()
        auth = {"type": STAGE, "threepid_creds": {"sid": sid, "client_secret": SECRET}}
        answer = self.client.register(username="alice", password=PASSWORD, auth=auth)
        self.assertFailed(answer, "M_MISSING_PARAM")
        self.assertEqual(self.rows("SELECT claimed_by FROM validations"), [(None,)])
        self.assertRegistered(self.present(self.begin(), sid), "alice")
        self.assertEqual(self.owners(), {ALICE: "@alice:test.example"})

    def test_noWayAround(self) -> None:
        """The dummy stage does not replace it."""
        answer = self.go_on(self.begin(), DUMMY)
        self.assertEqual((answer.status, answer.json["completed"]), (401, [DUMMY["type"]]))

    def test_offered(self) -> None:
        """If it isn't required, it is one flow of two; without mails there is no such stage."""
        self.system(registrations_require_3pid=[])
        flows = [{"stages": [DUMMY["type"]]}, {"stages": [STAGE]}]
        self.assertEqual(self.challenge()["flows"], flows)
        self.assertRegistered(self.go_on(self.begin("bob")), "bob")
        self.assertRegistered(self.present(self.begin(), self.validate_address()), "alice")
        self.assertEqual(self.owners(), {ALICE: "@alice:test.example"})
        self.system(email=None, registrations_require_3pid=[])
        self.assertRefused(self.present(self.begin(), "x"), 400, "M_UNRECOGNIZED")

    def test_spamCheckers(self) -> None:
        """Spam checkers get the address."""
        start_validation = []

        def check(threepid: Any, *rest: Any) -> str:
            start_validation.append(threepid)
            return "allow"

        hooks = self.hooks(mails=self.mails)
        hooks.spam.register("module", check)
        self.system(hooks=hooks)
        self.assertRegistered(self.present(self.begin(), self.validate_address()), "alice")
        expected = {"medium": "email", "address": ALICE, "validated_at": self.now_ms}
        self.assertEqual(start_validation, [expected])

    def test_otherStages(self) -> None:
        """A stage that is passed already is listed beside the one that is still to do."""
        self.system(registration_requires_token=True)
        session = self.begin()
        answer = self.present(session, self.validate_address())
        self.assertEqual((answer.status, answer.json["completed"]), (401, [STAGE]), answer)
        self.wait(self.subsystem.registration_tokens.create(token="good", settings={}))
        token = {"type": "m.login.registration_token", "token": "good"}
        self.assertRegistered(self.go_on(session, token), "alice")
        self.assertEqual(self.owners(), {ALICE: "@alice:test.example"})


class StageTests(EmailCase):
    def test_provides(self) -> None:
        """The stage offers all of IStage, and has no fallback page."""
        stage: Any = EmailIdentityStage(store=None, clock=self.clock)  # type: ignore[arg-type]
        provides(IStage, stage)
        self.assertIsNone(stage.page)

    def test_fields(self) -> None:
        """A missing field or one of a wrong type is a failed stage (B16.2)."""
        session, missing, invalid = self.begin(), "M_MISSING_PARAM", "M_INVALID_PARAM"
        for fields, errcode in (
            ({}, missing),
            ({"threepid_creds": {}}, missing),
            ({"threepid_creds": {"sid": "x"}}, missing),
            ({"threepid_creds": {"client_secret": "x"}}, missing),
            ({"threepid_creds": None}, invalid),
            ({"threepid_creds": "x"}, invalid),
            ({"threepid_creds": [1]}, invalid),
            ({"threepid_creds": {"sid": 5, "client_secret": "x"}}, invalid),
            ({"threepid_creds": {"sid": "x", "client_secret": None}}, invalid),
            ({"threepid_creds": {"sid": "x", "client_secret": "x"}}, "M_UNAUTHORIZED"),
            ({"threepid_creds": {"sid": "ä", "client_secret": "x"}}, invalid),
            ({"threepid_creds": {"sid": "x", "client_secret": "x" * 256}}, invalid),
        ):
            self.assertFailed(self.go_on(session, {"type": STAGE, **fields}), errcode, fields)

    def test_notValidated(self) -> None:
        """The stage fails for an address that is not validated yet, for another client secret, and
        for a validation that is too old."""
        session = self.begin()
        sid = self.start_validation()
        self.assertFailed(self.present(session, sid), "M_UNAUTHORIZED")
        self.submit(**self.link())
        for secret in ("other", "", f"{SECRET}x"):
            self.assertFailed(self.present(session, sid, secret), "M_UNAUTHORIZED", secret)
        self.clock.advance(VALIDATED_MS / 1000)
        self.assertFailed(self.present(self.begin(), sid), "M_UNAUTHORIZED")

    def test_outlivesItsHour(self) -> None:
        """A validated address may be used longer than its link was valid."""
        sid = self.validate_address()
        self.clock.advance(VALIDATED_MS / 1000 - 1)
        session = self.open()
        answer = self.present(session, sid)
        self.assertRefused(answer, 400, "M_MISSING_PARAM")
        self.clock.advance(3600)
        again = self.go_on(session, {}, username="alice", password=PASSWORD)
        self.assertRegistered(again, "alice")
        self.assertEqual(self.owners(), {ALICE: "@alice:test.example"})


class OwnershipTests(EmailCase):
    def missing(self, session: str, sid: str) -> None:
        """The stage is passed, but the registration isn't complete."""
        answer = self.present(session, sid)
        self.assertRefused(answer, 400, "M_MISSING_PARAM")

    def test_otherSession(self) -> None:
        """A validation session belongs to the first UIA session that presents it: no other one gets
        it, neither before that one has made its account nor after (A6)."""
        first, second, sid = self.open(), self.begin("mallory"), self.validate_address()
        self.missing(first, sid)
        self.assertFailed(self.present(second, sid), "M_UNAUTHORIZED")
        self.assertRegistered(self.go_on(first, {}, password=PASSWORD, username="alice"), "alice")
        self.assertFailed(self.present(second, sid), "M_UNAUTHORIZED")
        self.assertEqual(self.owners(), {ALICE: "@alice:test.example"})

    def test_nothingIsLost(self) -> None:
        """A refusal at the end leaves the validation with its session."""
        session, sid = self.open("bob"), self.validate_address()
        self.missing(session, sid)
        self.register_with_address(BOB, "bob")
        body = {"username": "bob", "password": PASSWORD}
        self.assertRefused(self.go_on(session, {}, **body), 400, "M_USER_IN_USE")
        body["username"] = "carol"
        self.assertRegistered(self.go_on(session, {}, **body), "carol")
        self.assertEqual(self.owners()[ALICE], "@carol:test.example")

    def test_changed(self) -> None:
        """A client that presents another address registers with that one, and has none until that
        one is validated: the earlier address is not used instead (B16.4)."""
        session, first = self.open(), self.validate_address()
        self.missing(session, first)
        second = self.start_validation(BOB)
        self.assertFailed(self.present(session, second), "M_UNAUTHORIZED")
        body = {"username": "alice", "password": PASSWORD}
        answer = self.go_on(session, {}, **body)
        self.assertEqual((answer.status, answer.json["completed"]), (401, []), answer)
        self.submit(**self.link())
        self.assertRegistered(self.present(session, second, **body), "alice")
        self.assertEqual(self.owners(), {BOB: "@alice:test.example"})

    def test_changedBack(self) -> None:
        """The earlier address is still the session's own, and can be presented again."""
        session, first, second = self.open(), self.validate_address(), self.start_validation(BOB)
        self.missing(session, first)
        self.assertFailed(self.present(session, second), "M_UNAUTHORIZED")
        answer = self.present(session, first, username="alice", password=PASSWORD)
        self.assertRegistered(answer, "alice")
        self.assertEqual(self.owners(), {ALICE: "@alice:test.example"})

    def test_slip(self) -> None:
        """A request that names no other address changes nothing."""
        session, sid = self.open(), self.validate_address()
        self.missing(session, sid)
        for fields in ({}, {"threepid_creds": {"sid": sid, "client_secret": "wrong"}}):
            answer = self.go_on(session, {"type": STAGE, **fields})
            self.assertEqual((answer.status, answer.json["completed"]), (401, [STAGE]), fields)


class EndTests(EmailCase):
    def two(self) -> tuple[str, str]:
        """Two clients that have validated the same address, each with a session of its own."""
        sids = [self.validate_address(client_secret=secret) for secret in ("one", "two")]
        self.assertEqual(len({*sids}), 2)
        return sids[0], sids[1]

    def test_inUseAtTheEnd(self) -> None:
        """Of two clients with one address the slower is refused before there is an account, and may
        go on with another."""
        one, two = self.two()
        slow = self.begin("slow")
        self.assertRegistered(self.present(self.begin("quick"), one, "one"), "quick")
        answer = self.present(slow, two, "two")
        self.assertRefused(answer, 400, "M_THREEPID_IN_USE")
        self.assertEqual(self.rows("SELECT COUNT(*) FROM users")[0][0], 1)
        self.assertRegistered(self.present(slow, self.validate_address(BOB)), "slow")
        self.assertEqual(self.owners(), {ALICE: "@quick:test.example", BOB: "@slow:test.example"})

    def test_deniedAtTheEnd(self) -> None:
        """The rules are asked again, once, before a missing password is reported; a change since
        then counts."""
        answers, start_validation = [True, False, True], []

        def rule(medium: str, address: str, registering: bool) -> bool:
            start_validation.append((medium, address, registering))
            return answers.pop(0)

        hooks = self.hooks(mails=self.mails)
        hooks.threepids.register("module", rule)
        self.system(hooks=hooks)
        session, sid = self.open(), self.validate_address()
        self.assertRefused(self.present(session, sid), 403, "M_THREEPID_DENIED")
        self.assertEqual(self.rows("SELECT * FROM users"), [])
        again = self.go_on(session, {}, username="alice", password=PASSWORD)
        self.assertRegistered(again, "alice")
        self.assertEqual(start_validation, [("email", ALICE, True)] * 3)

    def test_patternsAtTheEnd(self) -> None:
        """The same holds for the patterns of the configuration."""
        session, sid = self.begin(), self.validate_address()
        allowed = [{"medium": "email", "pattern": "nobody$"}]
        self.system(database=self.database, allowed_local_3pids=allowed, **self.options)
        self.assertRefused(self.present(session, sid), 403, "M_THREEPID_DENIED")

    def test_lostAnswer(self) -> None:
        """A client that lost the answer gets it again, although its address is in use by then."""
        session, sid = self.begin(), self.validate_address()
        answer = self.present(session, sid)
        self.assertRegistered(answer, "alice")
        self.change("UPDATE uia_sessions SET finished = FALSE")
        self.change("UPDATE outcomes SET finished = FALSE")
        self.assertEqual(self.present(session, sid).json, answer.json)
        self.assertEqual(self.rows("SELECT COUNT(*) FROM users")[0][0], 1)


class DomainTests(EmailCase):
    def test_oneDomain(self) -> None:
        """An address may have either spelling of its domain; it is reported in Unicode, and the
        user may log in by both."""
        sid = self.validate_address("alice@xn--bcher-kva.example")
        self.assertRegistered(self.present(self.begin(), sid), "alice")
        self.assertEqual(list(self.owners()), ["alice@bücher.example"])
        for address in ("alice@BÜCHER.example", "Alice@xn--Bcher-kva.example"):
            self.assertRefused(self.request_token(address), 400, "M_THREEPID_IN_USE", address)
            who = {"type": "m.id.thirdparty", "medium": "email", "address": address}
            login = {"type": "m.login.password", "identifier": who, "password": PASSWORD}
            answer = self.client.post("/_matrix/client/v3/login", login)
            self.assertEqual(answer.status, 200, address)
