"""ALTCHA's proof of work: what counts as a solution, for which session, and that checking is
cheap."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from itertools import count
from pathlib import Path
from typing import Any, Mapping
from unittest import mock

import attr
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from regsys.captcha import proof_of_work
from regsys.captcha.proof_of_work import LIFETIME_S, ProofOfWork, solves
from regsys.errors import StageFailed
from tests.support.patience import PATIENCE_S
from tests.support.scale import examples

# Paths to the fields of a payload that are checked, and any JSON value.
PLACES = (
    ("challenge",),
    ("challenge", "signature"),
    ("challenge", "parameters"),
    ("challenge", "parameters", "expiresAt"),
    ("solution",),
    ("solution", "counter"),
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)

ROOT = Path(__file__).parents[2]
SECRET = b"the server's secret, a canary"
SESSION, OTHER = "S" * 24, "T" * 24


def payload(challenge: Any, counter: Any, **more: Any) -> str:
    """What the widget sends for this challenge and this number."""
    content = {"challenge": challenge, "solution": {"counter": counter, "time": 3.5}, **more}
    return base64.b64encode(json.dumps(content).encode()).decode()


def solve(challenge: Mapping[str, Any]) -> str:
    """Do the work; the payload."""
    parameters = challenge["parameters"]
    return payload(challenge, next(n for n in count() if solves(parameters, n)))


class ProofOfWorkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.work = ProofOfWork(secret=SECRET, difficulty=1, clock=self.clock)
        self.challenge = self.work.challenge(SESSION)

    def refused(self, response: str, session: str = SESSION) -> str:
        failure = self.assertRaises(StageFailed, self.work.check, session, response)
        return failure.errcode

    def test_solved(self) -> None:
        """A solution passes: also a second time, in another process, at the last second."""
        response = solve(self.challenge)
        self.work.check(SESSION, response)
        self.clock.advance(LIFETIME_S - 1)
        again = ProofOfWork(secret=SECRET, difficulty=1, clock=self.clock)
        again.check(SESSION, response)

    def test_oneSession(self) -> None:
        """A solution is valid for the session that was given the challenge, and for no other."""
        self.assertEqual(self.refused(solve(self.challenge), OTHER), "M_UNAUTHORIZED")

    def test_expires(self) -> None:
        """After an hour the challenge has expired, whatever expiry the client claims."""
        self.clock.advance(LIFETIME_S)
        self.assertEqual(self.refused(solve(self.challenge)), "M_UNAUTHORIZED")
        parameters = {**self.challenge["parameters"], "expiresAt": 2**40}
        later = solve({**self.challenge, "parameters": parameters})
        self.assertEqual(self.refused(later), "M_UNAUTHORIZED")

    def test_notSolved(self) -> None:
        """A number that doesn't solve it, or is invalid in the protocol, is refused."""
        parameters = self.challenge["parameters"]
        wrong = next(n for n in count() if not solves(parameters, n))
        for counter in (wrong, -1, 2**32, 10**300):
            case = self.refused(payload(self.challenge, counter))
            self.assertEqual(case, "M_UNAUTHORIZED", counter)

    def test_theServerSaysHowMuch(self) -> None:
        """Parameters that a client has made easier, or more expensive for the server, are
        refused."""
        solved = json.loads(base64.b64decode(solve(self.challenge)))
        number = solved["solution"]["counter"]
        for change in ({"cost": 10**9}, {"keyPrefix": "ff"}, {"nonce": "00"}, {"algorithm": "?"}):
            parameters = {**self.challenge["parameters"], **change}
            changed = {**self.challenge, "parameters": parameters}
            self.work.check(SESSION, payload(changed, number))
        easier = {**self.challenge["parameters"], "keyPrefix": ""}
        with mock.patch.object(proof_of_work, "solves", wraps=solves) as derived:
            lazy = payload({**self.challenge, "parameters": easier}, number + 1)
            self.assertEqual(self.refused(lazy), "M_UNAUTHORIZED")
            self.assertEqual(derived.call_count, 1)

    def test_nothingIsDerivedForAStranger(self) -> None:
        """Without a valid signature the server derives no key."""
        forged = {**self.challenge, "signature": "0" * 64}
        harder = attr.evolve(self.work, difficulty=2).challenge(SESSION)
        other = attr.evolve(self.work, secret=b"another").challenge(SESSION)
        with mock.patch.object(proof_of_work, "solves") as derived:
            for challenge in (forged, harder, other):
                self.assertEqual(self.refused(payload(challenge, 1)), "M_UNAUTHORIZED")
            derived.assert_not_called()

    def test_unreadable(self) -> None:
        """A malformed payload is distinguished from a wrong solution, and causes no error."""
        texts = ("[]", "null", "{}", "x", "[" * 3000, '"\\ud800"', "1e999", '{"challenge":[]}')
        encoded = [base64.b64encode(text.encode()).decode() for text in texts]
        parts: tuple[Any, ...] = ([], None, 7, {"parameters": []}, {"parameters": {}})
        challenges = [payload(part, 1) for part in parts]
        numbers = [payload(self.challenge, n) for n in (None, "1", 1.0, True, [])]
        lone = payload({**self.challenge, "signature": 5}, 1)
        for response in (*encoded, *challenges, *numbers, lone, "%%%", "é", "=", "\ud800", "A"):
            self.assertEqual(self.refused(response), "M_INVALID_PARAM", response)
        surrogate = {**self.challenge, "signature": "\ud800"}
        self.assertEqual(self.refused(payload(surrogate, 1)), "M_UNAUTHORIZED")

    @examples(200)
    @given(st.sampled_from(PLACES), ANYTHING)
    def test_whateverArrives(self, place: tuple[str, ...], value: Any) -> None:
        """A payload that is mutated anywhere is refused, and causes no other error."""
        wrong = next(n for n in count() if not solves(self.challenge["parameters"], n))
        content = json.loads(base64.b64decode(payload(self.challenge, wrong)))
        inside = content
        for key in place[:-1]:
            inside = inside[key]
        inside[place[-1]] = value
        self.refused(base64.b64encode(json.dumps(content).encode()).decode())

    def test_discreet(self) -> None:
        """The secret appears neither in a challenge nor in a repr."""
        self.assertNotIn("canary", repr(self.work))
        self.assertNotIn(self.work.signing_key.decode(), json.dumps(self.challenge))

    def test_costsLittle(self) -> None:
        """A challenge is small, and checking one costs a small part of what solving one does."""
        self.assertLess(len(json.dumps(self.challenge)), 400)
        self.assertEqual(16 ** len(self.challenge["parameters"]["keyPrefix"]), 4096)


class OtherProgramsTests(SynchronousTestCase):
    """ALTCHA's own programs speak the same protocol. They are for development only."""

    def setUp(self) -> None:
        clock = Clock()
        clock.advance(4_000_000_000)
        self.work = ProofOfWork(secret=SECRET, difficulty=3, clock=clock)
        self.challenge = self.work.challenge(SESSION)

    def test_python(self) -> None:
        """The PyPI package solves our challenge, and accepts our signature and solution."""
        try:
            import altcha
        except ImportError:
            raise SkipTest("the PyPI package altcha is not installed: pip install .[dev]") from None
        challenge = altcha.Challenge.from_dict(dict(self.challenge))
        solution = altcha.solve_challenge(challenge)
        response = altcha.Payload(challenge, solution).to_base64()
        self.work.check(SESSION, response)
        verdict = altcha.verify_solution(response, self.work.signing_key)
        self.assertTrue(verdict.verified, vars(verdict))

    def test_javascript(self) -> None:
        """The worker that we serve beside the widget solves it, run by Node."""
        node = shutil.which("node")
        if node is None:
            raise SkipTest("Node is not installed: ALTCHA's worker was not run")
        run = subprocess.run(
            [node, str(ROOT / "tests/altcha_worker.js")],
            input=json.dumps(self.challenge),
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE_S,
        )
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        solution = json.loads(run.stdout)
        self.work.check(SESSION, payload(self.challenge, solution["counter"]))
