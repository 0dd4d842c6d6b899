"""Every page that is served, found by requesting everything: what holds for all of them (contract
B8.10, threat A11, A12, A13)."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar, Iterator, Mapping, Optional
from urllib.parse import quote, urlencode

import attr
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys.captcha.stages import CaptchaStage
from regsys.cli.demo.server import TEST_KEYS, use_again, verify_captcha
from tests.support.client import Answer
from tests.web.test_fallback import HOSTILE, QUESTION, PageCase

HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-cache, no-store, must-revalidate",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}
POLICY = (
    "default-src 'none'",
    "style-src 'self'",
    "img-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
)
METHODS = ("GET", "POST", "PUT", "DELETE")
TOKEN_STAGE = "m.login.registration_token"
# The values for a {name} of a path.
CAPTCHAS = ("m.login.recaptcha", "org.regsys.hcaptcha", "org.regsys.turnstile", "org.regsys.altcha")
PATH_ARGS = (TOKEN_STAGE, QUESTION, "m.login.terms", "m.login.dummy", HOSTILE, *CAPTCHAS)
# Endpoints that have pages; the walk must reach each of them.
WITH_PAGES = {"fallback", "registration_page", "consent", "email_submit_token"}
# The page of an administrator's own, which may be styled freely.
RULES = "<!doctype html><title>Rules</title><p style='color: red'>{{ user }} {{ version }}"


@attr.define
class Markup(HTMLParser):
    """The dangerous parts of a page: ``violations`` are sentences."""

    policy: str
    violations: list[str] = attr.field(factory=list)
    _script: Optional[dict[str, Optional[str]]] = None

    def __attrs_post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        if tag == "style":
            self.violations.append("an inline style sheet")
        for name, value in attrs:
            if name.startswith("on") or name == "style":
                self.violations.append(f"{name}={value}")
            if tag == "a" and (value or "").startswith(("https://", "mailto:")):
                continue  # leads elsewhere, but loads nothing
            if name in ("src", "href", "action") and not self._is_known(value or ""):
                self.violations.append(f"{name}={value}")
        if tag == "script" and "src" not in dict(attrs):
            self._script = dict(attrs)

    def _is_known(self, address: str) -> bool:
        """Whether it is a URL of ours, or of a source that the policy names."""
        if "//" not in address and ":" not in address:
            return True
        words = (word.strip(";") for word in self.policy.split() if "//" in word)
        return any(
            re.match(re.escape(word).replace(r"\*", "[^/]*"), address) is not None for word in words
        )

    def handle_data(self, data: str) -> None:
        script, self._script = self._script, None
        if script is None or script.get("type") == "application/json":
            return
        if f"'{digest(data)}'" not in self.policy:
            self.violations.append(f"a script that the policy does not know: {data}")


def digest(script: str) -> str:
    """The hash of a script for a Content-Security-Policy."""
    raw = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(raw).decode()}"


class SafePages(SynchronousTestCase):
    """Assertions about every page."""

    def assertSafe(self, request: object, answer: Answer) -> None:
        for name, value in HEADERS.items():
            self.assertEqual(answer.headers.get(name), value, request)
        policy = answer.headers["content-security-policy"]
        if "color: red" in answer.json.decode():  # an administrator's page, and allowed to
            policy = policy.replace(" 'unsafe-inline'", "")
        for part in POLICY:
            self.assertRegex(f"{policy};", f"{part}( [^;']+)?;", request)
        self.assertNotIn("unsafe", policy, request)
        self.assertNotIn("cross-origin-opener-policy", answer.headers, request)
        page = Markup(policy)
        page.feed(answer.json.decode())
        own = ["style=color: red"] if "color: red" in answer.json.decode() else []
        self.assertEqual(page.violations, own, request)


class WalkTests(SafePages, PageCase):
    others = tuple(
        CaptchaStage(
            type=stage,
            public_key=HOSTILE,
            verify=verify_captcha,
            use_once=use_again,
            clock=Clock(),
        )
        for stage in TEST_KEYS
    )
    options: ClassVar[Mapping[str, Any]] = {
        "rc_registration_token_validity": {"per_second": 1000, "burst_count": 1000},
        "registration_requires_token": True,
        "regsys": {
            "introspection_secret": "x" * 20,
            "rc_availability": False,
            "sessions_per_ip": 10**6,
            "captcha": {"kind": "proof_of_work", "difficulty": 1},
            "pages": {
                "name": HOSTILE,
                "accent": "#ffdd00",
                "links": [{"text": HOSTILE, "url": "mailto:help@e.example"}],
                "client_url": "https://app.example/",
            },
        },
        "enable_registration_captcha": True,
        "user_consent": {"version": "1", "policy_name": HOSTILE, "require_at_registration": True},
        "form_secret": "y" * 20,
    }

    def setUp(self) -> None:
        rules = Path(self.mktemp()).resolve()
        (rules / "en").mkdir(parents=True)
        (rules / "en/1.html").write_text(RULES)
        consent = {**self.options["user_consent"], "template_dir": str(rules)}
        self.options = {**self.options, "user_consent": consent}
        super().setUp()

    def requests(self) -> Iterator[tuple[str, str, str, bytes]]:
        """Each endpoint by each method, with valid input and invalid: name, method, path, body."""
        fields = {"what": "a mirror", "token": "good"}
        queries = ["", f"?session={quote(HOSTILE)}&u={quote(HOSTILE)}&v=lost", "?session=<live>"]
        bodies = [{}, {**fields, "session": "<live>"}, dict.fromkeys(fields, HOSTILE), fields]
        for name, endpoint in self.subsystem._endpoints.items():
            for path, method in itertools.product(endpoint.paths, METHODS):
                for given in PATH_ARGS if "{stage}" in path else (HOSTILE,):
                    filled = re.sub("{.*?}", quote(given, safe=""), path)
                    for query, body in itertools.product(queries, bodies):
                        yield name, method, filled + query, urlencode(body, safe="<>").encode()

    def test_walk(self) -> None:
        """Each page has all headers of one, runs no script and loads nothing but the sources of its
        policy, and shows its input as text."""
        self.wait(self.subsystem.registration_tokens.create(token="good", settings={}))
        seen = set()
        for name, method, path, body in self.requests():
            session = self.begin() if "<live>" in f"{path} {body!r}" else ""
            path = path.replace("<live>", session)
            answer = self.client.ask(method, path, body.replace(b"<live>", session.encode()))
            if answer.headers.get("content-type", "").startswith("text/html"):
                self.assertSafe((method, path, body), answer)
                seen.add((name, answer.status))
        self.assertLessEqual(WITH_PAGES, {name for name, _ in seen})
        self.assertEqual({status for name, status in seen if name == "fallback"}, {200, 400, 404})

    def test_wouldSee(self) -> None:
        """Each of these mistakes would be found."""
        known = (
            "script-src 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' https://good.example/"
        )
        for markup in (
            "<script>alert(1)</script>",
            "<style>p {}</style>",
            '<p style="color: red">',
            "<p onclick=x()>",
            '<img src="https://bad.example/x.png">',
            '<a href="javascript:x()">',
            "<script src=//bad.example/x.js></script>",
        ):
            page = Markup(known)
            page.feed(markup)
            self.assertEqual(len(page.violations), 1, markup)
        page = Markup(known)
        page.feed('<script src="https://good.example/x.js"></script><a href="/x">x</a>')
        page.feed('<script type="application/json">{"a": "b"}</script>')
        self.assertEqual(page.violations, [])
