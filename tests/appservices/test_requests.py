"""The accounts that application services ask for, over HTTP (contract B3)."""

from __future__ import annotations

from typing import Optional

from regsys.callbacks import SpamChecks
from regsys.model import UserID
from regsys.testing import MemoryDirectory
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
from tests.support.case import DUMMY, PASSWORD
from tests.support.client import V3

VALIDATED = {
    "m.login.email.identity": {
        "medium": "email",
        "address": "Alice@Mail.example",
        "validated_at": 5,
    },
    "m.login.msisdn": {"medium": "msisdn", "address": "491701234567", "validated_at": 6},
    "m.login.dummy": True,
}


class RegisterTests(BridgeCase):
    def test_login(self) -> None:
        """A ghost has the device that was asked for, its token works, and its row and profile are
        those of a service's user."""
        answer = self.made(**DEVICE)
        self.assertEqual(
            answer.keys(), {"user_id", "home_server", "access_token", "device_id"}, answer
        )
        self.assertEqual(answer["user_id"], "@_irc_alice:test.example")
        self.assertEqual(answer["device_id"], "PHONE")
        who = self.whoami(answer["access_token"]).json
        self.assertEqual(who["user_id"], answer["user_id"])
        row = self.rows("SELECT password_hash, is_guest, admin, approved, appservice_id FROM users")
        self.assertEqual(row, [(None, False, False, True, "irc")])
        profile = self.rows("SELECT user_id, display_name FROM profiles")
        self.assertEqual(profile, [(answer["user_id"], "_irc_alice")])
        self.assertEqual(self.rows("SELECT display_name FROM devices"), [("my phone",)])

    def test_withoutLogin(self) -> None:
        """With inhibit_login there is an account and neither device nor token."""
        answer = self.made(inhibit_login=True)
        self.assertEqual(answer.keys(), {"user_id", "home_server"})
        counts = self.counts()
        self.assertEqual((counts["users"], counts["devices"], counts["logins"]), (1, 0, 0))

    def test_refreshToken(self) -> None:
        """A ghost's tokens have the same lifetimes as a user's."""
        self.system(session_lifetime="1h")
        answer = self.made(refresh_token=True)
        self.assertEqual(answer["expires_in_ms"], 300_000)
        self.assertIn("refresh_token", answer)
        self.assertEqual(self.made("_irc_bob")["expires_in_ms"], 3_600_000)

    def test_tokens(self) -> None:
        """The token may come in the query; a missing token and an unknown one have different
        errors."""
        answer = self.client.post(
            f"{REGISTER}?access_token={TOKEN.replace(' ', '%20')}",
            {"type": SERVICE, "username": "_irc_alice"},
        )
        self.assertEqual(answer.status, 200, answer)
        self.assertRefused(self.ask(token=None), 401, "M_MISSING_TOKEN")
        users = self.register("bob")["access_token"]
        for token in (users, "x", TOKEN + "x", self.guest()["access_token"]):
            self.assertRefused(self.ask("_irc_bob", token), 401, "M_UNKNOWN_TOKEN", token)

    def test_names(self) -> None:
        """The name is in user or username, and the first wins; without one the request is
        refused."""
        self.assertEqual(self.made("ignored", user="_irc_a")["user_id"], "@_irc_a:test.example")
        answer = self.client.post(REGISTER, {"type": SERVICE, "user": "_irc_b"}, token=TOKEN)
        self.assertEqual(answer.json["user_id"], "@_irc_b:test.example")
        answer = self.client.post(REGISTER, {"type": SERVICE}, token=TOKEN)
        self.assertRefused(answer, 400, "M_MISSING_PARAM")

    def test_types(self) -> None:
        """A value of a wrong type or a name that is too long is refused, and nothing is made."""
        for more, errcode in (
            ({"inhibit_login": "true"}, "M_BAD_JSON"),
            ({"refresh_token": None}, "M_BAD_JSON"),
            ({"inhibit_login": 1}, "M_BAD_JSON"),
            ({"refresh_token": "true"}, "M_BAD_JSON"),
            ({"user": 5}, "M_BAD_JSON"),
            ({"username": ["_irc_a"]}, "M_BAD_JSON"),
            ({"device_id": 5}, "M_BAD_JSON"),
            ({"device_id": "d" * 513}, "M_INVALID_PARAM"),
            ({"initial_device_display_name": "n" * 101}, "M_INVALID_PARAM"),
        ):
            body = {"type": SERVICE, "username": "_irc_a", **more}
            refused = self.client.post(REGISTER, body, token=TOKEN)
            self.assertRefused(refused, 400, errcode, more)
        self.assertEqual(set(self.counts().values()), {0})

    def test_historicalNames(self) -> None:
        """Any character that user IDs ever had is accepted: capitals, spaces, other scripts; but
        nothing that cannot be part of a user ID."""
        for name in (
            "_irc_Alice",
            "_irc_ é",
            "_irc_[m]",
            "_irc_愛",
            "_irc_\t",
            "_irc_@x",
            "_irc_#",
        ):
            answer = self.made(name)
            self.assertEqual(answer["user_id"], f"@{name}:test.example")
            self.assertEqual(self.whoami(answer["access_token"]).json["user_id"], answer["user_id"])
        longest = "_irc_" + "x" * (255 - len("@_irc_:test.example"))
        self.made(longest)
        before = self.counts()
        for name in ("", "_irc_:", "_irc_a:test.example", longest + "x", "_irc_\0", "_irc_\ud800"):
            self.assertRefused(self.ask(name), 400, "M_INVALID_USERNAME", repr(name))
        self.assertRefused(self.ask("_irc_" + "é" * 125), 400, "M_INVALID_USERNAME")
        self.assertRefused(self.ask("_irc_" + "x" * 508), 400, "M_INVALID_USERNAME")
        self.assertEqual(self.counts(), before)

    def test_taken(self) -> None:
        """A name is taken in any case, whoever has it; bridges look for this errcode."""
        self.made("_irc_alice")
        for name in ("_irc_alice", "_irc_ALICE"):
            self.assertRefused(self.ask(name), 400, "M_USER_IN_USE", name)
        self.register("bob")
        self.system(
            database=self.database,
            services=(registration(namespaces={"users": [{"regex": "@", "exclusive": False}]}),),
        )
        self.assertRefused(self.ask("Bob"), 400, "M_USER_IN_USE")

    def test_exclusive(self) -> None:
        """A service cannot register a name outside its namespaces, in another service's, another
        service's sender, or the server's own user."""
        self.system(
            services=(
                registration(namespaces={"users": [{"regex": "@", "exclusive": False}]}),
                other(),
            ),
            server_notices={"system_mxid_localpart": "Notices"},
        )
        self.made("whoever")
        for name in ("_other_x", "otherbot", "OtherBot", "notices", "Notices"):
            self.assertRefused(self.ask(name), 400, "M_EXCLUSIVE", name)
        for name in ("whatever", "_irc_x", "ircbot"):
            self.assertRefused(self.ask(name, OTHER_TOKEN), 400, "M_EXCLUSIVE", name)

    def test_sender(self) -> None:
        """A service registers its own user, which needs no namespace; no other client does."""
        self.assertRefused(self.client.register(username="ircbot"), 400, "M_EXCLUSIVE")
        self.assertEqual(self.made("ircbot")["user_id"], "@ircbot:test.example")
        self.assertEqual(self.rows("SELECT appservice_id FROM users"), [("irc",)])

    def test_people(self) -> None:
        """A name that a service has reserved cannot be registered in other ways; a shared name
        can."""
        for name in ("_irc_x", "otherbot", "_other_y"):
            self.system(allow_underscore_prefixed_localpart=True)
            answer = self.client.register(username=name, password=PASSWORD, auth=DUMMY)
            self.assertRefused(answer, 400, "M_EXCLUSIVE", name)
            available = self.client.get(f"{V3}/register/available?username={name}")
            self.assertRefused(available, 400, "M_EXCLUSIVE", name)
        self.register("_open_x")

    def test_notExclusive(self) -> None:
        """If the namespace is shared, the row names no service, and either may register there."""
        self.made("_open_a")
        self.made("_open_b", token=OTHER_TOKEN)
        self.assertEqual(self.rows("SELECT appservice_id FROM users"), [(None,), (None,)])

    def test_closedRegistration(self) -> None:
        """Registration need not be open, and no limit, checker or stage is asked."""
        spam = SpamChecks(clock=self.clock)
        spam.register("strict", lambda *args: "deny")
        self.system(
            enable_registration=False,
            rc_registration={"per_second": 0.001, "burst_count": 1},
            hooks=self.hooks(spam=spam),
        )
        for number in range(5):
            self.made(f"_irc_{number}")

    def test_limitOfOthers(self) -> None:
        """If other clients have used up an address's limit, a service may register, and uses up
        nothing."""
        self.system(rc_registration={"per_second": 0.001, "burst_count": 1})
        self.made("_irc_a")
        self.register("alice")
        refused = self.client.register(username="bob", password=PASSWORD, auth=DUMMY)
        self.assertEqual(refused.status, 429)
        self.made("_irc_b")

    def test_followUps(self) -> None:
        """The directory is told, and an account with a shared name is not the first real user."""
        directory = MemoryDirectory()
        self.system(directory=directory)
        for name in ("_irc_a", "_open_a"):
            self.made(name)
            self.clock.advance(0)
        expected = {UserID(name, "test.example"): name for name in ("_irc_a", "_open_a")}
        self.assertEqual(directory.shown, expected)
        self.assertEqual(self.rows("SELECT * FROM milestones"), [])
        self.register("alice")
        self.assertEqual(self.rows("SELECT user_id FROM milestones"), [("@alice:test.example",)])

    def test_autoJoin(self) -> None:
        """No ghost joins the rooms for new users, whether its name is exclusive or not."""
        self.system(auto_join_rooms=["#lobby:test.example"])
        for name in ("_irc_a", "_open_a", "ircbot"):
            self.made(name)
        self.assertEqual(self.counts()["jobs"], 0)
        self.register("alice")
        self.assertEqual(self.counts()["jobs"], 1)

    def test_otherKinds(self) -> None:
        """A guest's kind wins over the type, an unknown kind is refused, and another type is no
        service's; a service's token with a plain registration is refused, with a guest's
        ignored."""
        body = {"type": SERVICE, "username": "_irc_a"}
        guest = self.client.post(f"{REGISTER}?kind=guest", body, token=TOKEN)
        self.assertEqual((guest.status, guest.json["user_id"]), (200, "@1:test.example"))
        strange = self.client.post(f"{REGISTER}?kind=strange", body, token=TOKEN)
        self.assertRefused(strange, 400, "M_UNRECOGNIZED")
        for more in ({}, {"type": "m.login.password"}):
            plain = self.client.post(REGISTER, {"username": "bob", **more}, token=TOKEN)
            self.assertRefused(plain, 400, "M_INVALID_PARAM", more)

    def test_order(self) -> None:
        """Kind, types, the token's owner, whether its users log in, name: in this order, and before
        any check that concerns users alone."""
        msc4190 = registration(**{"io.element.msc4190": True})
        self.system(services=(msc4190, other()), enable_registration=False)
        body: dict[str, object] = {"type": SERVICE, "refresh_token": 1, "username": "bob"}

        def refused(
            status: int, errcode: str, query: str = "", token: Optional[str] = TOKEN
        ) -> None:
            answer = self.client.post(f"{REGISTER}{query}", body, token=token)
            self.assertRefused(answer, status, errcode)

        refused(400, "M_UNRECOGNIZED", "?kind=strange", "x")
        refused(400, "M_BAD_JSON", token="x")
        body["refresh_token"] = False
        refused(401, "M_UNKNOWN_TOKEN", token="x")
        refused(401, "M_MISSING_TOKEN", token=None)
        refused(400, "M_APPSERVICE_LOGIN_UNSUPPORTED")
        body["inhibit_login"] = True
        refused(400, "M_EXCLUSIVE")
        self.assertEqual(set(self.counts().values()), {0})

    def test_passwordIsIgnored(self) -> None:
        """Password, display name and auth_result of the body are ignored."""
        self.made(password="a password", display_name="Alice", auth_result={"m.login.dummy": True})
        self.made("_irc_bob", password=5, display_name=None, auth_result="x")
        self.assertEqual(self.rows("SELECT DISTINCT password_hash FROM users"), [(None,)])
        names = self.rows("SELECT display_name FROM profiles ORDER BY display_name")
        self.assertEqual(names, [("_irc_alice",), ("_irc_bob",)])

    def test_passwordIsTaken(self) -> None:
        """With appservice_may_set_password they are used, and must be of their types."""
        self.system(regsys={"appservice_may_set_password": True})
        self.made(password=PASSWORD, display_name="Alice")
        self.assertEqual(self.rows("SELECT display_name FROM profiles"), [("Alice",)])
        body = {"type": "m.login.password", "user": "_irc_alice", "password": PASSWORD}
        self.assertEqual(self.client.post(f"{V3}/login", body).status, 200)
        for key in ("password", "display_name", "auth_result"):
            self.assertRefused(self.ask("_irc_bob", **{key: 5}), 400, "M_BAD_JSON", key)
        self.made("_irc_carol", password="")
        self.assertEqual(self.counts()["users"], 2)

    def test_validationsAreUsed(self) -> None:
        """The addresses that another server has validated are used too: modules are asked and told
        about them, but no pusher follows; an address of another account refuses the request."""
        additions: list[object] = []
        hooks = self.hooks()
        hooks.threepid_changes.additions.register("m", lambda *args: additions.append(args))
        hooks.threepid_changes.checks.register(
            "m", lambda user_id, *_: ("M_FORBIDDEN", "No.") if "_irc_c" in user_id else None
        )
        mails = {"notif_from": "a@test.example", "enable_notifs": True}
        self.system(regsys={"appservice_may_set_password": True}, hooks=hooks, email=mails)
        self.made(auth_result=VALIDATED)
        self.clock.advance(0)
        held = [("email", "alice@mail.example", 5), ("msisdn", "491701234567", 6)]
        sql = "SELECT medium, address, validated_at_ms FROM threepids ORDER BY medium"
        self.assertEqual(self.rows(sql), held)
        alice = "@_irc_alice:test.example"
        self.assertEqual(additions, [(alice, medium, address) for medium, address, _ in held])
        self.assertEqual(self.rows("SELECT * FROM pushers"), [])
        taken = self.ask("_irc_bob", auth_result=VALIDATED)
        self.assertRefused(taken, 400, "M_THREEPID_IN_USE")
        refused = self.ask("_irc_carol", auth_result=VALIDATED)
        self.assertRefused(refused, 403, "M_FORBIDDEN")
        sound = {"medium": "email", "address": "odd@mail.example", "validated_at": 1}
        odd = ({"validated_at": 2**63}, {"validated_at": -1}, {"address": "alice"})
        for number, change in enumerate(odd):
            found = {"m.login.email.identity": {**sound, **change}}
            self.made(f"_irc_{number}", auth_result=found)
        self.assertEqual(self.rows(sql), held)
