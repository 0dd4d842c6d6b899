"""The tokens that validate an email address: in a link or as a code, for how long, how often."""

from __future__ import annotations

from typing import Any

from regsys.errors import NoTriesLeft
from regsys.model.threepids import CODE_TRIES
from tests.support.validations import SECRET, EmailValidationCase

LIFE_S = 3600


class ConfirmTests(EmailValidationCase):
    def setUp(self) -> None:
        super().setUp()
        self.sid = self.start_validation()
        self.good = {**self.link(), "token": self.link()["token"]}

    def code(self, token: Any, **more: str) -> Any:
        return self.submit(**{"sid": self.sid, "client_secret": SECRET, "token": token, **more})

    def assertValidated(self, expected: bool = True) -> None:
        row = self.rows("SELECT validated_ms FROM validations WHERE sid = ?", self.sid)[0]
        self.assertEqual(row[0] is not None, expected)

    def test_link(self) -> None:
        """The token of the link validates the address; using it is idempotent."""
        for _ in range(3):
            self.assertEqual(self.submit(**self.good).json, {"success": True})
        self.assertValidated()

    def test_code(self) -> None:
        """So does the code, in small letters and in groups, too."""
        code = self.mail.code or ""
        for typed in (code, f" {code[:4].lower()}-{code[4:]} "):
            self.assertEqual(self.code(typed).json, {"success": True}, typed)
        self.assertValidated()

    def test_wrong(self) -> None:
        """Every mistake has the same refusal; an unknown session and another client secret have the
        same answer."""
        other = self.start_validation("bob@mail.example")
        strangers = self.link()["token"]
        answers = []
        for changes, errcode in (
            ({"sid": "x" * 16}, "M_NO_VALID_SESSION"),
            ({"sid": "ä"}, "M_NO_VALID_SESSION"),
            ({"client_secret": "other"}, "M_NO_VALID_SESSION"),
            ({"client_secret": "Ä"}, "M_NO_VALID_SESSION"),
            ({"token": "x" * 32}, "M_TOKEN_INCORRECT"),
            ({"token": strangers}, "M_TOKEN_INCORRECT"),
            ({"token": self.good["token"].lower()}, "M_TOKEN_INCORRECT"),
            ({"token": ""}, "M_TOKEN_INCORRECT"),
            ({"token": "ÄÖÜ"}, "M_TOKEN_INCORRECT"),
            ({"sid": other}, "M_TOKEN_INCORRECT"),
        ):
            answer = self.submit(**{**self.good, **changes})
            self.assertRefused(answer, 400, errcode, changes)
            self.assertIs(answer.json["success"], False, changes)
            answers.append(answer)
        self.assertEqual(answers[0], answers[2])
        self.assertValidated(False)

    def test_types(self) -> None:
        """All three are required, as strings."""
        for name in ("sid", "client_secret", "token"):
            body = {key: value for key, value in self.good.items() if key != name}
            self.assertRefused(self.submit(**body), 400, "M_MISSING_PARAM", name)
            self.assertRefused(self.submit(**{**body, name: 5}), 400, "M_BAD_JSON", name)

    def test_tenCodes(self) -> None:
        """After ten codes only the link is valid, and no new mail gives more tries."""
        for _ in range(CODE_TRIES):
            self.assertRefused(self.code("ABCDEFGH"), 400, "M_TOKEN_INCORRECT")
        self.assertEqual(self.code(self.mail.code).json["error"], NoTriesLeft.sentence)
        self.start_validation(attempt=2)
        self.assertRefused(self.code(self.mail.code), 400, "M_TOKEN_INCORRECT")
        self.assertValidated(False)
        self.assertEqual(self.submit(**self.good).json, {"success": True})

    def test_lifetimes(self) -> None:
        """A link is valid for its own time, whether others follow or not; the code as long as the
        last of them."""
        self.clock.advance(LIFE_S - 1)
        self.start_validation(attempt=2)
        self.clock.advance(1)
        self.assertRefused(self.submit(**self.good), 400, "M_TOKEN_INCORRECT")
        self.clock.advance(LIFE_S - 2)
        second = self.link()
        self.assertEqual(self.code(self.mail.code).status, 200)
        for link in (self.good, second):
            self.assertEqual(self.submit(**link).status, 200)

    def test_expired(self) -> None:
        """When the last link has expired its session is gone, for codes too."""
        self.clock.advance(LIFE_S)
        for token in (self.good["token"], self.mail.code):
            self.assertRefused(self.code(token), 400, "M_NO_VALID_SESSION")

    def test_olderLinks(self) -> None:
        """A newer mail does not invalidate the link of the one before."""
        self.start_validation(attempt=2)
        self.assertEqual(self.submit(**self.good).json, {"success": True})

    def test_restart(self) -> None:
        """A token that was sent is valid after a restart; with another secret of the server it
        isn't."""
        self.system(database=self.database)
        self.assertEqual(self.submit(**self.good).json, {"success": True})
        self.system(database=self.database, macaroon_secret_key="another")
        self.assertRefused(self.submit(**self.good), 400, "M_TOKEN_INCORRECT")

    def test_swept(self) -> None:
        """An expired session is removed with its tokens."""
        self.subsystem.start()
        self.clock.advance(LIFE_S + 60)
        self.wait(self.subsystem.stop())
        for table in ("validations", "validation_tokens"):
            self.assertEqual(self.rows(f"SELECT * FROM {table}"), [], table)
