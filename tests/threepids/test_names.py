"""Names derived from validated addresses (B12.3)."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from regsys.accounts.usernames import MAX_USER_ID_BYTES
from regsys.client_api.names_from_threepids import ThreepidNames, display_name_of, localpart_of
from regsys.config import ThreepidsConfig
from regsys.model import Registration, Threepid
from tests.support.client import Answer
from tests.support.validations import EmailValidationCase

NAMED = {"register_mxid_from_3pid": "email", "registrations_require_3pid": ["email"]}


class RuleTests(SynchronousTestCase):
    def test_localpart(self) -> None:
        """An address gives a name of the characters that names may have; no character is replaced
        by another."""
        for medium, address, expected in (
            ("email", "alice@mail.example", "alice-mail.example"),
            ("email", "a+b!c#d@mail.example", "a+bcd-mail.example"),
            (
                "email",
                "\N{KELVIN SIGN}elvin@\N{LATIN SMALL LETTER DOTLESS I}.example",
                "elvin-.example",
            ),
            ("email", "_alice@mail.example", "alice-mail.example"),
            ("msisdn", "4915112345678", "+4915112345678"),
        ):
            self.assertEqual(localpart_of(Threepid(medium, address, 0)), expected, address)

    def test_displayName(self) -> None:
        """The words of an address become a display name; other texts do not."""
        for email, expected in (
            ("jean-luc.picard@mail.example", "Jean-Luc Picard"),
            ("alice_b+news@mail.example", "Alice B"),
            ("...@mail.example", "...@mail.example"),
        ):
            self.assertEqual(display_name_of(email), expected, email)


class NamedCase(EmailValidationCase):
    options = NAMED

    def registered(self, email: str, client: str = "s", **fields: Any) -> str:
        """Register with this address; the resulting name."""
        answer = self.finish(email, client, **fields)
        self.assertEqual(answer.status, 200, answer)
        name = answer.json["user_id"][1:].partition(":")[0]
        assert isinstance(name, str)
        return name

    def finish(self, email: str, client: str = "s", **fields: Any) -> Answer:
        sid = self.validate_address(email, client_secret=client)
        session = self.challenge(password="correct horse", **fields)["session"]
        self.session = session, sid, client
        return self.present(session, sid, client)

    def display_names(self) -> dict[str, str]:
        """The display names by user ID."""
        return dict(self.rows("SELECT user_id, display_name FROM profiles"))


class NameTests(NamedCase):
    def test_named(self) -> None:
        """The validated address gives both names, whatever name was asked for."""
        self.assertEqual(self.registered("jean.dupont@mail.example"), "jean.dupont-mail.example")
        self.assertEqual(self.registered("bob@mail.example", username="rob"), "bob-mail.example")
        names = {"@jean.dupont-mail.example:test.example": "Jean Dupont"}
        names["@bob-mail.example:test.example"] = "Bob"
        self.assertEqual(self.display_names(), names)

    def test_taken(self) -> None:
        """A name that is taken or reserved gets the first number that makes it free."""
        notices = {"server_notices": {"system_mxid_localpart": "bob-mail.example1"}}
        self.system(**NAMED, **notices)
        names = [self.registered(f"b{sign}ob@mail.example") for sign in ("", "!", "#")]
        self.assertEqual(names, ["bob-mail.example", "bob-mail.example2", "bob-mail.example3"])

    def test_again(self) -> None:
        """A client that lost the answer gets the same account, not the next number; nor is it
        refused for having asked for another name."""
        first = self.finish("bob@mail.example", username="rob").json
        for again in (
            self.present(*self.session),
            self.present(*self.session, username="rob", password="correct horse"),
        ):
            self.assertEqual((again.status, again.json), (200, first))
        self.assertEqual(len(self.display_names()), 1)

    def test_begunBefore(self) -> None:
        """A name is free for the registration that has taken it, and for no other."""
        self.finish("bob@mail.example")
        maker = ThreepidNames(
            names=self.subsystem.handler._names, config=ThreepidsConfig(name_from="email")
        )
        validate_address = (Threepid("email", "bob@mail.example", 0),)
        for key, name in ((self.session[0], "bob-mail.example"), ("other", "bob-mail.example1")):
            made = self.wait(maker.with_names(Registration(key=key, threepids=validate_address)))
            self.assertEqual((made.localpart, made.name_checked), (name, True), key)

    def test_guest(self) -> None:
        """A guest who becomes a user keeps its name and its display name."""
        guest = self.guest()
        name = guest["user_id"][1:].partition(":")[0]
        before = self.display_names()
        fields = {"username": name, "guest_access_token": guest["access_token"]}
        sid = self.validate_address("bob@mail.example")
        session = self.challenge(password="correct horse", **fields)["session"]
        answer = self.present(session, sid, **fields, password="correct horse")
        self.assertEqual(answer.json.get("user_id"), guest["user_id"], answer)
        self.assertEqual(self.display_names(), before)

    def test_long(self) -> None:
        """A long address gives as much of a name as there is room for, with its number."""
        long = f"{'a' * 400}@mail.example"
        names = [self.registered(f"{long}{end}") for end in ("", ".org")]
        self.assertEqual(names[1], f"{names[0]}1")
        self.assertLessEqual(len(f"@{names[1]}:test.example"), MAX_USER_ID_BYTES)

    def test_littleLeft(self) -> None:
        """Little is left of an address in another script, but it is a name all the same."""
        names = [self.registered(f"\u00e9{end}@\u00e9") for end in ("", "\u00e9")]
        self.assertEqual(names, ["-", "-1"])

    def test_ownRule(self) -> None:
        """An embedder's own rule makes the display name."""
        hooks = self.hooks(mails=self.mails, display_name=lambda email: f"<{email}>")
        self.system(hooks=hooks, **NAMED)
        self.registered("bob@mail.example")
        self.assertEqual(list(self.display_names().values()), ["<bob@mail.example>"])


class DisplayNameTests(NamedCase):
    def test_address(self) -> None:
        """The display name can be the address itself, with a chosen name."""
        self.system(
            registrations_require_3pid=["email"], register_just_use_email_for_display_name=True
        )
        self.assertEqual(self.registered("bob@mail.example", username="rob"), "rob")
        self.assertEqual(list(self.display_names().values()), ["bob@mail.example"])

    def test_neither(self) -> None:
        """Without these options the address gives no name."""
        self.system(registrations_require_3pid=["email"])
        self.assertEqual(self.registered("bob@mail.example", username="rob"), "rob")
        self.assertEqual(list(self.display_names().values()), ["rob"])
