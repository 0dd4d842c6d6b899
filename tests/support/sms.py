"""Helpers for tests of phone numbers: text messages with codes."""

from __future__ import annotations

import re
from typing import Any

import attr
from zope.interface import implementer

from regsys.interfaces import ISmsSender
from tests.support.case import UIASessionCase

OWN = {"sms": {"enabled": True}, "rc_availability": False}


@implementer(ISmsSender)
@attr.define(eq=False)
class MemorySms:
    """Keeps the messages; raises ``trouble`` instead, if any."""

    sent: list[tuple[str, str]] = attr.field(factory=list)
    trouble: Any = None

    async def send(self, number: str, text: str) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.sent.append((number, text))


class SmsCase(UIASessionCase):
    """A server whose text messages are kept in ``self.sms``."""

    def setUp(self) -> None:
        self.sms = MemorySms()
        super().setUp()

    def system(self, **options: Any) -> None:
        options.setdefault("hooks", self.hooks(sms=self.sms))
        super().system(**{**self.options, **options})

    def code(self) -> str:
        """The code of the last message."""
        found = re.findall(r"\d{8}", self.sms.sent[-1][1])
        self.assertEqual(len(found), 1, self.sms.sent)
        return str(found[0])
