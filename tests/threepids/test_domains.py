"""Mail domains that may or may not register, by files that change (contract B7.2)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from regsys.config import ConfigError, EmailDomainsConfig
from regsys.interfaces.internal import IThreepidRules
from regsys.testing import provides
from regsys.threepids.addresses import canonical_email
from regsys.threepids.domains import CHECK_S, EmailDomains
from tests.config.case import ConfigCase
from tests.support.validations import EmailValidationCase
from tests.threepids.test_addresses import Callbacks

DENIED = """\
# rubbish
spam.example  # a comment

.Trash.EXAMPLE
bücher.example
xn--mller-kva.example
"""


class EmailDomainsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder, self.clock, self.writes = Path(self.mktemp()), Clock(), 0
        self.folder.mkdir()

    def write(self, name: str, text: str) -> str:
        """Write a file with a new modification time, whatever the file system's clock."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        self.writes += 1
        os.utime(path, ns=(self.writes * 10**9, self.writes * 10**9))
        return str(path)

    def load(self, **files: str) -> None:
        paths = {f"{name}_file": self.write(name, text) for name, text in files.items()}
        config = EmailDomainsConfig(**paths)
        self.rules = EmailDomains.load(Callbacks(), config, self.clock.seconds)

    def allows(self, domain: str, medium: str = "email") -> bool:
        address = canonical_email(f"a@{domain}") if medium == "email" else domain
        asking = Deferred.fromCoroutine(self.rules.is_allowed(medium, address, True))
        return bool(self.successResultOf(asking))

    def assertDenied(self, *domains: str) -> None:
        self.assertEqual([domain for domain in domains if self.allows(domain)], [])

    def assertAllowed(self, *domains: str) -> None:
        self.assertEqual([domain for domain in domains if not self.allows(domain)], [])

    def test_provides(self) -> None:
        self.load()
        provides(IThreepidRules, self.rules)

    def test_deny(self) -> None:
        """A domain of the list is denied, however it is spelt; after a dot, all below it too."""
        self.load(deny=DENIED)
        self.assertDenied("spam.example", "SPAM.Example", "ｓpam.example")
        self.assertDenied("trash.example", "a.trash.example", "a.b.trash.example")
        self.assertDenied("bücher.example", "xn--bcher-kva.example", "müller.example")
        self.assertAllowed("x.spam.example", "notspam.example", "nottrash.example", "example")
        self.assertTrue(self.allows("4915112345678", "msisdn"))

    def test_allow(self) -> None:
        """With a list of allowed domains no other is allowed; a denied one stays denied."""
        self.load(allow=".good.example\nbest.example", deny="bad.good.example")
        self.assertAllowed("good.example", "a.good.example", "best.example")
        self.assertDenied("bad.good.example", "a.best.example", "other.example")
        self.load(allow="# nobody\n")
        self.assertDenied("good.example")

    def test_neither(self) -> None:
        """Without files every domain is allowed; other rules come first."""
        self.load()
        self.assertAllowed("spam.example")
        self.rules = EmailDomains(rules=Callbacks("email"), allow=None, deny=None)
        self.assertDenied("good.example")

    def test_changes(self) -> None:
        """A change takes effect within seconds, and the file is not read before."""
        self.load(deny="spam.example")
        self.write("deny", "rubbish.example")
        self.assertDenied("spam.example")
        self.clock.advance(CHECK_S)
        self.assertAllowed("spam.example")
        self.assertDenied("rubbish.example")

    def test_reload(self) -> None:
        """reload applies a change at once, and returns it; without a change, it returns nothing."""
        self.load(deny="spam.example\na.example")
        deny, *others = self.rules.files
        self.assertEqual(others, [])
        self.assertEqual(deny.reload(), [])
        path = self.write("deny", "spam.example\nb.example\nc.example")
        self.assertEqual(deny.reload(), [f"{path} (2 domains more, 1 fewer)"])
        self.assertDenied("b.example")
        self.write("deny", "not a domain")
        with capturedLogs() as events:
            self.assertEqual(deny.reload(), [])
        self.assertEqual(len(events), 1, events)
        self.assertDenied("b.example")

    def test_breaks(self) -> None:
        """If a file is removed or broken the last valid list stays, with one log line."""
        self.load(deny="spam.example")
        path = self.folder / "deny"
        for breaks in (
            path.unlink,
            lambda: self.write("deny", "not a domain"),
            lambda: path.write_bytes(b"\xff\xfe"),
        ):
            breaks()
            with capturedLogs() as events:
                for _ in range(3):
                    self.clock.advance(CHECK_S)
                    self.assertDenied("spam.example")
            self.assertEqual(len(events), 1, events)
        self.write("deny", "other.example")
        self.clock.advance(CHECK_S)
        self.assertAllowed("spam.example")

    def test_brokenAtTheStart(self) -> None:
        """The first list must be valid."""
        config = EmailDomainsConfig(deny_file=str(self.folder / "none"))
        self.assertRaises(ConfigError, EmailDomains.load, Callbacks(), config, self.clock.seconds)


class ConfigTests(ConfigCase):
    def test_files(self) -> None:
        """Files are read at the start, and errors reported with their position."""
        path = Path(self.mktemp())
        name = "regsys.email_domains.deny_file"
        options = {"regsys": {"email_domains": {"deny_file": str(path)}}}
        self.assertProblem(options, f"{name}: cannot be used: No such file")
        for text, reason in (("a b", "line 1 is no domain"), ("\n*.x", "line 2"), ("a@b", "line")):
            path.write_text(text)
            self.assertProblem(options, f"{name}: cannot be used: {reason}")
        path.write_text("spam.example\n")
        self.assertEqual(self.parse(options).email_domains.deny_file, str(path))


class RegistrationTests(EmailValidationCase):
    def test_twoMoments(self) -> None:
        """The list is asked when a token is requested, and again before the account is made."""
        path = Path(self.mktemp())
        path.write_text("spam.example\n")
        own: Any = {"email_domains": {"deny_file": str(path)}, "rc_availability": False}
        self.system(**self.options, regsys=own)
        self.assertRefused(self.request_token("a@spam.example"), 403, "M_THREEPID_DENIED")
        sid = self.validate_address("a@mail.example")
        path.write_text("spam.example\nmail.example\n")
        self.clock.advance(CHECK_S)
        answer = self.present(self.begin("alice"), sid)
        self.assertRefused(answer, 403, "M_THREEPID_DENIED")
        self.assertEqual(self.owners(), {})
