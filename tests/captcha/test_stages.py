"""Captcha stages: what passes, what is refused, and that no response passes twice (B8.7, A25)."""

from __future__ import annotations

import re
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys.captcha.proof_of_work import ProofOfWork
from regsys.captcha.stages import MAX_RESPONSE, PAGES, CaptchaStage, ProofOfWorkStage
from regsys.errors import StageFailed
from regsys.interfaces import IStage, StageContext
from regsys.model import Client, UIASession
from regsys.outbound.http import DEADLINE_S
from regsys.storage.nonces import NonceStore
from regsys.templates import Templates
from regsys.testing import provides
from tests.captcha.test_proof_of_work import solve
from tests.doubles.captcha import BAD, FAULTS, GOOD, SECRET, STALL, CaptchaDouble
from tests.support.case import DUMMY, PASSWORD, UIASessionCase
from tests.support.client import V3, Answer
from tests.support.log_canaries import watch_for_leaks

REFUSED = "M_UNAUTHORIZED"
RECAPTCHA = {
    "enable_registration_captcha": True,
    "recaptcha_public_key": "public",
    "recaptcha_private_key": SECRET,
    "recaptcha_siteverify_api": "http://captcha.example/",
}


def own(**captcha: Any) -> dict[str, Any]:
    chosen = {"captcha": captcha, "rc_availability": False}
    return {"enable_registration_captcha": True, "regsys": chosen}


class Slow:
    """Does not answer until the test says what; ``asked`` are the questions, in order."""

    def __init__(self) -> None:
        self.asked: list[Deferred[bool]] = []

    def verify(self, response: str, address: str) -> Deferred[bool]:
        self.asked.append(Deferred())
        return self.asked[-1]


def context(session_id: str) -> StageContext:
    session = UIASession(session_id=session_id, method="POST", uri="/", created_ms=0, expires_ms=1)
    return StageContext(session=session, client=Client("192.0.2.1"))


class CaptchaStageTests(UIASessionCase):
    """Each test has a captcha service of its own, ``self.double``."""

    stage = "m.login.recaptcha"

    def setUp(self) -> None:
        super().setUp()
        self.double = CaptchaDouble(self.clock)
        self.treq: Any = StubTreq(self.double)
        self.system(treq=self.treq, **RECAPTCHA)

    def answer(self, session: str, response: Any = GOOD) -> Answer:
        return self.go_on(session, {"type": self.stage, "response": response})

    def assertPasses(self, answer: Answer) -> None:
        """The captcha is solved, and the answer has nothing else."""
        self.assertEqual((answer.status, answer.json["completed"]), (401, [self.stage]))
        self.assertNotIn("errcode", answer.json)

    def assertLives(self, session: str, name: str = "alice") -> None:
        """The session goes on, and can be completed."""
        self.assertPasses(self.answer(session, f"{GOOD}#{session}"))
        self.assertRegistered(self.go_on(session), name)

    def test_flow(self) -> None:
        """The captcha comes first; its service gets the response and the client's address."""
        challenge = self.challenge(username="alice", password=PASSWORD)
        self.assertEqual(challenge["flows"], [{"stages": [self.stage, DUMMY["type"]]}])
        self.assertEqual(challenge["params"], {self.stage: {"public_key": "public"}})
        session = challenge["session"]
        auth = {"session": session, "type": self.stage, "response": GOOD}
        answer = self.client.post(f"{V3}/register", {"auth": auth}, X_Forwarded_For="192.0.2.77")
        self.assertEqual((answer.status, answer.json["completed"]), (401, [self.stage]))
        (asked,) = self.double.asked
        expected = {"secret": SECRET, "response": GOOD, "remoteip": "192.0.2.77"}
        self.assertEqual(asked, expected)
        self.assertRegistered(self.go_on(session), "alice")

    def test_anyOrder(self) -> None:
        """The dummy stage alone is not enough; the captcha may come after it."""
        answer = self.client.register(username="alice", password=PASSWORD, auth=DUMMY)
        self.assertEqual((answer.status, answer.json["completed"]), (401, [DUMMY["type"]]))
        self.assertRegistered(self.answer(answer.json["session"]), "alice")

    def test_refusals(self) -> None:
        """A response that is missing, of a wrong type, too long or wrong gets a 401 with an errcode
        of its own; the service is not asked where the answer is known."""
        session = self.begin()
        self.assertRefused(self.go_on(session, {"type": self.stage}), 401, "M_CAPTCHA_NEEDED")
        for response, errcode in (
            ("", "M_CAPTCHA_NEEDED"),
            *((wrong, "M_INVALID_PARAM") for wrong in (None, 0, False, [], {}, [GOOD])),
            ("x" * (MAX_RESPONSE + 1), "M_INVALID_PARAM"),
            (BAD, "M_UNAUTHORIZED"),
            ("x" * MAX_RESPONSE, "M_UNAUTHORIZED"),
        ):
            answer = self.answer(session, response)
            self.assertRefused(answer, 401, errcode, str(response)[:20])
            self.assertEqual(answer.json["completed"], [], response)
            self.assertEqual(answer.json["session"], session)
        self.assertEqual(len(self.double.asked), 2)
        self.assertLives(session)

    def test_serviceDown(self) -> None:
        """Whatever error the service has: a 503 with Retry-After, no response is used up, and the
        session goes on once the service is back."""
        watch_for_leaks(self, {"the private key": SECRET, "the response": "canary"})
        session = self.begin()
        for fault in (*FAULTS, STALL):
            answering = self.client.start(
                "POST",
                f"{V3}/register",
                {"auth": {"session": session, "type": self.stage, "response": f"{fault}#canary"}},
            )
            self.clock.advance(DEADLINE_S)
            answer = self.client.answer(answering)
            self.assertEqual(answer.status, 503, f"{fault} {answer}")
            self.assertEqual(answer.headers["retry-after"], "2", fault)
            self.assertNotIn("canary", str(answer))
        self.assertEqual(self.rows("SELECT * FROM used_nonces"), [])
        self.assertNotIn(SECRET, repr(self.subsystem))
        self.assertEqual(self.counts()["users"], 0)
        self.assertLives(session)

    def test_serviceUnreachable(self) -> None:
        """If the service is unreachable, the answer is a 503 as well."""
        self.system(**RECAPTCHA)
        self.assertEqual(self.answer(self.begin()).status, 503)

    def test_oneResponseOneSession(self) -> None:
        """A response that has passed one session passes no other, even if its service would allow
        it; the session that it has passed may send it again."""
        first, second = self.begin("alice"), self.begin("bob")
        self.assertPasses(self.answer(first))
        self.assertRefused(self.answer(second), 401, "M_UNAUTHORIZED")
        self.assertPasses(self.answer(first))
        self.assertEqual(len(self.double.asked), 2)
        self.assertRefused(self.answer(second), 401, "M_UNAUTHORIZED")
        self.assertRegistered(self.go_on(first), "alice")
        self.assertLives(second, "bob")

    def test_oneResponseAtOnce(self) -> None:
        """Two sessions bring one response concurrently, and the service accepts both: one
        passes."""
        verifier = Slow()
        stage = CaptchaStage(
            type=self.stage,
            public_key="public",
            verify=verifier.verify,
            use_once=NonceStore(self.database).use,
            clock=self.clock,
        )
        checks = [
            Deferred.fromCoroutine(stage.check({"response": GOOD}, context(name)))
            for name in ("A", "B")
        ]
        for asked in verifier.asked:
            asked.callback(True)
        self.assertTrue(self.successResultOf(checks[0]))
        self.assertEqual(self.failureResultOf(checks[1], StageFailed).value.errcode, REFUSED)

    def test_disabled(self) -> None:
        """Without its keys a captcha is not offered; nor is another service's."""
        auth = {"type": "org.regsys.hcaptcha", "response": GOOD}
        self.assertRefused(self.go_on(self.begin(), auth), 400, "M_UNRECOGNIZED")
        keys = {**RECAPTCHA, "enable_registration_captcha": False}
        self.system(treq=self.treq, **{**keys, "recaptcha_private_key": None})
        self.assertRefused(self.answer(self.begin()), 400, "M_UNRECOGNIZED")
        self.assertEqual(self.double.asked, [])

    def test_notRequired(self) -> None:
        """With keys alone the stage is known although no flow has it; its result is reported."""
        keys = {**RECAPTCHA, "enable_registration_captcha": False}
        self.system(treq=self.treq, **keys)
        begun = self.challenge(username="alice", password=PASSWORD)
        self.assertEqual((begun["flows"], begun["params"]), ([{"stages": [DUMMY["type"]]}], {}))
        passed = self.answer(begun["session"])
        self.assertEqual((passed.status, passed.json["completed"]), (401, [self.stage]), passed)
        self.assertRegistered(self.go_on(begun["session"]), "alice")
        self.assertRegistered(self.go_on(self.begin("bob")), "bob")

    def test_otherServices(self) -> None:
        """hCaptcha and Turnstile are the same stage under types of our own."""
        for kind in ("hcaptcha", "turnstile"):
            keys = {"public_key": kind, "private_key": SECRET}
            url = {"siteverify_api": "http://captcha.example/"}
            self.system(treq=self.treq, **own(kind=kind, **keys, **url))
            self.stage = f"org.regsys.{kind}"
            challenge = self.challenge(username="alice", password=PASSWORD)
            self.assertEqual(challenge["params"], {self.stage: {"public_key": kind}})
            session = challenge["session"]
            self.assertRefused(self.answer(session, BAD), 401, "M_UNAUTHORIZED")
            self.assertLives(session)


class ProofOfWorkStageTests(UIASessionCase):
    options = own(kind="proof_of_work", difficulty=1)
    stage = "org.regsys.altcha"

    def work(self, session: str) -> str:
        """The solution of a challenge that this session is given now."""
        return solve(self.go_on(session, {}).json["params"][self.stage])

    def test_flow(self) -> None:
        """The challenge comes with the 401; its solution passes, and the account is made."""
        challenge = self.challenge(username="alice", password=PASSWORD)
        self.assertEqual(challenge["flows"], [{"stages": [self.stage, DUMMY["type"]]}])
        response = solve(challenge["params"][self.stage])
        answer = self.go_on(challenge["session"], {"type": self.stage, "response": response})
        self.assertEqual((answer.status, answer.json["completed"]), (401, [self.stage]))
        self.assertRegistered(self.go_on(challenge["session"]), "alice")

    def test_refusals(self) -> None:
        """A solution that is missing, of a wrong type, too long, malformed or another session's
        gets a 401, and the session goes on."""
        session = self.begin()
        missing = self.go_on(session, {"type": self.stage})
        self.assertRefused(missing, 401, "M_CAPTCHA_NEEDED")
        for response, errcode in (
            ("", "M_CAPTCHA_NEEDED"),
            (7, "M_INVALID_PARAM"),
            ("x" * 4097, "M_INVALID_PARAM"),
            ("e30=", "M_INVALID_PARAM"),
            (self.work(self.begin("bob")), "M_UNAUTHORIZED"),
        ):
            answer = self.go_on(session, {"type": self.stage, "response": response})
            self.assertRefused(answer, 401, errcode, response)
            self.assertEqual(answer.json["completed"], [])
        passed = self.go_on(session, {"type": self.stage, "response": self.work(session)})
        self.assertEqual(passed.json["completed"], [self.stage])


class PageTests(SynchronousTestCase):
    """The fallback pages of these stages (B8.10)."""

    stages: tuple[Any, ...] = (
        *(
            CaptchaStage(type=name, public_key="<pub>", verify=None, use_once=None, clock=Clock())
            for name in PAGES
        ),
        ProofOfWorkStage(ProofOfWork(secret=b"s", difficulty=1, clock=Clock())),
    )

    def test_provides(self) -> None:
        for stage in self.stages:
            provides(IStage, stage)

    def test_pages(self) -> None:
        """Each page has what its widget needs: the key or challenge, no inline script, all of its
        scripts allowed by its sources, and a hint for browsers without scripts."""
        templates = Templates.load("https://matrix.example/")
        for stage in self.stages:
            page, params = stage.page, stage.params(context("A").session)
            html = templates.render(page.template, ["en"], params=params)
            self.assertNotIn("<pub>", html)
            expected = "&lt;pub&gt;" if "public_key" in params else params["signature"]
            self.assertIn(expected, html)
            self.assertIn("<noscript>", html)
            self.assertNotRegex(html, r"<script(?![^>]*\ssrc=)|\son\w+=|\sstyle=|<style")
            scripts = re.findall(r'<script[^>]*\ssrc="([^"]+)"', html)
            self.assertTrue(scripts)
            for address in scripts:
                self.assertTrue(allowed(address, page.sources["script-src"]), address)
            self.assertEqual(list(page.fields.values()), ["response"])


def allowed(address: str, sources: tuple[str, ...]) -> bool:
    """Whether a policy with these sources lets a script be loaded."""
    patterns = {"'self'": "/"}
    return any(
        re.match(re.escape(patterns.get(source, source)).replace(r"\*", r"[\w.-]+"), address)
        for source in sources
    )
