"""What a mail server's refusal is about, and what of its words an operator may read."""

from __future__ import annotations

import re
from typing import Collection, Optional

from regsys.model import masked_text

MAX_WORDS = 200

# RFC 3463: class, subject, detail.
_ENHANCED = re.compile(r"(?<![0-9.])[245]\.(?P<subject>[0-9]{1,3})\.[0-9]{1,3}(?![0-9.])")
# Of the subjects: a bad destination, a mailbox, the way to it, the message itself. Those of the
# mail system (3), the dialogue (5) and policy (7) are between the server and us.
_ABOUT_MAIL = frozenset("1246")
# Of the addresses: that of the sender.
_SENDER = frozenset({"5.1.7", "5.1.8"})
# Codes with which a server without enhanced codes refuses a mailbox or a message (RFC 5321, 4.2).
_MAILBOX = frozenset({550, 551, 552, 553, 556})
# It says so of the recipient, whatever its codes say.
_RECIPIENT_WORDS = re.compile(
    r"recipient address rejected|user unknown|unknown user|no such (?:user|mailbox|recipient)"
    r"|mailbox (?:unavailable|not found)",
    re.I,
)
# It says so of how we authenticate our mails, whatever else it says.
_OUR_POLICY_WORDS = re.compile(r"\b(?:spf|dkim|dmarc)\b", re.I)
# It says so of us: that we may not send by way of this server, or not as this sender.
_OUR_WORDS = re.compile(
    r"\brelay|rcpthosts|\bsender\b|authenti|log ?in\b|\b(?:helo|ehlo) (?:command|name)|\bclient\b"
    r"|\bhost rejected|block(?:ed|list)|blacklist|spamhaus|not permitted"
    r"|delivery is not allowed",
    re.I,
)
# Shorter lines, such as an empty one, are in every text.
_MIN_SECRET = 4


def is_about_mail(code: int, words: str) -> bool:
    """Whether a final refusal (5xx) is about the recipient or the message, and so final indeed.

    Anything else is for the operators of the two servers to correct, after which the same mail
    goes out: a relay that does not know us, a sender that it does not accept, a block list.
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
