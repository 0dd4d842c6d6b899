"""Accounts that regsys makes work at a stock Synapse, whose auth service it is (contract B17)."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.support.client import V3
from tests.support.delegation import PASSWORD, DelegationCase
from tests.support.patience import until


class OnSQLite(DelegationCase):
    def test_life(self) -> None:
        """A new account works there at once: it syncs, and sends in a room; so does its second
        device. A device that logs out is dead there at once, and the others are not."""
        made = self.registered("alice", device_id="PHONE", initial_device_display_name="a phone")
        token, user_id = made["access_token"], "@alice:test.example"
        self.assertAlive(token, user_id, "PHONE")
        self.assertEqual(self.at("GET", "sync?timeout=0", token).status, 200)
        room = self.at("POST", "createRoom", token, {"preset": "private_chat"}).json["room_id"]
        sent = self.at(
            "PUT",
            f"rooms/{room}/send/m.room.message/1",
            token,
            {"msgtype": "m.text", "body": "hello"},
        )
        self.assertEqual(sent.status, 200, sent)
        second = self.log_in("alice", device_id="DESK").json["access_token"]
        self.assertAlive(second, user_id, "DESK")
        devices = self.at("GET", "devices", token).json["devices"]
        names = {device["device_id"]: device["display_name"] for device in devices}
        self.assertEqual(names, {"PHONE": "a phone", "DESK": None})
        self.assertEqual(self.regsys.ask("POST", f"{V3}/logout", {}, token=token).status, 200)
        self.assertDead(token)
        self.assertAlive(second, user_id, "DESK")
        self.assertEqual(self.regsys.ask("POST", f"{V3}/logout/all", {}, token=second).status, 200)
        self.assertDead(second)

    def test_takenThere(self) -> None:
        """A name that the Synapse has, and we don't, is taken; nothing of ours stays."""
        assert self.there is not None
        self.there.ask("POST", "/_synapse/mas/provision_user", {"localpart": "bob"})
        for name in ("bob", "BOB"):
            answer = self.register(name)
            self.assertEqual((answer.status, answer.json["errcode"]), (400, "M_USER_IN_USE"))
        self.assertEqual(self.log_in("bob").status, 403)

    def test_generated(self) -> None:
        """A registration without a name gets one that the Synapse can have: it refuses numbers."""
        answer = self.register(None)
        self.assertEqual(answer.status, 200, answer)
        self.assertRegex(answer.json["user_id"], r"^@u\d+:test\.example$")
        made = answer.json
        self.assertAlive(made["access_token"], made["user_id"], made["device_id"])

    def test_away(self) -> None:
        """While the Synapse is away, nobody registers, nothing is made, and the session lives; the
        same dialogue goes on when it is back."""
        assert self.there is not None
        body = {"username": "carol", "password": PASSWORD}
        session = self.regsys.ask("POST", f"{V3}/register", body).json["session"]
        last = {**body, "auth": {"type": "m.login.dummy", "session": session}}
        self.there.stop()
        refused = self.regsys.ask("POST", f"{V3}/register", last)
        self.assertEqual(refused.status, 503, refused)
        self.assertIn("Retry-After", refused.headers)
        self.there.start()
        answers: list[Any] = []

        def is_made() -> bool:
            answers[:] = [self.regsys.ask("POST", f"{V3}/register", last)]
            return answers[0].status == 200

        until(is_made, lambda: str(answers))
        made = answers[0].json
        self.assertAlive(made["access_token"], "@carol:test.example", made["device_id"])

    def test_restarted(self) -> None:
        """A regsys that is killed and replaced costs the Synapse no request that comes later, and
        tokens go on."""
        tokens = [
            (made["access_token"], made["user_id"], made["device_id"])
            for made in (self.registered(f"dave{number}") for number in range(3))
        ]
        self.assertAlive(*tokens[0])
        self.regsys.kill()
        self.regsys = self.start()
        # Those that it has not asked about yet.
        for token in tokens[1:]:
            self.assertAlive(*token)

    def test_guests(self) -> None:
        answer = self.regsys.ask("POST", f"{V3}/register?kind=guest", {})
        self.assertEqual(answer.status, 403, answer)


class OnPostgreSQL(OnSQLite):
    on_postgres: ClassVar[bool] = True
