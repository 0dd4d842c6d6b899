"""The clients that people have, at the public address of a Synapse whose auth service regsys is."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from typing import Any, Mapping, Optional

import nio

from tests.browser.case import DESKTOP, PLENTY, REGISTER, WAIT_MS, Missing, browser
from tests.support import asynchronous
from tests.support.client import V3
from tests.support.delegation import PASSWORD, PublicCase
from tests.support.missing import not_tried
from tests.support.patience import PATIENCE_S, until
from tests.support.reporter import report_on_failure
from tests.support.sdk import SDK, Failed
from tests.support.service_process import Answer
from tests.support.smtp_process import smtp_process

ADDRESS = "alice@mail.example"
ALICE, BOB = "@alice:test.example", "@bob:test.example"
NEW_PASSWORD = "an even better horse"
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ClientCase(PublicCase):
    """On a server that requires an address; ``self.mails`` is its mail server."""

    def setUp(self) -> None:
        running = smtp_process()
        self.mails = running.__enter__()
        self.addCleanup(running.__exit__, None, None, None)
        super().setUp()

    def regsys_options(self) -> Mapping[str, Any]:
        mails = {"notif_from": "a@test.example", "smtp_port": self.mails.port}
        required = {"email": mails, "registrations_require_3pid": ["email"]}
        return {**required, "rc_3pid_validation": PLENTY, **super().regsys_options()}

    def open(self) -> Any:
        """A tab of Chromium, in a profile of its own."""
        try:
            context = browser().new_context(viewport=DESKTOP, locale="en")
        except Missing as missing:
            not_tried(self, str(missing))
        self.addCleanup(context.close)
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        report_on_failure(self, "the page", lambda: page.locator("body").inner_text(timeout=5000))
        return page

    def mailed(self, name: str, pattern: str, kind: str) -> str:
        """What this part of the next mail, which is to this user, has there."""
        mail = self.mails.next_mail()
        assert mail is not None, "no mail has come"
        self.assertEqual(mail.to, f"{name}@mail.example")
        found = re.search(pattern, mail.part(kind), re.MULTILINE)
        assert found is not None, mail.part(kind)
        return found[1].replace("&amp;", "&")

    def ask(self, method: str, path: str, body: Any = None, token: Optional[str] = None) -> Answer:
        """A request at the public address."""
        request = urllib.request.Request(f"{self.public}{path}", method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            response = _OPENER.open(request, timeout=PATIENCE_S)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            return Answer(response.status, json.loads(response.read()), dict(response.headers))

    def refusal(self, token: str) -> tuple[int, str]:
        """The status and the errcode for this token."""
        answer = self.ask("GET", f"{V3}/account/whoami", token=token)
        return answer.status, answer.json.get("errcode")


class LifeTests:
    """An account's whole life; on both databases."""

    def test_life(self: Any) -> None:
        """What alice registers on the page works with matrix-js-sdk and its encryption; what bob
        does, with matrix-nio, too."""
        for name in ("alice", "bob"):
            self.register_by_page(name)
        self.sdk = SDK(self)
        self.look_for_login()
        self.encrypted_room()
        self.second_device()
        self.reset_keys()
        self.log_out()
        self.forget_password()
        self.deactivate()
        self.lead_nio()
        assert self.there is not None
        self.assertNotIn("Traceback", self.there.log())

    def register_by_page(self: Any, name: str) -> None:
        """By name, password and an address, whose code comes by mail."""
        page = self.open()
        page.goto(f"{self.public}{REGISTER}")
        page.get_by_label("User name").fill(name)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Continue", exact=True).click()
        page.get_by_label("Email address").fill(f"{name}@mail.example")
        page.get_by_role("button", name="Send the mail").click()
        code = self.mailed(name, r"^ +([A-Z]{8})$", "plain")
        page.get_by_label("Code from the mail").fill(code)
        page.get_by_role("button", name="Continue", exact=True).click()
        page.get_by_text("Your account is ready").wait_for()

    def look_for_login(self: Any) -> None:
        """A client that would take OAuth is told that there is none, and that there is the login by
        password."""
        self.sdk.do("nobody", "begin", self.public)
        none = self.assertRaises(Failed, self.sdk.do, "nobody", "call", "getAuthMetadata")
        self.assertEqual((none.status, none.errcode), (404, "M_UNRECOGNIZED"))
        flows = self.sdk.do("nobody", "call", "loginFlows")["flows"]
        self.assertEqual(flows, [{"type": "m.login.password"}])

    def log_in_with_sdk(self: Any, client: str, user: str, password: str = PASSWORD) -> Any:
        login = self.sdk.do(client, "logIn", self.public, user, password)
        self.sdk.do(client, "start")
        return login

    def encrypted_room(self: Any) -> None:
        """Both set cross-signing up, without a question, and read each other's messages."""
        self.phone = self.log_in_with_sdk("phone", "alice")
        self.log_in_with_sdk("bob", "bob")
        self.recovery_key = self.sdk.do("phone", "setUp")
        self.sdk.do("bob", "setUp")
        self.room = self.sdk.do("phone", "makeRoom", BOB)
        self.sdk.do("bob", "join", self.room)
        self.say("phone", "hello", "bob")
        self.say("bob", "hello, too", "phone")
        self.sees(self.phone, True)

    def say(self: Any, client: str, body: str, *readers: str) -> None:
        sent = self.sdk.do(client, "send", self.room, body, ALICE, BOB)
        self.assertEqual(sent, "m.room.encrypted")
        for reader in readers:
            self.sdk.do(reader, "reads", body)

    def sees(self: Any, login: Any, verified: bool) -> None:
        """Bob's client comes to know this device of alice's, and whether she has signed it."""
        until(lambda: self.sdk.do("bob", "isVerified", ALICE, login["device_id"]) is verified)

    def second_device(self: Any) -> None:
        """It is verified by the recovery key, gets the keys of older messages from the backup, and
        reads new ones."""
        backup = f"{V3}/room_keys/version"
        until(lambda: self.ask("GET", backup, token=self.phone["access_token"]).json["count"])
        self.desk = self.log_in_with_sdk("desk", "alice")
        self.sees(self.desk, False)
        self.say("bob", "who is there?", "phone", "desk")
        self.assertGreater(self.sdk.do("desk", "recover", self.recovery_key), 0)
        self.sees(self.desk, True)
        self.say("bob", "are you there?", "phone", "desk")
        self.say("desk", "I am", "phone", "bob")

    def reset_keys(self: Any) -> None:
        """The SDK is sent to a page of regsys, where alice allows it."""
        url = self.sdk.do("desk", "resetKeys")
        self.assertTrue(url.startswith(f"{self.public}/"), url)
        page = self.open()
        page.goto(url)
        page.get_by_label("User name").fill("alice")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Allow the reset").click()
        page.get_by_role("heading", name="You can reset your identity now").wait_for()
        self.assertIsNone(self.sdk.do("desk", "resetKeys"))
        self.say("desk", "it is me", "bob")

    def log_out(self: Any) -> None:
        """The device is dead at once, and the other one is not."""
        self.sdk.do("phone", "logOut")
        dead = (401, "M_UNKNOWN_TOKEN")
        self.assertEqual(self.refusal(self.phone["access_token"]), dead)
        devices = self.sdk.do("desk", "call", "getDevices")["devices"]
        self.assertEqual([it["device_id"] for it in devices], [self.desk["device_id"]])

    def forget_password(self: Any) -> None:
        """The link of a mail is opened in a browser. The new password logs in, the old one and the
        device that was logged in do not."""
        secret = "a-client-secret"
        sent = self.sdk.do("nobody", "call", "requestPasswordEmailToken", ADDRESS, secret, 1)
        creds = {"sid": sent["sid"], "client_secret": secret}
        auth = {"type": "m.login.email.identity", "threepid_creds": creds}
        change = ("nobody", "call", "setPassword", auth, NEW_PASSWORD, True)
        self.assertEqual(self.assertRaises(Failed, self.sdk.do, *change).status, 401)
        page = self.open()
        page.goto(self.mailed("alice", r'href="([^"]+submit_token[^"]+)"', "html"))
        page.get_by_role("button", name="Confirm this address").click()
        page.get_by_role("heading", name="Your address is confirmed").wait_for()
        self.sdk.do(*change)
        self.assertEqual(self.refusal(self.desk["access_token"])[0], 401)
        old = self.assertRaises(Failed, self.log_in_with_sdk, "old", "alice")
        self.assertEqual((old.status, old.errcode), (403, "M_FORBIDDEN"))
        self.tablet = self.log_in_with_sdk("tablet", "alice", NEW_PASSWORD)
        self.sdk.do("tablet", "recover", self.recovery_key)
        self.sees(self.tablet, True)
        self.say("bob", "welcome back", "tablet")

    def deactivate(self: Any) -> None:
        """Alice is erased: no token, no profile; nobody else gets the name."""
        profile = f"{V3}/profile/{ALICE}"
        auth = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "alice"},
            "password": NEW_PASSWORD,
        }
        self.assertEqual(self.ask("GET", profile).json.get("displayname"), "alice")
        self.sdk.do("tablet", "call", "deactivateAccount", auth, True)
        self.assertEqual(self.refusal(self.tablet["access_token"]), (401, "M_UNKNOWN_TOKEN"))
        self.assertEqual(self.ask("GET", profile).status, 404)
        gone = self.assertRaises(Failed, self.log_in_with_sdk, "gone", "alice", NEW_PASSWORD)
        self.assertEqual(gone.status, 403)
        taken = self.ask("GET", f"{V3}/register/available?username=alice")
        self.assertEqual((taken.status, taken.json["errcode"]), (400, "M_USER_IN_USE"))

    def lead_nio(self: Any) -> None:
        """Bob logs in, syncs, sends, and logs out; then the token is dead."""
        self.assertDead(asynchronous.run(self._nio()))

    async def _nio(self: Any) -> str:
        client = nio.AsyncClient(self.public, BOB)
        try:
            logged_in = await client.login(PASSWORD, device_name="a laptop")
            self.assertIsInstance(logged_in, nio.LoginResponse, logged_in)
            room = await client.room_create(name="notes")
            self.assertIsInstance(room, nio.RoomCreateResponse, room)
            content = {"msgtype": "m.text", "body": "buy milk"}
            sent = await client.room_send(room.room_id, "m.room.message", content)
            self.assertIsInstance(sent, nio.RoomSendResponse, sent)
            synced = await client.sync(full_state=True)
            self.assertIsInstance(synced, nio.SyncResponse, synced)
            timeline = synced.rooms.join[room.room_id].timeline.events
            self.assertEqual(timeline[-1].body, "buy milk")
            token = client.access_token
            out = await client.logout()
            self.assertIsInstance(out, nio.LogoutResponse, out)
            return str(token)
        finally:
            await client.close()


class SQLiteLifeTests(LifeTests, ClientCase):
    pass


class PostgreSQLLifeTests(LifeTests, ClientCase):
    on_postgres = True
