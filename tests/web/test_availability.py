"""GET /register/available: free names, hidden answers, and its limit."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from twisted.internet.defer import Deferred

from tests.support.case import SystemCase
from tests.support.client import V3, Answer

PATH = f"{V3}/register/available"


class AvailabilityCase(SystemCase):
    def ask(self, query: str = "?username=alice", path: str = PATH) -> Answer:
        return self.client.get(f"{path}{query}")

    def assertAvailable(self, answer: Answer, case: object = None) -> None:
        self.assertEqual((answer.status, answer.json), (200, {"available": True}), case)


class AnswerTests(AvailabilityCase):
    def test_free(self) -> None:
        """A free name is available, under v3 and r0; HEAD is answered like GET."""
        self.assertAvailable(self.ask())
        self.assertAvailable(self.ask(path="/_matrix/client/r0/register/available"))
        head = self.client.ask("HEAD", f"{PATH}?username=alice")
        self.assertEqual((head.status, head.json), (200, b""))
        self.assertEqual(self.client.post(f"{PATH}?username=alice").status, 405)

    def test_refused(self) -> None:
        """A name that can't be registered is refused with the reason of /register, except that
        capitals are not lower-cased here."""
        self.system(
            regsys={"rc_availability": False},
            server_notices={"system_mxid_localpart": "notices"},
        )
        self.register("taken")
        for name, errcode in (
            ("taken", "M_USER_IN_USE"),
            ("Taken", "M_INVALID_USERNAME"),
            ("Free", "M_INVALID_USERNAME"),
            ("_free", "M_INVALID_USERNAME"),
            ("123", "M_INVALID_USERNAME"),
            ("", "M_INVALID_USERNAME"),
            ("%E2%84%AAelvin", "M_INVALID_USERNAME"),
            ("a%00", "M_INVALID_USERNAME"),
            ("a%FF", "M_INVALID_USERNAME"),
            ("a%20b", "M_INVALID_USERNAME"),
            ("a" * 300, "M_INVALID_USERNAME"),
            ("notices", "M_EXCLUSIVE"),
        ):
            self.assertRefused(self.ask(f"?username={name}"), 400, errcode, name)

    def test_missing(self) -> None:
        """The name must be given; of two the first counts."""
        self.assertRefused(self.ask(""), 400, "M_MISSING_PARAM")
        self.assertRefused(self.ask("?user=alice"), 400, "M_MISSING_PARAM")
        self.assertAvailable(self.ask("?username=alice&username=%00"))

    def test_registrationOff(self) -> None:
        """If registration is off the request is refused."""
        self.system(enable_registration=False, inhibit_user_in_use_error=True)
        for query in ("", "?username=alice"):
            self.assertRefused(self.ask(query), 403, "M_FORBIDDEN")

    def test_silence(self) -> None:
        """With ``inhibit_user_in_use_error`` every name is available, even an invalid or a missing
        one."""
        self.system(inhibit_user_in_use_error=True)
        self.register("taken")
        for query in ("", "?username=taken", "?username=free", "?username=%C3%84", "?username=%FF"):
            self.assertAvailable(self.ask(query), query)


class ConcurrencyLimitTests(AvailabilityCase):
    options: ClassVar[Mapping[str, Any]] = {"regsys": {}}

    def start(self, address: str = "192.0.2.1") -> Deferred[Answer]:
        started = self.client.start("GET", f"{PATH}?username=alice", X_Forwarded_For=address)
        self.clock.advance(0)
        return started

    def test_twoWait(self) -> None:
        """Of four requests within two seconds the first is answered at once, the second and the
        third after a second, and the fourth is refused, with a hint (contract B16.9)."""
        self.assertAvailable(self.client.answer(self.start()))
        self.clock.advance(1.9)
        second, third, fourth = self.start(), self.start(), self.start()
        refused = self.client.answer(fourth)
        self.assertRefused(refused, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(refused.json["retry_after_ms"], 2000)
        self.assertEqual(refused.headers["retry-after"], "2")
        self.assertAvailable(self.client.answer(self.start("192.0.2.2")))
        self.clock.advance(0.9)
        self.assertNoResult(second)
        self.assertNoResult(third)
        self.clock.advance(0.1)
        self.assertAvailable(self.client.answer(second))
        self.assertAvailable(self.client.answer(third))

    def test_leftAlsoWhenRefused(self) -> None:
        """A refused request delays no other: two seconds later the next one is answered at once."""
        for query in ("", "?username=%00", "?username=1"):
            self.assertEqual(self.ask(query).status, 400)
            self.clock.advance(2)
        self.assertAvailable(self.ask())

    def test_oneNetwork(self) -> None:
        """A /64 of IPv6 is one client."""
        self.client.answer(self.start("2001:db8::1"))
        self.assertNoResult(self.start("2001:db8::2"))

    def test_oneSite(self) -> None:
        """The networks of a /48 of IPv6 are eight clients together (threat A29)."""
        for number in range(8):
            self.assertAvailable(self.client.answer(self.start(f"2001:db8:0:{number}::1")))
        self.assertNoResult(self.start("2001:db8:0:8::1"))

    def test_bucket(self) -> None:
        """A rate replaces the concurrency limit: so many at once, and no request waits."""
        bucket: dict[str, Any] = {"rc_availability": {"per_second": 0.5, "burst_count": 3}}
        self.system(regsys=bucket)
        for _ in range(3):
            self.assertAvailable(self.client.answer(self.start()))
        refused = self.client.answer(self.start())
        self.assertRefused(refused, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(refused.json["retry_after_ms"], 2000)

    def test_switchedOff(self) -> None:
        """Switched off, there is no limit."""
        self.system(regsys={"rc_availability": False})
        for _ in range(20):
            self.assertAvailable(self.client.answer(self.start()))
