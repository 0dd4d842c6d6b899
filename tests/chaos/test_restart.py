"""Restarts of a regsys whose sockets systemd holds: no request fails, neither ours nor one at the
Synapse whose auth service it is (docs/synapse.md)."""

from __future__ import annotations

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Optional

from tests.chaos.case import ChaosCase
from tests.support.activation import Sockets
from tests.support.client import V3
from tests.support.delegation import PASSWORD, DelegationCase
from tests.support.patience import PATIENCE_S, until
from tests.support.scale import SCALE
from tests.support.service_process import ServiceProcess

RESTARTS = 2 * SCALE
CLIENTS = 4


class RestartTests(ChaosCase, DelegationCase):
    on_postgres: ClassVar[bool] = True
    processes = 1
    sockets: Optional[Sockets] = None

    def serve(self, config: Path) -> ServiceProcess:
        if self.sockets is None:
            self.sockets = Sockets(self, type(self).port)
        return self.sockets.serve(config, options=("--processes", str(self.processes)))

    def test_oneProcess(self) -> None:
        """Each client logs in, and asks the Synapse with the new token, whose owner that must ask
        regsys for; over and over, through all restarts."""
        self.assertNothingFails("one")

    def test_severalProcesses(self) -> None:
        self.regsys.stop()
        self.processes = 2
        self.regsys = self.start()
        self.assertNothingFails("several")

    def assertNothingFails(self, prefix: str) -> None:
        names = [f"{prefix}{number}" for number in range(CLIENTS)]
        for name in names:
            self.registered(name)
        clients = [Client(name, self.port, self.there_port) for name in names]
        outputs = []
        with ThreadPoolExecutor(CLIENTS) as threads:
            working = [threads.submit(client.work) for client in clients]
            try:
                for _ in range(RESTARTS):
                    rounds = [client.rounds for client in clients]
                    outputs.append(self.regsys.stop())
                    self.regsys = self.start()
                    # Each has had its answers, from the new process at least.
                    until(
                        lambda rounds=rounds: all(
                            client.rounds > before + 1 or client.failed
                            for client, before in zip(clients, rounds, strict=True)
                        )
                    )
            finally:
                for client in clients:
                    client.is_over.set()
            for one in working:
                one.result()
        self.report(
            restarts=RESTARTS,
            requests=sum(len(client.took_s) for client in clients),
            longest_s=max(max(client.took_s) for client in clients),
        )
        self.assertEqual([client.failed for client in clients], [[]] * CLIENTS)
        self.assertNoTraceback(outputs)

    @property
    def there_port(self) -> int:
        assert self.there is not None
        return self.there.port


class Client:
    """``failed``: each answer that is not a 200. ``rounds``: how many logins are done."""

    def __init__(self, name: str, ours: int, theirs: int) -> None:
        self.is_over = threading.Event()
        self.failed: list[Any] = []
        self.took_s: list[float] = []
        self.rounds = 0
        self._name, self._ours, self._theirs = name, ours, theirs

    def work(self) -> None:
        identifier = {"type": "m.id.user", "user": self._name}
        login = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        while not self.is_over.is_set() and not self.failed:
            made = self._ask(self._ours, "POST", "login", login)
            if made is not None:
                self._ask(self._theirs, "GET", "account/whoami", token=made["access_token"])
            self.rounds += 1

    def _ask(
        self, port: int, method: str, path: str, body: Any = None, token: Optional[str] = None
    ) -> Any:
        """The answer's body; by a connection of its own, as one that is kept may be closed."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        started_s = time.monotonic()
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, f"{V3}/{path}", text, headers)
            answer = connection.getresponse()
            status, content = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            status, content = 0, str(error).encode()
        finally:
            connection.close()
        self.took_s.append(time.monotonic() - started_s)
        if status == 200:
            return json.loads(content)
        self.failed.append((path, status, content, self.took_s[-1]))
        return None
