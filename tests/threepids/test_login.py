"""Logging in by an email address or a phone number."""

from __future__ import annotations

from typing import Any

from tests.support.case import PASSWORD
from tests.support.client import V3, Answer
from tests.support.validations import ALICE, PLENTY, EmailValidationCase

BOB = "bob@mail.example"


class LoginTests(EmailValidationCase):
    """A user may log in by an address, in any spelling."""

    def login(self, password: str = PASSWORD, **fields: Any) -> Answer:
        body = {"type": "m.login.password", "password": password, **fields}
        return self.client.post(f"{V3}/login", body)

    def test_byAddress(self) -> None:
        """By the identifier of the specification, or the old keys."""
        self.register_with_address()
        third = {"medium": "email", "address": " Alice@Mail.EXAMPLE"}
        for fields in ({"identifier": {"type": "m.id.thirdparty", **third}}, third):
            answer = self.login(**fields)
            self.assertEqual((answer.status, answer.json["user_id"]), (200, "@owner:test.example"))

    def test_byNumber(self) -> None:
        """By a phone number, too, if an account has it."""
        self.register_with_address()
        sql = "UPDATE threepids SET medium = 'msisdn', address = '4915112345678'"
        self.change(sql)
        phone = {"type": "m.id.phone", "country": "DE"}
        for fields in (
            {"identifier": {**phone, "phone": "0151 12345678"}},
            {"identifier": {**phone, "number": "0151 12345678"}},
            {"medium": "msisdn", "address": "+49 151 12345678"},
        ):
            self.assertEqual(self.login(**fields).status, 200, fields)

    def test_refused(self) -> None:
        """An unknown address, a malformed one, and a wrong password have the same answer; each
        address has a limit of its own."""
        self.register_with_address()
        answers = set()
        for address, password in ((ALICE, "wrong"), (BOB, PASSWORD), ("nobody", PASSWORD)):
            answer = self.login(password, medium="email", address=address)
            answers.add((answer.status, str(answer.json)))
        self.assertEqual(len(answers), 1, answers)
        tight = {"failed_attempts": {"per_second": 0.001, "burst_count": 1}}
        self.system(database=self.database, rc_login={**tight, "address": PLENTY})
        statuses = [
            self.login("wrong", medium="email", address=address).status
            for address in (ALICE, ALICE, BOB, BOB, "carol@mail.example")
        ]
        self.assertEqual(statuses, [403, 429, 403, 429, 403])

    def test_shapes(self) -> None:
        """A missing key or one of another type is refused."""
        third = {"type": "m.id.thirdparty"}
        for fields, errcode in (
            ({"identifier": third}, "M_MISSING_PARAM"),
            ({"identifier": {**third, "medium": "email"}}, "M_MISSING_PARAM"),
            ({"identifier": {**third, "medium": "fax", "address": "1"}}, "M_BAD_JSON"),
            ({"identifier": {**third, "medium": 5, "address": "1"}}, "M_BAD_JSON"),
            ({"identifier": {"type": "m.id.phone", "country": "DE"}}, "M_MISSING_PARAM"),
            ({"identifier": {"type": "m.id.fax"}}, "M_BAD_JSON"),
            ({"medium": "email"}, "M_MISSING_PARAM"),
        ):
            self.assertRefused(self.login(**fields), 400, errcode, fields)
