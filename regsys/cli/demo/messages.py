"""The demonstration's post: mails and text messages go nowhere, but can be read on a page."""

from __future__ import annotations

from collections import deque
from typing import Optional

import attr
from zope.interface import implementer

from regsys.http import Call, Endpoint, Reply
from regsys.interfaces import ISmsSender
from regsys.model import Mail
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
    caught: Outbox

    async def send(self, number: str, text: str) -> None:
        self.caught.messages.appendleft(Message(to=f"+{number}", text=text))


def messages_page(caught: Outbox, pages: Pages) -> Endpoint:
    """GET /_regsys/demo/messages: for everybody, as all of the demonstration is."""

    async def get(call: Call) -> Reply:
        return pages.reply(call, "caught_messages.html", messages=caught.messages, kept=KEPT)

    return Endpoint("demo_messages", (f"/{PATH}",), {"GET": pages.handler(get)})
