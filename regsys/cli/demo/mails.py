"""The demonstration's post: a mail goes nowhere, but can be read on a page."""

from __future__ import annotations

from collections import deque

from zope.interface import implementer

from regsys.http import Call, Endpoint, Reply
from regsys.interfaces import IMailer
from regsys.model import Mail
from regsys.web.pages import Pages

PATH = "_regsys/demo/mails"
KEPT = 20


@implementer(IMailer)
class CaughtMails:
    """Keeps the last mails in memory; the newest is the first of ``caught``."""

    def __init__(self) -> None:
        self.caught: deque[Mail] = deque(maxlen=KEPT)

    async def send(self, mail: Mail) -> None:
        self.caught.appendleft(mail)


def mails_page(mails: CaughtMails, pages: Pages) -> Endpoint:
    """GET /_regsys/demo/mails: for everybody, as all of the demonstration is."""

    async def get(call: Call) -> Reply:
        return pages.reply(call, "caught_mails.html", mails=mails.caught, kept=KEPT)

    return Endpoint("demo_mails", (f"/{PATH}",), {"GET": pages.handler(get)})
