"""register_user takes a Registration, or its fields."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from regsys.accounts.registration_fields import registration_of
from regsys.model import Client, Registration, Secret
from tests.support.handler import HandlerCase

ALICE = Registration(key="key", localpart="alice")


class FieldTests(SynchronousTestCase):
    def refusal(self, registration: Any = None, **fields: Any) -> str:
        return str(self.assertRaises(TypeError, registration_of, registration, fields))

    def test_either(self) -> None:
        """A registration stays what it is; fields make one."""
        self.assertIs(registration_of(ALICE, {}), ALICE)
        self.assertEqual(registration_of(None, {"key": "key", "localpart": "alice"}), ALICE)
        self.assertEqual(len(registration_of(None, {}).key), 32)

    def test_wrong(self) -> None:
        """Both, something else, and a field of a wrong type are refused."""
        self.assertIn("not both", self.refusal(ALICE, admin=True))
        self.assertIn("registration must be Registration, not str", self.refusal("alice"))
        self.assertIn("Registration.password must be Secret", self.refusal(password="x"))

    def test_unknownField(self) -> None:
        """The refusal of an unknown field names the nearest one, or ours for one of the original
        handler."""
        for name, said in (
            ("pasword_hash", "did you mean 'password_hash'?"),
            ("make_guests", "did you mean 'make_guest'?"),
            ("default_display_name", "here it is display_name"),
            ("threepid", "here it is threepids, a tuple of Threepid"),
            ("address", "here it is client, a Client(address, user_agent)"),
            ("user_agent_ips", "here it is clients, a tuple of Client"),
        ):
            self.assertEqual(
                self.refusal(**{name: None}), f"Registration has no field {name!r}: {said}"
            )
        self.assertEqual(self.refusal(xyz=1), "Registration has no field 'xyz'")


class HandlerTests(HandlerCase):
    def test_fields(self) -> None:
        """An account is made of fields, as of a Registration."""
        making = self.parts.handler.register_user(
            localpart="alice", password=Secret("pass"), client=Client("192.0.2.1")
        )
        self.wait(making)
        (account,) = self.parts.writer.accounts
        self.assertEqual((account.user_id.localpart, account.password_hash), ("alice", "ssap"))
        self.assertEqual(self.parts.admission.taken, ["192.0.2.1"])
