"""Application services log their users in, and ask who they are, over HTTP (contract B3.4)."""

from __future__ import annotations

from typing import Any, Optional

from treq.testing import StubTreq

from regsys.model import Login, NewAccount, NewDevice, UserID
from regsys.model.accounts import Outcome
from regsys.storage.devices import DeviceStore
from regsys.storage.users import UserStore
from tests.appservices.bridges import (
    DEVICE,
    OTHER_TOKEN,
    REGISTER,
    SERVICE,
    TOKEN,
    BridgeCase,
    other,
    registration,
)
from tests.doubles.homeserver import HomeserverDouble
from tests.support.case import DUMMY, PASSWORD
from tests.support.client import V3
from tests.support.log_canaries import watch_for_leaks
from tests.test_log_canaries import Down


class LoginTests(BridgeCase):
    def setUp(self) -> None:
        super().setUp()
        self.made(inhibit_login=True)

    def test_serversNameInAnyCase(self) -> None:
        """The server's name within the user ID may be in upper case."""
        answer = self.log_in("@_irc_alice:TEST.EXAMPLE")
        self.assertEqual(answer.json["user_id"], "@_irc_alice:test.example", answer)

    def test_offered(self) -> None:
        """The login type is offered if there is a service, and unknown otherwise."""
        flows = [{"type": "m.login.password"}, {"type": SERVICE}]
        self.assertEqual(self.client.get(f"{V3}/login").json, {"flows": flows})
        self.system(services=())
        self.assertEqual(self.client.get(f"{V3}/login").json, {"flows": flows[:1]})
        self.assertRefused(self.log_in(), 400, "M_UNKNOWN")

    def test_notOffered(self) -> None:
        """If no service logs its users in, the login type is not offered."""
        msc4190 = {"io.element.msc4190": True}
        for services, offered in (
            ((registration(**msc4190), other()), True),
            ((registration(**msc4190), other(**msc4190)), False),
        ):
            self.system(database=self.database, services=services)
            flows = self.client.get(f"{V3}/login").json["flows"]
            self.assertEqual({"type": SERVICE} in flows, offered)
            self.assertRefused(self.log_in(), 400, "M_APPSERVICE_LOGIN_UNSUPPORTED")

    def test_loggedIn(self) -> None:
        """By name or user ID, in the identifier or the old key, a ghost gets a device."""
        whole = "@_irc_alice:test.example"
        for more in (
            {"identifier": {"type": "m.id.user", "user": "_irc_alice"}},
            {"identifier": {"type": "m.id.user", "user": whole}},
            {"user": "_irc_alice"},
        ):
            body = {"type": SERVICE, **more, **DEVICE, "refresh_token": True}
            answer = self.client.post(f"{V3}/login", body, token=TOKEN)
            self.assertEqual((answer.status, answer.json.get("user_id")), (200, whole), answer)
            self.assertEqual(answer.json["device_id"], "PHONE")
            self.assertIn("refresh_token", answer.json)
            self.assertEqual(self.whoami(answer.json["access_token"]).json["user_id"], whole)
        self.made("ircbot", inhibit_login=True)
        self.assertEqual(self.log_in("ircbot").status, 200)

    def test_devicesOfGhosts(self) -> None:
        """The store is told which devices belong to a service's users: those that the service logs
        in, also with the registration, and no others."""
        written: list[tuple[str, bool]] = []
        register, create = DeviceStore.register, UserStore.write

        def note(user_id: UserID, device: Optional[NewDevice]) -> None:
            if device is not None:
                written.append((user_id.localpart, device.is_appservice_ghost))

        async def noting_devices(store: DeviceStore, user_id: UserID, device: NewDevice) -> Login:
            note(user_id, device)
            return await register(store, user_id, device)

        async def noting_accounts(store: UserStore, new: NewAccount, also: Any) -> Outcome:
            note(new.user_id, new.device)
            return await create(store, new, also)

        self.patch(DeviceStore, "register", noting_devices)
        self.patch(UserStore, "write", noting_accounts)
        self.log_in()
        self.made("_irc_bob")
        self.register("carol")
        login = {"type": "m.login.password", "user": "carol", "password": PASSWORD}
        self.assertEqual(self.client.post(f"{V3}/login", login).status, 200)
        self.assertEqual(
            written, [("_irc_alice", True), ("_irc_bob", True), ("carol", False), ("carol", False)]
        )

    def test_knownDevice(self) -> None:
        """A known device keeps its name, and loses its earlier token; r0 works too, and so does the
        token in the query."""
        first = self.log_in(**DEVICE).json["access_token"]
        body = {"type": SERVICE, "user": "_irc_alice", "device_id": "PHONE"}
        query = f"?access_token={TOKEN.replace(' ', '+')}"
        path = f"/_matrix/client/r0/login{query}"
        again = self.client.post(path, {**body, "initial_device_display_name": "another"})
        self.assertEqual(
            again.json.keys(), {"user_id", "home_server", "device_id", "access_token"}, again
        )
        self.assertRefused(self.whoami(first), 401, "M_UNKNOWN_TOKEN")
        self.assertEqual(self.whoami(again.json["access_token"]).json["device_id"], "PHONE")
        self.assertEqual(self.rows("SELECT display_name FROM devices"), [("my phone",)])

    def test_waiting(self) -> None:
        """A user who waits for an administrator's approval cannot log in this way either."""
        self.change("UPDATE users SET approved = FALSE")
        refused = self.log_in()
        self.assertRefused(refused, 403, "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL")
        self.assertEqual(refused.json["approval_notice_medium"], "org.matrix.msc3866.none")
        self.assertEqual(self.counts()["devices"], 0)

    def test_refused(self) -> None:
        """The user must exist and be the service's own; and only a service's token is accepted."""
        self.register("bob")
        for name in ("bob", "otherbot", "_other_x", "@_irc_alice:elsewhere.example"):
            self.assertRefused(self.log_in(name), 400, "M_EXCLUSIVE", name)
        for name in ("_irc_nobody", "_irc_ALICE", "ircbot"):
            self.assertRefused(self.log_in(name), 403, "M_FORBIDDEN", name)
        self.change("UPDATE users SET deactivated = TRUE WHERE user_id LIKE '@_irc_alice%'")
        self.assertRefused(self.log_in(), 403, "M_FORBIDDEN")
        self.assertRefused(self.log_in(token=None), 401, "M_MISSING_TOKEN")
        self.assertRefused(self.log_in(token="x"), 401, "M_UNKNOWN_TOKEN")
        self.assertRefused(self.log_in(token=OTHER_TOKEN), 400, "M_EXCLUSIVE")
        self.assertRefused(self.log_in(device_id=5), 400, "M_BAD_JSON")
        self.assertEqual(self.rows("SELECT user_id FROM devices"), [("@bob:test.example",)])


class WhoamiTests(BridgeCase):
    def test_whoami(self) -> None:
        """A service is its own user, registered or not, or the user that it names, once that is
        registered; its server's name may be in any case."""
        sender = {"user_id": "@ircbot:test.example", "is_guest": False}
        for asked in (None, "", "@ircbot:test.example", "@ircbot:TEST.example"):
            answer = self.acts_as(asked)
            self.assertEqual((answer.status, answer.json), (200, sender))
        self.assertEqual(self.counts()["users"], 0)
        for name in ("ircbot", "_irc_alice", "_open_x"):
            self.made(name, inhibit_login=True)
            user_id = f"@{name}:test.example"
            for asked in (user_id, *([None] if name == "ircbot" else [])):
                answer = self.acts_as(asked)
                expected = {"user_id": user_id, "is_guest": False}
                self.assertEqual((answer.status, answer.json), (200, expected))

    def test_deactivatedSender(self) -> None:
        """A service whose own user was deactivated is refused."""
        self.made("ircbot", inhibit_login=True)
        self.change("UPDATE users SET deactivated = TRUE")
        self.assertRefused(self.acts_as(None), 403, "M_FORBIDDEN")

    def test_refused(self) -> None:
        """A user outside its namespaces, an unregistered user, or a user of another server is
        refused."""
        self.register("bob")
        self.made("_irc_alice")
        self.made("_open_x")
        for user_id in (
            "@bob:test.example",
            "@_irc_nobody:test.example",
            "@_open_x:elsewhere.example",
            "@otherbot:test.example",
            "bob",
            "@",
        ):
            self.assertRefused(self.acts_as(user_id), 403, "M_FORBIDDEN", user_id)
        theirs = self.acts_as("@_irc_alice:test.example", OTHER_TOKEN)
        self.assertRefused(theirs, 403, "M_FORBIDDEN")
        self.assertRefused(self.acts_as(None, "x"), 401, "M_UNKNOWN_TOKEN")
        self.assertRefused(self.acts_as("%ff"), 400, "M_INVALID_PARAM")

    def test_devices(self) -> None:
        """It may act as one of the user's devices, and of no other user's."""
        alice = self.made("_irc_alice", **DEVICE)["user_id"]
        self.made("ircbot", device_id="BOT")
        as_phone = self.acts_as(f"{alice}&device_id=PHONE")
        expected = {"user_id": alice, "device_id": "PHONE", "is_guest": False}
        self.assertEqual((as_phone.status, as_phone.json), (200, expected))
        own = self.client.get(f"{V3}/account/whoami?device_id=BOT", token=TOKEN).json
        self.assertEqual((own["user_id"], own["device_id"]), ("@ircbot:test.example", "BOT"))
        for device_id in ("phone", "BOT", ""):
            refused = self.acts_as(f"{alice}&device_id={device_id}")
            self.assertRefused(refused, 400, "M_UNKNOWN_DEVICE", device_id)
        refused = self.acts_as("@_irc_nobody:test.example&device_id=PHONE")
        self.assertRefused(refused, 403, "M_FORBIDDEN")

    def test_peoplesTokens(self) -> None:
        """A user's token is that user's, on that device, whichever user the query names."""
        bob = self.register("bob", device_id="BOBS")["access_token"]
        self.made("_irc_alice", **DEVICE)
        who = self.acts_as("@_irc_alice:test.example&device_id=PHONE", bob).json
        self.assertEqual((who["user_id"], who["device_id"]), ("@bob:test.example", "BOBS"))


class TroubleTests(BridgeCase):
    def test_databaseDown(self) -> None:
        """While the database is unavailable a bridge is told to retry, and nothing is done."""
        self.made("ircbot", inhibit_login=True)
        connection = self.database.pool.connection
        self.database.pool.connection = Down()
        for answer in (self.ask(), self.log_in("ircbot"), self.acts_as(None)):
            self.assertEqual(answer.status, 503, answer)
        self.database.pool.connection = connection
        self.assertEqual(self.counts()["users"], 1)
        self.made()

    def test_secrets(self) -> None:
        """No token, right or wrong, appears in a log line, an answer or a repr."""
        canaries = watch_for_leaks(self, {"the bridge's token": TOKEN, "the other's": OTHER_TOKEN})
        self.made("ircbot", inhibit_login=True)
        asked = [self.ask(inhibit_login=True), self.ask(inhibit_login=True), self.acts_as(None)]
        asked += [self.ask("bob"), self.ask("_irc_b", OTHER_TOKEN), self.log_in("bob")]
        asked += [self.ask("_irc_c", TOKEN[:-1]), self.acts_as("@bob:test.example")]
        query = TOKEN.replace(" ", "+")
        asked.append(self.client.post(f"{REGISTER}?access_token={query}", {"type": SERVICE}))
        for answer in asked:
            canaries.check("an answer", f"{answer}")
        canaries.check("a subsystem's repr", f"{self.subsystem!r}")
        self.assertGreater(canaries.event_count, 1)


class BlockedTests(BridgeCase):
    def test_closed(self) -> None:
        """A server that is closed logs in no user, ghosts included."""
        self.made(inhibit_login=True)
        self.system(database=self.database, hs_disabled=True)
        self.assertRefused(self.log_in(), 403, "M_RESOURCE_LIMIT_EXCEEDED")

    def test_full(self) -> None:
        """On a full server ghosts take no place, unless they are counted."""
        self.made(inhibit_login=True)
        full = {"limit_usage_by_mau": True, "max_mau_value": 0}
        for counted, status in ((False, 200), (True, 403)):
            self.system(database=self.database, track_appservice_user_ips=counted, **full)
            self.assertEqual(self.log_in().status, status, counted)

    def test_trial(self) -> None:
        """Ghosts that are counted log in to a full server while their service's trial lasts."""
        for name in ("_irc_alice", "_irc_bob"):
            self.made(name, inhibit_login=True)
        full = {"limit_usage_by_mau": True, "max_mau_value": 0, "track_appservice_user_ips": True}
        self.system(database=self.database, mau_appservice_trial_days={"irc": 2}, **full)
        self.assertEqual(self.log_in("_irc_alice").status, 200)
        self.clock.advance(3 * 86_400)
        self.assertRefused(self.log_in("_irc_bob"), 403, "M_RESOURCE_LIMIT_EXCEEDED")


class OwnFileTests(BridgeCase):
    def test_ownFile(self) -> None:
        """The registration file by which a homeserver knows regsys reserves no names here, although
        it contains all of them; the files of other services do."""
        everybody = [{"regex": "@.*:test\\.example", "exclusive": True}]
        ours = registration(id="regsys", as_token="ours", namespaces={"users": everybody})
        homeserver = {"url": "http://hs.example", "as_token": "ours"}
        treq = StubTreq(HomeserverDouble(as_token="ours"))
        for known, status in ((False, 400), (True, 200)):
            more = {"regsys": {"homeserver": homeserver}} if known else {}
            self.system(services=(ours, other()), treq=treq, **more)
            body = {"username": "alice", "password": PASSWORD, "auth": DUMMY}
            self.assertEqual(self.client.register(**body).status, status, known)
        taken = self.client.register(username="_other_x", password=PASSWORD, auth=DUMMY)
        self.assertEqual(taken.status, 400)
