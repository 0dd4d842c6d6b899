"""The policies that new users must accept, and the links by which single users accept them."""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import parse_qs, urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys.accounts.post_registration_jobs import JobPlanners
from regsys.config import TermsConfig
from regsys.config.terms import Policy, PolicyText
from regsys.consent import Consents, policies_json
from regsys.errors import Forbidden, UserNotFound
from regsys.model import Secret, UserID
from regsys.model.accounts import Consent
from regsys.model.jobs import NewJob
from regsys.storage.consents import ConsentStore
from regsys.testing import MemoryAccounts
from regsys.testing.contracts.case import SERVER, account, user
from regsys.testing.database import memory_database

BASE = "https://hs.example/deep/"
KEY = "the key"
POLICIES = {
    "privacy_policy": Policy(version="1.0", texts={"en": PolicyText(name="Privacy")}),
    "rules": Policy(
        version="2",
        texts={
            "en": PolicyText(name="Rules", file="rules.html"),
            "de": PolicyText(name="Regeln", url="https://rules.example/de"),
        },
    ),
    "cookies": Policy(
        version="b",
        texts={"fr": PolicyText(name="Gâteaux", url="https://cake.example/")},
        at_registration=False,
    ),
}


class OfferTests(SynchronousTestCase):
    def test_offer(self) -> None:
        """Each policy for new users has its version, and by language name and link."""
        terms = TermsConfig(policies=POLICIES, template_dir="pages")
        consent = f"{BASE}_matrix/consent"
        self.assertEqual(
            policies_json(terms, BASE),
            {
                "privacy_policy": {
                    "version": "1.0",
                    "en": {"name": "Privacy", "url": f"{consent}?v=1.0"},
                },
                "rules": {
                    "version": "2",
                    "en": {"name": "Rules", "url": f"{consent}?p=rules&v=2&lang=en"},
                    "de": {"name": "Regeln", "url": "https://rules.example/de"},
                },
            },
        )


class ConsentsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.started: list[NewJob] = []
        self.accounts = MemoryAccounts()
        self.store = ConsentStore(memory_database(self, self.clock))
        self.consents = self.make()
        self.wait(self.accounts.create_account(account("key", "alice")))

    def make(self, key: Any = KEY) -> Consents:
        secret = None if key is None else Secret(key)
        return Consents(
            terms=TermsConfig(policies=POLICIES, template_dir="pages", form_secret=secret),
            store=self.store,
            planners=JobPlanners(),
            start_jobs=self.started.extend,
            accounts=self.accounts,
            server_name=SERVER,
            public_baseurl=BASE,
            clock=self.clock,
        )

    def wait(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def signed(self, who: str) -> str:
        """The same as the output of ``openssl sha256 -hmac``."""
        return hmac.new(KEY.encode(), who.encode(), "sha256").hexdigest()

    def assertRefused(self, error: type[Exception], who: str, signature: str) -> None:
        owner = Deferred.fromCoroutine(self.consents.owner(who, signature))
        self.failureResultOf(owner, error)

    def test_link(self) -> None:
        """A link contains its user and the policy; the user can be read from it again."""
        for policy, more in (("privacy_policy", {}), ("rules", {"p": ["rules"]})):
            link = urlsplit(self.consents.link(user("alice"), policy))
            self.assertEqual(link._replace(query="").geturl(), f"{BASE}_matrix/consent")
            query = parse_qs(link.query)
            self.assertEqual(query, {"u": ["alice"], "h": [self.signed("alice")], **more})
        self.assertEqual(self.wait(self.consents.owner("alice", query["h"][0])), user("alice"))

    def test_noLink(self) -> None:
        """There is no link to a page that isn't ours, and none without a secret."""
        for consents, policy in ((self.consents, "cookies"), (self.consents, "unknown")):
            self.assertRaises(ValueError, consents.link, user("alice"), policy)
        self.assertRaises(ValueError, self.make(None).link, user("alice"))

    def test_owner(self) -> None:
        """A localpart or a user ID is valid, with the signature of exactly that."""
        whole = str(user("alice"))
        for who in ("alice", whole):
            self.assertEqual(self.wait(self.consents.owner(who, self.signed(who))), user("alice"))
        good = self.signed("alice")
        for wrong in ("", "é", good[:-1], good + "0", good.upper(), self.signed("bob")):
            self.assertRefused(Forbidden, "alice", wrong)
        self.assertRefused(Forbidden, whole, good)

    def test_nobody(self) -> None:
        """Only a valid signature reveals that there is no such account."""
        for who in ("bob", f"@bob:{SERVER}", "@alice:elsewhere.example", "@", "@alice"):
            self.assertRefused(UserNotFound, who, self.signed(who))
            self.assertRefused(Forbidden, who, self.signed("alice"))

    def test_withoutSecret(self) -> None:
        """Without a secret no signature is valid, not even that of an empty key."""
        self.consents = self.make(None)
        empty = hmac.new(b"", b"alice", "sha256").hexdigest()
        for signature in (self.signed("alice"), empty, ""):
            self.assertRefused(Forbidden, "alice", signature)

    def test_accepting(self) -> None:
        """An accepted policy is no longer missing, until there is a newer version."""
        alice, consents = user("alice"), self.consents
        self.clock.advance(5)
        missing = ["privacy_policy", "rules", "cookies"]
        self.assertEqual(self.wait(consents.missing(alice)), missing)
        for policy, version in (("rules", "2"), ("cookies", "a")):
            self.wait(consents.accept(alice, policy, version))
            self.assertTrue(self.wait(consents.has_accepted(alice, policy, version)))
        self.assertFalse(self.wait(consents.has_accepted(alice, "rules", "3")))
        self.assertFalse(self.wait(consents.has_accepted(user("bob"), "rules", "2")))
        self.assertEqual(self.wait(consents.missing(alice)), ["privacy_policy", "cookies"])
        given = self.wait(self.store.given_by(UserID("alice", SERVER)))
        self.assertEqual(given[0], Consent("cookies", "a", 5000))
