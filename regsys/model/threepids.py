"""Validation sessions of third-party identifiers, and their mails."""

from __future__ import annotations

import enum
import hmac
from typing import Any, Mapping, Optional

import attr

from regsys.model.identity import UserID
from regsys.model.jobs import NewJob


@attr.frozen(kw_only=True)
class Mail:
    """A mail to one address, in canonical form.

    ``message_id``: the part before the ``@`` of the Message-ID, the same each time the mail is
    sent, so that duplicates can be recognised; a random one if None. ``repr`` does not show the
    text and the HTML, which contain secrets.
    """

    to: str = attr.field(repr=False)
    subject: str
    text: str = attr.field(repr=False)
    html: str = attr.field(repr=False)
    message_id: Optional[str] = None


# How long a validated session can be used: as long as a UIA session may last.
VALIDATED_MS = 48 * 3600 * 1000


# How many codes may be tried before only the session's links are valid (contract B7.5).
CODE_TRIES = 10


class MailPurpose(str, enum.Enum):
    """The purpose of a mail; the value is the name of its template."""

    REGISTRATION = "registration"
    ADD_THREEPID = "add_threepid"
    IN_USE = "already_in_use"


_HAS_USER: Any = attr.Factory(lambda self: self.user_id is not None, takes_self=True)


@attr.frozen(kw_only=True)
class NewValidation:
    """A request for a token that validates an address.

    ``sid``: the id of the session, if a new one is begun. ``job`` sends the token; the sid is added
    to its payload. ``until_ms``: when the token expires. ``for_account``: whether the address is
    for an existing account, ``user_id``, or for the first account that presents the session if
    that is None; else it is for a registration.
    """

    sid: str
    medium: str
    address: str
    client_secret: str = attr.field(repr=False)
    send_attempt: int
    job: NewJob
    now_ms: int
    until_ms: int
    next_link: Optional[str] = None
    user_id: Optional[UserID] = None
    for_account: bool = attr.field(default=_HAS_USER)


@attr.frozen
class ValidationBegun:
    """``job``: the job that sends a new token, under a lease of this process; None if nothing is to
    be sent."""

    sid: str
    job: Optional[NewJob] = None


@attr.frozen(kw_only=True)
class Validation:
    """A validation session of an address (contract B7.5-7), until ``expires_ms``.

    ``tokens``: the time of each send_attempt that made a token. ``validated_ms`` is None if the
    address is not validated yet. ``claimed_by``: the UIA session that has claimed it, if any;
    ``used``: that session has made its account.

    ``for_account``: the address is for an existing account, ``user_id``, or for the first account
    that presents the session if that is None. Then no UIA session can claim it, and ``used`` means
    that the address was added. Otherwise it is for a registration.
    """

    sid: str
    medium: str
    address: str
    client_secret: str = attr.field(repr=False)
    next_link: Optional[str]
    expires_ms: int
    tokens: Mapping[int, int] = attr.field(factory=dict)
    validated_ms: Optional[int] = None
    claimed_by: Optional[str] = None
    used: bool = False
    user_id: Optional[UserID] = None
    for_account: bool = attr.field(default=_HAS_USER)

    @property
    def purpose(self) -> MailPurpose:
        """What the person confirms."""
        return MailPurpose.ADD_THREEPID if self.for_account else MailPurpose.REGISTRATION

    def is_known_to(self, client_secret: str) -> bool:
        """Whether this is the session's client secret, compared in constant time."""
        return hmac.compare_digest(self.client_secret.encode(), client_secret.encode())


@attr.frozen(kw_only=True)
class ValidationMail:
    """A mail to be composed for ``address``, in the first available of ``languages`` (tags, the
    preferred one first). ``link`` and ``code`` are None if there is nothing to confirm.
    ``message_id``: the same each time this mail is sent. ``registering``: it was requested for a
    registration, else to add the address to an account."""

    purpose: MailPurpose
    address: str
    languages: tuple[str, ...]
    message_id: str
    link: Optional[str] = attr.field(default=None, repr=False)
    code: Optional[str] = attr.field(default=None, repr=False)
    registering: bool = True
