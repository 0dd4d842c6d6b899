"""A mail as it goes over the wire: its envelope address and its bytes (RFC 5321, 5322).

``email.message`` makes the headers: it lets no value become a second header. It would decode an
encoded word in an address, so ``EnvelopeAddress.parse`` refuses those first.
"""

from __future__ import annotations

import re
import secrets
from datetime import datetime, timezone
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Optional

import attr
import idna

from regsys.errors import MailRefused
from regsys.model.threepids import Mail

# Seven bits, which any server takes; with UTF-8 for an address that is not ASCII (RFC 6531).
_ASCII = SMTP.clone(cte_type="7bit")
_UTF8 = SMTP.clone(cte_type="7bit", utf8=True)
_DOMAIN = re.compile(r"[0-9A-Za-z._-]{1,253}")
_QUOTED = re.compile(r'"([^"\\]+)"')
_PORT = re.compile(r":[0-9]+$")


@attr.frozen
class EnvelopeAddress:
    """An address as mail servers take it: the domain in A-labels, the local part quoted."""

    spec: str
    username: str
    domain: str

    @property
    def needs_utf8(self) -> bool:
        """Whether only a server with SMTPUTF8 can take it."""
        return not self.spec.isascii()

    @classmethod
    def parse(cls, address: str) -> EnvelopeAddress:
        """The mailbox of this address, never another. MailRefused if it is not valid."""
        local, _, domain = address.rpartition("@")
        quoted = _QUOTED.fullmatch(local)
        username = quoted[1] if quoted else local
        if not username or not address.isprintable() or " " in address or "=?" in address:
            raise MailRefused()
        if not domain.isascii():
            try:
                # Without the mappings of UTS 46, which would lead to another name.
                domain = idna.encode(domain).decode("ascii")
            except idna.IDNAError:
                raise MailRefused() from None
        if not _DOMAIN.fullmatch(domain):
            raise MailRefused()
        return cls(Address(username=username, domain=domain).addr_spec, username, domain)


@attr.frozen(kw_only=True)
class MessageBuilder:
    """Makes messages from mails. ``server_name`` as in user IDs; ``from_name`` may be empty."""

    server_name: str
    from_name: str
    from_address: str

    @property
    def host(self) -> str:
        """The server's name without a port: our name in EHLO and in message ids."""
        return _PORT.sub("", self.server_name)

    def message(self, mail: Mail, to: EnvelopeAddress, now_s: float) -> bytes:
        """The whole message with CRLF line ends: multipart/alternative of text and HTML.

        Its headers say that it is generated, so that no program replies to it (RFC 3834)."""
        message = EmailMessage(policy=_UTF8 if to.needs_utf8 else _ASCII)
        sender = EnvelopeAddress.parse(self.from_address)
        message["From"] = Address(self.from_name, sender.username, sender.domain)
        message["To"] = Address("", to.username, to.domain)
        message["Subject"] = mail.subject
        message["Date"] = datetime.fromtimestamp(int(now_s), timezone.utc)
        message["Message-ID"] = self._message_id(mail.message_id)
        message["Auto-Submitted"] = "auto-generated"
        message["X-Auto-Response-Suppress"] = "All"
        message.set_content(mail.text)
        message.add_alternative(mail.html, subtype="html")
        return message.as_bytes()

    def _message_id(self, left: Optional[str]) -> str:
        return f"<{left or secrets.token_hex(12)}@{self.host}>"
