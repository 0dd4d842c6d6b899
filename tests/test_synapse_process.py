"""Accounts that regsys makes work at a stock Synapse, whose auth service it is (contract B17)."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Callable, ClassVar, Mapping, Optional
from urllib.parse import quote, urlsplit

import yaml

from tests.support.client import V3
from tests.support.crowd import Crowd
from tests.support.delegation import PASSWORD, DelegationCase
from tests.support.patience import PATIENCE_S, until
from tests.support.ports import free_port
from tests.support.proxies import ProxyExamples
from tests.support.proxy import Proxy
from tests.support.scale import SCALE
from tests.support.service_process import ROOT, ServiceProcess
from tests.support.synapse import SECRET

ROUNDS = 6 * SCALE


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
        token = self.registered("heidi")["access_token"]
        ours = self.regsys.ask("GET", f"{V3}/capabilities", token=token).json["capabilities"]
        theirs = self.at("GET", "capabilities", token).json["capabilities"]
        changes = {name: {"enabled": True} for name in ("m.change_password", "m.3pid_changes")}
        self.assertNotEqual(theirs["m.change_password"], changes["m.change_password"])
        self.assertEqual(ours, {**theirs, **changes})

    def test_origin(self: Any) -> None:
        """The Synapse records the client whose request regsys passes on, and not regsys."""
        made = self.registered("ivan")
        token, user_id = made["access_token"], made["user_id"]
        headers = {"Authorization": f"Bearer {token}", "User-Agent": "a phone"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        connection.request("GET", f"{V3}/capabilities", headers=headers)
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()
        seen = self.at("GET", f"admin/whois/{quote(user_id)}", token).json["devices"]
        sessions = [session for device in seen.values() for session in device["sessions"]]
        agents = {item["user_agent"] for each in sessions for item in each["connections"]}
        self.assertIn("a phone", agents)
        self.assertNotIn("regsys", agents)

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

    def test_account(self: Any) -> None:
        """A changed password ends the other devices' tokens there, a deleted device its own, and a
        deactivation all of them, each before it is answered. The account is deactivated there."""
        made = self.registered("frank", device_id="PHONE")
        token, user_id = made["access_token"], made["user_id"]
        others = {name: self.log_in("frank", device_id=name).json["access_token"] for name in "AB"}
        for name, other in others.items():
            self.assertAlive(other, user_id, name)
        deleted = self.confirmed("POST", "delete_devices", token, {"devices": ["A"]})
        self.assertEqual(deleted.status, 200, deleted)
        self.assertDead(others["A"])
        self.assertAlive(others["B"], user_id, "B")
        new = "an even better horse"
        changed = self.confirmed("POST", "account/password", token, {"new_password": new})
        self.assertEqual(changed.status, 200, changed)
        self.assertDead(others["B"])
        self.assertAlive(token, user_id, "PHONE")
        ended = self.confirmed("POST", "account/deactivate", token, {"erase": True}, password=new)
        self.assertEqual(ended.status, 200, ended)
        self.assertDead(token)
        there = self.there.ask("GET", "/_synapse/mas/query_user?localpart=frank")
        self.assertTrue(there.json["is_deactivated"], there)
        self.assertEqual(self.register("frank").json["errcode"], "M_USER_IN_USE")

    def test_resetKeys(self: Any) -> None:
        """A user sets cross-signing up without a question. To replace the keys, they go to the page
        that the Synapse names, and confirm it there."""
        made = self.registered("grace", device_id="PHONE")
        token, user_id = made["access_token"], made["user_id"]
        upload = "keys/device_signing/upload"
        self.assertEqual(self.at("POST", upload, token, cross_signing_keys(user_id)).status, 200)
        again = cross_signing_keys(user_id)
        refused = self.at("POST", upload, token, again)
        self.assertEqual(refused.status, 401, refused)
        url = refused.json["params"]["org.matrix.cross_signing_reset"]["url"]
        path = urlsplit(url).path
        self.assertEqual(self.form(path, user="grace", password="wrong"), 403)
        self.assertEqual(self.at("POST", upload, token, again).status, 401)
        self.assertEqual(self.form(path, user="grace", password=PASSWORD), 200)
        replaced = self.at("POST", upload, token, again)
        self.assertEqual(replaced.status, 200, replaced)


def cross_signing_keys(user_id: str) -> dict[str, Any]:
    """A new master key, as a client uploads it."""
    public = base64.b64encode(os.urandom(32)).decode().rstrip("=")
    keys = {f"ed25519:{public}": public}
    return {"master_key": {"user_id": user_id, "usage": ["master"], "keys": keys}}


class SQLiteTests(LifeTests, DelegationCase):
    def test_commands(self) -> None:
        """What an administrator ends on the command line is dead there when the command ends, while
        this regsys runs beside it."""
        tokens = {name: self.registered(name)["access_token"] for name in ("amy", "ben")}
        for token in tokens.values():
            self.assertEqual(self.whoami(token).status, 200)
        config = str(self.folder / "homeserver.yaml")
        for words in (("log-out", "amy"), ("deactivate", "ben", "--erase", "--yes")):
            done = subprocess.run(
                [sys.executable, "-m", "regsys", "users", *words, "-c", config],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
        for token in tokens.values():
            self.assertDead(token)
        again = self.log_in("amy").json
        self.assertAlive(again["access_token"], "@amy:test.example", again["device_id"])
        self.assertEqual(self.log_in("ben").status, 403)

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
        asked = ("POST", "/oauth2/introspect", f"token={tokens[0][0]}")
        for method, path, form in (asked, ("GET", "/.well-known/openid-configuration", None)):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
            connection.request(method, path, form, {"Authorization": f"Bearer {SECRET}"})
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.getheader("Connection")), (200, "close"))
            self.assertTrue(json.loads(answer.read()).get("active", True))
            connection.close()


class ProxiedCase(DelegationCase):
    """regsys asks the Synapse through a proxy; with ``is_alone`` it is nobody's auth service."""

    is_alone = False

    def setUp(self) -> None:
        self.proxy: Optional[Proxy] = None
        super().setUp()

    def start(self) -> ServiceProcess:
        if self.proxy is None:
            assert self.there is not None
            self.proxy = Proxy(self.there.port)
            self.addCleanup(self.proxy.close)
        options: dict[str, Any] = {
            "regsys": {"homeserver": {"url": self.proxy.base_url, "delegated": True}}
        }
        if self.is_alone:
            options = {
                "regsys": {"homeserver": None},
                "matrix_authentication_service": {"enabled": False},
            }
        self.options = options  # type: ignore[misc]
        return super().start()

    def rows(self, sql: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.folder / "homeserver-regsys.db")) as database:
            return database.execute(sql).fetchall()


class KilledTests(ProxiedCase):
    """A regsys that is killed before it could tell the Synapse what has ended."""

    def dead_after_s(self, ending: Callable[[], Any], token: str) -> float:
        """Kill regsys while it tells of what ``ending`` has ended, and start it again: how long
        after it answers again the token is dead there."""
        assert self.proxy is not None
        self.proxy.is_stalled = True
        thread = threading.Thread(target=lambda: suppressed(ending), daemon=True)
        thread.start()
        until(lambda: bool(self.rows("SELECT 1 FROM jobs WHERE kind = 'end_logins'")))
        self.assertEqual(self.whoami(token).status, 200)
        self.regsys.kill()
        thread.join(PATIENCE_S)
        self.proxy.is_stalled = False
        self.regsys = self.start()
        until(lambda: self.regsys.ask("GET", "/health").status == 200)
        began_s = time.monotonic()
        until(lambda: self.whoami(token).status == 401)
        took_s = time.monotonic() - began_s
        self.assertDead(token)
        return took_s

    def test_logout(self) -> None:
        self.assertSoonDead("logout", {})

    def test_newPassword(self) -> None:
        self.assertSoonDead("account/password", {"new_password": "an even better horse"})

    def test_deactivation(self) -> None:
        self.assertSoonDead("account/deactivate", {})

    def assertSoonDead(self, path: str, body: Mapping[str, Any]) -> None:
        """What this request ends is dead there within a second after regsys answers again. On a
        machine that is busy with other things it is measured again."""
        took_s: list[float] = []
        for number in range(3):
            name = f"{path.rpartition('/')[2]}{number}"
            token = self.registered(name)["access_token"]
            other = self.log_in(name).json["access_token"]
            for each in (token, other):
                self.assertEqual(self.whoami(each).status, 200)

            def end(by: str = token) -> None:
                if path == "logout":
                    self.regsys.ask("POST", f"{V3}/{path}", body, token=by)
                else:
                    self.confirmed("POST", path, by, body)

            dead = other if path == "account/password" else token
            took_s.append(self.dead_after_s(end, dead))
            if path == "logout":
                self.assertEqual(self.whoami(other).status, 200)
            if took_s[-1] < 1:
                break
        if SCALE > 1:
            print(f"\n*** {path}: dead after {took_s} s", flush=True)
        self.assertLess(min(took_s), 1)


def suppressed(call: Callable[[], Any]) -> None:
    with contextlib.suppress(Exception):
        call()


class EarlierTests(ProxiedCase):
    is_alone = True

    def test_switchedOn(self) -> None:
        """Accounts from before regsys was its auth service cost the Synapse no 500, and work there
        soon."""
        assert self.proxy is not None and self.there is not None
        old = [self.registered(f"old{number}", device_id="PHONE") for number in range(8)]
        taken = self.registered("taken")["access_token"]
        self.there.ask("POST", "/_synapse/mas/provision_user", {"localpart": "taken"})
        self.regsys.kill()
        address = "'email', 'old1@mail.example', '@old1:test.example', 1, 1"
        with contextlib.closing(sqlite3.connect(self.folder / "homeserver-regsys.db")) as database:
            database.execute(f"INSERT INTO threepids VALUES ({address})")
            database.commit()
        self.is_alone = False
        self.proxy.is_stalled = True
        self.regsys = self.start()
        self.assertDead(old[0]["access_token"])
        self.proxy.is_stalled = False
        unknown = "SELECT 1 FROM users WHERE NOT at_homeserver AND user_id NOT LIKE '@taken:%'"
        waiting = "SELECT job_id FROM provisioning UNION ALL SELECT job_id FROM jobs"
        until(lambda: not self.rows(unknown) and not self.rows(waiting))
        for made in old[1:]:
            self.assertAlive(made["access_token"], made["user_id"], "PHONE")
        mails = self.at("GET", "account/3pid", old[1]["access_token"]).json["threepids"]
        self.assertEqual([mail["address"] for mail in mails], ["old1@mail.example"])
        self.assertDead(taken)
        self.assertIn("@taken:test.example, who was here before", self.regsys.output)
        self.assertEqual(self.log_in("taken").status, 403)


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
        self.assertNotIn("warning: public_baseurl", good)
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
        # A proxy that passes on what is not for the public, too.
        wide, wide_front = ProxyExamples(self, "synapse-routes.md", ()), free_port()
        wide.ports = {
            **examples.ports,
            "8080": str(wide_front),
            "^/(_matrix|_synapse/client)/": "^/",
            "default synapse;": 'default synapse; "~^POST /oauth2/" regsys;',
        }
        wide.run_nginx()
        found = self.check(0, f"http://127.0.0.1:{wide_front}/")
        for path in ("/_synapse/mas", "/oauth2/introspect"):
            self.assertIn(f"warning: public_baseurl: {path} can be reached there", found)
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


class NewcomerTests(DelegationCase):
    """Newcomers are suspended there."""

    options: ClassVar[Mapping[str, Any]] = {"regsys": {"newcomers": {"state": "suspended"}}}

    def assertSilent(self, token: str, path: str, body: Any, method: str = "POST") -> None:
        answer = self.at(method, path, token, body)
        self.assertEqual((answer.status, answer.json["errcode"]), (403, "M_USER_SUSPENDED"), answer)

    def command(self, *arguments: str) -> str:
        command = (sys.executable, "-m", "regsys", *arguments, "-c", "homeserver.yaml")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_released(self) -> None:
        """They log in, sync, set up keys, and cannot say a word, from their first token on. When
        they are approved, they can."""
        token = self.registered("alice")["access_token"]
        self.assertSilent(token, "createRoom", {})
        self.assertEqual(self.at("GET", "sync?timeout=0", token).status, 200)
        self.assertEqual(self.at("POST", "keys/upload", token, {}).status, 200)
        keys = cross_signing_keys("@alice:test.example")
        self.assertEqual(self.at("POST", "keys/device_signing/upload", token, keys).status, 200)
        second = self.log_in("alice").json["access_token"]
        name = {"displayname": "Hear me"}
        self.assertSilent(second, "profile/@alice:test.example/displayname", name, "PUT")
        self.assertIn("@alice:test.example  suspended since", self.command("newcomers"))
        released = self.command("approve-user", "alice")
        self.assertIn("@alice:test.example is no longer suspended", released)
        until(lambda: self.at("POST", "createRoom", token, {}).status == 200)


class RaceTests(DelegationCase):
    """Sixteen at once, at both doors: regsys's, and the one that application services have at the
    Synapse."""

    bridge: ClassVar[Mapping[str, Any]] = {
        "id": "bridge",
        "url": None,
        "as_token": "as-token",
        "hs_token": "hs-token",
        "sender_localpart": "bridge",
        "namespaces": {"users": [{"regex": "@b_.*", "exclusive": False}]},
    }

    def setUp(self) -> None:
        path = Path(self.mktemp()).absolute()
        path.write_text(json.dumps(self.bridge))
        type(self).synapse_options = {"app_service_config_files": [str(path)]}
        type(self).options = {"regsys": {"sessions_per_ip": 10_000}}
        super().setUp()
        assert self.there is not None
        self.people = Crowd([self.regsys.base_url], 8)
        self.bridges = Crowd([self.there.base_url], 8)
        self.owners: Counter[bool] = Counter()
        for crowd in (self.people, self.bridges):
            self.addCleanup(crowd.close)

    def test_name(self) -> None:
        """One name at both doors in the same moment is one account: the one who has it is told so,
        and all others that it is taken."""
        for number in range(ROUNDS):
            name = f"b_{number}"
            body = {"username": name, "password": PASSWORD}
            # Whether the name is free there is asked now.
            asked = self.people.ask("POST", f"{V3}/register", lambda _, body=body: body)
            sessions = [answer.json["session"] for answer in asked]
            ghost = {
                "type": "m.login.application_service",
                "username": name,
                "inhibit_login": True,
            }

            def last(person: int, body: Any = body, sessions: Any = sessions) -> Any:
                auth = {"type": "m.login.dummy", "session": sessions[person]}
                return {**body, "auth": auth}

            path = f"{V3}/register"
            started = self.people.start("POST", path, last)
            # Either door is the first in some of the rounds.
            time.sleep(number % 6 * 0.015)
            started += self.bridges.start(
                "POST", f"{path}?access_token=as-token", lambda _, ghost=ghost: ghost
            )
            answers = [future.result() for future in started]
            made = [answer for answer in answers if answer.status == 200]
            self.assertEqual(len(made), 1, answers)
            taken = {(item.status, item.errcode) for item in answers} - {(200, None)}
            self.assertEqual(taken, {(400, "M_USER_IN_USE")}, answers)
            is_ours = "access_token" in made[0].json
            self.owners[is_ours] += 1
            self.assertEqual(self.log_in(name).status, 200 if is_ours else 403)
            if is_ours:
                user_id, device = made[0].json["user_id"], made[0].json["device_id"]
                self.assertAlive(made[0].json["access_token"], user_id, device)
        if SCALE > 1:
            print(f"\n*** {self.id()}: {dict(self.owners)}", flush=True)

    def test_session(self) -> None:
        """Sixteen completions of one session are one account, and all have the same answer."""
        body = {"username": "alice", "password": PASSWORD}
        session = self.regsys.ask("POST", f"{V3}/register", body).json["session"]
        last = {**body, "auth": {"type": "m.login.dummy", "session": session}}
        crowd = Crowd([self.regsys.base_url], 16)
        self.addCleanup(crowd.close)
        answers = crowd.ask("POST", f"{V3}/register", lambda _: last)
        self.assertEqual({answer.status for answer in answers}, {200}, answers)
        (made,) = {json.dumps(answer.json, sort_keys=True) for answer in answers}
        account = json.loads(made)
        self.assertAlive(account["access_token"], account["user_id"], account["device_id"])
        devices = self.at("GET", "devices", account["access_token"]).json["devices"]
        self.assertEqual([item["device_id"] for item in devices], [account["device_id"]])


class PostgreSQLTests(LifeTests, DelegationCase):
    on_postgres: ClassVar[bool] = True
