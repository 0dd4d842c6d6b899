"""The pages of policies: their versions and languages, and how they are accepted."""

from __future__ import annotations

import hmac
import re
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlencode, urlsplit

from zope.interface import implementer

from regsys.errors import Unavailable
from regsys.interfaces.internal import IJobPlanner
from regsys.model import NewAccount, UserID
from regsys.model.jobs import Job, NewJob
from tests.support.case import SystemCase
from tests.support.client import Answer
from tests.support.due_jobs import run_due
from tests.support.job_kinds import plan_also
from tests.support.policies import CANARY, FORM_SECRET, user_consent, write_pages

PATH = "/_matrix/consent"


def signed(who: str) -> str:
    return hmac.new(FORM_SECRET.encode(), who.encode(), "sha256").hexdigest()


@implementer(IJobPlanner)
class Waiting:
    """Runs users' waiting jobs after their consent, at the second try."""

    def __init__(self) -> None:
        self.admitted: list[str] = []
        self.is_closed = True

    def jobs_for(self, new: NewAccount) -> list[NewJob]:
        return []

    def jobs_after_consent(self, user_id: UserID) -> list[NewJob]:
        return [NewJob(kind="admit", payload={"who": str(user_id)}, dedup_key=f"admit {user_id}")]

    async def admit(self, job: Job) -> None:
        self.is_closed, was_closed = False, self.is_closed
        if was_closed:
            raise Unavailable()
        self.admitted.append(job.payload["who"])


class ConsentCase(SystemCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp())
        write_pages(self.folder, "1.0", "0.9")
        self.system(**user_consent(self.folder, require_at_registration=False))
        self.register("alice")

    def page(self, language: Optional[str] = None, **query: str) -> Answer:
        headers = {} if language is None else {"Accept_Language": language}
        return self.client.get(f"{PATH}?{urlencode(query)}", **headers)

    def accept(self, **form: str) -> Answer:
        return self.client.post(PATH, urlencode(form).encode())

    def assertPage(self, answer: Answer, status: int, *parts: str) -> None:
        self.assertEqual((answer.status, answer.headers["content-type"][:9]), (status, "text/html"))
        for part in parts:
            self.assertIn(part, answer.json.decode())

    def consents(self) -> Any:
        return self.rows("SELECT user_id, policy, version FROM consents ORDER BY version")


class ReadingTests(ConsentCase):
    def test_everybody(self) -> None:
        """The current version, or an earlier one, can be read without a form."""
        for query, version in (({}, "1.0"), ({"v": "1.0"}, "1.0"), ({"v": "0.9"}, "0.9")):
            answer = self.page(**query)
            self.assertPage(answer, 200, f"en, version {version} of us")
            self.assertNotIn(b"form", answer.json)

    def test_languages(self) -> None:
        """The reader's language is used if the version has it, otherwise English."""
        write_pages(self.folder, "1.0", language="de")
        for language, version, expected in (
            ("de-AT, en;q=0.5", "1.0", "de"),
            ("de", "0.9", "en"),
            ("fr", "1.0", "en"),
        ):
            self.assertPage(self.page(language, v=version), 200, f"{expected}, version {version}")

    def test_unknown(self) -> None:
        """No other version or policy is found, and no other file; nothing is echoed."""
        (self.folder / "secret.html").write_text("secret")
        (self.folder / "en" / "success.html").write_text("secret")
        for query in (
            {"v": "2.0"},
            {"v": "../secret"},
            {"v": "..%2Fsecret"},
            {"v": "../en/1.0"},
            {"v": str(self.folder.resolve() / "secret")},
            {"v": "success"},
            {"v": "1.0.html"},
            {"v": CANARY},
            {"p": CANARY},
            {"p": "terms"},
        ):
            answer = self.page(**query)
            self.assertPage(answer, 404, "no such policy")
            self.assertNotIn(b"secret", answer.json)
            self.assertNotIn(CANARY.encode(), answer.json)
        self.assertEqual(self.client.get(f"{PATH}?v=%00").status, 400)

    def test_headers(self) -> None:
        """The page may have styles and pictures of its own, and still no script or frame."""
        policy = self.page().headers["content-security-policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertIn("style-src 'self' 'unsafe-inline'", policy)
        self.assertIn("img-src 'self' data:", policy)
        self.assertNotIn("script-src", policy)
        for answer in (self.page(), self.page(v="2.0")):
            for directive in ("frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"):
                self.assertIn(directive, answer.headers["content-security-policy"])
            self.assertEqual(answer.headers["x-frame-options"], "DENY")
            self.assertEqual(answer.headers["referrer-policy"], "no-referrer")
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
            self.assertIn("no-store", answer.headers["cache-control"])
        self.assertNotIn("unsafe-inline", answer.headers["content-security-policy"])

    def test_withoutPolicies(self) -> None:
        """Without policies there is no such path."""
        self.system()
        self.assertRefused(self.page(), 404, "M_UNRECOGNIZED")


class AcceptingTests(ConsentCase):
    def link(self, **more: str) -> dict[str, str]:
        return {"u": "alice", "h": signed("alice"), **more}

    def test_form(self) -> None:
        """A user's link leads to a form; sending it accepts the policy; then the page says so."""
        link = urlsplit(self.subsystem.consents.link(UserID("alice", "test.example")))
        answer = self.client.get(f"{link.path}?{link.query}")
        fields = {"v": "1.0", "u": "alice", "h": signed("alice")}
        for name, value in fields.items():
            self.assertPage(answer, 200, f'name="{name}" value="{value}"')
        self.assertPage(self.accept(**fields), 200, "Thank you")
        self.assertEqual(self.consents(), [("@alice:test.example", "privacy_policy", "1.0")])
        self.assertPage(self.client.get(f"{link.path}?{link.query}"), 200, "Agreed.")
        self.assertPage(self.page(**self.link(v="0.9")), 200, "<form")

    def test_thanks(self) -> None:
        """An administrator's own page may thank instead of ours, in the reader's language."""
        (self.folder / "en" / "success.html").write_text("<style></style>Much obliged")
        answer = self.accept(**self.link(v="1.0"))
        self.assertPage(answer, 200, "Much obliged")
        self.assertIn("unsafe-inline", answer.headers["content-security-policy"])

    def test_whatHasWaited(self) -> None:
        """After the consent the user's waiting jobs run, once; their failure is not shown to the
        user, and they are retried."""
        part = Waiting()
        plan_also(self, part, "admit", part.admit)
        self.system(**user_consent(self.folder), database=self.database)
        self.assertPage(self.accept(**self.link(v="0.9")), 200, "Thank you")
        self.assertPage(self.accept(**self.link(v="1.0")), 200, "Thank you")
        self.assertEqual(part.admitted, [])
        self.assertEqual(len(self.failed_jobs.flush()), 1)
        self.clock.advance(2)
        self.wait(run_due(self.subsystem.jobs))
        self.assertPage(self.accept(**self.link(v="1.0")), 200, "Thank you")
        self.assertEqual(part.admitted, ["@alice:test.example"])
        self.assertEqual(self.counts()["jobs"], 0)

    def test_onlyPost(self) -> None:
        """GET and HEAD accept nothing, whatever the query."""
        for method in ("GET", "HEAD"):
            answer = self.client.ask(method, f"{PATH}?{urlencode(self.link(v='1.0'))}")
            self.assertEqual(answer.status, 200)
        self.assertEqual(self.consents(), [])

    def test_refused(self) -> None:
        """Without the signature of this very user nothing is shown or accepted."""
        self.register("bob")
        good = self.link(v="1.0")
        for change, status in (
            ({"h": signed("bob")}, 403),
            ({"u": "bob"}, 403),
            ({"u": CANARY}, 403),
            ({"u": "carol", "h": signed("carol")}, 404),
            ({"v": "2.0"}, 404),
            ({"v": "../1.0"}, 404),
            ({"p": "terms"}, 404),
        ):
            for answer in (self.page(**{**good, **change}), self.accept(**{**good, **change})):
                self.assertPage(answer, status, "That did not work")
                self.assertNotIn(CANARY.encode(), answer.json)
        for missing in ("u", "h", "v"):
            form = {name: value for name, value in good.items() if name != missing}
            self.assertPage(self.accept(**form), 400, f"&#39;{missing}&#39; is missing")
        self.assertPage(self.client.get(f"{PATH}?u=alice"), 403)
        self.assertEqual(self.consents(), [])

    def test_canary(self) -> None:
        """A historical user ID is not interpreted as HTML."""
        who = UserID(CANARY, "test.example")
        new = NewAccount(key="k", user_id=who, created_ms=self.now_ms)
        self.wait(self.subsystem.handler.register_with_store(new))
        answer = self.page(u=CANARY, h=signed(CANARY))
        self.assertPage(answer, 200, 'value="&lt;x onload&gt;"')
        self.assertNotIn(CANARY.encode(), answer.json)
        self.assertPage(self.accept(u=CANARY, h=signed(CANARY), v="1.0"), 200)


class FurtherPoliciesTests(ConsentCase):
    def setUp(self) -> None:
        super().setUp()
        (self.folder / "rules.html").write_text(
            "{{ policy }} {{ version }} {{ has_consented }} {% include 'foot.html' %}"
        )
        (self.folder / "regeln.html").write_text("Regeln {{ version }}")
        (self.folder / "foot.html").write_text("the end")
        texts = {
            language: {"name": "Rules", "file": str(self.folder / name)}
            for language, name in (("en", "rules.html"), ("de", "regeln.html"))
        }
        elsewhere = {"en": {"name": "Cookies", "url": "https://cake.example/"}}
        policies = {"rules": {"version": 2, **texts}, "cake": {"version": "1", **elsewhere}}
        self.system(regsys={"policies": policies}, database=self.database, form_secret=FORM_SECRET)

    def test_reading(self) -> None:
        """A file of ours is read in the language of the link, otherwise in the reader's."""
        for language, query, expected in (
            (None, {}, "rules 2 False the end"),
            (None, {"v": "2", "lang": "de"}, "Regeln 2"),
            ("de", {"lang": "en"}, "rules 2"),
            ("de", {}, "Regeln 2"),
        ):
            self.assertPage(self.page(language, p="rules", **query), 200, expected)
        for name, version in (("rules", "1"), ("cake", "1"), ("privacy_policy", "1.0")):
            self.assertPage(self.page(p=name, v=version), 404)

    def test_accepting(self) -> None:
        """It is accepted like any other, by its name and version."""
        link = {"p": "rules", "u": "alice", "h": signed("alice")}
        self.assertPage(self.accept(**link, v="2"), 200, "Thank you")
        self.assertEqual(self.consents(), [("@alice:test.example", "rules", "2")])
        self.assertPage(self.page(**link), 200, "rules 2 True")
        self.assertPage(self.accept(**{**link, "p": "cake"}, v="1"), 404)


class FramedPolicyTests(SystemCase):
    """A policy that is written as a text, without a frame of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.register("alice")
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        self.rules = folder / "rules.html"
        self.rules.write_text("<style>b {}</style><p>Seid <b>nett</b> {{ version }}.")
        (folder / "own.html").write_text("<h1>Ours</h1>{% if has_consented %}Agreed{% endif %}")
        rules = {
            "version": "1",
            "de": {"name": "Regeln & mehr", "file": str(self.rules)},
        }
        own = {"version": "1", "en": {"name": "Own", "file": str(folder / "own.html")}}
        pages = {"name": "Example"}
        self.system(
            regsys={"policies": {"rules": rules, "own": own}, "pages": pages},
            form_secret=FORM_SECRET,
            database=self.database,
        )

    def test_frame(self) -> None:
        """It is shown in our frame, under its name, in its own language; it may have styles."""
        answer = self.client.get("/_matrix/consent?p=rules", Accept_Language="en")
        page = answer.json.decode()
        for part in (
            '<html lang="en">',
            '<h1 lang="de">Regeln &amp; mehr</h1>',
            '<div lang="de">\n<style>b {}</style><p>Seid <b>nett</b> 1.',
            "Example",
        ):
            self.assertIn(part, page)
        self.assertNotIn("<form", page)
        self.assertIn("'unsafe-inline'", answer.headers["content-security-policy"])
        self.assertNotIn("script-src", answer.headers["content-security-policy"])

    def test_whole(self) -> None:
        """A whole page is as its author wrote it; a text about heads and bodies is none."""
        whole = ["<!DOCTYPE html><p>x", "<html><p>x", "x<head></head>", "<Body class=a>x"]
        for text in (*whole, "<header>x</header> &lt;body>"):
            self.rules.write_text(text)
            answer = self.client.get("/_matrix/consent?p=rules").json.decode()
            self.assertEqual(answer == text, text in whole, text)

    def link(self, policy: str) -> str:
        url = self.subsystem.consents.link(UserID("alice", "test.example"), policy)
        return "/" + url.split("/", 3)[3]

    def test_agreeing(self) -> None:
        """By a user's link it has the form that accepts it, unless it looks after that itself."""
        page = self.client.get(self.link("rules"), Accept_Language="en").json.decode()
        fields = dict(re.findall(r'name="(\w)" value="(.*?)"', page))
        self.assertEqual(sorted(fields), ["h", "p", "u", "v"])
        self.assertIn("I agree", page)
        body = "&".join(f"{name}={value}" for name, value in fields.items())
        done = self.client.post("/_matrix/consent", body.encode())
        self.assertEqual(done.status, 200)
        again = self.client.get(self.link("rules"), Accept_Language="en").json.decode()
        self.assertIn("You have agreed to this.", again)
        self.assertNotIn("<form", again)
        own = self.client.get(self.link("own")).json.decode()
        self.assertNotIn("<form", own)
        self.assertEqual(re.findall("<h1.*?</h1>", own), ["<h1>Ours</h1>"])
