"""When the callbacks of modules are called, with which arguments, and what their answers do."""

from __future__ import annotations

import enum
from typing import Any

from regsys.accounts.registration_notice import TELL_OF_ACCOUNT
from regsys.callbacks.logins import NOT_SPAM
from regsys.errors import ModuleRefusal
from regsys.interfaces import Verdict
from regsys.model import JOB_LEASE_MS, DeviceRequest
from regsys.model.jobs import NewJob
from regsys.storage.jobs import JobStore
from regsys.testing import MemoryAccounts, MemoryAuth, MemoryDevices, embedded
from tests.support.case import DUMMY
from tests.support.client import V3
from tests.support.due_jobs import run_due
from tests.support.modules import PASSWORD, ModuleCase
from tests.support.validations import ALICE
from tests.web.test_admin import SECRET, mac_of

ALICE_ID = "@alice:test.example"


class Code(str, enum.Enum):
    FORBIDDEN = "M_FORBIDDEN"
    LIMITED = "M_LIMIT_EXCEEDED"


def raising(error: Exception) -> Any:
    def callback(*args: object) -> None:
        raise error

    return callback


class SpamTests(ModuleCase):
    def test_everyKindOfAccount(self) -> None:
        """Guests, and whoever registers by the shared secret, are judged; what an application
        service registers is not (see tests/appservices)."""
        check = self.recording("spam", Verdict.ALLOW)
        path = self.module(check_registration_for_spam=check)
        self.load(path, registration_shared_secret=SECRET)
        self.register()
        self.guest()
        admin = "/_synapse/admin/v1/register"
        body = {"nonce": self.client.get(admin).json["nonce"], "username": "root", "password": "p"}
        answer = self.client.post(admin, {**body, "mac": mac_of(body, body["nonce"])})
        self.assertEqual(answer.status, 200, answer)
        self.wait(self.subsystem.handler.register_user(localpart="made"))
        self.assertEqual([call[2] for call in self.calls], ["alice", None, "root", "made"])

    def test_refusal(self) -> None:
        """A SynapseError with a 4xx is the answer as it is; one with another status is a failure,
        and so is one whose fields are no JSON."""
        for error, status, body in (
            (
                ModuleRefusal(418, "No tea.", "ORG_EXAMPLE_TEA", {"pot": ["small"]}),
                418,
                {"errcode": "ORG_EXAMPLE_TEA", "error": "No tea.", "pot": ["small"]},
            ),
            (
                ModuleRefusal(403, "No.", Code.FORBIDDEN),
                403,
                {"errcode": "M_FORBIDDEN", "error": "No."},
            ),
            (
                ModuleRefusal(429, "Slow.", Code.LIMITED, {"retry_after_ms": "soon"}),
                429,
                {"errcode": "M_LIMIT_EXCEEDED", "error": "Slow."},
            ),
            (ModuleRefusal(502, "Away."), 503, None),
            (ModuleRefusal(400, "Odd.", additional_fields={"a": object()}), 503, None),
            (ModuleRefusal("403", "Odd."), 503, None),  # type: ignore[arg-type]
        ):
            self.load(self.module(check_registration_for_spam=raising(error)))
            answer = self.client.register(username="alice", password=PASSWORD, auth=DUMMY)
            self.assertEqual(answer.status, status, answer)
            if body is not None:
                self.assertEqual(answer.json, body)
            self.flushLoggedErrors(ModuleRefusal)
        self.assertEqual(self.counts()["users"], 0)

    def test_enumAlone(self) -> None:
        """The text of a verdict is a wrong answer of a module, though an embedder may give it."""
        self.load(self.module(check_registration_for_spam=lambda *args: "allow"))
        answer = self.client.register(username="alice", password=PASSWORD, auth=DUMMY)
        self.assertEqual(answer.status, 503)
        for verdict, status in ((Verdict.DENY, 429), (Verdict.SHADOW_BAN, 200)):
            self.load(self.module(check_registration_for_spam=lambda *args: verdict))  # noqa: B023
            answer = self.client.register(username="alice", password=PASSWORD, auth=DUMMY)
            self.assertEqual(answer.status, status)
        self.assertEqual(self.rows("SELECT shadow_banned FROM users"), [(1,)])


class EmbeddedTests(ModuleCase):
    def test_logout(self) -> None:
        """Where a homeserver keeps the devices, a module hears of a logout from the call by which
        the homeserver tells it; of logins and accounts as elsewhere."""
        path = self.module(
            on_logged_out=self.recording("out"),
            on_user_login=self.recording("in"),
            on_user_registration=self.recording("made"),
        )
        accounts = MemoryAccounts()
        devices = MemoryDevices(accounts)
        subsystem = embedded(
            self,
            store=accounts,
            devices=devices,
            auth=MemoryAuth(devices),
            modules=[{"module": path}],
        )
        made = self.wait(
            subsystem.handler.register_user(localpart="alice", device=DeviceRequest(device_id="A"))
        )
        self.assertEqual(str(made.user_id), ALICE_ID)
        self.assertCountEqual(self.calls, [("in", ALICE_ID, None, None), ("made", ALICE_ID)])
        self.calls.clear()
        for device_id in ("A", None):
            self.wait(subsystem.handler.logged_out(ALICE_ID, device_id))
        self.assertEqual(self.calls, [("out", ALICE_ID, it, "") for it in ("A", None)])
        self.calls.clear()
        self.system(modules=[{"module": path}])
        self.register()
        self.calls.clear()
        self.wait(self.subsystem.handler.logged_out(ALICE_ID, "A"))
        self.assertEqual(self.calls, [])


class LoginTests(ModuleCase):
    def setUp(self) -> None:
        super().setUp()
        self.register()

    def test_arguments(self) -> None:
        """The check has the device that the client asks for, and its user agent and address; it is
        not called for a wrong password."""
        self.load(self.module(check_login_for_spam=self.recording("login", NOT_SPAM)))
        self.assertEqual(self.log_in(password="wrong").status, 403)
        answer = self.log_in(device_id="PHONE", initial_device_display_name="My phone")
        self.assertEqual(answer.status, 200, answer)
        (call,) = self.calls
        self.assertEqual(call[:4], ("login", ALICE_ID, "PHONE", "My phone"))
        ((agent, address),) = call[4]
        self.assertEqual((agent, call[5]), ("Client/1", None))
        self.assertIsInstance(address, str)

    def test_answers(self) -> None:
        """NOT_SPAM allows; a code, alone or with a dict, and a SynapseError refuse; all else does,
        too, as a failure. The first that does not allow counts."""
        for answer, status, body in (
            (Code.FORBIDDEN, 403, {"errcode": "M_FORBIDDEN"}),
            ("ORG_EXAMPLE", 403, {"errcode": "ORG_EXAMPLE"}),
            ((Code.LIMITED, {"a": 1}), 403, {"errcode": "M_LIMIT_EXCEEDED", "a": 1}),
            *(
                (odd, 503, {})
                for odd in (
                    None,
                    True,
                    False,
                    "no",
                    "",
                    (),
                    ("M_X", 1),
                    ("NOT_SPAM", {}),
                    "\u00c4",
                    5,
                    {},
                )
            ),
        ):
            self.load(
                self.module(check_login_for_spam=lambda *args: NOT_SPAM),
                self.module(check_login_for_spam=lambda *args: answer),  # noqa: B023
                self.module(check_login_for_spam=self.recording("later", NOT_SPAM)),
            )
            got = self.log_in()
            self.assertEqual(got.status, status, answer)
            self.assertEqual({**got.json, **body}, got.json)
        self.assertEqual(self.calls, [])
        self.load(self.module(check_login_for_spam=raising(ModuleRefusal(400, "No.", "M_NO"))))
        self.assertRefused(self.log_in(), 400, "M_NO")
        self.assertEqual(self.counts()["devices"], 1)

    def test_notices(self) -> None:
        """A module hears of each login, registrations included, and of whatever ends one, with the
        token where the client has shown it."""
        self.load(
            self.module(
                on_user_login=self.recording("in"), on_logged_out=self.recording("out", "ignored")
            )
        )
        bob = self.register("bob")
        tokens = [self.log_in("bob", device_id=name).json["access_token"] for name in "ABC"]
        self.assertEqual(self.calls, [("in", "@bob:test.example", None, None)] * 4)
        self.calls.clear()
        self.client.post(f"{V3}/logout", token=tokens[0])
        self.assertEqual(self.calls, [("out", "@bob:test.example", "A", tokens[0])])
        self.calls.clear()
        self.client.post(f"{V3}/logout", token=tokens[0])
        self.assertEqual(self.calls, [])
        self.client.post(f"{V3}/logout/all", token=tokens[1])
        devices = sorted(["B", "C", bob["device_id"]])
        self.assertEqual(self.calls, [("out", "@bob:test.example", it, "") for it in devices])
        self.calls.clear()
        bob_in_again = self.log_in("bob", device_id="D").json["access_token"]
        self.calls.clear()
        identifier = {"type": "m.id.user", "user": "bob"}
        auth = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        body = {"auth": auth, "new_password": "a better one"}
        self.log_in("bob", device_id="E")
        self.calls.clear()
        answer = self.client.post(f"{V3}/account/password", body, token=bob_in_again)
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(self.calls, [("out", "@bob:test.example", "E", "")])
        self.calls.clear()
        auth["password"] = "a better one"
        self.client.post(f"{V3}/account/deactivate", {"auth": auth}, token=bob_in_again)
        self.assertEqual(self.calls, [("out", "@bob:test.example", "D", "")])

    def test_guest(self) -> None:
        """A guest who becomes a user is logged out as a guest, and in as a user, once."""
        self.load(
            self.module(on_user_login=self.recording("in"), on_logged_out=self.recording("out"))
        )
        guest = self.guest()
        self.calls.clear()
        body = {"username": guest["user_id"][1:].partition(":")[0], "password": PASSWORD}
        body["guest_access_token"] = guest["access_token"]
        session = self.challenge(**body)["session"]
        stage = {**DUMMY, "session": session}
        for _ in range(2):
            answer = self.client.register(**body, auth=stage)
            self.assertEqual(answer.status, 200, answer)
        out = ("out", guest["user_id"], "guest_device", "")
        self.assertEqual(self.calls, [out, ("in", guest["user_id"], None, None)])


class ExpiryTests(ModuleCase):
    def test_expired(self) -> None:
        """The first that knows decides. A user whose account has expired can only log out."""
        token = self.register()["access_token"]
        for answers, expired in (
            ((None, None), False),
            ((None, True), True),
            ((False, True), False),
            ((True, False), True),
        ):
            self.load(*(self.module(is_user_expired=self.recording("?", it)) for it in answers))
            self.calls.clear()
            answer = self.whoami(token)
            if expired:
                self.assertRefused(answer, 403, "ORG_MATRIX_EXPIRED_ACCOUNT")
            else:
                self.assertEqual(answer.status, 200)
            self.assertEqual(set(self.calls), {("?", ALICE_ID)})
        for path in ("account/3pid", "devices", "capabilities"):
            answer = self.client.get(f"{V3}/{path}", token=token)
            self.assertRefused(answer, 403, "ORG_MATRIX_EXPIRED_ACCOUNT")
        self.assertEqual(self.client.post(f"{V3}/logout", token=token).status, 200)
        self.assertRefused(self.whoami(token), 401, "M_UNKNOWN_TOKEN")


class RegistrationNoticeTests(ModuleCase):
    def test_everyAccountOnce(self) -> None:
        """A module hears of each account once, when its addresses are there, and of a guest once
        more when it becomes a user."""
        owners: list[Any] = []
        self.load(
            self.module(
                on_user_registration=lambda user_id: owners.append((user_id, self.owners()))
            )
        )
        session, sid = self.validated()
        for _ in range(2):
            self.assertEqual(self.present(session, sid).status, 200)
        self.assertEqual(owners, [(ALICE_ID, {ALICE: ALICE_ID})])
        guest = self.guest()
        self.register(
            guest["user_id"][1:].partition(":")[0], guest_access_token=guest["access_token"]
        )
        handler = self.subsystem.handler
        self.wait(handler.post_registration_actions(ALICE_ID))
        told = [user_id for user_id, _ in owners]
        self.assertEqual(told, [ALICE_ID, guest["user_id"], guest["user_id"]])
        self.assertEqual(self.rows("SELECT COUNT(*) FROM jobs"), [(0,)])

    def test_after(self) -> None:
        """The job is written with the account, so that another process calls the callback if this
        one dies: it finds a job whose lease has ended."""
        kinds: list[Any] = []
        look = lambda user_id: kinds.append(self.rows("SELECT kind FROM jobs"))  # noqa: E731
        self.load(self.module(on_user_registration=look))
        self.register()
        self.assertIn((TELL_OF_ACCOUNT,), kinds[0])
        job = NewJob(kind=TELL_OF_ACCOUNT, payload={"user_id": ALICE_ID})
        self.wait(JobStore(self.database).begin((job,), self.now_ms))
        self.clock.advance(JOB_LEASE_MS / 1000 + 1)
        self.load(self.module(on_user_registration=self.recording("made")))
        self.wait(run_due(self.subsystem.jobs))
        self.assertEqual(self.calls, [("made", ALICE_ID)])


class ThreepidTests(ModuleCase):
    def test_registration(self) -> None:
        """A module is asked about an address before there is an account, and told of it after;
        ``on_threepid_bind`` is called for a module that registers no newer name."""
        self.load(
            self.module(
                is_3pid_allowed=self.recording("allowed", True),
                check_user_third_party_identifier=self.recording("check"),
                on_add_user_third_party_identifier=self.recording("added"),
                on_threepid_bind=self.recording("not called"),
            ),
            self.module(on_threepid_bind=self.recording("old name")),
        )
        session, sid = self.validated()
        self.calls.clear()
        self.present(session, sid)
        self.assertEqual(
            self.calls,
            [
                ("allowed", "email", ALICE, True),
                ("check", ALICE_ID, "email", ALICE, True),
                ("added", ALICE_ID, "email", ALICE),
                ("old name", ALICE_ID, "email", ALICE),
            ],
        )
