"""What a mail server's refusal is about, and how much of its text goes into the log."""

from __future__ import annotations

import re
from typing import Collection, Optional

from regsys.model.identity import masked_text

MAX_WORDS = 200

# RFC 3463: class, subject, detail.
_ENHANCED = re.compile(r"(?<![0-9.])[245]\.(?P<subject>[0-9]{1,3})\.[0-9]{1,3}(?![0-9.])")
# Subjects: the address (1), the mailbox (2), the network (4), the message itself (6). The mail
# system (3), the protocol (5) and policy (7) are between the server and us.
_ABOUT_MAIL = frozenset("1246")
# Codes of subject 1 that are about the sender's address.
_SENDER = frozenset({"5.1.7", "5.1.8"})
# Codes with which a server without enhanced codes refuses a mailbox or a message (RFC 5321, 4.2).
_MAILBOX = frozenset({550, 551, 552, 553, 556})
# The text is about the recipient, whatever the codes say.
_RECIPIENT_WORDS = re.compile(
    r"recipient address rejected|user unknown|unknown user|no such (?:user|mailbox|recipient)"
    r"|mailbox (?:unavailable|not found)",
    re.I,
)
# The text is about how our mails are authenticated, whatever else it says.
_OUR_POLICY_WORDS = re.compile(r"\b(?:spf|dkim|dmarc)\b", re.I)
# The text is about us: we may not send through this server, or not as this sender.
_OUR_WORDS = re.compile(
    r"\brelay|rcpthosts|\bsender\b|authenti|log ?in\b|\b(?:helo|ehlo) (?:command|name)|\bclient\b"
    r"|\bhost rejected|block(?:ed|list)|blacklist|spamhaus|not permitted"
    r"|delivery is not allowed",
    re.I,
)
# Shorter secrets, such as an empty line, are in every text.
_MIN_SECRET = 4


def is_about_mail(code: int, words: str) -> bool:
    """Whether a permanent refusal (5xx) is about the recipient or the message.

    The operators of the two servers can correct anything else, after which the same mail goes
    out: a relay that does not know us, a sender that is not accepted, a block list.
    """
    if _OUR_POLICY_WORDS.search(words):
        return False
    if _RECIPIENT_WORDS.search(words):
        return True
    found = _ENHANCED.search(words)
    if found is None or found["subject"] == "0":
        return code in _MAILBOX and not _OUR_WORDS.search(words)
    return found["subject"] in _ABOUT_MAIL and found[0] not in _SENDER


def readable(words: str, secrets: Collection[str]) -> Optional[str]:
    """The words on one line, with addresses masked; None if one of ``secrets`` is in them."""
    if any(len(secret) >= _MIN_SECRET and secret in words for secret in secrets):
        return None
    line = " ".join("".join(it if it.isprintable() else " " for it in words).split())
    return masked_text(line)[:MAX_WORDS] or None
