"""Accounts that regsys makes work at a stock Synapse, whose auth service it is (contract B17)."""

from __future__ import annotations

import http.client
import json
import os
import sqlite3
import subprocess
import sys
from typing import Any, ClassVar, Mapping
from urllib.parse import quote

import yaml

from tests.support.client import V3
from tests.support.delegation import PASSWORD, DelegationCase
from tests.support.patience import PATIENCE_S, until
from tests.support.ports import free_port
from tests.support.proxies import ProxyExamples
from tests.support.service_process import ROOT
from tests.support.synapse import SECRET


class LifeTests:
    """What is tried on both databases."""

    def test_life(self: Any) -> None:
        """A new account works there at once: it syncs, and sends in a room; so does its second
        device. A device that logs out is dead there at once, and the others are not."""
        made = self.registered("alice", device_id="PHONE", initial_device_display_name="a phone")
        token, user_id = made["access_token"], "@alice:test.example"
        self.assertAlive(token, user_id, "PHONE")
        self.assertEqual(self.at("GET", "sync?timeout=0", token).status, 200)
        room = self.at("POST", "createRoom", token, {"preset": "private_chat"}).json["room_id"]
        message = {"msgtype": "m.text", "body": "hello"}
        sent = self.at("PUT", f"rooms/{room}/send/m.room.message/1", token, message)
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

    def test_capabilities(self: Any) -> None:
        """regsys's answer is the Synapse's, but for what regsys lets users change."""
        token = self.registered("frank")["access_token"]
        ours = self.regsys.ask("GET", f"{V3}/capabilities", token=token).json["capabilities"]
        theirs = self.at("GET", "capabilities", token).json["capabilities"]
        changes = {name: {"enabled": True} for name in ("m.change_password", "m.3pid_changes")}
        self.assertNotEqual(theirs["m.change_password"], changes["m.change_password"])
        self.assertEqual(ours, {**theirs, **changes})

    def test_names(self: Any) -> None:
        """A name that the Synapse has, and we don't, is taken, and nothing of ours stays. A
        registration without a name gets one that the Synapse can have: it refuses numbers. There
        are no guests."""
        self.there.ask("POST", "/_synapse/mas/provision_user", {"localpart": "bob"})
        for name in ("bob", "BOB"):
            answer = self.register(name)
            self.assertEqual((answer.status, answer.json["errcode"]), (400, "M_USER_IN_USE"))
        self.assertEqual(self.log_in("bob").status, 403)
        made = self.register(None).json
        self.assertRegex(made["user_id"], r"^@u\d+:test\.example$")
        self.assertAlive(made["access_token"], made["user_id"], made["device_id"])
        answer = self.regsys.ask("POST", f"{V3}/register?kind=guest", {})
        self.assertEqual(answer.status, 403, answer)


class SQLiteTests(LifeTests, DelegationCase):
    def test_synapseAway(self) -> None:
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

    def test_regsysKilled(self) -> None:
        """A regsys that is killed and replaced costs the Synapse no request that comes later: it
        keeps no connection for introspection, and notices no lost one."""
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
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        headers = {"Authorization": f"Bearer {SECRET}"}
        connection.request("POST", "/oauth2/introspect", f"token={tokens[0][0]}", headers)
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.getheader("Connection")), (200, "close"))
        self.assertTrue(json.loads(answer.read())["active"])
        connection.close()

    def test_killedWhileLoggingOut(self) -> None:
        """A token of a device that was logged out is dead there soon, though regsys was killed
        before it could say so."""
        made = self.registered("erin")
        self.assertAlive(made["access_token"], made["user_id"], made["device_id"])
        with sqlite3.connect(self.folder / "homeserver-regsys.db") as database:
            # What the logout's transaction leaves, if the process dies right after it.
            database.execute("PRAGMA foreign_keys = ON")
            database.execute("DELETE FROM devices WHERE user_id = ?", (made["user_id"],))
            job = {"user_id": made["user_id"], "device_ids": [made["device_id"]]}
            database.execute(
                "INSERT INTO jobs (job_id, kind, payload, attempts, due_ms, created_ms)"
                " VALUES ('x', 'end_logins', ?, 1, 0, 0)",
                (json.dumps(job),),
            )
        self.regsys.kill()
        self.regsys = self.start()
        until(lambda: self.whoami(made["access_token"]).status == 401)
        self.assertDead(made["access_token"])


class ConnectTests(DelegationCase):
    """``check-config --connect`` beside a Synapse, with nginx and our routes before both."""

    def check(self, status: int, public: str, **options: Any) -> str:
        more = {"public_baseurl": public, **options}
        (self.folder / "more.yaml").write_text(yaml.safe_dump(more))
        files = ("-c", "homeserver.yaml", "-c", "more.yaml")
        command = (sys.executable, "-m", "regsys", "check-config", *files, "--connect")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_connect(self) -> None:
        assert self.there is not None
        examples, front = ProxyExamples(self, "synapse-routes.md", ()), free_port()
        theirs, ours = str(self.there.port), str(self.port)
        examples.ports = {"8080": str(front), "8008": theirs, "8009": ours}
        examples.run_nginx()
        public = f"http://127.0.0.1:{front}/"
        good = self.check(0, public)
        for option in (
            "regsys.homeserver.url",
            "matrix_authentication_service.endpoint",
            "public_baseurl",
        ):
            self.assertIn(f"{option} (http://127.0.0.1:", good)
        # Without a proxy one process answers everything.
        self.assertIn("somebody else than regsys answers /", self.check(1, self.there.base_url))
        alone = self.check(1, f"http://127.0.0.1:{ours}/")
        self.assertIn("somebody else than the homeserver answers /", alone)
        block = {"enabled": True, "endpoint": f"http://127.0.0.1:{ours}/", "secret": "another"}
        refused = self.check(1, public, matrix_authentication_service=block)
        self.assertIn("matrix_authentication_service.secret must be the same", refused)
        self.regsys.kill()
        waiting = self.check(0, public)
        self.assertIn("no regsys with our secret answers there: start regsys", waiting)
        self.assertIn("regsys does not answer behind it: start regsys", waiting)
        self.assertIn("Reached: database", waiting)


class RoomTests(DelegationCase):
    """Rooms that newcomers join, without an application service's file."""

    LOBBY = "#lobby:test.example"
    options: ClassVar[Mapping[str, Any]] = {
        "auto_join_rooms": [LOBBY],
        "auto_join_mxid_localpart": "host",
        "autocreate_auto_join_room_preset": "private_chat",
    }

    def test_joined(self) -> None:
        """The first user's job has the host make a private room, to which it invites all others;
        each joins as themselves."""
        host = self.registered("host")["access_token"]
        for name in ("alice", "bob"):
            token = self.registered(name)["access_token"]

            def is_in(token: str = token) -> bool:
                return bool(self.at("GET", "joined_rooms", token).json["joined_rooms"])

            until(is_in)
        room = self.at("GET", "joined_rooms", host).json["joined_rooms"][0]
        members = self.at("GET", f"rooms/{quote(room)}/joined_members", host).json["joined"]
        self.assertEqual(
            set(members), {f"@{name}:test.example" for name in ("host", "alice", "bob")}
        )
        rules = self.at("GET", f"rooms/{quote(room)}/state/m.room.join_rules", host).json
        self.assertEqual(rules, {"join_rule": "invite"})


class PostgreSQLTests(LifeTests, DelegationCase):
    on_postgres: ClassVar[bool] = True
