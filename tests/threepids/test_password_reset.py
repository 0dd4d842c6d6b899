"""A user who has forgotten the password sets a new one by an address (contract B17.5)."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from regsys.model import UserID
from tests.support.accounts import THREEPIDS
from tests.support.case import PASSWORD
from tests.support.client import V3, Answer
from tests.support.passwords import CHANGE, NEW, RESET_REQUEST, RESET_SUBMIT, PasswordCase
from tests.support.sms import OWN, SmsCase
from tests.support.validations import ADD_SUBMIT, ALICE, PLENTY, SECRET, SUBMIT
from tests.threepids.test_phones import CANONICAL, NUMBER, PhoneCase
from tests.threepids.test_phones import SUBMIT as SUBMIT_CODE

UNKNOWN = "unknown@mail.example"
THIRD = "a third password"
ALICE_ID = UserID("alice", "test.example")


class ResetTests(PasswordCase):
    def test_reset(self) -> None:
        """Once the address is confirmed, a request without access token and session sets the new
        password, and all devices are logged out; nobody else's."""
        sid = self.validated_reset()
        answer = self.reset(sid)
        self.assertEqual((answer.status, answer.json), (200, {}), answer)
        for token in (self.alice, self.phone, self.laptop):
            self.assertRefused(self.whoami(token), 401, "M_UNKNOWN_TOKEN")
        self.assertTrue(self.is_alive(self.bob))
        self.assertPassword(NEW)
        self.assertPassword(PASSWORD, "bob")

    def test_devicesStay(self) -> None:
        """With logout_devices false all devices stay logged in."""
        self.assertEqual(self.reset(self.validated_reset(), logout_devices=False).status, 200)
        self.assertTrue(self.is_alive(self.phone))
        self.assertPassword(NEW)

    def test_mail(self) -> None:
        """The mail says whose password it is about, and where the request came from."""
        self.request_reset()
        self.assertEqual(self.mail.address, ALICE)
        self.assertEqual((self.mail.user_id, self.mail.registering), (ALICE_ID, False))
        self.assertEqual(self.mail.requested_from, "127.0.0.1")

    def test_pollingApps(self) -> None:
        """Apps ask over and over, without a session, until the link is opened: that is one session
        here. With it the dialogue can go on."""
        sid = self.request_reset().json["sid"]
        sessions = {self.reset(sid).json["session"] for _ in range(5)}
        self.assertEqual(len(sessions), 1)
        self.assertRefused(self.reset(sid), 401, "M_UNAUTHORIZED")
        (session,) = sessions
        self.client.post(RESET_SUBMIT, self.link(path=RESET_SUBMIT))
        self.assertEqual(self.reset(sid, session=session).status, 200)
        self.assertEqual(self.reset(sid, session=session).status, 200)
        self.assertRefused(self.reset(sid, THIRD, session=session), 400, "M_UNKNOWN")
        self.assertPassword(NEW)

    def test_dialogue(self) -> None:
        """The first answer says what confirms a reset; the new password may come later."""
        challenge = self.client.post(CHANGE, {})
        self.assertEqual(challenge.status, 401)
        self.assertEqual(challenge.json["flows"], [{"stages": ["m.login.email.identity"]}])
        sid, session = self.validated_reset(), challenge.json["session"]
        answer = self.reset(sid, None, session=session)
        self.assertRefused(answer, 400, "M_MISSING_PARAM")
        answer = self.client.post(CHANGE, {"auth": {"session": session}, "new_password": NEW})
        self.assertEqual(answer.status, 200, answer)
        self.assertPassword(NEW)
        password = {"type": "m.login.password", "user": "alice", "password": NEW}
        answer = self.client.post(CHANGE, {"auth": password, "new_password": THIRD})
        self.assertRefused(answer, 400, "M_UNRECOGNIZED")

    def test_once(self) -> None:
        """A validation is good for one password; a repeated request, whose answer was lost, is
        answered, and logs nobody out."""
        sid = self.validated_reset()
        self.assertEqual(self.reset(sid).status, 200)
        token = self.log_in(NEW).json["access_token"]
        self.assertEqual(self.reset(sid).status, 200)
        self.assertTrue(self.is_alive(token))
        self.assertRefused(self.reset(sid, THIRD), 400, "M_THREEPID_AUTH_FAILED")
        self.assertPassword(NEW)

    def test_othersEnd(self) -> None:
        """A new password, however it was set, ends all other resets that were begun."""
        sids = [self.validated_reset(client_secret=secret) for secret in ("one", "two")]
        self.assertEqual(self.reset(sids[0], secret="one").status, 200)
        self.assertRefused(self.reset(sids[1], THIRD, secret="two"), 401, "M_UNAUTHORIZED")
        self.assertPassword(NEW)

    def test_notConfirmed(self) -> None:
        """Nothing is changed with a session that is not confirmed, unknown, or another client's."""
        sid = self.request_reset().json["sid"]
        for answer in (self.reset(sid), self.reset("unknown")):
            self.assertRefused(answer, 401, "M_UNAUTHORIZED")
        sid = self.validated_reset(client_secret="another")
        self.assertRefused(self.reset(sid, secret="wrong"), 401, "M_UNAUTHORIZED")
        for creds, errcode in ((None, "M_INVALID_PARAM"), ({}, "M_MISSING_PARAM")):
            auth = {"type": "m.login.email.identity", "threepid_creds": creds}
            answer = self.client.post(CHANGE, {"auth": auth, "new_password": NEW})
            self.assertRefused(answer, 401, errcode)
        self.assertPassword(PASSWORD)

    def test_policy(self) -> None:
        """The policy holds for a reset, too, and leaves the validation good."""
        policy = {"enabled": True, "minimum_length": 15}
        self.system(database=self.database, password_config={"policy": policy}, **self.options)
        sid = self.validated_reset()
        self.assertRefused(self.reset(sid, "short"), 400, "M_PASSWORD_TOO_SHORT")
        self.assertEqual(self.reset(sid).status, 200)


class PurposeTests(PasswordCase):
    """A validation session is good for what it was begun for, and for nothing else (threat A6)."""

    def test_resetIsNoRegistration(self) -> None:
        """What confirmed a reset neither registers nor adds the address."""
        sid = self.validated_reset()
        self.delete(self.alice)
        self.assertRefused(self.present(self.begin("mallory"), sid), 401, "M_UNAUTHORIZED")
        self.assertRefused(self.add(self.bob, sid), 400, "M_THREEPID_AUTH_FAILED")
        self.assertRefused(self.add(self.alice, sid), 400, "M_THREEPID_AUTH_FAILED")

    def test_othersAreNoReset(self) -> None:
        """What was confirmed to register or to add the address, before it was Alice's, resets
        nothing: neither before it was used nor after."""
        for email in ("new@mail.example", "other@mail.example"):
            registering = self.validate_address(email)
            adding = self.validate_as(self.alice, email)
            for sid in (registering, adding):
                self.assertRefused(self.reset(sid), 401, "M_UNAUTHORIZED")
            self.assertEqual(self.add_with_password(self.alice, adding).status, 200)
            for sid in (registering, adding):
                self.assertRefused(self.reset(sid), 401, "M_UNAUTHORIZED")
        self.assertPassword(PASSWORD)

    def test_sameSecret(self) -> None:
        """The same address and client secret for two purposes are two sessions."""
        asked = self.request_reset().json["sid"]
        body = {"email": ALICE, "client_secret": SECRET, "send_attempt": 1}
        self.system(database=self.database, request_token_inhibit_3pid_errors=True, **self.options)
        registering = self.client.post(f"{V3}/register/email/requestToken", body).json["sid"]
        self.assertNotEqual(asked, registering)

    def test_anotherOwner(self) -> None:
        """An address that has gone to another account since resets neither's password."""
        sid = self.validated_reset()
        self.delete(self.alice)
        self.add_address(self.bob, user="bob")
        self.assertRefused(self.reset(sid), 400, "M_THREEPID_AUTH_FAILED")
        self.assertPassword(PASSWORD)
        self.assertPassword(PASSWORD, "bob")

    def test_uiaSession(self) -> None:
        """A session in which Alice's reset is confirmed is good for no other user's request."""
        sid = self.validated_reset()
        session = self.reset(sid, None, session=self.client.post(CHANGE, {}).json["session"])
        self.assertRefused(session, 400, "M_MISSING_PARAM")
        answer = self.change_password(
            {"session": self.client.post(CHANGE, {}).json["session"]}, self.bob
        )
        self.assertRefused(answer, 403, "M_FORBIDDEN")


class RequestTests(PasswordCase):
    def test_unknownAddress(self) -> None:
        """An address that no account has is refused, and gets no mail; so is one that a deactivated
        account had."""
        for _ in range(2):
            before = len(self.mails.sent)
            self.assertRefused(self.request_reset(UNKNOWN), 400, "M_THREEPID_NOT_FOUND")
            self.assertEqual(len(self.mails.sent), before)
        self.change("UPDATE users SET deactivated = TRUE WHERE name_key = 'alice'")
        self.assertRefused(self.request_reset(), 400, "M_THREEPID_NOT_FOUND")

    def test_hidden(self) -> None:
        """If that is to be hidden, the answer and what is stored are the same; only the mail is
        not sent, and nothing can be reset."""
        self.system(database=self.database, request_token_inhibit_3pid_errors=True, **self.options)
        stored = []
        for email in (ALICE, UNKNOWN):
            before, jobs = len(self.mails.sent), self.counts()["jobs"]
            answer = self.request_reset(email)
            self.assertEqual((answer.status, answer.json.keys()), (200, {"sid"}))
            sid = answer.json["sid"]
            self.assertEqual(len(sid), 16)
            sql = "SELECT medium, client_secret, send_attempt, expires_ms FROM validations"
            stored.append(self.rows(f"{sql} WHERE sid = ?", sid))
            sent = len(self.mails.sent) - before
            self.assertEqual((sent, self.counts()["jobs"]), (1 if email == ALICE else 0, jobs))
            self.assertRefused(self.reset(sid), 401, "M_UNAUTHORIZED")
        self.assertEqual(stored[0], stored[1])
        # Even with its token, which nobody has.
        self.change("UPDATE validations SET validated_ms = 1 WHERE validated_ms IS NULL")
        self.assertRefused(self.reset(sid), 401, "M_UNAUTHORIZED")

    def test_rules(self) -> None:
        """The same limit and parameters as for other tokens; an address that may no longer be
        added still resets, and nobody need be able to register."""
        self.system(
            database=self.database,
            enable_registration=False,
            allowed_local_3pids=[{"medium": "email", "pattern": ".*@else"}],
            rc_3pid_validation={"per_second": 0.001, "burst_count": 2},
            rc_login=self.options["rc_login"],
        )
        for more, errcode in (
            ({"client_secret": "§"}, "M_INVALID_PARAM"),
            ({"send_attempt": "1"}, "M_BAD_JSON"),
            ({"email": "nobody"}, "M_INVALID_PARAM"),
            ({"next_link": "javascript:1"}, "M_INVALID_PARAM"),
        ):
            body = {"email": ALICE, "client_secret": SECRET, "send_attempt": 1, **more}
            self.assertRefused(self.client.post(RESET_REQUEST, body), 400, errcode)
        self.assertEqual(self.reset(self.validated_reset()).status, 200)
        self.assertEqual(self.request_reset(send_attempt=2).status, 200)
        self.assertRefused(self.request_reset(send_attempt=3), 429, "M_LIMIT_EXCEEDED")

    def test_withoutMail(self) -> None:
        """Without mails no address can be asked; a reset says so."""
        self.system(database=self.database, email=None, **self.options)
        answer = self.request_reset()
        self.assertRefused(answer, 400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")
        self.assertRefused(self.client.post(CHANGE, {}), 403, "M_FORBIDDEN")


class PageTests(PasswordCase):
    def page(self, fields: Mapping[str, str], **more: Any) -> Answer:
        query = "&".join(f"{name}={value}" for name, value in fields.items())
        return self.client.get(f"{RESET_SUBMIT}?{query}", **more)

    def test_asks(self) -> None:
        """Opening the link confirms nothing, not even where links confirm (mail scanners open
        them): the page says for whom, and its button confirms."""
        self.system(
            database=self.database,
            regsys={"email_confirm_on_get": True, "rc_availability": False},
            **self.options,
        )
        sid = self.request_reset().json["sid"]
        fields = self.link(path=RESET_SUBMIT)
        page = self.page(fields)
        self.assertEqual(page.status, 200)
        self.assertIn("@alice:test.example", page.json.decode())
        self.assertRefused(self.reset(sid), 401, "M_UNAUTHORIZED")
        form = "&".join(f"{name}={value}" for name, value in fields.items())
        done = self.client.post(RESET_SUBMIT, form.encode())
        self.assertEqual(done.status, 200, done)
        self.assertIn("set the new password", done.json.decode())
        self.assertEqual(self.reset(sid).status, 200)

    def test_anotherPage(self) -> None:
        """The link of another purpose shows its own purpose, whichever page it is opened on."""
        self.request_reset()
        fields = self.link(path=RESET_SUBMIT)
        for path in (SUBMIT, ADD_SUBMIT):
            query = "&".join(f"{name}={value}" for name, value in fields.items())
            page = self.client.get(f"{path}?{query}")
            self.assertIn("@alice:test.example", page.json.decode())

    def test_refused(self) -> None:
        """A wrong link is refused, and says so."""
        self.request_reset()
        fields = {**self.link(path=RESET_SUBMIT), "sid": "other"}
        self.assertEqual(self.page(fields).status, 400)


class TextedTests(SmsCase, PhoneCase):
    """By a code that regsys sends."""

    options: ClassVar[Mapping[str, Any]] = {
        "registrations_require_3pid": ["msisdn"],
        "account_threepid_delegates": None,
        "rc_3pid_validation": PLENTY,
        "regsys": OWN,
    }

    def setUp(self) -> None:
        super().setUp()
        sid = self.request_token().json["sid"]
        self.confirm(sid)
        self.assertRegistered(self.present(self.begin("alice"), sid), "alice")

    def confirm(self, sid: str) -> None:
        self.assertEqual(self.submit(sid, self.code()).json, {"success": True})

    def asked(self, number: str = "0151 12345678", **more: Any) -> Answer:
        body = {"phone_number": number, "country": "DE", "client_secret": SECRET}
        body = {**body, "send_attempt": 1, **more}
        return self.client.post(f"{CHANGE}/msisdn/requestToken", body)

    def reset(self, sid: str) -> Answer:
        creds = {"sid": sid, "client_secret": SECRET}
        auth = {"type": "m.login.msisdn", "threepid_creds": creds}
        return self.client.post(CHANGE, {"auth": auth, "new_password": NEW})

    def test_reset(self) -> None:
        """The text message says for whom its code is; with the code the password is reset."""
        answer = self.asked()
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.json["submit_url"], f"https://test.example{SUBMIT_CODE}")
        number, text = self.sms.sent[-1]
        self.assertEqual(number, CANONICAL)
        self.assertIn("@alice:test.example", text)
        self.assertLess(len(text), 160)
        sid = answer.json["sid"]
        self.assertRefused(self.reset(sid), 401, "M_UNAUTHORIZED")
        self.confirm(sid)
        self.assertEqual(self.reset(sid).json, {})
        login = {"type": "m.login.password", "password": NEW}
        phone = {"type": "m.id.phone", "country": "DE", "phone": "0151 12345678"}
        self.assertEqual(
            self.client.post(f"{V3}/login", {**login, "identifier": phone}).status, 200
        )

    def test_unknown(self) -> None:
        self.assertRefused(self.asked("0151 12345679"), 400, "M_THREEPID_NOT_FOUND")


class DelegatedTests(PhoneCase):
    """By a code that an identity server sends."""

    def setUp(self) -> None:
        super().setUp()
        self.used = self.validate_number()
        self.assertRegistered(self.present(self.begin("alice"), self.used), "alice")

    def reset(self, sid: str, password: str = NEW) -> Answer:
        creds = {"sid": sid, "client_secret": SECRET}
        auth = {"type": "m.login.msisdn", "threepid_creds": creds}
        return self.client.post(CHANGE, {"auth": auth, "new_password": password})

    def test_usedElsewhere(self) -> None:
        """What has registered the account resets nothing."""
        self.assertRefused(self.reset(self.used), 400, "M_THREEPID_AUTH_FAILED")
        login = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
        self.assertEqual(self.client.post(f"{V3}/login", login).status, 200)

    def test_reset(self) -> None:
        """What was validated for the reset resets the password, once, and does nothing else."""
        body = {"phone_number": NUMBER, "country": "DE", "client_secret": SECRET}
        answer = self.client.post(f"{CHANGE}/msisdn/requestToken", {**body, "send_attempt": 1})
        self.assertEqual(answer.status, 200, answer)
        sid = answer.json["sid"]
        self.assertRefused(self.reset(sid), 401, "M_UNAUTHORIZED")
        self.assertEqual(self.submit(sid).json, {"success": True})
        self.assertEqual(self.reset(sid).json, {})
        self.assertEqual(self.reset(sid).json, {})
        self.assertRefused(self.reset(sid, THIRD), 400, "M_THREEPID_AUTH_FAILED")
        login = {"type": "m.login.password", "user": "alice", "password": NEW}
        token = self.client.post(f"{V3}/login", login).json["access_token"]
        creds = {"sid": sid, "client_secret": SECRET}
        added = self.client.post(f"{THREEPIDS}/add", creds, token=token)
        self.assertRefused(added, 400, "M_THREEPID_AUTH_FAILED")
        self.assertRefused(self.present(self.begin("mallory"), sid), 401, "M_UNAUTHORIZED")

    def test_nothing(self) -> None:
        """Nothing that was not validated resets anything, nor does a number of nobody's."""
        self.assertRefused(self.reset("unknown"), 401, "M_UNAUTHORIZED")
        self.change("DELETE FROM threepids")
        self.assertRefused(self.reset(self.validate_number()), 401, "M_UNAUTHORIZED")
