"""The captcha: its kind, its keys, and invalid combinations."""

from __future__ import annotations

from typing import Any

from regsys.config import CaptchaConfig
from regsys.model import Secret
from tests.config.case import ConfigCase

ON = {"enable_registration_captcha": True}
KEYS = {"recaptcha_public_key": "public", "recaptcha_private_key": "private"}
OWN = {"public_key": "public", "private_key": "private"}


def own(**captcha: Any) -> dict[str, Any]:
    return {"regsys": {"captcha": captcha}}


class CaptchaTests(ConfigCase):
    def test_theOptionsThatEverybodyKnows(self) -> None:
        """Synapse's switch and two keys configure a reCAPTCHA, at an address that may be
        changed."""
        captcha = self.parse({**ON, **KEYS}).captcha
        expected = CaptchaConfig(
            kind="recaptcha",
            public_key="public",
            private_key=Secret("private"),
            siteverify_api="https://www.recaptcha.net/recaptcha/api/siteverify",
        )
        self.assertEqual(captcha, expected)
        url = "http://127.0.0.1:8080/verify?way=this"
        chosen = self.parse({**ON, **KEYS, "recaptcha_siteverify_api": url}).captcha
        assert chosen is not None
        self.assertEqual(chosen.siteverify_api, url)
        path = {"recaptcha_private_key_path": self.file("private\n")}
        by_path = {**ON, "recaptcha_public_key": "public", **path}
        self.assertEqual(self.parse(by_path).captcha, expected)
        self.assertEqual(self.parse({**ON, **KEYS, **own(kind="recaptcha")}).captcha, expected)
        self.assertEqual(self.parse({**ON, **KEYS}).unused, ())

    def test_verifies(self) -> None:
        """A captcha counts as verification: registration needs no further confirmation."""
        config = self.parse({"enable_registration": True, **ON, **KEYS})
        self.assertTrue(config.registration.enabled)
        self.assertEqual(config.warnings, ())
        self.assertProblem({"enable_registration": True, **KEYS}, "enable_registration:")

    def test_switchedOff(self) -> None:
        """Keys alone require no captcha; our own section without the switch causes a warning."""
        self.assertEqual(self.parse(KEYS).warnings, ())
        off = {"enable_registration_captcha": "off"}
        for options in (KEYS, {**off, **KEYS}, own(kind="proof_of_work")):
            captcha = self.parse(options).captcha
            assert captcha is not None
            self.assertFalse(captcha.required)
            captcha = self.parse({**options, **ON}).captcha
            assert captcha is not None
            self.assertTrue(captcha.required)
        for name in KEYS:
            self.assertIsNone(self.parse({**KEYS, name: None}).captcha)
        self.assertWarning(own(kind="proof_of_work"), "regsys.captcha", "enable_registration_capt")

    def test_missingKeys(self) -> None:
        """Switched on without a key, the start is refused by the option's full name."""
        for name in KEYS:
            rest = {key: value for key, value in KEYS.items() if key != name}
            for empty in ({}, {name: None}):
                self.assertProblem({**ON, **rest, **empty}, f"{name}: missing", "proof_of_work")
        self.assertProblem({**ON, **KEYS, "recaptcha_public_key": ""}, "recaptcha_public_key: m")
        self.assertEqual(len(self.problems(ON)), 2)
        for kind in ("hcaptcha", "turnstile"):
            problems = self.problems({**ON, **KEYS, **own(kind=kind)})
            names = [problem.partition(":")[0] for problem in problems]
            expected = ["regsys.captcha.public_key", "regsys.captcha.private_key"]
            self.assertEqual(names, expected)
        # One problem is enough for a key that is present but invalid.
        missing = {"recaptcha_public_key": "p", "recaptcha_private_key_path": "/nowhere"}
        self.assertProblem({**ON, **missing}, "recaptcha_private_key_path: cannot be read")

    def test_otherServices(self) -> None:
        """hCaptcha and Turnstile have keys of their own and known addresses; the reCAPTCHA's keys
        are then for another server, and listed as unused."""
        for kind, url in (
            ("hcaptcha", "https://api.hcaptcha.com/siteverify"),
            ("turnstile", "https://challenges.cloudflare.com/turnstile/v0/siteverify"),
        ):
            config = self.parse({**ON, **KEYS, **own(kind=kind, **OWN)})
            assert config.captcha is not None
            self.assertEqual((config.captcha.kind, config.captcha.siteverify_api), (kind, url))
            self.assertEqual(config.captcha.private_key.reveal(), "private")
            self.assertEqual(set(config.unused), set(KEYS))
            theirs = {**ON, **own(kind=kind, **OWN, siteverify_api="http://127.0.0.1/")}
            chosen = self.parse(theirs).captcha
            assert chosen is not None
            self.assertEqual(chosen.siteverify_api, "http://127.0.0.1/")

    def test_proofOfWork(self) -> None:
        """The proof of work needs no keys, only its difficulty."""
        captcha = self.parse({**ON, **own(kind="proof_of_work")}).captcha
        self.assertEqual(captcha, CaptchaConfig(kind="proof_of_work", difficulty=500))
        harder = self.parse({**ON, **own(kind="proof_of_work", difficulty=5000)}).captcha
        assert harder is not None
        self.assertEqual(harder.difficulty, 5000)
        for wrong in (0, 10_001, "hard", True):
            options = {**ON, **own(kind="proof_of_work", difficulty=wrong)}
            self.assertProblem(options, "regsys.captcha.difficulty: not a whole number")

    def test_contradictions(self) -> None:
        """An option that the chosen kind does not use is refused rather than ignored."""
        for captcha, name in (
            ({"kind": "proof_of_work", "public_key": "p"}, "public_key"),
            ({"kind": "proof_of_work", "siteverify_api": "http://a/"}, "siteverify_api"),
            ({"kind": "turnstile", **OWN, "difficulty": 5}, "difficulty"),
            ({"kind": "recaptcha", "private_key": "p"}, "private_key"),
            ({"public_key": "p"}, "public_key"),
            ({"difficulty": 10}, "difficulty"),
        ):
            options = {**ON, **KEYS, **own(**captcha)}
            self.assertProblem(options, f"regsys.captcha.{name}: has no effect")
        self.assertProblem({**ON, **KEYS, **own(kind="maths")}, "regsys.captcha.kind")

    def test_addresses(self) -> None:
        """An invalid address is refused at the start."""
        for url in ("recaptcha.net", "ftp://a/", "https://", "http://a:x/", "http://a b/", "//a"):
            self.assertProblem(
                {**ON, **KEYS, "recaptcha_siteverify_api": url}, "recaptcha_siteverify_api", url
            )

    def test_discreet(self) -> None:
        """The private key appears in no problem and no repr."""
        options = {**ON, **KEYS, "recaptcha_private_key": "canary"}
        self.assertNotIn("canary", repr(self.parse(options)))
        both = {**options, "recaptcha_private_key_path": "/nowhere"}
        self.assertNotIn("canary", "".join(self.problems(both)))
