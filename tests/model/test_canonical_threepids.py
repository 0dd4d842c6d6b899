"""The canonical form of email addresses and phone numbers."""

from __future__ import annotations

import re

import phonenumbers
from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import InvalidParam
from regsys.model import Threepid
from regsys.model.canonical_threepids import canonical_email, canonical_msisdn
from regsys.threepids.addresses import mailbox
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

    def test_refused(self) -> None:
        """A text that can't be parsed as a number, or can't be one, is refused."""
        for number, country in (
            *(("", "DE"), ("no number", "DE"), ("1", "DE"), ("015112345678", "XX")),
            *(("015112345678", ""), ("1" * 30, "DE"), ("999999999999", None), ("+", None)),
        ):
            self.assertRaises(InvalidParam, canonical_msisdn, number, country)


class ThreepidTests(SynchronousTestCase):
    def test_of(self) -> None:
        """An identifier of an embedder's gets its canonical form."""
        for medium, written, canonical in (
            ("email", " Carol@Mail.TEST", "carol@mail.test"),
            ("msisdn", "+49 151 12345678", "4915112345678"),
        ):
            found = Threepid.of(medium, written, 1_700_000_000_000)
            self.assertEqual(found, Threepid(medium, canonical, 1_700_000_000_000))

    def test_refused(self) -> None:
        """Text without a canonical form and an unknown medium are InvalidParam."""
        for medium, address in (
            *(("email", "nonsense"), ("msisdn", "nonsense"), ("email", "4915112345678")),
            *(("fax", "4915112345678"), ("", "a@b.test")),
        ):
            self.assertRaises(InvalidParam, Threepid.of, medium, address, 0)

    def test_types(self) -> None:
        """What an embedder gets wrong names the argument."""
        for wrong, name in (
            ((None, "a@b.test", 0), "medium"),
            (("email", b"a@b.test", 0), "address"),
            (("email", "a@b.test", 0.5), "at"),
            (("email", "a@b.test", True), "at"),
            (("email", "a@b.test", -1), "at"),
        ):
            error = self.assertRaises((TypeError, ValueError), Threepid.of, *wrong)
            self.assertIn(f"{name} must be", str(error))
