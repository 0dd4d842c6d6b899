"""The API object: accounts, in a main process, in a worker and where a homeserver embeds regsys."""

from __future__ import annotations

import inspect
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from regsys.errors import ModuleRefusal
from regsys.interfaces import Verdict
from regsys.modules.base import NotOffered
from regsys.modules.shapes import ModuleUserID, ProfileInfo, UserInfo, UserIpAndAgent
from regsys.testing import MemoryAccounts, MemoryAuth, MemoryDevices, embedded
from tests.replication.test_system import RemoteSystem
from tests.support.case import START_S, SystemCase
from tests.support.modules import MasterCase, ModuleCase, package

ALICE = "@alice:test.example"
ADDRESS = "Alice@Mail.Example"
NOBODY = "@nobody:test.example"


class Whose(Resource):
    """Answers with the user of the request, as this call of ``get_user_by_req`` says."""

    isLeaf = True

    def __init__(self, api: Any, **options: Any) -> None:
        super().__init__()
        self.api, self.options = api, options

    def render_GET(self, request: Any) -> int:
        async def answer() -> None:
            try:
                found = await self.api.get_user_by_req(request, **self.options)
            except ModuleRefusal as refusal:
                request.setResponseCode(refusal.code)
                text = refusal.errcode
            else:
                text = f"{found.user.to_string()} {found.device_id} {found.is_guest}"
            request.write(text.encode())
            request.finish()

        Deferred.fromCoroutine(answer())
        return NOT_DONE_YET


class ApiCase(ModuleCase):
    """``self.api`` is that of a module of a server with these options."""

    def setUp(self) -> None:
        super().setUp()
        self.with_module()

    def with_module(self, *others: str, **options: Any) -> None:
        """``others``: the paths of modules before it."""
        case: Any = self

        class Module:
            def __init__(self, config: Any, api: Any) -> None:
                # The last one is that of the worker, where there are a worker and its master.
                case.api = api

        self.load(*others, f"{package(self, Module=Module)}.Module", **options)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """The result of a method that is awaited."""
        asked = getattr(self.api, method)(*args, **kwargs)
        return self.successResultOf(Deferred.fromCoroutine(_awaited(asked)))

    def refused(self, method: str, *args: Any, **kwargs: Any) -> tuple[int, str]:
        """Status and errcode of the refusal, which modules know as SynapseError."""
        asked = Deferred.fromCoroutine(_awaited(getattr(self.api, method)(*args, **kwargs)))
        error: Any = self.failureResultOf(asked, ModuleRefusal).value
        return error.code, error.errcode


async def _awaited(asked: Any) -> Any:
    return await asked


class AccountTests(ApiCase):
    def test_kinds(self) -> None:
        """Older modules yield some methods, so they return Deferreds; the others are coroutines."""
        deferreds = {
            "check_user_exists": (ALICE,),
            "register": ("a",),
            "register_user": ("b",),
            "register_device": ("@a:test.example",),
            "record_user_external_id": ("ldap", "a", "@a:test.example"),
            "run_db_interaction": ("x", lambda txn: None),
            "run_as_background_process": ("x", lambda: None),
        }
        for name, args in deferreds.items():
            asked = getattr(self.api, name)(*args)
            self.assertIsInstance(asked, Deferred, name)
            self.successResultOf(asked)
        for name, args in {
            "check_username": ("alice",),
            "get_userinfo_by_id": (ALICE,),
            "is_user_admin": (ALICE,),
            "get_threepids_for_user": (ALICE,),
            "get_user_ip_and_agents": (ALICE,),
            "defer_to_thread": (int,),
        }.items():
            asked = getattr(self.api, name)(*args)
            self.assertTrue(inspect.iscoroutine(asked), name)
            self.wait(asked)

    def test_register(self) -> None:
        """An account with its addresses and profile, logged in."""
        user_id, token = self.call("register", "alice", "Alice", [ADDRESS])
        self.assertEqual((user_id, self.whoami(token).json["user_id"]), (ALICE, ALICE))
        self.assertEqual(self.call("get_profile_for_user", "alice"), ProfileInfo(None, "Alice"))
        self.assertEqual(
            self.call("get_threepids_for_user", ALICE),
            [
                {
                    "medium": "email",
                    "address": "alice@mail.example",
                    "validated_at": self.now_ms,
                    "added_at": self.now_ms,
                }
            ],
        )
        self.assertEqual(self.call("register_user", "bob", admin=True), "@bob:test.example")
        self.assertTrue(self.call("is_user_admin", "@bob:test.example"))
        self.assertEqual(self.call("get_threepids_for_user", "@bob:test.example"), [])

    def test_refused(self) -> None:
        """What cannot be registered refuses the whole: nothing is written."""
        self.call("register", "alice", None, [ADDRESS])
        before = self.counts()
        for method in ("register", "register_user"):
            for args, expected in {
                ("alice",): (400, "M_USER_IN_USE"),
                ("not valid",): (400, "M_INVALID_USERNAME"),
                ("carol", "Carol", ("new@mail.example", ADDRESS)): (400, "M_THREEPID_IN_USE"),
                ("carol", "Carol", ("no address",)): (400, "M_INVALID_PARAM"),
            }.items():
                self.assertEqual(self.refused(method, *args), expected)
        self.assertEqual(self.counts(), before)
        self.assertEqual(self.refused("check_username", "Alice")[0], 400)
        self.assertIsNone(self.call("check_username", "carol"))

    def test_judged(self) -> None:
        """There is no limit of registrations, but spam checkers are asked, and a name that waits
        for approval gets no token."""
        few = {"per_second": 0.0001, "burst_count": 1}
        self.with_module(rc_registration=few)
        for name in ("a1", "a2", "a3"):
            self.call("register", name)
        spam = self.module(check_registration_for_spam=lambda *args: Verdict.DENY)
        self.with_module(spam)
        self.assertEqual(self.refused("register", "a4"), (429, "M_LIMIT_EXCEEDED"))
        self.assertIsNone(self.call("check_user_exists", "@a4:test.example"))
        approval = {"msc3866": {"enabled": True, "require_approval_for_new_accounts": True}}
        self.with_module(experimental_features=approval)
        code = "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL"
        self.assertEqual(self.refused("register", "a5"), (403, code))
        found = self.call("get_userinfo_by_id", "@a5:test.example")
        self.assertFalse(found.approved)

    def test_exists(self) -> None:
        """The user ID as it was registered; None for anybody else."""
        self.register("alice")
        for asked, expected in {
            ALICE: ALICE,
            "@ALICE:test.example": ALICE,
            NOBODY: None,
            "@alice:other.example": None,
            "alice": None,
            "": None,
        }.items():
            self.assertEqual(self.call("check_user_exists", asked), expected, asked)
        user_id = ModuleUserID.from_string(ALICE)
        self.assertEqual(self.call("check_user_exists", user_id), ALICE)

    def test_device(self) -> None:
        """A device with the token's end and a refresh token, if there are such."""
        self.register("alice")
        device_id, token, until_ms, refresh = self.call("register_device", ALICE, "DEVICE", "Phone")
        self.assertEqual((device_id, until_ms, refresh), ("DEVICE", None, None))
        self.assertEqual(self.whoami(token).json["device_id"], "DEVICE")
        self.assertEqual(self.refused("register_device", NOBODY), (404, "M_NOT_FOUND"))
        self.assertEqual(self.refused("register_device", "alice"), (400, "M_INVALID_PARAM"))

    def test_externalIds(self) -> None:
        """A user of another system has one account, until that is deactivated."""
        token = self.call("register", "alice")[1]
        self.call("register", "bob")
        for _ in range(2):
            self.call("record_user_external_id", "ldap", "uid=a", ALICE)
        bob = ("ldap", "uid=a", "@bob:test.example")
        self.assertEqual(self.refused("record_user_external_id", *bob)[0], 409)
        nobody = ("ldap", "uid=b", NOBODY)
        self.assertEqual(self.refused("record_user_external_id", *nobody)[0], 404)
        self.assertEqual(self.whoami(token).status, 200)
        self.wait(self.subsystem.handler.deactivated(ALICE))
        self.call("record_user_external_id", *bob)
        rows = [tuple(row) for row in self.rows("SELECT * FROM external_ids")]
        self.assertEqual(rows, [bob])
        self.assertEqual(self.refused("record_user_external_id", "ldap", "c", ALICE)[0], 404)

    def test_userinfo(self) -> None:
        """What is known of an account, and who is an administrator."""
        self.register("alice")
        guest = self.guest()["user_id"]
        found = self.call("get_userinfo_by_id", ALICE)
        self.assertEqual(
            found,
            UserInfo(
                user_id=ModuleUserID("alice", "test.example"),
                appservice_id=None,
                creation_ts=START_S,
                is_admin=False,
                is_deactivated=False,
                is_guest=False,
                is_shadow_banned=False,
                approved=True,
                user_type=None,
            ),
        )
        self.assertEqual((found.user_id.to_string(), str(found.user_id)), (ALICE, ALICE))
        for nobody in (NOBODY, "@alice:other.example"):
            self.assertIsNone(self.call("get_userinfo_by_id", nobody))
        for admin in (True, False):
            self.call("set_user_admin", found.user_id, admin)
            self.assertEqual(self.call("is_user_admin", ALICE), admin)
        self.assertEqual(self.refused("set_user_admin", guest, True), (400, "M_INVALID_PARAM"))
        self.call("set_user_admin", guest, False)
        self.assertEqual(self.refused("set_user_admin", NOBODY, True), (404, "M_NOT_FOUND"))
        self.assertFalse(self.call("is_user_admin", NOBODY))

    def test_audit(self) -> None:
        """The audit log says which module has made and changed an account."""
        self.with_module(regsys={"audit": {"enabled": True}})
        self.call("register_user", "alice", admin=True)
        self.call("set_user_admin", ALICE, False)
        self.call("set_displayname", ALICE, "A")
        self.call("record_user_external_id", "ldap", "uid=a", ALICE)
        self.refused("set_user_admin", NOBODY, True)
        rows = self.rows("SELECT what, user_id, actor, rule, details FROM audit")
        (module,) = {row[2] for row in rows}
        self.assertRegex(module, r"^module modules_of_tests_\d+\.Module$")
        self.assertEqual({row[1] for row in rows}, {ALICE})
        self.assertCountEqual(
            [(row[0], row[3], row[4]) for row in rows],
            [
                ("registered", "module", '{"admin": true}'),
                ("admin-set", None, '{"admin": false}'),
                ("display-name-set", None, "{}"),
                ("external-id-set", None, '{"auth_provider_id": "ldap"}'),
            ],
        )

    def test_profile(self) -> None:
        """Display names can be changed and removed."""
        self.register("alice")
        self.assertEqual(self.call("get_profile_for_user", "alice").display_name, "alice")
        for name, expected in (("Alice B", "Alice B"), ("", None)):
            self.call("set_displayname", ModuleUserID("alice", "test.example"), name)
            self.assertEqual(self.call("get_profile_for_user", "alice").display_name, expected)
        self.assertEqual(self.refused("get_profile_for_user", "nobody")[0], 404)
        self.assertEqual(self.refused("set_displayname", NOBODY, "x")[0], 404)
        self.assertEqual(self.refused("set_displayname", "@a:other.example", "x")[0], 403)
        self.assertEqual(self.refused("set_displayname", ALICE, "x" * 257)[0], 400)

    def test_clients(self) -> None:
        """Where a user has registered from, as long as the session is kept."""
        session = self.begin("alice")
        self.clock.advance(0)
        self.assertRegistered(self.go_on(session), "alice")
        (seen,) = self.call("get_user_ip_and_agents", ALICE)
        self.assertIsInstance(seen, UserIpAndAgent)
        self.assertEqual(seen.last_seen, self.now_ms)
        self.assertEqual(self.call("get_user_ip_and_agents", ALICE, self.now_ms + 1), [])
        self.assertEqual(self.call("get_user_ip_and_agents", NOBODY), [])

    def test_remoteAssociation(self) -> None:
        """A binding that a module has made is one of the account's."""
        self.register("alice")
        self.call("store_remote_3pid_association", ALICE, "email", ADDRESS, "is.example")
        rows = self.rows("SELECT user_id, medium, address, id_server FROM bindings")
        expected = (ALICE, "email", "alice@mail.example", "is.example")
        self.assertEqual([tuple(row) for row in rows], [expected])

    def test_request(self) -> None:
        """The user of a request, whose refusals are those of other requests."""
        expired = False
        self.api.register_account_validity_callbacks(is_user_expired=lambda user_id: expired)
        self.api.register_web_resource("/whose/plain", Whose(self.api))
        every = Whose(self.api, allow_guest=True, allow_expired=True)
        self.api.register_web_resource("/whose/any", every)
        alice, guest = self.register("alice"), self.guest()
        users, guests = alice["access_token"], guest["access_token"]
        is_alice = f"{ALICE} {alice['device_id']} False"
        is_guest = f"{guest['user_id']} guest_device True"
        for expired, answers in {
            False: (is_alice, "M_GUEST_ACCESS_FORBIDDEN"),
            True: ("ORG_MATRIX_EXPIRED_ACCOUNT", "ORG_MATRIX_EXPIRED_ACCOUNT"),
        }.items():
            for path, token, answer in (
                ("plain", None, "M_MISSING_TOKEN"),
                ("plain", "nonsense", "M_UNKNOWN_TOKEN"),
                ("plain", users, answers[0]),
                ("plain", guests, answers[1]),
                ("any", users, is_alice),
                ("any", guests, is_guest),
            ):
                found = self.client.get(f"/whose/{path}", token=token).json
                self.assertEqual(found, answer.encode(), (path, expired))


class WorkerAccountTests(RemoteSystem, AccountTests, MasterCase):
    """The same in a worker: what makes accounts and devices is asked of the master."""

    def test_asked(self) -> None:
        self.asked = 0
        self.call("register", "alice")
        self.call("register_device", ALICE)
        self.assertEqual(self.asked, 2)
        self.call("set_user_admin", ALICE, True)
        self.call("set_displayname", ALICE, "A")
        self.call("record_user_external_id", "ldap", "a", ALICE)
        self.assertEqual(self.asked, 2)


class EmbeddedTests(SystemCase):
    """Where a homeserver keeps the accounts."""

    def test_embedded(self) -> None:
        """Accounts are made in its store; what only its own API can do is refused at the call."""
        apis: list[Any] = []
        path = f"{package(self, Module=lambda config, api: apis.append(api) or api)}.Module"
        accounts = MemoryAccounts()
        devices = MemoryDevices(accounts=accounts)
        embedded(
            self,
            store=accounts,
            devices=devices,
            auth=MemoryAuth(devices=devices),
            modules=[{"module": path}],
        )
        (api,) = apis
        user_id, token = self.successResultOf(api.register("alice"))
        self.assertEqual(list(accounts.by_name), ["alice"])
        self.assertEqual(self.successResultOf(api.check_user_exists(user_id)), ALICE)
        self.assertIsNone(self.successResultOf(api.check_user_exists(NOBODY)))
        self.wait(api.store_remote_3pid_association(ALICE, "email", ADDRESS, "is.example"))
        for method, args in {
            "record_user_external_id": ("ldap", "a", ALICE),
            "set_user_admin": (ALICE, True),
            "is_user_admin": (ALICE,),
            "get_userinfo_by_id": (ALICE,),
            "get_threepids_for_user": (ALICE,),
            "get_profile_for_user": ("alice",),
            "set_displayname": (ALICE, "A"),
        }.items():
            asked = Deferred.fromCoroutine(_awaited(getattr(api, method)(*args)))
            error = self.failureResultOf(asked, NotOffered).value
            self.assertIn(f"ModuleApi.{method} (module {path}): the homeserver", str(error))
        self.assertTrue(token)
