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
    """The purpose of a mail; the value is the name of its template. All but IN_USE are also those
    of validation sessions: a session is good for its purpose only."""

    REGISTRATION = "registration"
    ADD_THREEPID = "add_threepid"
    PASSWORD_RESET = "password_reset"  # noqa: S105 (a purpose)
    IN_USE = "already_in_use"


def _purpose(self: Any) -> MailPurpose:
    return MailPurpose.REGISTRATION if self.user_id is None else MailPurpose.ADD_THREEPID


_PURPOSE: Any = attr.Factory(_purpose, takes_self=True)


@attr.frozen(kw_only=True)
class NewValidation:
    """A request for a token that validates an address.

    ``sid``: the id of the session, if a new one is begun. ``job`` sends the token; the sid is added
    to its payload. ``until_ms``: when the token expires. ``purpose``: to register, to add the
    address to the account ``user_id``, or to the first account that presents the session if that is
    None, or to reset the password of ``user_id``, or nobody's if that is None.
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
    purpose: MailPurpose = attr.field(default=_PURPOSE)


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
    ``used``: that session has made its account, the address was added, or the password reset.
    ``purpose`` and ``user_id`` as in NewValidation. Only a session that is for a registration can
    be claimed by a UIA session.
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
    purpose: MailPurpose = attr.field(default=_PURPOSE)

    @property
    def is_of_nobody(self) -> bool:
        """Whether it is for a reset, and no account had the address: nothing is sent."""
        return self.purpose is MailPurpose.PASSWORD_RESET and self.user_id is None

    def is_known_to(self, client_secret: str) -> bool:
        """Whether this is the session's client secret, compared in constant time."""
        return hmac.compare_digest(self.client_secret.encode(), client_secret.encode())


@attr.frozen(kw_only=True)
class ValidationMail:
    """A mail to be composed for ``address``, in the first available of ``languages`` (tags, the
    preferred one first). ``link`` and ``code`` are None if there is nothing to confirm.
    ``message_id``: the same each time this mail is sent. ``registering``: it was requested for a
    registration, else for an account that exists. With PASSWORD_RESET also ``user_id``, whose
    password is to be reset, and ``requested_from``, the IP address of the request."""

    purpose: MailPurpose
    address: str
    languages: tuple[str, ...]
    message_id: str
    link: Optional[str] = attr.field(default=None, repr=False)
    code: Optional[str] = attr.field(default=None, repr=False)
    registering: bool = True
    user_id: Optional[UserID] = None
    requested_from: Optional[str] = None
