"""The tokens and codes that validate an address (contract B7.5)."""

from __future__ import annotations

import re
import string
from typing import Optional

import attr

from regsys.errors import ValidationRefused, sentence
from regsys.model import token_text

TOKEN_LETTERS = 32
CODE_LETTERS = 8


@attr.frozen
class ValidationTokens:
    """Computes tokens and codes from the server's secret, so that no row holds them."""

    secret: bytes = attr.field(repr=False)

    def token(self, sid: str, send_attempt: int) -> str:
        """The token of the link that this attempt sends."""
        key = f"{sid} {send_attempt}"
        return token_text.derived_letters(self.secret, "validation token", key, TOKEN_LETTERS)

    def code(self, sid: str) -> str:
        """The short code of a mail, the same in all mails of a session."""
        return token_text.derived_letters(
            self.secret, "validation code", sid, CODE_LETTERS, token_text.CAPITALS
        )

    def digits(self, sid: str) -> str:
        """The code of a text message, the same in all messages of a session."""
        return token_text.derived_letters(
            self.secret, "validation digits", sid, CODE_LETTERS, string.digits
        )


def as_code(token: str) -> Optional[str]:
    """The typed code in its canonical form; None if this is the token of a link."""
    code = re.sub(r"[\s-]", "", token).upper()
    return code if len(code) == CODE_LETTERS else None


def no_such_validation() -> ValidationRefused:
    """For a session that does not exist or has expired, and for a wrong client secret."""
    return ValidationRefused(
        "M_NO_VALID_SESSION",
        "This confirmation is unknown or has expired: ask for another message.",
    )


def wrong_token(texted: bool) -> ValidationRefused:
    """``texted``: it was the code of a text message, which has no link."""
    text = sentence("This code or link is not valid, or no longer valid.")
    if texted:
        text = sentence("This code is not valid, or no longer valid.")
    return ValidationRefused("M_TOKEN_INCORRECT", text, may_try_again=True)


def no_tries_left(texted: bool) -> ValidationRefused:
    text = sentence("Too many codes were wrong: only a link in the message is valid now.")
    if texted:
        text = sentence("Too many codes were wrong: ask for another message.")
    return ValidationRefused("M_TOKEN_INCORRECT", text)
