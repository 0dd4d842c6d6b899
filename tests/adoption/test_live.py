"""A live Synapse's users become ours for a week, and its own again (contract B17.6)."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.adoption.live import V3, OnPostgres, OnSQLite
from tests.adoption.people import ADMIN, People, user_id
from tests.support.smtp_process import smtp_process

# Longer than bcrypt reads, and with letters that a normal form changes (a ligature, a combining
# accent).
LONG = "pa\u0301sswörd ﬁ " + "x" * 90
WEEK_MS = 7 * 24 * 3600 * 1000
TOKENS = f"{ADMIN}/v1/registration_tokens"
AS_TOKEN = "the-as-token-of-a-bridge"
BRIDGE = {
    "id": "bridge",
    "url": None,
    "as_token": AS_TOKEN,
    "hs_token": "the-hs-token-of-a-bridge",
    "sender_localpart": "bridge",
    "namespaces": {"users": [{"regex": "@_bridge_.*", "exclusive": True}]},
}


class Walk(People):
    def setUp(self: Any) -> None:
        mails = contextlib.ExitStack()
        self.addCleanup(mails.close)
        self.meet()
        bridge = Path(self.mktemp()).resolve()
        bridge.write_text(yaml.safe_dump(BRIDGE))
        self.set_up(mails.enter_context(smtp_process()), app_service_config_files=[str(bridge)])

    def test_thereAndBack(self: Any) -> None:
        """Users of every kind, whose clients never stop to ask for news, go through an adoption, a
        week of use, and the way back: no token is refused that its user has not ended, each ended
        one is, and the password that works is the last one that was set."""
        self.fill()
        self.be_in_a_room()
        self.say("made by Synapse")
        self.adopt()
        self.delegate()
        self.say("under regsys")
        self.check()
        self.live_a_week()
        self.say("after a week")
        self.check()
        self.take_back()
        self.say("by Synapse again")
        self.check()
        self.check_what_came_back()
        for client in self.clients.values():
            # 503: the other process was not there yet.
            self.assertLessEqual(client.statuses, {200, 401, 503}, client)
        self.assertNotIn("Traceback", self.synapse_log())

    # --- At Synapse ------------------------------------------------------------------------

    def fill(self: Any) -> None:
        synapse = self.synapse
        root = self.tokens["root"] = synapse.administrator("root", "root's own")
        self.passwords["root"] = "root's own"
        self.register("alice", "in the looking glass", initial_device_display_name="Phone")
        self.new_device("second", "alice")
        self.new_device("third", "alice")
        self.new_device("gone", "alice")
        self.done("POST", f"{V3}/logout", {}, self.tokens["gone"])
        self.register("bob", LONG)
        self.pair = self.new_device("pair", "bob", refresh_token=True)
        self.lapsing = self.new_device("lapsing", "bob", refresh_token=True)
        self.register("carol", "swordfish")
        self.administer("PUT", "carol", threepids=[email("carol@mail.example")])
        self.register("dave", "dave's password")
        self.done("POST", f"{ADMIN}/v1/deactivate/{user_id('dave')}", {"erase": True}, root)
        self.register("eve", "shadows")
        self.done("POST", f"{ADMIN}/v1/users/{user_id('eve')}/shadow_ban", {}, root)
        self.register("frank", "none, soon")
        self.execute(f"UPDATE users SET password_hash = NULL WHERE name = '{user_id('frank')}'")
        self.register("erin", "erin's password")
        for name in ("dave", "frank"):
            del self.passwords[name]
        self.register("gina", "gina's first password")
        self.administer("PUT", "gina", threepids=[email("gina@mail.example")])
        self.administer("PUT", "henry")
        ghost = {"type": "m.login.application_service", "username": "_bridge_1"}
        made = self.done("POST", f"{V3}/register", {**ghost, "device_id": "G"}, AS_TOKEN)
        self.tokens["ghost"] = made["access_token"]
        guest = self.done("POST", f"{V3}/register?kind=guest", {})
        self.guest = guest["access_token"]
        acting = self.done("POST", f"{ADMIN}/v1/users/{user_id('bob')}/login", {}, root)
        self.acting = acting["access_token"]
        self.ended |= {"gone", "dave"}
        invitation = {"token": "invitation", "uses_allowed": 5}
        self.done("POST", f"{TOKENS}/new", invitation, root)

    def be_in_a_room(self: Any) -> None:
        """All are in one room, with a client each; Alice's devices have keys."""
        asked = {"preset": "public_chat"}
        made = self.done("POST", f"{V3}/createRoom", asked, self.tokens["alice"])
        self.room = made["room_id"]
        self.join("root", "bob", "carol", "eve", "frank", "erin", "gina", "ghost")
        for device in ("SECOND", "THIRD"):
            self.done("POST", f"{V3}/keys/upload", keys(device), self.tokens[device.lower()])
        self.syncs(*(set(self.tokens) - self.ended))

    def adopt(self: Any) -> None:
        """Adopt while Synapse runs, and again what has changed there since, when it has ended."""
        before = self.contents()
        report = self.regsys("adopt", *self.by_another_role())
        self.assertIn("        12 accounts\n", report)
        self.assertEqual(self.contents(), before)
        self.register("late", "later than the first run")
        self.join("late")
        self.done("POST", f"{V3}/logout", {}, self.tokens["third"])
        status, answer = self.confirmed(
            *("POST", "account/password", self.tokens["erin"], self.passwords["erin"]),
            new_password="erin's second password",
            logout_devices=False,
        )
        self.assertEqual(status, 200, answer)
        self.passwords["erin"] = "erin's second password"
        self.end("third")
        self.syncs("late")
        self.clients["late"].wait_for("made by Synapse")
        self.synapse.stop()
        self.assertIn("        12 were adopted before\n", self.regsys("adopt"))

    # --- The week --------------------------------------------------------------------------

    def live_a_week(self: Any) -> None:
        # Of all that a Synapse has, a guest's token and one that acts as another user end.
        self.assertEqual(self.whoami(self.guest)[0], 401)
        self.assertEqual(self.whoami(self.acting)[0], 401)
        self.come()
        self.change()
        self.go()
        self.time_passes()

    def come(self: Any) -> None:
        """Newcomers, new devices, and new pairs of tokens."""
        self.register("zoe", "zoe's password")
        self.new_device("zoe2", "zoe", refresh_token=True)
        self.made_here = self.new_device("here", "carol", refresh_token=True)
        self.join("zoe")
        # The client of the pair goes on with the new one.
        self.close("pair")
        refresh = {"refresh_token": self.pair["refresh_token"]}
        self.pair = self.done("POST", f"{V3}/refresh", refresh)
        self.tokens["pair"] = self.pair["access_token"]
        self.syncs("zoe", "zoe2", "here", "pair")
        self.say("to those who came")

    def change(self: Any) -> None:
        """Passwords and addresses; and what the administrator may."""
        new = "through the looking glass"
        alice, gina = self.tokens["alice"], "gina's second password"
        asked = ("POST", "account/password", alice, self.passwords["alice"])
        status, answer = self.confirmed(*asked, new_password=new, logout_devices=False)
        self.assertEqual(status, 200, answer)
        self.old_password, self.passwords["alice"] = self.passwords["alice"], new
        creds = self.validate(f"{V3}/account/3pid/email/requestToken", "alice@mail.example", alice)
        status, answer = self.confirmed("POST", "account/3pid/add", alice, new, **creds)
        self.assertEqual(status, 200, answer)
        forgotten = f"{V3}/account/password"
        creds = self.validate(f"{forgotten}/email/requestToken", "gina@mail.example")
        auth = {"type": "m.login.email.identity", "threepid_creds": creds}
        self.done("POST", forgotten, {"auth": auth, "new_password": gina})
        self.passwords["gina"] = gina
        self.end("gina")
        self.new_device("gina2", "gina")
        self.syncs("gina2")
        removed = {"medium": "email", "address": "gina@mail.example"}
        self.done("POST", f"{V3}/account/3pid/delete", removed, self.tokens["gina2"])
        found = self.done(
            "GET", f"{ADMIN}/v2/users?guests=false&name=zoe", None, self.tokens["root"]
        )
        self.assertEqual(found["total"], 1)
        self.invite()

    def invite(self: Any) -> None:
        """The administrator allows more uses of a registration token, and makes another."""
        asked: Any = ("PUT", f"{TOKENS}/invitation", {"uses_allowed": 7})
        for method, path, body in (asked, ("POST", f"{TOKENS}/new", {"token": "another"})):
            answer = self.service.ask(method, path, body, token=self.tokens["root"])
            self.assertEqual(answer.status, 200, answer)

    def go(self: Any) -> None:
        """Logouts, a deleted device, a deactivation."""
        alice = self.tokens["alice"]
        self.new_device("short", "alice")
        self.done("POST", f"{V3}/logout", {}, self.tokens["short"])
        self.new_device("deleted", "alice")
        password = self.passwords["alice"]
        status, answer = self.confirmed("DELETE", "devices/DELETED", alice, password)
        self.assertEqual(status, 200, answer)
        erin = self.tokens["erin"]
        password = self.passwords.pop("erin")
        status, answer = self.confirmed("POST", "account/deactivate", erin, password)
        self.assertEqual(status, 200, answer)
        self.erins_password = password
        self.done("POST", f"{V3}/logout", {}, self.tokens["frank"])
        self.end("short", "deleted", "erin", "frank")

    def time_passes(self: Any) -> None:
        """regsys is replaced, and access tokens lapse; refresh tokens do not."""
        self.service.stop()
        self.our(
            f"UPDATE logins SET valid_until_ms = valid_until_ms - {WEEK_MS}"
            " WHERE device_id = 'LAPSING'"
        )
        self.serve()
        self.close("lapsing")
        status, answer = self.ask("POST", f"{V3}/logout", {}, self.tokens["lapsing"])
        self.assertEqual((status, answer["soft_logout"]), (401, True))
        refresh = {"refresh_token": self.lapsing["refresh_token"]}
        self.lapsing = self.done("POST", f"{V3}/refresh", refresh)
        self.tokens["lapsing"] = self.lapsing["access_token"]
        self.syncs("lapsing")

    # --- At Synapse again ------------------------------------------------------------------

    def check_what_came_back(self: Any) -> None:
        for name, password in (
            ("alice", self.old_password),
            ("gina", "gina's first password"),
            ("gina@mail.example", self.passwords["gina"]),
            ("erin", self.erins_password),
        ):
            self.assertEqual(self.log_in(name, password)[0], 403, name)
        self.assertEqual(self.log_in("alice@mail.example", self.passwords["alice"])[0], 200)
        for pair in (self.made_here, self.pair, self.lapsing):
            self.done("POST", f"{V3}/refresh", {"refresh_token": pair["refresh_token"]})
        # What regsys does not know works as it did.
        for token in (self.guest, self.acting):
            self.assertEqual(self.whoami(token)[0], 200)
        asked = {"device_keys": {user_id("alice"): []}}
        found = self.done("POST", f"{V3}/keys/query", asked, self.tokens["alice"])
        self.assertEqual(set(found["device_keys"][user_id("alice")]), {"SECOND"})
        root = self.tokens["root"]
        eve = self.done("GET", f"{ADMIN}/v2/users/{user_id('eve')}", None, root)
        self.assertTrue(eve["shadow_banned"])
        for token, uses in (("invitation", 7), ("another", None)):
            found = self.done("GET", f"{TOKENS}/{token}", None, root)
            self.assertEqual(found["uses_allowed"], uses)
        erin = self.done("GET", f"{ADMIN}/v2/users/{user_id('erin')}", None, root)
        self.assertTrue(erin["deactivated"])
        self.register("after", "the way back")
        self.assertEqual(self.whoami(self.tokens["after"])[0], 200)


def email(address: str) -> dict[str, str]:
    return {"medium": "email", "address": address}


def keys(device: str) -> dict[str, Any]:
    """What a device of Alice's uploads, so that others can encrypt for it."""
    algorithms = ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"]
    names = {f"ed25519:{device}": "A" * 43, f"curve25519:{device}": "B" * 43}
    signatures = {user_id("alice"): {f"ed25519:{device}": "C" * 86}}
    of_device = {"user_id": user_id("alice"), "device_id": device, "keys": names}
    return {"device_keys": {**of_device, "algorithms": algorithms, "signatures": signatures}}


class SQLiteLiveTests(Walk, OnSQLite, SynchronousTestCase):
    pass


class PostgresLiveTests(Walk, OnPostgres, SynchronousTestCase):
    pass
