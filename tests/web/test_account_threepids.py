"""The third-party identifiers of an account, over HTTP: listed, added and removed."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from regsys.model import MailPurpose
from tests.support.accounts import PASSWORD_AUTH, THREEPIDS, AccountCase
from tests.support.validations import ADD_SUBMIT, ALICE, SECRET, SUBMIT

OTHER = "other@mail.example"
PATHS = (
    ("GET", ""),
    ("POST", "/email/requestToken"),
    ("POST", "/add"),
    ("POST", "/delete"),
    ("POST", ""),
)


class AddTests(AccountCase):
    def test_whole(self) -> None:
        """An address is validated, its addition confirmed by password; then it is listed with its
        times, and can be used for login."""
        self.clock.advance(5)
        proven_ms = self.now_ms
        sid = self.validate_as(self.alice, " Alice@Mail.EXAMPLE")
        self.clock.advance(5)
        answer = self.add_with_password(self.alice, sid)
        self.assertEqual((answer.status, answer.json), (200, {}), answer)
        expected = {"medium": "email", "address": ALICE, "validated_at": proven_ms}
        expected["added_at"] = self.now_ms
        listed = self.client.get(THREEPIDS, token=self.alice).json
        self.assertEqual(listed, {"threepids": [expected]})
        self.assertEqual(self.addresses_of(self.bob), [])
        by_email = {"type": "m.id.thirdparty", "medium": "email", "address": ALICE}
        login = {"type": "m.login.password", "identifier": by_email, "password": "correct horse"}
        answer = self.client.post("/_matrix/client/v3/login", login)
        self.assertEqual(answer.json.get("user_id"), "@alice:test.example", answer)

    def test_mail(self) -> None:
        """The mail says that an address is being added, and leads to that confirmation."""
        self.validate_as(self.alice)
        self.assertEqual(self.mail.purpose, MailPurpose.ADD_THREEPID)
        (row,) = self.rows("SELECT user_id, sid FROM validations")
        self.assertEqual(tuple(row), ("@alice:test.example", self.link(path=ADD_SUBMIT)["sid"]))

    def test_purpose(self) -> None:
        """The page of registrations shows the purpose of the validation as well."""
        self.validate_as(self.alice)
        query = urlencode(self.link(path=ADD_SUBMIT))
        for path in (ADD_SUBMIT, SUBMIT):
            page = self.client.get(f"{path}?{query}").json.decode()
            self.assertIn("is adding the address", page, path)
            self.assertNotIn("is creating an account", page, path)
            done = self.client.post(path, query.encode()).json.decode()
            self.assertIn("to add the address to your account", done, path)

    def test_registrationClosed(self) -> None:
        """A user may add an address although registration is closed."""
        self.system(database=self.database, enable_registration=False)
        self.add_address(self.alice)

    def test_twice(self) -> None:
        """A client that lost the answer repeats the request, and gets it; the address is added
        once."""
        sid = self.validate_as(self.alice)
        for _ in range(2):
            self.assertEqual(self.add_with_password(self.alice, sid).status, 200)
        self.assertEqual(self.addresses_of(self.alice), [ALICE])

    def test_usedOnce(self) -> None:
        """A used validation adds nothing once the address is removed."""
        sid = self.validate_as(self.alice)
        self.add_with_password(self.alice, sid)
        self.delete(self.alice)
        self.assertRefused(self.add(self.alice, sid), 400, "M_THREEPID_AUTH_FAILED")
        self.assertEqual(self.addresses_of(self.alice), [])
        self.add_address(self.alice, ALICE.upper())

    def test_notYetValidated(self) -> None:
        """An address that is not validated is refused before a password is asked for."""
        sid = self.request_token_to_add(self.alice).json["sid"]
        self.assertRefused(self.add(self.alice, sid), 400, "M_THREEPID_AUTH_FAILED")
        self.assertEqual(self.rows("SELECT * FROM uia_sessions"), [])

    def test_unstable(self) -> None:
        """The unstable paths of these endpoints work."""
        for name in ("add", "bind", "delete", "unbind"):
            path = f"{THREEPIDS}/{name}".replace("v3", "unstable")
            answer = self.client.post(path, {}, token=self.alice)
            self.assertRefused(answer, 400, "M_MISSING_PARAM", name)

    def test_others(self) -> None:
        """An address in use is refused when its token is requested, and if two accounts have
        validated it, the second is refused: it is never moved."""
        sids = [self.validate_as(token) for token in (self.alice, self.bob)]
        session = self.session(self.bob, sids[1])
        self.assertEqual(self.add_with_password(self.alice, sids[0]).status, 200)
        self.assertRefused(self.request_token_to_add(self.bob), 400, "M_THREEPID_IN_USE")
        auth = {**PASSWORD_AUTH, "session": session, "user": "bob"}
        self.assertRefused(self.add(self.bob, sids[1], auth), 400, "M_THREEPID_IN_USE")
        self.assertEqual(
            (self.addresses_of(self.alice), self.addresses_of(self.bob)), ([ALICE], [])
        )

    def test_hidden(self) -> None:
        """If it is hidden that an address is in use, its user gets a mail instead."""
        self.add_address(self.alice)
        self.system(database=self.database, request_token_inhibit_3pid_errors=True)
        answer = self.request_token_to_add(self.bob)
        self.assertEqual((answer.status, answer.json.keys()), (200, {"sid"}), answer)
        self.assertEqual((self.mail.purpose, self.mail.link), (MailPurpose.IN_USE, None))
        self.assertFalse(self.mail.registering)
        self.start_validation()
        self.assertEqual((self.mail.purpose, self.mail.registering), (MailPurpose.IN_USE, True))

    def test_denied(self) -> None:
        """The rules are asked at both times, as for an existing account."""
        start_validation: list[Any] = []

        def rule(*args: Any) -> bool:
            start_validation.append(args)
            return len(start_validation) < 2

        hooks = self.hooks(mails=self.mails)
        hooks.threepids.register("module", rule)
        self.system(database=self.database, hooks=hooks)
        sid = self.validate_as(self.alice)
        self.assertRefused(self.add_with_password(self.alice, sid), 403, "M_THREEPID_DENIED")
        self.assertEqual(start_validation, [("email", ALICE, False)] * 2)
        self.assertEqual(self.addresses_of(self.alice), [])

    def test_limit(self) -> None:
        """Validations for accounts and for registrations have one limit."""
        tight = {"per_second": 0.01, "burst_count": 2}
        self.system(database=self.database, rc_3pid_validation=tight)
        self.start_validation(OTHER)
        self.request_token_to_add(self.alice)
        self.assertRefused(self.request_token_to_add(self.alice), 429, "M_LIMIT_EXCEEDED")

    def test_parameters(self) -> None:
        """A missing parameter or one of a wrong type is refused before anything else happens."""
        cases: tuple[tuple[dict[str, Any], str], ...] = (
            ({"sid": None}, "M_BAD_JSON"),
            ({"client_secret": 5}, "M_BAD_JSON"),
            ({"client_secret": "a b"}, "M_INVALID_PARAM"),
        )
        for changes, errcode in cases:
            body = {"sid": "sid", "client_secret": SECRET, **changes}
            answer = self.client.post(f"{THREEPIDS}/add", body, token=self.alice)
            self.assertRefused(answer, 400, errcode, changes)
        for path in ("/add", "/delete", "/email/requestToken"):
            answer = self.client.post(f"{THREEPIDS}{path}", token=self.alice)
            self.assertRefused(answer, 400, "M_MISSING_PARAM", path)


class AttackTests(AccountCase):
    def test_othersValidation(self) -> None:
        """A validation of another user, or of a registration, cannot be used, even with its
        secrets."""
        theirs = self.validate_as(self.bob)
        newcomers = self.validate_address(OTHER)
        for sid in (theirs, newcomers):
            self.assertRefused(self.add(self.alice, sid), 400, "M_THREEPID_AUTH_FAILED", sid)
        self.assertEqual(self.add_with_password(self.bob, theirs, "bob").status, 200)

    def test_accountsValidationCannotRegister(self) -> None:
        """Nor can a validation of an account be used to register."""
        self.system(database=self.database, registrations_require_3pid=["email"])
        answer = self.present(self.begin("mallory"), self.validate_as(self.alice))
        self.assertRefused(answer, 401, "M_UNAUTHORIZED")

    def test_sameSecret(self) -> None:
        """A request for the same address with the same client secret by another user makes a
        validation session of its own."""
        mine = self.request_token_to_add(self.alice).json["sid"]
        self.assertNotEqual(self.request_token_to_add(self.bob).json["sid"], mine)
        self.assertNotEqual(self.start_validation(), mine)
        self.assertEqual(self.request_token_to_add(self.alice).json["sid"], mine)

    def test_secret(self) -> None:
        """A sid without its client secret is refused."""
        sid = self.validate_as(self.alice)
        answer = self.add(self.alice, sid, client_secret="guess")
        self.assertRefused(answer, 400, "M_THREEPID_AUTH_FAILED")

    def test_othersConfirmation(self) -> None:
        """A stolen access token adds nothing: it cannot use another user's session, and another
        user's password is refused."""
        mine, theirs = self.validate_as(self.alice), self.validate_as(self.bob, OTHER)
        session = self.session(self.bob, theirs)
        auth = {**PASSWORD_AUTH, "session": session, "user": "bob"}
        self.assertRefused(self.add(self.alice, mine, auth), 403, "M_FORBIDDEN")
        own = {**auth, "session": self.session(self.alice, mine)}
        self.assertRefused(self.add(self.alice, mine, own), 401, "M_FORBIDDEN")
        self.assertEqual(self.rows("SELECT * FROM threepids"), [])

    def test_confirmedByAddress(self) -> None:
        """To reauthenticate a user may name the account by an address that it has, in any spelling,
        and by no other."""
        self.add_address(self.alice)
        self.add_address(self.bob, OTHER, "bob")
        by = {"type": "m.id.thirdparty", "medium": "email"}
        sid = self.validate_as(self.alice, "new@mail.example")
        auth = {**PASSWORD_AUTH, "session": self.session(self.alice, sid)}
        for wrong in (OTHER, "nobody@mail.example", "no address"):
            answer = self.add(self.alice, sid, {**auth, "identifier": {**by, "address": wrong}})
            self.assertRefused(answer, 401, "M_FORBIDDEN", wrong)
        answer = self.add(self.alice, sid, {**auth, "identifier": by})
        self.assertRefused(answer, 401, "M_MISSING_PARAM")
        auth["identifier"] = {**by, "address": " ALICE@mail.example"}
        answer = self.add(self.alice, sid, auth)
        self.assertEqual((answer.status, answer.json), (200, {}), answer)

    def test_confirmationOnce(self) -> None:
        """A session confirms one addition."""
        sid, other = self.validate_as(self.alice), self.validate_as(self.alice, OTHER)
        session = self.session(self.alice, sid)
        auth = {**PASSWORD_AUTH, "session": session, "user": "alice"}
        self.assertEqual(self.add(self.alice, sid, auth).status, 200)
        self.assertRefused(self.add(self.alice, other, auth), 400, "M_UNKNOWN")
        self.assertEqual(self.addresses_of(self.alice), [ALICE])

    def test_nobody(self) -> None:
        """Without an access token nothing is returned or changed."""
        for method, path in PATHS:
            if path.endswith("requestToken"):
                continue
            answer = self.client.ask(method, f"{THREEPIDS}{path}", {})
            self.assertRefused(answer, 401, "M_MISSING_TOKEN", path)

    def test_guests(self) -> None:
        """Guests have no addresses, and can add none."""
        guest = self.guest()["access_token"]
        self.assertEqual(self.addresses_of(guest), [])
        for method, path in PATHS[1:]:
            answer = self.client.ask(method, f"{THREEPIDS}{path}", {}, token=guest)
            self.assertRefused(answer, 403, "M_GUEST_ACCESS_FORBIDDEN", path)

    def test_codesOfOthers(self) -> None:
        """The path to which a token is submitted does not change its effect."""
        self.request_token_to_add(self.alice)
        link = self.link(path=ADD_SUBMIT)
        self.assertEqual(self.client.post(SUBMIT, link).status, 200)
        answer = self.present(self.begin("mallory"), link["sid"])
        self.assertEqual(answer.errcode, "M_UNAUTHORIZED", answer)


class DeleteTests(AccountCase):
    def test_deleted(self) -> None:
        """An address is removed in any spelling, and is free then; removing an address that the
        account does not have succeeds."""
        self.add_address(self.alice)
        self.add_address(self.alice, OTHER)
        for address in (" ALICE@mail.Example", ALICE):
            answer = self.delete(self.alice, address)
            expected = {"id_server_unbind_result": "no-support"}
            self.assertEqual((answer.status, answer.json), (200, expected), address)
        self.assertEqual(self.addresses_of(self.alice), [OTHER])
        self.add_address(self.bob, ALICE, "bob")

    def test_others(self) -> None:
        """Another user's address stays."""
        self.add_address(self.bob, ALICE, "bob")
        self.assertEqual(self.delete(self.alice).status, 200)
        self.assertEqual(self.addresses_of(self.bob), [ALICE])

    def test_parameters(self) -> None:
        """A malformed address is refused."""
        for medium, address, errcode in (
            ("email", "alice", "M_INVALID_PARAM"),
            ("pigeon", ALICE, "M_INVALID_PARAM"),
            (5, ALICE, "M_BAD_JSON"),
            ("email", None, "M_BAD_JSON"),
        ):
            answer = self.delete(self.alice, address, medium)
            self.assertRefused(answer, 400, errcode, (medium, address))


class UnchangeableTests(AccountCase):
    def test_disabled(self) -> None:
        """If users may not change their addresses, they can only list them."""
        self.add_address(self.alice)
        self.system(database=self.database, enable_3pid_changes=False)
        self.assertEqual(self.addresses_of(self.alice), [ALICE])
        for method, path in PATHS[1:]:
            answer = self.client.ask(method, f"{THREEPIDS}{path}", {}, token=self.alice)
            self.assertRefused(answer, 400, "M_FORBIDDEN", path)
