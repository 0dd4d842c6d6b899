"""SIGTERM in the middle of registrations, at any moment, again and again: a timely end, and nothing
half-made (threat C13). ``tests.test_shutdown`` has what happens to each request."""

from __future__ import annotations

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from tests.chaos.case import ANSWERED_S, ChaosCase
from tests.support import postgres
from tests.support.checker import Told
from tests.support.crowd import Answer, Crowd
from tests.support.layouts import Layout, MasterAndWorkers
from tests.support.scale import SCALE
from tests.support.service_process import SERVER_NAME, ServiceProcess

IN_FLIGHT = 20
# Twenty hashes of this cost take about as long as the longest wait.
ROUNDS, LONGEST_WAIT_S = 8, 0.3
# One process of two may get more of them than may wait for a hash.
COME_BACK = {(503, "M_UNKNOWN"), (429, "M_LIMIT_EXCEEDED")}
REGISTER = "/_matrix/client/v3/register"


class ShutdownTests:
    """``layout()`` gives the processes. ``times``: how often they are ended."""

    times: ClassVar[int]

    def test_ended(self: Any) -> None:
        """Each process ends within ten seconds, and each client is told that it has an account, or
        to come back, or finds the connection closed."""
        layout = self.layout(args=postgres.dsn(self), options={"bcrypt_rounds": ROUNDS})
        moments = random.Random(SCALE)
        told: list[Told] = []
        took_s: list[float] = []
        statuses: list[int] = []
        for number in range(self.times * SCALE):
            layout.start()
            crowd = Crowd(layout.base_urls, IN_FLIGHT)
            self.addCleanup(crowd.close)
            answers = crowd.start("POST", REGISTER, lambda who, number=number: body(number, who))
            crowd.wait_until_sent()
            time.sleep(moments.uniform(0, LONGEST_WAIT_S))
            # Not always the master first.
            turned = number % len(layout.services)
            order = [*layout.services[turned:], *layout.services[:turned]]
            with ThreadPoolExecutor(len(order)) as threads:
                took_s += threads.map(ended, order)
            for who, asked in enumerate(answers):
                answer = asked.result()
                statuses.append(answer.status)
                told.append(self.told(f"user{number}-{who}", answer))
            crowd.close()
            self.assertNoTraceback([service.output for service in layout.services])
        self.report(
            signals=len(took_s),
            longest_s=max(took_s),
            answers={status: statuses.count(status) for status in sorted(set(statuses))},
        )
        self.assertLess(max(took_s), ANSWERED_S)
        self.assertKept(layout, told)

    def told(self: Any, name: str, answer: Answer) -> Told:
        user_id = f"@{name}:{SERVER_NAME}"
        if answer.status == 200:
            self.assertEqual(answer.json["user_id"], user_id)
            return Told(user_id, {answer.json["device_id"]: answer.json["access_token"]})
        if answer.status:
            self.assertIn((answer.status, answer.errcode), COME_BACK, answer)
        return Told(user_id, {}, unsure=1, is_made=False)


def body(number: int, who: int) -> dict[str, Any]:
    auth = {"type": "m.login.dummy"}
    return {"username": f"user{number}-{who}", "password": "correct horse", "auth": auth}


def ended(service: ServiceProcess) -> float:
    """How long it takes from SIGTERM to the end."""
    began_s = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    service.process.wait()
    return time.monotonic() - began_s


class OneProcessTests(ShutdownTests, ChaosCase):
    times = 8

    def layout(self, **more: Any) -> Layout:
        return Layout(case=self, **more)


class TwoProcessesTests(ShutdownTests, ChaosCase):
    times = 6

    def layout(self, **more: Any) -> Layout:
        return Layout(case=self, processes=2, **more)


class MasterAndWorkersTests(ShutdownTests, ChaosCase):
    """Each time is three signals."""

    times = 2

    def layout(self, **more: Any) -> Layout:
        return MasterAndWorkers(case=self, **more)
