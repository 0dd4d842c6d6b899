"""The demonstration's mails and text messages, which are not sent but shown on a page."""

from __future__ import annotations

from collections import deque
from typing import Optional

import attr
from zope.interface import implementer

from regsys.http import Call, Endpoint, Reply
from regsys.interfaces import ISmsSender
from regsys.model.threepids import Mail
from regsys.web.pages import Pages

PATH = "_regsys/demo/messages"
KEPT = 20


@attr.frozen(kw_only=True)
class Message:
    """``subject`` is None for a text message."""

    to: str
    text: str
    subject: Optional[str] = None


@attr.frozen
class Outbox:
    """The last messages, in memory; the newest comes first."""

    messages: deque[Message] = attr.field(factory=lambda: deque(maxlen=KEPT))

    async def catch_mail(self, mail: Mail) -> None:
        self.messages.appendleft(Message(to=mail.to, text=mail.text, subject=mail.subject))


@implementer(ISmsSender)
@attr.frozen
class TextOutbox:
    outbox: Outbox

    async def send(self, number: str, text: str) -> None:
        self.outbox.messages.appendleft(Message(to=f"+{number}", text=text))


def messages_page(outbox: Outbox, pages: Pages) -> Endpoint:
    """GET /_regsys/demo/messages, open to all like the rest of the demonstration."""

    async def get(call: Call) -> Reply:
        return pages.reply(call, "caught_messages.html", messages=outbox.messages, kept=KEPT)

    return Endpoint("demo_messages", (f"/{PATH}",), {"GET": pages.handler(get)})
