"""Third-party identifiers: their canonical form, which are allowed, where links may lead."""

from __future__ import annotations

import re
from typing import Any, Optional

import phonenumbers
from hypothesis import given
from hypothesis import strategies as some
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from regsys.config import AllowedThreepid
from regsys.errors import InvalidParam, ThreepidDenied, ThreepidInUse
from regsys.interfaces import IThreepidStore
from regsys.interfaces.internal import IThreepidRules
from regsys.model import Threepid, UserID
from regsys.testing import MemoryAccounts, provides
from regsys.testing.contracts.case import account
from regsys.threepids.addresses import (
    AllowedThreepids,
    NewcomersThreepids,
    canonical_email,
    canonical_msisdn,
    check_assignable,
    check_client_secret,
    international,
    is_safe_link,
    mailbox,
    next_link,
    redirect_url,
)
from tests.support.scale import examples

# A letter that folds, one that grows when it is folded, separators, controls, other scripts.
SIGNS = some.sampled_from(
    "aA.+-_@ßİıſKΣς٠ \t\0\n\x7f\xa0\u200d\u202e\u3000@İ\u0345\ud800éÉe\u0301名例"
)


class EmailTests(SynchronousTestCase):
    def test_canonical(self) -> None:
        """Surrounding white space is removed, the local part is case-folded, the domain
        lower-cased."""
        for text, expected in (
            (" Alice@Example.COM\n", "alice@example.com"),
            ("a@b", "a@b"),
            ("Straße+x@Bücher.example", "strasse+x@bücher.example"),
            ("O'Neil.{x}~y@sub.Example", "o'neil.{x}~y@sub.example"),
            ("MÜLLER@xn--Bcher-KVA.example", "müller@bücher.example"),
            ("a@BU\u0308CHER.example", "a@bücher.example"),
            ("a@sub.ｂücher.example", "a@sub.bücher.example"),
            ("a@xn--strae-oqa.example", "a@straße.example"),
            # No deliverable domain: they stay unchanged.
            ("a@XN--a.example", "a@xn--a.example"),
            ("a@bü_cher.Example", "a@bü_cher.example"),
            ("İ@x.example", "i̇@x.example"),
            ("a" * 490 + "@x.example", "a" * 490 + "@x.example"),
        ):
            self.assertEqual(canonical_email(text), expected, text)

    def test_refused(self) -> None:
        """Malformed, too long, or ambiguous addresses are refused."""
        for text in (
            *("", "@", "a@", "@b", "a", "a@b@c", "a @b.example", "a@b .example"),
            *("a\0@b.example", "a\n@b.example", "a@b.example\nBcc: c@d", "a\u200d@b.example"),
            *("a\u202e@b.example", "a\xa0b@c.example", "\ud800@b.example"),
            *('"a b"@c.example', '"a"@b.example', "<a@b.example>", "a>@b.example", "a,c@b.example"),
            *("a@[192.0.2.1]", "a@b.example,c.example", "A (comment)@b.example", "a\\@b.example"),
            # Mail servers, or header libraries, read these as something else.
            *("a@b\u3002example", "a@b\uff0eexample", "a@b\uff61example", "a@b.example."),
            *("a@.b.example", "a@b..example", "=?utf-8?q?a=0d=0a=53ubject=3a_x?=@b.example"),
            "a" * 491 + "@x.example",
            "ß" * 246 + "@x.example",
        ):
            self.assertRaises(InvalidParam, canonical_email, text)

    @examples(1000)
    @given(some.text(SIGNS, max_size=12) | some.text(max_size=12), some.text(SIGNS, max_size=6))
    def test_idempotent(self, local: str, domain: str) -> None:
        """The canonical form of a canonical form is itself, and safe in a header."""
        try:
            address = canonical_email(f"{local}@{domain}.example")
        except InvalidParam:
            return
        self.assertEqual(canonical_email(address), address)
        self.assertEqual(canonical_email(f" {address}\t"), address)
        self.assertTrue(address.isprintable() and address.count("@") == 1, address)
        self.assertIsNone(re.search(r'[\s<>,;:"\\]', address), address)
        mailbox(address)

    def test_mailbox(self) -> None:
        """Spellings of one mailbox share a limit; other mailboxes have their own."""
        same = (
            "bob@bücher.example",
            "bob+1@xn--bcher-kva.example",
            "ｂob@bücher.example",
            "bob@BÜCHER.example.",
        )
        self.assertEqual({mailbox(text) for text in same}, {"bob@xn--bcher-kva.example"})
        others = ("bob@bucher.example", "rob@bücher.example", "bob@a_b.example", "bob@" + "x" * 70)
        self.assertEqual(len({mailbox(text) for text in (*others, *same)}), len(others) + 1)


class PhoneTests(SynchronousTestCase):
    def test_canonical(self) -> None:
        """A number is the digits of E.164, however it is written, from whichever country it is
        dialled."""
        for number, country, expected in (
            ("0151 12345678", "DE", "4915112345678"),
            ("+49 (151) 1234-5678", "DE", "4915112345678"),
            ("+49 151 12345678", None, "4915112345678"),
            ("4915112345678", None, "4915112345678"),
            ("+49 151 12345678", "US", "4915112345678"),
            ("(201) 555-0123", "US", "12015550123"),
            ("07400 123456", "GB", "447400123456"),
            ("06 12 34 56 78", "FR", "33612345678"),
        ):
            self.assertEqual(canonical_msisdn(number, country), expected, (number, country))
            self.assertEqual(canonical_msisdn(expected), expected)

    def test_corpus(self) -> None:
        """A number of every country, however it is written, has one form."""
        formats = phonenumbers.PhoneNumberFormat
        regions = sorted(phonenumbers.SUPPORTED_REGIONS)
        self.assertGreater(len(regions), 200)
        for region in regions:
            number = phonenumbers.example_number(region)
            expected = phonenumbers.format_number(number, formats.E164)[1:]
            for style in (formats.NATIONAL, formats.INTERNATIONAL, formats.E164, formats.RFC3966):
                text = phonenumbers.format_number(number, style)
                self.assertEqual(canonical_msisdn(text, region), expected, (region, text))
            self.assertEqual(canonical_msisdn(expected), expected, region)

    def test_assignable(self) -> None:
        """Some numbers can be parsed, and cannot be assigned: short codes, local ones, digits of no
        range. Mobile numbers of every country can."""
        for number, country in (
            *(("12", "DE"), ("110", "DE"), ("0151 1", "DE"), ("5551234", "US")),
            *(("(111) 555-0123", "US"), ("06 00 00 00", "DK")),
        ):
            found = canonical_msisdn(number, country)
            self.assertRaises(InvalidParam, check_assignable, found)
        for region in phonenumbers.SUPPORTED_REGIONS:
            number = phonenumbers.example_number_for_type(
                region, phonenumbers.PhoneNumberType.MOBILE
            )
            if number is not None:
                found = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
                check_assignable(found[1:])

    def test_international(self) -> None:
        """For users a number is formatted with its country code and spaces."""
        for msisdn, text in (
            ("4915112345678", "+49 1511 2345678"),
            ("33612345678", "+33 6 12 34 56 78"),
            ("12015550123", "+1 201-555-0123"),
            ("390612345678", "+39 06 1234 5678"),
        ):
            self.assertEqual(international(msisdn), text)

    def test_refused(self) -> None:
        """A text that can't be parsed as a number, or can't be one, is refused."""
        for number, country in (
            *(("", "DE"), ("no number", "DE"), ("1", "DE"), ("015112345678", "XX")),
            *(("015112345678", ""), ("1" * 30, "DE"), ("999999999999", None), ("+", None)),
        ):
            self.assertRaises(InvalidParam, canonical_msisdn, number, country)


class ClientSecretTests(SynchronousTestCase):
    def test_grammar(self) -> None:
        """1 to 255 of a few characters, and nothing after."""
        for text in ("a", "0.=_-zZ", "a" * 255):
            check_client_secret(text)
        for text in ("", "a" * 256, "a b", "a\n", "ä", "a/b", "٣", "a+b"):
            self.assertRaises(InvalidParam, check_client_secret, text)


LISTED = frozenset({"good.example", "other.example"})
# To any host, and to those that are listed.
LINKS = (
    *(("https://good.example", True), ("https://good.example/", True)),
    *(("http://good.example/a?b=c#d", True), ("HTTPS://GOOD.EXAMPLE/", True)),
    *(("https://good.example:8443/", True), ("https://other.example/#/register?x=1", True)),
    *(("https://good.example/%0d%0a", True), ("https://good.example?next=//evil.example", True)),
    *(("https://good.example#@evil.example", True), ("https://good.example/@evil.example", True)),
)
UNLISTED = (
    *("https://evil.example/", "https://good.example.evil.example/", "https://xgood.example/"),
    *("https://sub.good.example/", "https://good.example./", "http://[::1]/", "http://127.0.0.1/"),
    *("https://evil.example/good.example", "https://evil.example?good.example"),
    *("https://evil.example#good.example", "https://xn--gd-fka.example/", "http://localhost:8008"),
)
UNSAFE = (
    *("", "/", "//good.example", "///good.example", "good.example", "https:good.example"),
    *(
        "https:/good.example",
        "https://",
        "https:///good.example",
        "http://?",
        "http://#",
        "https://:1/",
    ),
    *("javascript:alert(1)", "javascript://good.example/%0aalert(1)", "data:text/html,x"),
    *("ftp://good.example/", "file:///etc/passwd", "matrix:u/alice", "vbscript:x", "about:blank"),
    *("https://user@good.example/", "https://good.example@evil.example/", "https://@good.example/"),
    *("https://a:b@good.example/", "https://good.example;@evil.example/"),
    *("https://good.example\\@evil.example", "https:\\\\good.example", "\\\\good.example"),
    *("https://good.example\\.evil.example/", "ht\ttps://good.example/", "https://good.exa\nmple/"),
    *(
        "java\tscript:alert(1)",
        " https://good.example/",
        "https://good.example/ ",
        "\x01https://good.example",
    ),
    *("https://good.example/\0", "https://good.example/\x7f", "https://good.example/\r\nX: y"),
    *(
        "https://göod.example/",
        "https://good。example/",
        "https://good.example\u2028/",
        "https://ｇood.example",
    ),
    *("https://good.example:x/", "https://good.example:99999/", "https://good.example:1:2/"),
    *("https://[::1/", "https://good%2eexample/", "https://good.example%00.evil.example/"),
    *("https://good.example,evil.example/", "https://good.example/" + "a" * 2048),
)


class LinkTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Links lead to websites, without tricks; to listed hosts if there is a list."""
        cases = [(link, True, listed) for link, listed in LINKS]
        cases += [(link, True, False) for link in UNLISTED]
        cases += [(link, False, False) for link in UNSAFE]
        self.assertGreaterEqual(len(cases), 60)
        for link, safe, listed in cases:
            self.assertIs(is_safe_link(link, None), safe, link)
            self.assertIs(is_safe_link(link, LISTED), listed, link)
            self.assertFalse(is_safe_link(link, frozenset()), link)

    def test_given(self) -> None:
        """None and an empty link are none; one that would not be followed is refused at once."""
        self.assertIsNone(next_link(None, LISTED))
        self.assertIsNone(next_link("", LISTED))
        good = "https://good.example/#/register?a=b"
        self.assertEqual(next_link(good, LISTED), good)
        self.assertRaises(InvalidParam, next_link, "https://evil.example/", LISTED)
        self.assertRaises(InvalidParam, next_link, "javascript:alert(1)", None)

    def test_followed(self) -> None:
        """The session comes last, as clients expect; a changed list counts."""
        for link, expected in (
            ("https://good.example/", "https://good.example/?sid=abc"),
            ("https://good.example/?x=1", "https://good.example/?x=1&sid=abc"),
            ("https://good.example/#/r?x=1", "https://good.example/#/r?x=1&sid=abc"),
            ("https://evil.example/", None),
            (None, None),
        ):
            self.assertEqual(redirect_url(link, "abc", LISTED), expected, link)


@implementer(IThreepidRules)
class Callbacks:
    """Refuses one medium, and records the addresses."""

    def __init__(self, refused: str = "") -> None:
        self.refused = refused
        self.asked: list[Any] = []

    async def is_allowed(self, medium: str, address: str, registering: bool) -> bool:
        self.asked.append((medium, address, registering))
        return medium != self.refused


@implementer(IThreepidStore)
class Owners:
    """Every address is alice's, if it is hers."""

    async def owner_of(self, medium: str, address: str) -> Optional[UserID]:
        return UserID("alice", "s") if address == "alice@x.example" else None


class RulesTests(SynchronousTestCase):
    def wait(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_provides(self) -> None:
        """The rules have the methods of the callbacks in front of which they stand."""
        provides(IThreepidRules, AllowedThreepids(callbacks=Callbacks(), allowed=()))

    def test_patterns(self) -> None:
        """A pattern is matched from the start and for its medium; it must contain its end itself.
        Callbacks are asked first, and their refusal is final."""
        allowed = (
            AllowedThreepid("email", re.compile(r"^[^@]+@good\.example")),
            AllowedThreepid("email", re.compile(r"[^@]+@strict\.example$")),
            AllowedThreepid("msisdn", re.compile("44")),
        )
        for medium, address, is_allowed in (
            ("email", "x@good.example", True),
            ("email", "x@good.example.evil", True),
            ("email", "x@strict.example", True),
            ("email", "x@strict.example.evil", False),
            ("email", "x@other.example", False),
            ("msisdn", "447400123456", True),
            ("msisdn", "15544", False),
            ("email", "44@x.example", False),
        ):
            rules = AllowedThreepids(callbacks=Callbacks(), allowed=allowed)
            answer = self.wait(rules.is_allowed(medium, address, True))
            self.assertIs(answer, is_allowed, address)
        callbacks = Callbacks(refused="email")
        rules = AllowedThreepids(callbacks=callbacks, allowed=allowed)
        self.assertFalse(self.wait(rules.is_allowed("email", "x@good.example", False)))
        self.assertEqual(callbacks.asked, [("email", "x@good.example", False)])
        rules = AllowedThreepids(callbacks=Callbacks(), allowed=())
        self.assertTrue(self.wait(rules.is_allowed("email", "x@any.example", True)))

    def test_newcomers(self) -> None:
        """A denied address and one in use are refused; the account's own, made under the same key,
        is not in the way."""
        accounts = MemoryAccounts()
        newcomers = NewcomersThreepids(
            rules=Callbacks(refused="msisdn"), accounts=accounts, owners=Owners()
        )
        denied = newcomers.check_allowed("msisdn", "1")
        self.failureResultOf(Deferred.fromCoroutine(denied), ThreepidDenied)
        self.wait(newcomers.check_allowed("email", "alice@x.example"))
        taken, free = (Threepid("email", f"{who}@x.example", 1) for who in ("alice", "bob"))
        self.wait(newcomers.check_free([free], "key"))
        refused = newcomers.check_free([free, taken], "key")
        self.failureResultOf(Deferred.fromCoroutine(refused), ThreepidInUse)
        self.wait(accounts.create_account(account("key")))
        self.wait(newcomers.check_free([free, taken], "key"))

    def test_nobodyKnows(self) -> None:
        """Without a store of owners every address counts as free, until the account is made."""
        newcomers = NewcomersThreepids(rules=Callbacks(), accounts=MemoryAccounts())
        self.assertFalse(self.wait(newcomers.is_taken("email", "alice@x.example")))
