"""Master and workers."""

from __future__ import annotations

from typing import Any

from regsys.config import Listener, MasterConfig
from regsys.model import Secret
from tests.config.case import ConfigCase

POSTGRES = {"name": "psycopg2", "args": {"database": "homeserver"}}
WORKER: dict[str, Any] = {
    "database": POSTGRES,
    "worker_app": "synapse.app.generic_worker",
    "worker_replication_secret": "secret",
    "instance_map": {"main": {"host": "127.0.0.1", "port": 9093}},
}
OF_MAIN: dict[str, Any] = {
    "listeners": [{"port": 8008, "resources": [{"names": ["client"]}]}],
    "log_config": "/main/log.yaml",
    "pid_file": "/main/regsys.pid",
}


class WorkerTests(ConfigCase):
    def test_worker(self) -> None:
        """A worker has what is the main process's, but for the options of its own."""
        config = self.parse(
            {
                **OF_MAIN,
                **WORKER,
                "worker_name": "worker1",
                "worker_listeners": [{"port": 8081, "resources": [{"names": ["client"]}]}],
                "worker_log_config": "/worker/log.yaml",
                "worker_pid_file": "/worker/regsys.pid",
            }
        )
        assert config.worker is not None
        self.assertEqual((config.worker.name, config.worker.secret), ("worker1", Secret("secret")))
        self.assertEqual(config.worker.master, MasterConfig(host="127.0.0.1", port=9093))
        self.assertEqual([listener.port for listener in config.listeners], [8081])
        self.assertEqual(config.log_config, "/worker/log.yaml")
        self.assertEqual(config.pid_file, "/worker/regsys.pid")
        self.assertEqual(config.unused, ())

    def test_least(self) -> None:
        """It takes none of those from the main process, and may have none."""
        config = self.parse({**OF_MAIN, **WORKER})
        assert config.worker is not None
        self.assertEqual(config.worker.name, "synapse.app.generic_worker")
        self.assertEqual((config.listeners, config.log_config, config.pid_file), ((), None, None))

    def test_masters(self) -> None:
        """A master is reached over TCP, TLS or a Unix socket."""
        for main, master in (
            ({"host": "m", "port": 1, "tls": True}, MasterConfig(host="m", port=1, tls=True)),
            ({"path": "/run/main.sock"}, MasterConfig(path="/run/main.sock")),
        ):
            config = self.parse({**WORKER, "instance_map": {"main": main}})
            assert config.worker is not None
            self.assertEqual(config.worker.master, master)
        for wrong in (
            None,
            {"host": "m"},
            {"port": 1},
            {"host": "m", "port": 1, "path": "/run/main.sock"},
            {"host": "m", "path": "/run/main.sock"},
        ):
            options = {**WORKER, "instance_map": {"main": wrong}}
            self.assertProblem(options, "instance_map.main", "where the master listens")
        secure = {"path": "/run/main.sock", "tls": True}
        self.assertProblem({**WORKER, "instance_map": {"main": secure}}, "instance_map.main.tls")

    def test_refused(self) -> None:
        """A worker needs the secret, and a database that it can share."""
        secretless = {**WORKER, "worker_replication_secret": None}
        self.assertProblem(secretless, "worker_replication_secret", "missing")
        alone = {**WORKER, "database": {"name": "sqlite3", "args": {"database": "hs.db"}}}
        self.assertProblem(alone, "worker_app", "SQLite")

    def test_main(self) -> None:
        """A main process has no use for a worker's options, and may share a file with workers."""
        for app in (None, "synapse.app.homeserver"):
            config = self.parse({**WORKER, "worker_app": app})
            self.assertIsNone(config.worker)
            self.assertEqual(config.replication_secret, Secret("secret"))
            self.assertEqual(config.unused, ())


class ReplicationListenerTests(ConfigCase):
    def listeners(self, *names: str, **more: Any) -> dict[str, Any]:
        clients = {"port": 8008, "resources": [{"names": ["client"]}]}
        second = {"port": 9093, "bind_addresses": ["127.0.0.1"], "resources": [{"names": [*names]}]}
        return {"listeners": [clients, second], "worker_replication_secret": "secret", **more}

    def test_ownListener(self) -> None:
        """What workers call has a listener of its own."""
        expected = Listener(
            port=9093,
            bind_addresses=("127.0.0.1",),
            resources=frozenset({"replication", "health"}),
        )
        config = self.parse(self.listeners("replication"))
        self.assertEqual(config.listeners[1], expected)
        self.assertEqual(config.unused, ())

    def test_socket(self) -> None:
        """On a Unix socket workers are no proxies, whose word would be taken for an address."""
        options = self.listeners()
        socket = {"path": "/run/main.sock", "resources": [{"names": ["replication"]}]}
        config = self.parse({**options, "listeners": [options["listeners"][0], socket]})
        self.assertFalse(config.listeners[1].x_forwarded)
        self.assertEqual(config.warnings, ())

    def test_neverForClients(self) -> None:
        """Clients never reach it (threat B1): a warning says that it is not served."""
        for names in (("replication", "client"), ("replication", "consent")):
            options = self.listeners(*names)
            self.assertWarning(options, "listeners[1]", "NOT served", "clients could reach")
            served = self.parse(options).listeners[1].resources
            self.assertEqual(served, {names[1], "health"})

    def test_neverWithoutSecret(self) -> None:
        """There is no door without a lock (threat B1); the file of a homeserver that has such a
        listener starts."""
        for secret in (None, ""):
            config = self.parse(self.listeners("replication", worker_replication_secret=secret))
            self.assertIn("replication is NOT served", config.warnings[-1])
            self.assertEqual(config.listeners[1].resources, {"health"})

    def test_oldType(self) -> None:
        """The type replication was another protocol: such a listener is passed over."""
        old = {
            "listeners": [*self.listeners()["listeners"][:1], {"port": 1, "type": "replication"}]
        }
        config = self.parse(old)
        self.assertEqual([listener.port for listener in config.listeners], [8008])
        self.assertEqual(config.unused, ("listeners[1]",))
