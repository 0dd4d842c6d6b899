"""Which limits are counted over several processes, and how often a request asks for them."""

from __future__ import annotations

from typing import Any

import attr

from regsys import wiring
from regsys.testing import config, memory_process
from regsys.wiring import limits
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import Client
from tests.test_shared_limits import Store


class SharedCase(SystemCase):
    def setUp(self) -> None:
        super().setUp()
        self.store = Store()
        self.share()

    def share(self, **options: Any) -> None:
        """Replace the subsystem by one whose limits are in ``store``."""
        chosen = config(**options)
        process = attr.evolve(memory_process(self, chosen, self.clock), buckets=self.store)
        subsystem = wiring.standalone(chosen, self.clock, process=process)
        self.client = Client(self, subsystem.resource())

    @property
    def asked(self) -> list[str]:
        names = [name for name, _ in self.store.asked]
        self.store.asked.clear()
        return names


class SharedLimitTests(SharedCase):
    def test_names(self) -> None:
        """Each limit has a name of its own, under which all processes count it."""
        names: list[str] = []
        buckets_of = limits.BucketsOf

        def named(**more: Any) -> Any:
            names.append(more["name"])
            return buckets_of(**more)

        self.patch(limits, "BucketsOf", named)
        self.share(regsys={"rc_availability": {"per_second": 1, "burst_count": 1}})
        self.assertEqual(
            sorted(names),
            [
                "all mails",
                "all texts",
                "availability",
                "binding",
                "login account",
                "login address",
                "login failed",
                "registration",
                "token validity",
                "validation attempts",
                "validation client",
                "validation mailbox",
            ],
        )

    def test_oneShot(self) -> None:
        """A registration in one request asks once, in two requests once as well."""
        self.register("alice")
        self.assertEqual(self.asked, ["take"])
        self.share()
        session = self.challenge(username="bob", password=PASSWORD)["session"]
        self.assertEqual(self.asked, [])
        self.clock.advance(0)
        answer = self.client.register(auth={**DUMMY, "session": session})
        self.assertEqual((answer.status, self.asked), (200, ["take"]))

    def test_refused(self) -> None:
        """What the store refuses is a 429, for a client that this process knows at its first
        request."""
        self.store.wait_us = 2_500_000
        answer = self.client.register(username="alice", password=PASSWORD, auth=DUMMY)
        self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual((answer.json["retry_after_ms"], self.asked), (2500, ["take"]))
        self.store.wait_us = 0
        self.register("alice")
        self.store.wait_us = 1_500_000
        answer = self.client.register(username="bob", password=PASSWORD, auth=DUMMY)
        self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(answer.json["retry_after_ms"], 1500)
        self.assertEqual(self.asked, ["take", "peek"])
