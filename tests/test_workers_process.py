"""A master and two workers as real processes over one PostgreSQL, and a client that goes round."""

from __future__ import annotations

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Mapping

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.support import postgres
from tests.support.going_round import GoingRound
from tests.support.patience import until
from tests.support.ports import free_port
from tests.support.service_process import Answer, ServiceProcess, psycopg2, write_config
from tests.support.short_folder import short_folder

if TYPE_CHECKING:
    _SynchronousTestCase = SynchronousTestCase
else:
    _SynchronousTestCase = object

V3 = "/_matrix/client/v3"
SECRET = "the secret of master and workers"
DUMMY = {"type": "m.login.dummy"}
PASSWORD = "correct horse"
NAMES, CLIENTS = 60, 6
ON_LOOPBACK = {"bind_addresses": ["127.0.0.1"], "type": "http"}


class MasterAndWorkers(_SynchronousTestCase):
    """A ``master``, and two workers: over a Unix socket and over TCP."""

    def options(self) -> Mapping[str, Any]:
        """More of the configuration of all three."""
        return {}

    def setUp(self) -> None:
        self.folder = short_folder(self)
        self.args = postgres.dsn(self)
        self.socket, self.port = self.folder / "main.sock", free_port()
        clients = {**ON_LOOPBACK, "port": 0, "resources": [{"names": ["client"]}]}
        replication = [{"names": ["replication"]}]
        self.config = write_config(
            self.folder,
            psycopg2(self.args),
            listeners=[
                clients,
                {"path": str(self.socket), "mode": 0o600, "resources": replication},
                {**ON_LOOPBACK, "port": self.port, "resources": replication},
            ],
            worker_replication_secret=SECRET,
            registration_shared_secret="of the administrator",
            **self.options(),
        )
        self.master = ServiceProcess(self, self.config)
        self.over_socket = self.worker("worker1", {"path": str(self.socket)})
        self.over_tcp = self.worker("worker2", {"host": "127.0.0.1", "port": self.port})
        self.all = (self.over_socket, self.master, self.over_tcp)

    def worker(self, name: str, main: Any) -> ServiceProcess:
        path = self.folder / f"{name}.yaml"
        options = {
            "worker_app": "regsys.worker",
            "worker_name": name,
            "worker_listeners": [
                {**ON_LOOPBACK, "port": 0, "resources": [{"names": ["client"]}]},
            ],
            "worker_pid_file": str(self.folder / f"{name}.pid"),
            "instance_map": {"main": main},
        }
        path.write_text(yaml.safe_dump(options))
        return ServiceProcess(self, self.config, path)

    def ask_to_register(self, service: ServiceProcess, **body: Any) -> Answer:
        return service.ask("POST", f"{V3}/register", body)

    def assertKnown(self, token: str, user_id: str) -> None:
        """Every process knows whose the token is."""
        for service in self.all:
            answer = service.ask("GET", f"{V3}/account/whoami", token=token)
            self.assertEqual((answer.status, answer.json.get("user_id")), (200, user_id))


class DialogueTests(GoingRound, MasterAndWorkers, SynchronousTestCase):
    def options(self) -> Mapping[str, Any]:
        return self.everything()

    def test_everywhere(self) -> None:
        """Registration with a captcha, terms and a mail, logins, tokens, and an address that is
        added: each request at the next process. A mail that is asked for at a worker is sent at
        once, by the master."""
        self.dialogues(self.all)
        self.assertSentAtOnce([self.over_socket, self.over_tcp])


class WorkerProcessTests(MasterAndWorkers, SynchronousTestCase):
    def test_round(self) -> None:
        """One registration goes on, and ends, wherever its client asks next; so do logins."""
        for number, (first, second, third) in enumerate(
            (self.all, (*self.all[1:], self.all[0]), (self.all[2], *self.all[:2]))
        ):
            name = f"user{number}"
            begun = self.ask_to_register(first, username=name, password=PASSWORD)
            self.assertEqual(begun.status, 401)
            auth = {**DUMMY, "session": begun.json["session"]}
            done = self.ask_to_register(second, auth=auth)
            self.assertEqual(done.status, 200, done)
            again = self.ask_to_register(third, auth=auth)
            self.assertEqual(again.json, done.json)
            self.assertKnown(done.json["access_token"], f"@{name}:test.example")
            for service in self.all:
                taken = self.ask_to_register(
                    service, username=name.upper(), password=PASSWORD, auth=DUMMY
                )
                self.assertEqual((taken.status, taken.json["errcode"]), (400, "M_USER_IN_USE"))
                login = {"type": "m.login.password", "user": name, "password": PASSWORD}
                logged_in = service.ask("POST", f"{V3}/login", login)
                self.assertEqual(logged_in.status, 200, logged_in)
                self.assertKnown(logged_in.json["access_token"], f"@{name}:test.example")
        guests = [service.ask("POST", f"{V3}/register?kind=guest", {}) for service in self.all]
        self.assertEqual([guest.status for guest in guests], [200] * 3)
        self.assertEqual(len({guest.json["user_id"] for guest in guests}), 3)
        for service in self.all:
            self.assertEqual(service.stop().count("Traceback"), 0)
        self.assertFalse(os.path.exists(self.folder / "worker1.pid"))

    def test_masterAway(self) -> None:
        """While the master is away a worker says so in time, and loses no registration: the
        client's own retry ends it."""
        begun = self.ask_to_register(self.over_tcp, username="alice", password=PASSWORD)
        auth = {**DUMMY, "session": begun.json["session"]}
        self.master.kill()
        started_s = time.monotonic()
        answer = self.ask_to_register(self.over_tcp, auth=auth)
        self.assertLess(time.monotonic() - started_s, 10)
        self.assertEqual((answer.status, answer.json["errcode"]), (503, "M_UNKNOWN"))
        self.assertEqual(answer.headers["Retry-After"], "2")
        self.master = ServiceProcess(self, self.config)
        self.all = (self.over_socket, self.master, self.over_tcp)
        ended: list[Answer] = []

        def ends() -> bool:
            ended.append(self.ask_to_register(self.over_socket, auth=auth))
            return ended[-1].status == 200

        until(ends, lambda: str(ended))
        self.assertKnown(ended[-1].json["access_token"], "@alice:test.example")
        again = self.ask_to_register(self.over_tcp, username="bob", password=PASSWORD, auth=DUMMY)
        self.assertEqual(again.status, 200)
        self.assertEqual(self.over_tcp.output.count("the master does not answer"), 1)
        self.over_tcp.wait_for("the master answers again: 1 calls had failed")

    def test_masterKilled(self) -> None:
        """A master that is killed under its workers' clients, and starts again, leaves nothing
        half-made: each client gets its account by plain retry, with one device."""
        import psycopg2 as driver

        names = [f"user{number}" for number in range(NAMES)]
        with ThreadPoolExecutor(CLIENTS) as threads:
            done = [threads.submit(self.register_patiently, name) for name in names]
            until(lambda: any(item.done() for item in done), lambda: "nobody registered")
            self.master.kill()
            self.master = ServiceProcess(self, self.config)
            tokens = [item.result() for item in done]
        self.all = (self.over_socket, self.master, self.over_tcp)
        for name, token in zip(names, tokens, strict=True):
            self.assertKnown(token, f"@{name}:test.example")
        with contextlib.closing(driver.connect(**self.args)) as connection:
            cursor = connection.cursor()
            for table in ("users", "devices", "logins"):
                cursor.execute(f"SELECT COUNT(*) FROM regsys.{table}")
                self.assertEqual(cursor.fetchone(), (NAMES,), table)

    def register_patiently(self, name: str) -> str:
        """Register at one worker after the other, until one succeeds; the access token."""
        begun = self.ask_to_register(self.over_tcp, username=name, password=PASSWORD)
        auth = {**DUMMY, "session": begun.json["session"]}
        answers: list[Answer] = []

        def succeeds() -> bool:
            worker = (self.over_socket, self.over_tcp)[len(answers) % 2]
            answers.append(self.ask_to_register(worker, auth=auth))
            assert answers[-1].status in (200, 503), answers
            return answers[-1].status == 200

        until(succeeds, lambda: str(answers))
        token = answers[-1].json["access_token"]
        assert isinstance(token, str)
        return token

    def test_wrongSecret(self) -> None:
        """A worker with another secret makes no account: its operator is told, the client is asked
        to come back."""
        other = self.folder / "other.yaml"
        text = (self.folder / "worker2.yaml").read_text()
        other.write_text(f"{text}\nworker_replication_secret: another\n")
        worker = ServiceProcess(self, self.config, other)
        answer = self.ask_to_register(worker, username="alice", password=PASSWORD, auth=DUMMY)
        self.assertEqual(answer.status, 503)
        worker.wait_for("Compare worker_replication_secret")
        self.master.wait_for("another worker_replication_secret")
        self.assertNotIn(SECRET, worker.output + self.master.output)
