"""A mail as it goes over the wire: its envelope address and its bytes (RFC 5321, 5322).

Headers are made by ``email.message`` alone, which lets no value become a second header; but it
reads an address anew, and decodes an encoded word in it, so none gets that far.
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
from regsys.model import Mail

# Seven bits, which any server takes; the second one is for an address that has more (RFC 6531).
_ASCII = SMTP.clone(cte_type="7bit")
_UTF8 = SMTP.clone(cte_type="7bit", utf8=True)
_DOMAIN = re.compile(r"[0-9A-Za-z._-]{1,253}")
_QUOTED = re.compile(r'"([^"\\]+)"')
_PORT = re.compile(r":[0-9]+$")


@attr.frozen
class EnvelopeAddress:
    """An address as mail servers take it: the domain in A-labels, quoted where it must be."""

    spec: str
    username: str
    domain: str

    @property
    def needs_utf8(self) -> bool:
        """Whether only a server with SMTPUTF8 can take it."""
        return not self.spec.isascii()

    @classmethod
    def parse(cls, address: str) -> EnvelopeAddress:
        """The mailbox that this address means, never another. MailRefused if it means none."""
        local, _, domain = address.rpartition("@")
        quoted = _QUOTED.fullmatch(local)
        username = quoted[1] if quoted else local
        if not username or not address.isprintable() or " " in address or "=?" in address:
            raise MailRefused()
        if not domain.isascii():
            try:
                # Without the mappings of UTS 46: they would lead to a name that was not given.
                domain = idna.encode(domain).decode("ascii")
            except idna.IDNAError:
                raise MailRefused() from None
        if not _DOMAIN.fullmatch(domain):
            raise MailRefused()
        return cls(Address(username=username, domain=domain).addr_spec, username, domain)


@attr.frozen(kw_only=True)
class MessageBuilder:
    """What all our mails bear. ``server_name`` as in user IDs; ``from_name`` may be empty."""

    server_name: str
    from_name: str
    from_address: str

    @property
    def host(self) -> str:
        """The server's name without a port: how we introduce ourselves to a mail server."""
        return _PORT.sub("", self.server_name)

    def message(self, mail: Mail, to: EnvelopeAddress, now_s: float) -> bytes:
        """The whole message with CRLF line ends: text first, HTML for those who can show it.

        It says that a machine wrote it, so that no machine answers (RFC 3834)."""
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
