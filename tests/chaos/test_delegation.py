"""Accounts at a live Synapse whose auth service this is, while calls to it are cut and both sides
are killed: each is whole on both sides or absent on both (threats C1 to C3, contract B17.3)."""

from __future__ import annotations

import contextlib
import itertools
import signal
import sqlite3
from typing import Any, Iterator, Optional

from tests.chaos.case import ANSWERED_S, ChaosCase, slowest_s
from tests.support import checker, invariants
from tests.support.delegation import DelegationCase
from tests.support.killer import Program
from tests.support.patience import until
from tests.support.proxy import Cut, Proxy
from tests.support.scale import SCALE
from tests.support.service_process import ServiceProcess

ACCOUNTS, KILLS = 100 * SCALE, 5 * SCALE
CLIENTS = 8
# In bytes, and prime to the lengths of most requests and answers.
STEP = 37
WAITING = "SELECT job_id FROM jobs UNION ALL SELECT job_id FROM provisioning"


class DelegationTests(ChaosCase, DelegationCase):
    proxy: Optional[Proxy] = None

    def start(self) -> ServiceProcess:
        """regsys, which asks the Synapse through the proxy."""
        if self.proxy is None:
            assert self.there is not None
            self.proxy = Proxy(self.there.port)
            self.addCleanup(self.proxy.close)
            beside = {"url": self.proxy.base_url, "delegated": True}
            self.options = {"regsys": {"homeserver": beside}}  # type: ignore[misc]
        return super().start()

    def test_everywhere(self) -> None:
        """Each client gets its account by plain retry, and its tokens work there."""
        assert self.proxy is not None and self.there is not None
        self.proxy.cut(*itertools.islice(_cuts(), 4 * ACCOUNTS))
        url = self.regsys.base_url
        # A process that is killed may not have stored yet the hash of a password that it was sent.
        clients = self.clients(CLIENTS, [url], repeats_body=True, pause_s=0, most=ACCOUNTS)
        outputs = self.kill_both(clients)
        dialogues = clients.wait()
        self.end_leases()
        until(lambda: not self.ours(WAITING), lambda: str(self.ours(WAITING)))
        slowest = slowest_s(clients.tries, 503)
        self.report(
            accounts=len(dialogues),
            cuts=self.proxy.cuts,
            kills=KILLS,
            longest_convergence_s=max(dialogue.longest_s for dialogue in dialogues),
            answers_503=sum(item.status == 503 for item in clients.tries),
            slowest_503_s=slowest,
        )
        self.assertGreater(self.proxy.cuts, ACCOUNTS // 2)
        self.assertLess(slowest, ANSWERED_S)
        self.assertEqual({item.status for item in clients.tries} - {200, 401, 503}, {0})
        told = [dialogue.told for dialogue in dialogues]
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            self.assertEqual(checker.broken(told, invariants.Tables(connection)), {})
        for client in told:
            for device_id, token in client.tokens.items():
                self.assertAlive(token, client.user_id, device_id)
        # Neither side has an account or a device that the other has not.
        self.assertEqual(
            self.theirs("SELECT name FROM users"), self.ours("SELECT user_id FROM users")
        )
        devices = "SELECT user_id, device_id FROM devices"
        self.assertEqual(self.theirs(f"{devices} WHERE NOT hidden"), self.ours(devices))
        self.assertNoTraceback([*outputs, self.regsys.output])
        # The Synapse has one when regsys is killed while it is asked whose its own token is.
        log = self.there.log()
        self.assertEqual(log.count("Traceback"), log.count("Failed to introspect token"), log)

    def kill_both(self, clients: Any) -> list[str]:
        """Kill regsys and the Synapse in turn while the clients work; what regsys has written."""
        program = Program(self.started_again, self.regsys.process)
        outputs = []
        for number in range(1, KILLS + 1):
            due = number * ACCOUNTS // (KILLS + 1)
            until(lambda due=due: len(clients.done) >= due or clients.is_over)
            if clients.is_over:
                clients.wait()
            if number % 2:
                program.restart(signal.SIGKILL)
                outputs.append(self.regsys.output)
            else:
                assert self.there is not None
                self.there.stop()
                self.there.start()
        return outputs

    def started_again(self) -> Any:
        self.regsys = self.start()
        return self.regsys.process

    def end_leases(self) -> None:
        """Those of processes that were killed end after a minute, which need not be waited for."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=10)) as connection:
            connection.execute("UPDATE jobs SET due_ms = 0")
            connection.commit()

    @property
    def database(self) -> str:
        return str(self.folder / "homeserver-regsys.db")

    def ours(self, sql: str) -> list[Any]:
        return _rows(self.database, sql)

    def theirs(self, sql: str) -> list[Any]:
        assert self.there is not None
        return _rows(str(self.there.home / "homeserver.db"), sql)


def _rows(path: str, sql: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return sorted(connection.execute(sql).fetchall())


def _cuts() -> Iterator[Optional[Cut]]:
    """Of three calls one is cut in its request and one in its answer."""
    for number in itertools.count(1):
        yield Cut("request", number * STEP % 300)
        yield Cut("answer", number * STEP % 200)
        yield None
