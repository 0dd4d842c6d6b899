"""A Synapse of two processes, whose auth service regsys is: its workers ask, and are told, as its
main process does."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping, Optional

from regsys.cli.connect_delegation import ADMIN
from tests.support import redis, synapse
from tests.support.client import V3
from tests.support.delegation import DelegationCase
from tests.support.patience import until
from tests.support.ports import free_port
from tests.support.synapse import Synapse


class WorkerTests(DelegationCase):
    """``self.other`` is a worker; ``at`` asks the main process."""

    on_postgres = True
    worker: ClassVar[Optional[Synapse]] = None
    # At which regsys is told that the homeserver is.
    told: Optional[Synapse] = None

    def setUp(self) -> None:
        cls = type(self)
        if cls.homeserver is None:
            synapse.need_redis(self)
            cls.synapse_options = _options(redis.shared(self).port)
        super().setUp()
        assert self.there is not None
        if cls.worker is None:
            cls.worker = self.there.worker("one")
            cls.worker.start()
        cls.worker.report(self)
        self.other = cls.worker

    @classmethod
    def tearDownClass(cls) -> None:
        if cls.worker is not None:
            cls.worker.stop()
            cls.worker = None
        super().tearDownClass()

    def regsys_options(self) -> Mapping[str, Any]:
        if self.told is None:
            return super().regsys_options()
        url = {"url": self.told.base_url, "delegated": True}
        return {**super().regsys_options(), "regsys": {"homeserver": url}}

    def at_worker(self, method: str, path: str, token: str, body: Any = None) -> Any:
        return self.other.ask(method, f"{V3}/{path}", body, token=token)

    def logged_in(self, name: str, device_id: str) -> str:
        """A token that both processes have asked about."""
        token = str(self.log_in(name, device_id=device_id).json["access_token"])
        for process in (self.other, self.there):
            assert process is not None
            answer = process.ask("GET", f"{V3}/account/whoami", token=token)
            self.assertEqual(answer.json["device_id"], device_id)
        return token

    def assertDies(self, *tokens: str) -> None:
        """Both processes refuse the tokens, long before the two minutes for which each keeps what
        it was told."""
        for token in tokens:
            self.assertDead(token)
            until(lambda token=token: self.at_worker("GET", "account/whoami", token).status == 401)

    def test_life(self) -> None:
        """A new account syncs at the worker, sends there, and reads what was sent at the main
        process. What ends its logins ends them at both."""
        made = self.registered("alice", device_id="PHONE")
        token, new = made["access_token"], "an even better horse"
        room = self.at_worker("POST", "createRoom", token, {}).json["room_id"]
        for number, ask in enumerate((self.at, self.at_worker)):
            message = {"msgtype": "m.text", "body": f"hello {number}"}
            sent = ask("PUT", f"rooms/{room}/send/m.room.message/{number}", token, message)
            self.assertEqual(sent.status, 200, sent)
        since = ""
        heard: list[Any] = []

        def has_heard() -> bool:
            nonlocal since
            synced = self.at_worker("GET", f"sync?timeout=1000{since}", token).json
            since = f"&since={synced['next_batch']}"
            rooms = synced.get("rooms", {}).get("join", {})
            for event in rooms.get(room, {"timeline": {"events": ()}})["timeline"]["events"]:
                heard.append(event["content"].get("body"))
            return {"hello 0", "hello 1"} <= set(heard)

        until(has_heard, lambda: str(heard))
        desk, tablet = (self.logged_in("alice", name) for name in ("DESK", "TABLET"))
        self.assertEqual(self.regsys.ask("POST", f"{V3}/logout", {}, token=desk).status, 200)
        self.assertDies(desk)
        changed = self.confirmed("POST", "account/password", token, {"new_password": new})
        self.assertEqual(changed.status, 200, changed)
        self.assertDies(tablet)
        ended = self.confirmed("POST", "account/deactivate", token, {}, password=new)
        self.assertEqual(ended.status, 200, ended)
        self.assertDies(token)

    def test_told(self) -> None:
        """A worker serves the calls for accounts and logins, too, and what it is told holds at
        once at both. For the admin API the address must be the main process's; ``check-config
        --connect`` tells the two apart by a part of it."""
        self.told = self.other
        self.regsys.kill()
        self.regsys = self.start()
        made = self.registered("bob", device_id="PHONE")
        self.assertAlive(made["access_token"], made["user_id"], "PHONE")
        token = self.logged_in("bob", "DESK")
        self.assertEqual(self.regsys.ask("POST", f"{V3}/logout", {}, token=token).status, 200)
        until(lambda: self.whoami(token).status == 401)
        self.assertDies(token)
        served = self.other.ask("GET", ADMIN)
        self.assertEqual((served.status, served.json["errcode"]), (404, "M_UNRECOGNIZED"))
        assert self.there is not None
        self.assertEqual(self.there.ask("GET", ADMIN).status, 200)


def _options(redis_port: int) -> Mapping[str, Any]:
    """Of a Synapse that may have workers."""
    port = free_port()
    listener = {
        "port": port,
        "bind_addresses": ["127.0.0.1"],
        "type": "http",
        "resources": [{"names": ["replication"]}],
    }
    return {
        "listeners": [listener],
        "instance_map": {"main": {"host": "127.0.0.1", "port": port}},
        "worker_replication_secret": "of-this-tests-own",
        "redis": {"enabled": True, "host": "127.0.0.1", "port": redis_port},
    }
