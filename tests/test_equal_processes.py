"""Equal processes over one PostgreSQL, each with a listener of its own: a client may send each of
its requests to another one (contract B11.7)."""

from __future__ import annotations

import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Iterator

from twisted.trial.unittest import SynchronousTestCase

from regsys.config import load
from regsys.wiring.process import connect
from tests.support import checker, invariants, postgres
from tests.support.dialogues import Dialogue, Dialogues
from tests.support.going_round import GoingRound, KeptConnection
from tests.support.patience import until
from tests.support.policies import user_consent, write_pages
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.service_process import ServiceProcess, psycopg2, write_config

V3 = "/_matrix/client/v3"
PASSWORD = "correct horse battery staple"
COUNT = 3
CLIENTS = 8


class Processes:
    """For tests: ``configs`` of equal processes on ports of their own."""

    def configure(self: Any, **options: Any) -> None:
        folder = Path(self.mktemp()).resolve()
        database = psycopg2(postgres.dsn(self))
        self.ports = [free_port() for _ in range(COUNT)]
        self.configs = []
        for port in self.ports:
            home = folder / str(port)
            home.mkdir(parents=True)
            resources = [{"names": ["client"]}]
            listener = {"port": port, "bind_addresses": ["127.0.0.1"], "resources": resources}
            self.configs.append(write_config(home, database, listeners=[listener], **options))

    def start(self: Any) -> list[ServiceProcess]:
        """All at the same moment, on a database that is empty the first time."""
        with ThreadPoolExecutor(COUNT) as threads:
            return list(threads.map(lambda config: ServiceProcess(self, config), self.configs))

    def assertWhole(self: Any, dialogues: list[Dialogue]) -> None:
        """Each dialogue has one account of its own, and nothing is half-made."""
        connection = connect(load([str(self.configs[0])]).database)
        self.addCleanup(connection.close)
        told = [dialogue.told for dialogue in dialogues]
        self.assertEqual(checker.broken(told, invariants.Tables(connection)), {})


class RoundTests(Processes, GoingRound, SynchronousTestCase):
    """Every request of a client goes to the next process."""

    def test_everywhere(self) -> None:
        """Registration with a captcha, terms and a mail, its repetition, logins, tokens, and an
        address that is added and confirmed: each step at each of the three processes."""
        self.configure(**self.everything())
        self.dialogues(self.start())

    def test_children(self) -> None:
        """So it is with the two processes of one service."""
        self.configure(**self.everything())
        service = ServiceProcess(self, self.configs[0], options=("--processes", "2"))
        # The process that has fewer connections takes the next one.
        self.dialogues([KeptConnection(self, service) for _ in range(2)])
        makers = set(re.findall(r"^\[(\d)\] .*registered @alice", service.output, re.MULTILINE))
        self.assertEqual(makers, {"1", "2"})


class RollingTests(Processes, SynchronousTestCase):
    """While clients register, each process ends and begins again. Plain retry brings each dialogue
    to its end."""

    def begin(self, base_url: str, **more: bool) -> Dialogues:
        dialogues = Dialogues([base_url], CLIENTS, **more)
        self.addCleanup(dialogues.close)
        return dialogues

    def assertSpanned(self, dialogues: list[Dialogue], times: list[float]) -> None:
        """Some dialogue was under way at each of these times."""
        for when in times:
            under_way = [item for item in dialogues if item.began_s < when < item.ended_s]
            self.assertNotEqual(under_way, [])

    def options(self) -> dict[str, Any]:
        pages = write_pages(Path(self.mktemp()).resolve(), "1.0")
        return {**user_consent(pages), "regsys": {"rc_availability": False}}

    def test_equalProcesses(self) -> None:
        """Three equal processes behind a proxy, one after the other."""
        self.configure(**self.options())
        services = self.start()
        proxy = Proxy(*self.ports)
        self.addCleanup(proxy.close)
        clients, times = self.begin(proxy.base_url), []
        for number, config in enumerate(self.configs):
            times.append(time.monotonic())
            services[number].stop()
            services[number] = ServiceProcess(self, config)
        dialogues = clients.end()
        self.assertSpanned(dialogues, times)
        self.assertWhole(dialogues)
        self.assertGreater(min(proxy.taken.values()), len(dialogues))

    def test_children(self) -> None:
        """The processes of one service, which their parent replaces: one ends orderly, then one is
        killed. Nobody meets a closed port."""
        self.configure(**self.options())
        service = ServiceProcess(self, self.configs[0], options=("--processes", "2"))
        # A process that is killed takes passwords along whose hash it was about to make.
        clients, times = self.begin(service.base_url, repeats_body=True), []
        for number, kind in ((1, signal.SIGTERM), (2, signal.SIGKILL)):
            before = _pid(service, number)
            times.append(time.monotonic())
            os.kill(before, kind)
            until(lambda number=number, before=before: _pid(service, number) != before)
            until(lambda number=number: f"[{number}] " in service.output.split("replaces one")[-1])
        dialogues = clients.end()
        self.assertSpanned(dialogues, times)
        self.assertWhole(dialogues)
        service.stop()


def _pid(service: ServiceProcess, number: int) -> int:
    found: Iterator[re.Match[str]] = re.finditer(rf"process {number} of 2 is (\d+)", service.output)
    return int(list(found)[-1][1])
