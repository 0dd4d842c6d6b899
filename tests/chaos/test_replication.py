"""Calls of workers, cut wherever a connection can be cut, to a master that is killed meanwhile:
each is done once, and its client hears of it in time (threats C3, C4)."""

from __future__ import annotations

import itertools
import signal
import time
from functools import partial
from typing import Callable, Iterator, Mapping, Optional

from tests.chaos.case import ANSWERED_S, ChaosCase, slowest_s
from tests.support import postgres
from tests.support.checker import Told
from tests.support.dialogues import PASSWORD, V3, Dialogues
from tests.support.killer import Program
from tests.support.layouts import MasterAndWorkers
from tests.support.patience import until
from tests.support.ports import free_port
from tests.support.proxy import Cut, Proxy, Side
from tests.support.scale import SCALE
from tests.support.service_process import ServiceProcess

# A dialogue has two calls: its account, and the device of its login.
CALLS, KILLS = 200 * SCALE, 20 * SCALE
CLIENTS = 8
CONVERGED_S = 15.0
# On the machine of that limit a master is back after so long. Where that takes longer, the limit is
# longer in proportion.
RESTARTED_S = 2.5
SIDES: tuple[Side, ...] = ("request", "answer")
# In bytes: far from one another where there are few cuts, and prime to most lengths, so that many
# cuts come to each byte.
STEP = 89
# Of so many cuts one is none: the connection stays, and falls silent.
SILENT = 75
DUMMY = {"type": "m.login.dummy"}


class ReplicationTests(ChaosCase):
    def setUp(self) -> None:
        port = free_port()
        self.proxy = Proxy(port)
        self.addCleanup(self.proxy.close)
        self.layout = MasterAndWorkers(
            case=self, args=postgres.dsn(self), port=port, reached_at=self.proxy.port
        )
        self.layout.start()
        self.told: list[Told] = []
        self.restarts_s: list[float] = []

    def start_master(self) -> ServiceProcess:
        self.layout.services[0] = self.layout.start_master()
        return self.layout.services[0]

    def test_everywhere(self) -> None:
        """Whatever is cut and killed, each client gets its account by plain retry, with one device
        for each of its logins, and soon."""
        self.measure()
        workers = self.layout.base_urls[1:]
        clients = self.clients(CLIENTS, workers, pause_s=0, first=1, most=CALLS // 2)
        outputs = self.kill_master(clients)
        dialogues = clients.wait()
        longest_s = max(dialogue.longest_s for dialogue in dialogues)
        slowest = slowest_s(clients.tries, 503)
        self.report(
            calls=2 * len(dialogues),
            cuts=self.proxy.cuts,
            kills=KILLS,
            mean_restart_s=sum(self.restarts_s) / KILLS,
            longest_convergence_s=longest_s,
            answers_503=sum(item.status == 503 for item in clients.tries),
            slowest_503_s=slowest,
        )
        # Some that were meant for a long request or answer had a short one, some were not needed.
        self.assertGreater(self.proxy.cuts, CALLS // 2)
        self.assertEqual({item.status for item in clients.tries} - {200, 401, 503}, set())
        self.assertLess(slowest, ANSWERED_S)
        limit_s = CONVERGED_S * max(1.0, sum(self.restarts_s) / KILLS / RESTARTED_S)
        self.assertLess(longest_s, limit_s)
        self.assertKept(self.layout, [*self.told, *(dialogue.told for dialogue in dialogues)])
        self.assertNoTraceback([*outputs, *(item.output for item in self.layout.services)])

    def measure(self) -> None:
        """Plan cuts for all lengths that requests and answers have."""
        worker = self.layout.services[1]
        body = {"username": "user0", "password": PASSWORD, "auth": DUMMY}
        made = worker.ask("POST", f"{V3}/register", body)
        self.assertEqual(made.status, 200, made)
        # A login's call has less.
        self.proxy.cut(*itertools.islice(_cuts(dict(self.proxy.passed)), 4 * CALLS))
        tokens = {made.json["device_id"]: made.json["access_token"]}
        self.told.append(Told(made.json["user_id"], tokens))

    def kill_master(self, clients: Dialogues) -> list[str]:
        """Kill it KILLS times while the clients work, or restart it; what each has written."""
        program = Program(lambda: self.start_master().process, self.layout.services[0].process)
        outputs = []
        for number in range(1, KILLS + 1):
            due = number * (CALLS // 2) // (KILLS + 1)
            until(lambda due=due: len(clients.done) >= due or clients.is_over)
            if clients.is_over:
                clients.wait()
            killed_s = time.monotonic()
            program.restart(signal.SIGKILL if number % 2 else signal.SIGTERM)
            self.restarts_s.append(time.monotonic() - killed_s)
            outputs.append(self.layout.services[0].output)
        return outputs

    def test_silent(self) -> None:
        """If the master is stopped, or cannot be reached any more, clients get a 503 within ten
        seconds, and then their accounts by the same requests."""
        master = self.layout.services[0].process
        self.assertRefused(
            lambda: master.send_signal(signal.SIGSTOP), lambda: master.send_signal(signal.SIGCONT)
        )
        if SCALE > 1:
            stalled = partial(setattr, self.proxy, "is_stalled")
            self.assertRefused(partial(stalled, True), partial(stalled, False))
            self.assertRefused(lambda: self.layout.services[0].kill(), self.start_master)

    def assertRefused(self, begin: Callable[[], object], end: Callable[[], object]) -> None:
        """Clients that begin before ``begin`` are refused until ``end``."""
        workers, first = self.layout.base_urls[1:], len(self.told)
        clients = self.clients(CLIENTS, workers, pause_s=1.0, first=first, most=CLIENTS)
        until(lambda: len(clients.tries) >= CLIENTS)
        begin()
        until(lambda: sum(item.status == 503 for item in clients.tries) >= CLIENTS)
        end()
        dialogues = clients.wait()
        slowest = slowest_s(clients.tries, 503)
        self.report(slowest_503_s=slowest)
        self.assertLess(slowest, ANSWERED_S)
        self.told += [dialogue.told for dialogue in dialogues]
        self.assertKept(self.layout, self.told)


def _cuts(length: Mapping[str, int]) -> Iterator[Optional[Cut]]:
    """Cuts in requests and answers in turn; every second exchange is left alone."""
    for number in itertools.count(1):
        side, after = SIDES[number % 2], number // 2 * STEP
        yield Cut(side, after % length[side], stalls=number % SILENT == 0)
        yield None
