"""The contracts of ISmsSender and IValidationMails: what is handed over, and what is not."""

from __future__ import annotations

import html
from email.message import EmailMessage
from typing import Any, Sequence
from unittest import SkipTest

from twisted.internet.defer import Deferred

from regsys.errors import SmsRefused
from regsys.interfaces import ISmsSender, IValidationMails
from regsys.model import JOB_LEASE_MS, MailPurpose, ValidationMail
from regsys.testing.contracts.case import (
    Contract,
    MaybeAwaitable,
    part_of,
    value_of,
    yours,
)

NUMBER, OTHER_NUMBER = "4915112345678", "12025550123"
TEXTS = ("12345678 is your code.", 'Ümlaut & "more"=1 %(number)s %\n{"a": 1} <b>+')
ADDRESS = "alice@mail.example"
LINK = "https://hs.example/submit_token?token=a&client_secret=b%3Dc&sid=1"
CODE = "ABCDEFGH"
# Nobody validates these: they must reach nobody else, and be no reason to try for ever.
HOSTILE = (
    "alice@mail.example\r\nBcc: eve@evil.example",
    "alice@mail.example, eve@evil.example",
    "=?utf-8?q?eve=40evil.example=2c_?=@mail.example",
    "alice",
    "",
)


class _Sender(Contract):
    """What sends messages through a server of others."""

    @yours
    def refuse(self) -> MaybeAwaitable[object]:
        """From now on the server refuses each recipient for good."""
        raise NotImplementedError()

    @yours
    def break_down(self) -> MaybeAwaitable[object]:
        """From now on the server cannot be reached, or answers with an error of its own."""
        raise NotImplementedError()

    def stall(self) -> MaybeAwaitable[object]:
        """From now on the server does not answer. SkipTest if your tests cannot show that."""
        raise SkipTest("write stall() and advance() to have deadlines tested")

    @yours
    def advance(self, seconds: float) -> MaybeAwaitable[object]:
        """Advance the sender's clock; it is asked in steps of a second."""
        raise NotImplementedError()

    async def ends(self, sending: Any, rule: str) -> Exception:
        """Let the time of a lease pass. Returns the exception by which sending has ended."""
        ended: list[Any] = []
        Deferred.fromCoroutine(sending).addBoth(ended.append)
        for _ in range(JOB_LEASE_MS // 1000 - 1):
            if not ended:
                await value_of(self.advance(1.0))
        self.assertEqual(len(ended), 1, f"{rule}: it ends within JOB_LEASE_MS")
        error = getattr(ended[0], "value", None)
        self.assertIsInstance(error, Exception, f"{rule}: it raises, as nothing was accepted")
        assert isinstance(error, Exception)
        return error


class SmsSenderContract(_Sender):
    """An ISmsSender, with a gateway that your tests can read.

    If a test fails, somebody gets another's code or none, or regsys keeps sending what can never
    arrive.
    """

    @yours
    def make(self) -> MaybeAwaitable[ISmsSender]:
        """One whose gateway takes every message."""
        raise NotImplementedError()

    @yours
    def sent(self) -> MaybeAwaitable[Sequence[tuple[str, str]]]:
        """The messages that the gateway was given: the number, as digits, and the text."""
        raise NotImplementedError()

    async def test_provides(self) -> None:
        """It has its method, with the arguments that regsys calls it with."""
        await part_of(ISmsSender, self.make())

    async def test_sent(self) -> None:
        """Each message is handed over once, to its number, with its text unchanged."""
        sms = await part_of(ISmsSender, self.make())
        wanted = [(number, text) for text in TEXTS for number in (NUMBER, OTHER_NUMBER)]
        for number, text in wanted:
            await sms.send(number, text)
        rule = "send: each message goes to its number once, its text unchanged"
        self.assertEqual(sorted(await value_of(self.sent())), sorted(wanted), rule)

    async def test_refused(self) -> None:
        """A number that can never get a message is SmsRefused."""
        sms = await part_of(ISmsSender, self.make())
        await value_of(self.refuse())
        rule = "send: SmsRefused for a message that can never be delivered"
        await self.refusal(SmsRefused, sms.send(NUMBER, TEXTS[0]), rule)

    async def test_failed(self) -> None:
        """If the gateway cannot be used, it is another exception: the message is sent again."""
        sms = await part_of(ISmsSender, self.make())
        await value_of(self.break_down())
        rule = "send: raises while the gateway cannot be used, but not SmsRefused"
        error = await self.refusal(Exception, sms.send(NUMBER, TEXTS[0]), rule)
        self.assertFalse(isinstance(error, SmsRefused), rule)

    async def test_stalled(self) -> None:
        """A gateway that does not answer is given up in time; the message is sent again."""
        sms = await part_of(ISmsSender, self.make())
        await value_of(self.stall())
        rule = "send: a gateway that does not answer"
        error = await self.ends(sms.send(NUMBER, TEXTS[0]), rule)
        self.assertFalse(isinstance(error, SmsRefused), f"{rule} is no SmsRefused")


class ValidationMailsContract(_Sender):
    """An IValidationMails, with a mail server that your tests can read.

    If a test fails, a user cannot validate an address, somebody can write headers or recipients
    into your mails, or regsys keeps sending what can never arrive.
    """

    @yours
    def make(self) -> MaybeAwaitable[IValidationMails]:
        """One whose server takes every mail."""
        raise NotImplementedError()

    @yours
    def sent(self) -> MaybeAwaitable[Sequence[tuple[str, EmailMessage]]]:
        """The mails that the server was given: the recipient in the envelope, and the message as a
        mail program reads it (``email.message_from_bytes(…, policy=email.policy.default)``)."""
        raise NotImplementedError()

    async def test_provides(self) -> None:
        """It has its method, with the argument that regsys calls it with."""
        await part_of(IValidationMails, self.make())

    async def test_confirmation(self) -> None:
        """A mail of each purpose goes to its address alone. Every part of it has the whole link and
        the code, if there is something to confirm."""
        mails = await part_of(IValidationMails, self.make())
        cases = [(purpose, flag) for purpose in MailPurpose for flag in (True, False)]
        for number, (purpose, registering) in enumerate(cases):
            in_use = purpose is MailPurpose.IN_USE
            given = {} if in_use else {"link": LINK, "code": CODE}
            await mails.send(mail(purpose=purpose, registering=registering, **given))
            sent = await value_of(self.sent())
            rule = f"send: one mail for each call ({purpose.value})"
            self.assertEqual(len(sent), number + 1, rule)
            self.reads(*sent[-1], purpose.value, () if in_use else (LINK, CODE))

    def reads(self, to: str, message: EmailMessage, kind: str, secrets: Sequence[str]) -> None:
        """Assert that the mail goes to ADDRESS alone, and that each part has these texts."""
        self.addressed(to, message, ADDRESS)
        self.assertTrue(message["Subject"], f"send: a mail has a subject ({kind})")
        parts = [part for part in message.walk() if part.get_content_maintype() == "text"]
        self.assertTrue(parts, f"send: a mail has a text ({kind})")
        for part in parts:
            text = html.unescape(str(part.get_content()))
            for secret in secrets:
                rule = f"send: every part of a mail has the whole link and the code ({kind})"
                self.assertTrue(secret in text, f"{rule}: {secret} is not in {text}")

    def addressed(self, to: str, message: EmailMessage, address: str) -> None:
        """Assert that the mail goes to this address alone."""
        headed = [
            item.addr_spec
            for name in ("To", "Cc", "Bcc")
            for header in message.get_all(name, ())
            for item in header.addresses
        ]
        rule = "send: a mail goes to its address alone, in the envelope and in the headers"
        self.assertEqual((to, headed), (address, [address]), rule)

    async def test_languages(self) -> None:
        """A mail is sent whatever languages the client prefers, known or not."""
        mails = await part_of(IValidationMails, self.make())
        lists: tuple[tuple[str, ...], ...] = (
            (),
            ("tlh",),
            ("de-ch-1996", "fr"),
            ("../de", "", "x" * 999),
            ("de\r\nBcc: eve@evil.example",),
        )
        for number, languages in enumerate(lists):
            rule = f"send: a mail is sent whatever the languages: {languages}"
            await self.answer(mails.send(mail(languages=languages)), rule)
            sent = await value_of(self.sent())
            self.assertEqual(len(sent), number + 1, rule)
            self.reads(*sent[-1], str(languages), (LINK, CODE))

    async def test_hostile(self) -> None:
        """A text that is no address reaches nobody else, adds no header, and is given up."""
        mails = await part_of(IValidationMails, self.make())
        for address in HOSTILE:
            rule = f"send: returns for {address!r}, which can never get a mail"
            await self.answer(mails.send(mail(address=address)), rule)
        for to, message in await value_of(self.sent()):
            self.addressed(to, message, to)
            rule = f"send: a mail goes to the address that was asked for, and to nobody else: {to}"
            self.assertTrue(to in HOSTILE and "evil" not in to, rule)

    async def test_undeliverable(self) -> None:
        """A mail that can never be delivered is given up."""
        mails = await part_of(IValidationMails, self.make())
        await value_of(self.refuse())
        rule = "send: returns if the mail can never be delivered"
        await self.answer(mails.send(mail()), rule)

    async def test_failed(self) -> None:
        """If the server cannot be used, it raises: the mail is sent again."""
        mails = await part_of(IValidationMails, self.make())
        await value_of(self.break_down())
        await self.refusal(Exception, mails.send(mail()), "send: raises if the server is down")

    async def test_stalled(self) -> None:
        """A server that does not answer is given up in time; the mail is sent again."""
        mails = await part_of(IValidationMails, self.make())
        await value_of(self.stall())
        await self.ends(mails.send(mail()), "send: a server that does not answer")


def mail(**more: Any) -> ValidationMail:
    """A mail that asks for the confirmation of ADDRESS."""
    given: dict[str, Any] = {
        "purpose": MailPurpose.REGISTRATION,
        "address": ADDRESS,
        "languages": ("en",),
        "message_id": "0123",
        "link": LINK,
        "code": CODE,
    }
    return ValidationMail(**{**given, **more})
