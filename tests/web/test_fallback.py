"""The fallback pages of stages."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from pathlib import Path
from typing import Any, ClassVar, Mapping, Optional, Sequence
from urllib.parse import quote, urlencode

import attr
from twisted.internet.defer import Deferred, succeed
from twisted.logger import capturedLogs, formatEvent
from zope.interface import implementer

from regsys.errors import StageFailed, Unavailable
from regsys.interfaces import IStage, StageContext, StagePage
from regsys.model import UIASession
from tests.support.case import DUMMY, UIASessionCase
from tests.support.client import V3, Answer

QUESTION = "org.example.question"
# In a question, in an answer, in a name: none of it may be interpreted as HTML.
HOSTILE = "<b onload=x>'\"&%(x)s</script>"


@implementer(IStage)
@attr.define
class QuestionPage:
    """An embedder's stage with a page; ``down``: it cannot check an answer. It checks once
    ``thinking`` fires."""

    down: bool = False
    thinking: Deferred[None] = attr.field(factory=lambda: succeed(None))
    tries: int = 0
    type = QUESTION
    page = StagePage(
        template="question.html",
        fields={"what": "answer"},
        sources={"script-src": ("https://questions.example/",)},
    )

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return {"question": f"What is {HOSTILE}?"}

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        self.tries += 1
        await self.thinking
        if self.down:
            raise Unavailable("Nobody is here to judge.")
        if auth["answer"] != "a mirror":
            raise StageFailed("M_UNAUTHORIZED", f"It is not {auth['answer']}.")
        return {"answered": auth["answer"]}


class PageCase(UIASessionCase):
    """Registration by a question that has a page; ``others`` are on offer, too."""

    others: ClassVar[Sequence[IStage]] = ()

    def setUp(self) -> None:
        super().setUp()
        templates = Path(self.mktemp()).resolve()
        templates.mkdir()
        self.template = templates / "question.html"
        self.template.write_text("<p>{{ params.question }}</p><input name=what>")
        self.question = QuestionPage()
        hooks = self.hooks(
            stages=[self.question, *self.others],
            flows=[(QUESTION, DUMMY["type"])],
            template_directories=[str(templates)],
        )
        self.system(hooks=hooks, **self.options)

    def path(self, stage: str = QUESTION, version: str = V3) -> str:
        return f"{version}/auth/{quote(stage, safe='')}/fallback/web"

    def show(self, session: str, **more: Any) -> Answer:
        return self.client.get(f"{self.path()}?session={quote(session)}", **more)

    def send(self, query: str = "", **fields: str) -> Answer:
        return self.client.post(self.path() + query, urlencode(fields).encode())

    def assertShows(self, answer: Answer, *parts: str, status: int = 200) -> None:
        """A page with these parts, and all headers of one."""
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers["content-type"], "text/html; charset=utf-8")
        for part in parts:
            self.assertIn(part, answer.json.decode())

    def assertPassed(self, answer: Answer) -> None:
        self.assertShows(answer, "This step is done", "onAuthDone")


class FallbackTests(PageCase):
    def test_passed(self) -> None:
        """The page shows the stage's form; its answer is checked like any client's, and is kept."""
        session = self.begin()
        form = self.show(session)
        self.assertShows(form, "What is", "<input name=what>", f'value="{session}"')
        self.assertNotIn("role", form.json.decode())
        self.assertPassed(self.send(session=session, what="a mirror"))
        answer = self.go_on(session)
        self.assertRegistered(answer, "alice")

    def test_brokenLater(self) -> None:
        """An embedder's page that fails is a styled refusal; the log says which and why, and the
        session goes on once it is mended."""
        session = self.begin()
        good = self.template.read_text()
        self.template.write_text("{{ params.question.nowhere.at_all }}")
        os.utime(self.template, (1, 1))
        with capturedLogs() as logs:
            self.assertShows(self.show(session), "That did not work", "try again", status=503)
        line, refused = map(formatEvent, logs)
        self.assertIn("refused GET", str(refused))
        self.assertIn(f"(line 1 of {self.template})", line)
        self.template.write_text(good)
        os.utime(self.template, (2, 2))
        self.assertShows(self.show(session), "What is")

    def test_r0(self) -> None:
        """Either version's page serves a session of the other: its id is enough."""
        session = self.begin()
        path = self.path(version=V3.replace("v3", "r0"))
        self.assertShows(self.client.get(f"{path}?session={session}"), "What is")

    def test_refused(self) -> None:
        """A wrong answer is a 200 with the form again and the reason; another may be tried."""
        session = self.begin()
        answer = self.send(session=session, what="a horse")
        self.assertShows(answer, "<form", '<p role="alert" id="failure">It is not a horse.</p>')
        self.assertEqual(self.go_on(session).json["completed"], [DUMMY["type"]])
        self.assertPassed(self.send(session=session, what="a mirror"))

    def test_down(self) -> None:
        """If it cannot be checked, the form comes again with a 503; the session lives."""
        session = self.begin()
        self.question.down = True
        answer = self.send(session=session, what="a mirror")
        self.assertShows(answer, "<form", "Nobody is here to judge.", status=503)
        self.assertEqual(answer.headers["retry-after"], "2")
        self.question.down = False
        self.assertPassed(self.send(session=session, what="a mirror"))

    def test_again(self) -> None:
        """A passed stage is not tried again, nor is one of a finished session."""
        session = self.begin()
        self.send(session=session, what="a mirror")
        for answer in (self.show(session), self.send(session=session)):
            self.assertPassed(answer)
        self.assertRegistered(self.go_on(session), "alice")
        before = self.rows("SELECT * FROM uia_sessions")
        for answer in (self.show(session), self.send(session=session, what="a horse")):
            self.assertPassed(answer)
        self.assertEqual(self.question.tries, 1)
        self.assertEqual(self.rows("SELECT * FROM uia_sessions"), before)

    def test_twiceAtOnce(self) -> None:
        """A form that is sent twice at once is checked once."""
        self.question.thinking = Deferred()
        form = urlencode({"session": self.begin(), "what": "a mirror"}).encode()
        sent = [self.client.start("POST", self.path(), form) for _ in range(2)]
        self.question.thinking.callback(None)
        for answer in sent:
            self.assertPassed(self.client.answer(answer))
        self.assertEqual(self.question.tries, 1)

    def test_session(self) -> None:
        """A session is in the query or in the form; without one, or with one that has expired, a
        page says so."""
        session = self.begin()
        self.assertPassed(self.send(f"?session={session}", what="a mirror"))
        for answer in (self.client.get(self.path()), self.send(what="a mirror")):
            self.assertShows(answer, "session&#39; is missing", status=400)
        for lost in ("lost", HOSTILE):
            for answer in (self.show(lost), self.send(session=lost, what="a mirror")):
                self.assertShows(answer, "unknown or has expired", status=400)
        self.clock.advance(48 * 3600)
        self.assertShows(self.show(session), "unknown or has expired", status=400)

    def test_fields(self) -> None:
        """A missing field is a 400 with the form again, an empty one is for the stage to check; a
        malformed form is refused."""
        session = self.begin()
        again = ("fill in the whole form", "<input name=what>")
        self.assertShows(self.send(session=session), *again, status=400)
        self.assertShows(self.send(session=session, what=""), "It is not .")
        self.assertShows(self.client.post(self.path(), b"what=%ff"), "role", status=400)

    def test_noPage(self) -> None:
        """A stage without a fallback page, or that is not on offer, has no page."""
        session = self.begin()
        for stage in (DUMMY["type"], "m.login.terms", HOSTILE):
            for method, body in (("GET", None), ("POST", b"")):
                answer = self.client.ask(method, f"{self.path(stage)}?session={session}", body)
                self.assertShows(answer, "There is no page for this step", status=404)

    def test_hostile(self) -> None:
        """Values from outside are shown as text."""
        session = self.begin()
        for answer in (self.show(session), self.send(session=session, what=HOSTILE)):
            page = answer.json.decode()
            self.assertIn("&lt;b onload=x&gt;&#39;&#34;&amp;%(x)s&lt;/script&gt;", page)
            self.assertNotIn("<b onload", page)

    def test_policies(self) -> None:
        """The form may load the sources of its stage; the page at the end runs its one script and
        nothing else."""
        session = self.begin()
        form = self.show(session).headers["content-security-policy"]
        self.assertIn("script-src https://questions.example/", form)
        passed = self.send(session=session, what="a mirror")
        (script,) = re.findall("<script>(.*?)</script>", passed.json.decode(), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = passed.headers["content-security-policy"]
        self.assertIn(f"script-src 'sha256-{digest}'", policy)
        self.assertNotIn("questions", policy)


class LimitTests(PageCase):
    options: ClassVar[Mapping[str, Any]] = {
        "rc_registration": {"per_second": 0.1, "burst_count": 1}
    }

    def test_limit(self) -> None:
        """An address beyond the limit of registrations cannot pass stages either."""
        session = self.begin("bob")
        self.send(session=session, what="a mirror")
        other = self.begin()
        self.assertRegistered(self.go_on(session), "bob")
        answer = self.send(session=other, what="a mirror")
        self.assertShows(answer, "Too many requests", status=429)
        self.assertEqual(self.question.tries, 1)


class TokenPageTests(UIASessionCase):
    """The page of our own token stage."""

    options: ClassVar[Mapping[str, Any]] = {
        "registration_requires_token": True,
        "rc_registration_token_validity": {"per_second": 0.1, "burst_count": 1},
    }

    def test_token(self) -> None:
        """A token is used once, and counted once; a try beyond the limit shows the form again."""
        tokens = self.subsystem.registration_tokens
        self.wait(tokens.create(token="good", settings={"uses_allowed": 1}))
        session, path = self.begin(), f"{V3}/auth/m.login.registration_token/fallback/web"
        for token, status, sentence in (
            ("bad", 200, "not valid"),
            ("good", 429, "Too many requests"),
            ("good", 200, "This step is done"),
            ("good", 200, "This step is done"),
        ):
            form = urlencode({"session": session, "token": token}).encode()
            answer = self.client.post(path, form)
            self.assertEqual(answer.status, status, answer)
            self.assertIn(sentence, answer.json.decode())
            if status == 429:
                self.clock.advance(10)
        self.assertEqual(self.wait(tokens.get("good")).pending, 1)
        self.assertRegistered(self.go_on(session), "alice")
        self.assertEqual(self.wait(tokens.get("good")).completed, 1)
