"""Identities: user IDs, secrets, clients, third-party identifiers."""

from __future__ import annotations

import re
from typing import Optional

import attr

GUEST_DEVICE_ID = "guest_device"
MAX_USER_ID_BYTES = 255
# Tried only where a word begins: tried at each letter, a long word would take quadratic time.
_IN_A_WORD = r"[^\s<>()\[\]:;,\"'@]"
_MAIL_ADDRESS = re.compile(rf"(?<!{_IN_A_WORD}){_IN_A_WORD}+@{_IN_A_WORD}+")


@attr.frozen(order=True)
class UserID:
    """A Matrix user ID, taken apart: ``@localpart:server``."""

    localpart: str
    server: str

    def __str__(self) -> str:
        return f"@{self.localpart}:{self.server}"

    @property
    def name_key(self) -> str:
        """What makes two names the same name: the localpart, lower-cased (contract B1.7)."""
        return self.localpart.lower()

    @property
    def is_too_long(self) -> bool:
        """Whether it has more bytes than a user ID may have (contract B1.6)."""
        return len(str(self).encode("utf-8")) > MAX_USER_ID_BYTES

    @classmethod
    def parse(cls, text: str) -> UserID:
        """Take ``@localpart:server`` apart; ValueError if it isn't of that form."""
        localpart, colon, server = text[1:].partition(":")
        if text[:1] != "@" or not colon or not server:
            raise ValueError("not a user ID")
        return cls(localpart, server)


@attr.frozen(repr=False)
class Secret:
    """A password or token on its way: never shown by ``repr``, a log line or a traceback."""

    _value: str

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "<secret>"


@attr.frozen
class Client:
    """Where a request came from: the address as limits and checks see it, and its user agent."""

    address: str
    user_agent: str = ""


@attr.frozen
class Threepid:
    """A validated third-party identifier: medium ``email`` or ``msisdn``, canonical address."""

    medium: str
    address: str
    validated_at_ms: int


@attr.frozen
class AccountThreepid(Threepid):
    """An identifier that an account has, and since when."""

    added_ms: int


def masked(address: str) -> str:
    """What a log may hold of a mail address or a phone number: ``a…@example.org``, ``49…78``."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}" if at else f"{address[:2]}…{address[-2:]}"


def masked_text(text: str) -> str:
    """A text from outside, with every mail address in it masked."""
    return _MAIL_ADDRESS.sub(lambda found: masked(found[0]), text)


@attr.frozen(kw_only=True)
class Requester:
    """Whose access token it is. If ``device_id`` is None, the token belongs to no device.

    ``is_admin``: a server administrator, who may use our administration endpoints.
    """

    user_id: UserID
    device_id: Optional[str] = None
    is_guest: bool = False
    is_admin: bool = False
    valid_until_ms: Optional[int] = None
