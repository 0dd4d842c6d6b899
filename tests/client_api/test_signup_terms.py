"""Registering with policies to accept: the stage, what is stored, what a change means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regsys import wiring
from regsys.consent import TermsStage
from regsys.interfaces import IStage, StageContext
from regsys.model import UIASession, UserID
from regsys.templates import Templates
from regsys.testing import (
    MemoryAccounts,
    MemoryAuth,
    MemoryDevices,
    config,
    memory_process,
    provides,
)
from tests.support.case import DUMMY, UIASessionCase
from tests.support.client import Answer, Client
from tests.support.policies import CANARY, TERMS, user_consent, write_pages

ACCEPT = {"type": TERMS}
RULES = {
    "version": "2",
    "en": {"name": "Rules", "url": "https://rules.example/en"},
    "it": {"name": "Regole", "url": "https://rules.example/it"},
}


class TermsCase(UIASessionCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = write_pages(Path(self.mktemp()), "1.0", "1.1")
        self.system(**user_consent(self.folder))

    def restart(self, **options: Any) -> None:
        """The same server, with other options."""
        self.system(database=self.database, **options)

    def passed(self, username: str = "alice") -> str:
        """A new session that has accepted the policies."""
        session = self.begin(username)
        self.assertCompleted(self.go_on(session, ACCEPT), TERMS)
        return session

    def assertCompleted(self, answer: Answer, *stages: str) -> None:
        self.assertEqual((answer.status, answer.json.get("completed")), (401, [*stages]), answer)
        self.assertNotIn("errcode", answer.json)

    def consents(self) -> Any:
        sql = "SELECT user_id, policy, version, accepted_ms FROM consents ORDER BY policy"
        return self.rows(sql)


class UIASessionTests(TermsCase):
    def test_challenge(self) -> None:
        """The challenge has the policies to show, their versions, and their links."""
        challenge = self.challenge(username="alice")
        self.assertEqual(challenge["flows"], [{"stages": [TERMS, DUMMY["type"]]}])
        url = "https://test.example/_matrix/consent?v=1.0"
        policy = {"version": "1.0", "en": {"name": "Privacy Policy", "url": url}}
        self.assertEqual(challenge["params"], {TERMS: {"policies": {"privacy_policy": policy}}})

    def test_accepted(self) -> None:
        """The account is stored with what was accepted, and when."""
        session = self.passed()
        self.assertEqual(self.consents(), [])
        self.clock.advance(5)
        answer = self.go_on(session)
        self.assertRegistered(answer, "alice")
        expected = [("@alice:test.example", "privacy_policy", "1.0", self.now_ms)]
        self.assertEqual(self.consents(), expected)
        self.assertEqual(self.go_on(session).json, answer.json)
        self.assertEqual(self.consents(), expected)

    def test_order(self) -> None:
        """The stages may come in any order; with one alone there is no account."""
        session = self.begin()
        self.assertCompleted(self.go_on(session), DUMMY["type"])
        self.assertRegistered(self.go_on(session, ACCEPT), "alice")

    def test_several(self) -> None:
        """Several policies are accepted together, each in its version."""
        self.system(**user_consent(self.folder), regsys={"policies": {"rules": RULES}})
        params = self.challenge()["params"][TERMS]["policies"]
        self.assertEqual(list(params), ["privacy_policy", "rules"])
        self.assertEqual(params["rules"], RULES)
        self.assertRegistered(self.go_on(self.passed()), "alice")
        accepted = [(policy, version) for _, policy, version, _ in self.consents()]
        self.assertEqual(accepted, [("privacy_policy", "1.0"), ("rules", "2")])

    def test_newVersion(self) -> None:
        """A policy that changes before the account is made must be accepted again; no account has
        accepted a version that its user did not see."""
        session = self.passed()
        self.restart(**user_consent(self.folder, "1.1"))
        answer = self.go_on(session)
        self.assertCompleted(answer, DUMMY["type"])
        self.assertEqual(
            answer.json["params"][TERMS]["policies"]["privacy_policy"]["version"], "1.1"
        )
        self.assertRegistered(self.go_on(session, ACCEPT), "alice")
        ((_, _, version, _),) = self.consents()
        self.assertEqual(version, "1.1")

    def test_noLongerAsked(self) -> None:
        """A policy that is no longer required when the account is made is not missed."""
        session = self.passed()
        self.restart()
        self.assertRegistered(self.go_on(session), "alice")
        self.assertEqual(self.consents(), [])

    def test_notAsked(self) -> None:
        """If no policy is required, the stage is passed all the same, and stores nothing."""
        self.system()
        self.assertNotIn("params", [*self.challenge()["params"]])
        session = self.begin()
        self.assertCompleted(self.go_on(session, ACCEPT), TERMS)
        self.assertRegistered(self.go_on(session), "alice")
        self.assertEqual(self.consents(), [])

    def test_guests(self) -> None:
        """Guests accept nothing; a guest who becomes a user does."""
        guest = self.guest()
        self.assertEqual(self.consents(), [])
        name = guest["user_id"][1:].partition(":")[0]
        body = {"username": name, "guest_access_token": guest["access_token"]}
        session = self.begin(**body)
        self.assertCompleted(self.go_on(session, ACCEPT, **body), TERMS)
        self.assertRegistered(self.go_on(session, **body), name)
        self.assertEqual([row[0] for row in self.consents()], [guest["user_id"]])


class EmbeddedTests(TermsCase):
    """In front of a homeserver's own accounts."""

    def setUp(self) -> None:
        super().setUp()
        chosen = config(**user_consent(self.folder))
        accounts = MemoryAccounts()
        devices = MemoryDevices(accounts)
        self.subsystem = wiring.embedded(
            chosen,
            self.clock,
            store=accounts,
            devices=devices,
            auth=MemoryAuth(devices),
            process=memory_process(self, chosen, self.clock, self.database),
        )
        self.client = Client(self, self.subsystem.resource())

    def test_accepted(self) -> None:
        """Consents of new users are stored by regsys, and users have links, too."""
        self.assertRegistered(self.go_on(self.passed()), "alice")
        alice = UserID("alice", "test.example")
        self.assertEqual(self.wait(self.subsystem.consents.missing(alice)), [])
        link = self.subsystem.consents.link(alice).removeprefix("https://test.example")
        self.assertIn(b"Agreed.", self.client.get(link).json)
        self.assertEqual(self.client.get(link.replace("u=alice", "u=bob")).status, 403)


class StageTests(TermsCase):
    session = UIASession(session_id="S", method="POST", uri="/", created_ms=0, expires_ms=1)

    def test_provides(self) -> None:
        """The stage offers all of IStage."""
        provides(IStage, TermsStage({"rules": RULES}))

    def test_check(self) -> None:
        """It is always passed, and its result has the versions."""
        stage = TermsStage({"rules": RULES})
        for auth in ({}, {"accepted": None}):
            context = StageContext(session=self.session, client=None)  # type: ignore[arg-type]
            self.assertEqual(self.wait(stage.check(auth, context)), {"rules": "2"})

    def test_nothing(self) -> None:
        """Without policies it has no params, and no fallback page."""
        stage = TermsStage({})
        self.assertEqual((stage.page, stage.params(self.session)), (None, None))


class PageTests(TermsCase):
    def page(self, *languages: str, **policies: Any) -> str:
        stage = TermsStage(policies)
        assert stage.page is not None
        self.assertEqual(stage.page.fields, {"accepted": "accepted"})
        return Templates.load("https://hs.example/").render(
            stage.page.template, languages, params=stage.params(StageTests.session)
        )

    def test_languages(self) -> None:
        """Each policy is a link in the best of its own languages, which it names."""
        german = {"version": "1", "de": {"name": "Regeln", "url": "https://rules.example/de"}}
        for wanted, name, tag in (("it-ch", "Regole", "it"), ("de", "Rules", "en")):
            page = self.page(wanted, rules=RULES, german=german)
            self.assertIn(f'href="https://rules.example/{tag}" hreflang="{tag}" lang="{tag}"', page)
            self.assertIn(f">{name}</a>", page)
            self.assertIn(">Regeln</a>", page)

    def test_checkbox(self) -> None:
        """The user must tick a box, which has a label."""
        page = self.page(rules=RULES)
        self.assertRegex(page, '<label for="accepted"><input id="accepted" [^>]*required>')

    def test_canary(self) -> None:
        """No name or address is interpreted as HTML."""
        text = {"name": CANARY, "url": 'https://rules.example/"' + CANARY}
        page = self.page(rules={"version": CANARY, "en": text})
        self.assertNotIn("<x", page)
        self.assertIn("&lt;x onload&gt;", page)
        self.assertIn("https://rules.example/&#34;&lt;x", page)
