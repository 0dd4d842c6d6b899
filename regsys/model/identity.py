"""Identities: user IDs, secrets, clients, third-party identifiers."""

from __future__ import annotations

import re
from typing import Optional, Union

import attr

from regsys.model.canonical_threepids import canonical_threepid
from regsys.model.typed import check_type, typed

GUEST_DEVICE_ID = "guest_device"
MAX_USER_ID_BYTES = 255
# Matched only at the beginning of a word: if every letter were tried, a long word would take
# quadratic time.
_IN_A_WORD = r"[^\s<>()\[\]:;,\"'@]"
_MAIL_ADDRESS = re.compile(rf"(?<!{_IN_A_WORD}){_IN_A_WORD}+@{_IN_A_WORD}+")


@attr.frozen(order=True, field_transformer=typed)
class UserID:
    """A Matrix user ID, ``@localpart:server``, in its parts."""

    localpart: str
    server: str

    def __str__(self) -> str:
        return f"@{self.localpart}:{self.server}"

    @property
    def name_key(self) -> str:
        """The lower-cased localpart: names with the same key are the same name (contract B1.7)."""
        return self.localpart.lower()

    @property
    def is_too_long(self) -> bool:
        """Whether it has more bytes than a user ID may have (contract B1.6)."""
        return len(str(self).encode("utf-8")) > MAX_USER_ID_BYTES

    @classmethod
    def parse(cls, text: str) -> UserID:
        """Parse ``@localpart:server``; ValueError if the text does not have this form."""
        localpart, colon, server = text[1:].partition(":")
        if text[:1] != "@" or not colon or not server:
            raise ValueError("not a user ID")
        return cls(localpart, server)

    @classmethod
    def of(cls, given: Union[UserID, str]) -> UserID:
        """What a caller gives as a user ID, as a value or as text. ValueError for text that is
        none."""
        if isinstance(given, UserID):
            return given
        check_type("user_id", given, UserID, str)
        try:
            return cls.parse(given)
        except ValueError:
            problem = f"{given!r} is not a user ID, which looks like @alice:example.org"
            if given and "@" not in given and ":" not in given:
                problem += ": a user name alone is not enough, add the server's"
            raise ValueError(problem) from None


@attr.frozen(repr=False, field_transformer=typed)
class Secret:
    """A password or token that is in use: ``repr``, log lines and tracebacks do not show it."""

    _value: str

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "<secret>"


@attr.frozen(field_transformer=typed)
class Client:
    """The origin of a request: the IP address for limits and checks, and the user agent."""

    address: str
    user_agent: str = ""


@attr.frozen(field_transformer=typed)
class Threepid:
    """A validated third-party identifier: medium ``email`` or ``msisdn``, canonical address."""

    medium: str
    address: str
    validated_at_ms: int

    @classmethod
    def of(cls, medium: str, address: str, at: int) -> Threepid:
        """The identifier with the canonical form of ``address``, which may be in any spelling.

        ``at``: when it was validated, in milliseconds. Raises InvalidParam for text that is no
        address of this medium, and for another medium than ``email`` and ``msisdn``.
        """
        if not isinstance(medium, str):
            raise TypeError(f"medium must be 'email' or 'msisdn', not {medium!r}")
        if not isinstance(address, str):
            raise TypeError(f"address must be a str, not {type(address).__name__}")
        if type(at) is not int:
            raise TypeError(f"at must be an int of milliseconds, not {type(at).__name__}")
        if at < 0:
            raise ValueError(f"at must be milliseconds since 1970, not {at}")
        return Threepid(medium, canonical_threepid(medium, address), at)


@attr.frozen(field_transformer=typed)
class AccountThreepid(Threepid):
    """An identifier of an account, and when it was added."""

    added_ms: int


def masked(address: str) -> str:
    """An email address or phone number as it may be logged: ``a…@example.org``, ``49…78``."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}" if at else f"{address[:2]}…{address[-2:]}"


def masked_text(text: str) -> str:
    """A text from outside, with every email address in it masked."""
    return _MAIL_ADDRESS.sub(lambda found: masked(found[0]), text)


@attr.frozen(kw_only=True, field_transformer=typed)
class Requester:
    """The user of an access token. If ``device_id`` is None, the token belongs to no device.

    ``is_admin``: a server administrator, who may use our administration endpoints.
    """

    user_id: UserID
    device_id: Optional[str] = None
    is_guest: bool = False
    is_admin: bool = False
    valid_until_ms: Optional[int] = None

    def __attrs_post_init__(self) -> None:
        if self.is_guest and self.is_admin:
            raise ValueError("Requester: a guest is not an administrator")
