"""A database that ends its sessions five times a second, and restarts at once now and then, under
fifty clients: nothing is half-made, nothing that was acknowledged is lost (threats C6, C7)."""

from __future__ import annotations

import functools
import time
from typing import Any, Sequence

from tests.chaos.case import ANSWERED_S, ChaosCase, slowest_s
from tests.support import postgres
from tests.support.killer import Killer, sessions_of
from tests.support.layouts import Layout, MasterAndWorkers
from tests.support.scale import SCALE

LASTS_S, RESTARTS = 6.0 * SCALE, SCALE
EVERY_S = 0.2
CLIENTS = 50
# How soon after its restart the database serves somebody again.
BACK_S = 2.0


@functools.cache
def _own_server() -> postgres.Server:
    return postgres.start(postgres.find_binaries())


class DatabaseTests:
    """``layout(args)`` gives the processes."""

    def test_killed(self: Any) -> None:
        """Clients get on by plain retry, from whole 503s, and soon after each restart."""
        with postgres.needed_by(self):
            server = _own_server()
        args = server.create_database()
        self.addCleanup(server.drop_database, args)
        layout = self.layout(args)
        layout.start()
        clients = self.clients(CLIENTS, layout.base_urls)
        with Killer(EVERY_S, sessions_of(args)) as killer:
            back_s = self.restart_often(server)
        dialogues = clients.end()
        served_s = [item.ended_s for item in clients.tries if item.status == 200]
        waits_s = [min(at_s for at_s in served_s if at_s > back) - back for back in back_s]
        slowest = slowest_s(clients.tries, 503)
        self.report(
            accounts=len(dialogues),
            ended_sessions_times=len(killer.times),
            restarts=len(back_s),
            answers_503=sum(item.status == 503 for item in clients.tries),
            slowest_503_s=slowest,
            longest_until_success_s=max(waits_s),
        )
        self.assertEqual({item.status for item in clients.tries} - {200, 401, 429, 503}, set())
        self.assertLess(max(waits_s), BACK_S)
        self.assertLess(slowest, ANSWERED_S)
        self.assertKept(layout, [dialogue.told for dialogue in dialogues])
        layout.stop()
        self.assertNoTraceback([service.output for service in layout.services])

    def restart_often(self, server: postgres.Server) -> Sequence[float]:
        """Restart it evenly over the time; when it could be used again, each time."""
        back_s = []
        for _ in range(RESTARTS):
            time.sleep(LASTS_S / RESTARTS / 2)
            server.restart()
            back_s.append(time.monotonic())
            time.sleep(LASTS_S / RESTARTS / 2)
        return back_s


class OneProcessTests(DatabaseTests, ChaosCase):
    def layout(self, args: postgres.Args) -> Layout:
        return Layout(case=self, args=args)


class TwoProcessesTests(DatabaseTests, ChaosCase):
    def layout(self, args: postgres.Args) -> Layout:
        return Layout(case=self, args=args, processes=2)


class MasterAndWorkersTests(DatabaseTests, ChaosCase):
    def layout(self, args: postgres.Args) -> Layout:
        return MasterAndWorkers(case=self, args=args)
