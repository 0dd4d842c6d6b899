"""A worker and its master with the same modules: each callback is called by one of them."""

from __future__ import annotations

from regsys.callbacks.logins import NOT_SPAM
from regsys.interfaces import Verdict
from tests.modules.test_callbacks import ALICE_ID
from tests.replication.test_system import RemoteSystem
from tests.support.client import V3
from tests.support.modules import PASSWORD, MasterCase


class WorkerTests(RemoteSystem, MasterCase):
    def test_once(self) -> None:
        """Each is called once, whichever process has the request or makes the change."""
        answers = {
            "check_registration_for_spam": Verdict.ALLOW,
            "check_login_for_spam": NOT_SPAM,
            "is_3pid_allowed": True,
            "get_username_for_registration": "alice",
            "get_displayname_for_registration": None,
            "check_user_third_party_identifier": None,
            "on_add_user_third_party_identifier": None,
            "on_remove_user_third_party_identifier": None,
            "on_user_registration": None,
            "on_user_login": None,
            "on_logged_out": None,
        }
        path = self.module(**{name: self.recording(name, it) for name, it in answers.items()})
        self.load(path)
        session, sid = self.validated(name="asked")
        self.calls.clear()
        answer = self.present(session, sid)
        self.assertEqual(answer.json["user_id"], ALICE_ID)
        self.assertEqual(
            sorted(call[0] for call in self.calls),
            sorted(answers.keys() - {"check_login_for_spam", *ENDS}),
        )
        self.calls.clear()
        token = self.log_in().json["access_token"]
        self.assertEqual(
            [call[0] for call in self.calls], ["check_login_for_spam", "on_user_login"]
        )
        self.calls.clear()
        self.client.post(f"{V3}/logout", token=answer.json["access_token"])
        self.assertEqual([call[0] for call in self.calls], ["on_logged_out"])
        self.calls.clear()
        identifier = {"type": "m.id.user", "user": "alice"}
        auth = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        self.client.post(f"{V3}/account/deactivate", {"auth": auth}, token=token)
        self.assertEqual(sorted(call[0] for call in self.calls), sorted(ENDS))


ENDS = ("on_logged_out", "on_remove_user_third_party_identifier")
