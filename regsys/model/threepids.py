"""Proofs of third-party identifiers, and the mails that they send."""

from __future__ import annotations

import enum
import hmac
from typing import Any, Mapping, Optional

import attr

from regsys.model.identity import UserID
from regsys.model.jobs import NewJob


@attr.frozen(kw_only=True)
class Mail:
    """A mail on its way to one address, in its canonical form.

    ``message_id`` is what comes before the ``@`` of its Message-ID: the same mail sent once
    more bears the same, so that a duplicate can be recognised. None: a random one. The parts
    hold secrets and are never shown.
    """

    to: str = attr.field(repr=False)
    subject: str
    text: str = attr.field(repr=False)
    html: str = attr.field(repr=False)
    message_id: Optional[str] = None


# How long a proven address waits for its registration: as long as a dialogue may last.
VALIDATED_MS = 48 * 3600 * 1000


# How many codes a session takes before only its links are good (contract B7.5).
CODE_TRIES = 10


class MailPurpose(str, enum.Enum):
    """The purpose of a mail; the value is the name of its template."""

    REGISTRATION = "registration"
    ADD_THREEPID = "add_threepid"
    IN_USE = "already_in_use"


_HAS_USER: Any = attr.Factory(lambda self: self.user_id is not None, takes_self=True)


@attr.frozen(kw_only=True)
class NewValidation:
    """A request for a token to validate an address with.

    ``sid`` is the session's if one is begun. ``job`` sends the token; the sid is added to its
    payload. ``until_ms``: how long the token is good. ``for_account``: to have the address on an
    account, ``user_id``, None: the one that brings the proof first; else to register with it.
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
    """``job``: what was written with a new token, held by us; None: nothing is to be sent."""

    sid: str
    job: Optional[NewJob] = None


@attr.frozen(kw_only=True)
class Validation:
    """A session that proves an address (contract B7.5-7).

    ``tokens`` maps each send_attempt that made a token to the moment when it did. If
    ``validated_ms`` is None, not proven yet. ``claimed_by``: the UIA session it belongs to, None:
    to nobody yet; ``used``: that session has made its account. Gone after ``expires_ms``.

    ``for_account``: the address is proven to be added to an account, ``user_id``, None: the one
    that brings the proof first; no session can claim it, and ``used`` is then that it has been
    added. Else it is for an account yet to be made.
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
        """What the person confirms with it."""
        return MailPurpose.ADD_THREEPID if self.for_account else MailPurpose.REGISTRATION

    def is_known_to(self, client_secret: str) -> bool:
        """Whether this is its client secret; the time does not tell how much of it."""
        return hmac.compare_digest(self.client_secret.encode(), client_secret.encode())


@attr.frozen(kw_only=True)
class ValidationMail:
    """What somebody is to be told at ``address``, in the first of ``languages`` (tags, the most
    wanted first) that there is. If ``link`` and ``code`` are None, there is nothing to confirm.
    ``message_id``: the same for each time that this very mail is sent. ``registering``: it was
    asked for in order to register; else to have the address on an account."""

    purpose: MailPurpose
    address: str
    languages: tuple[str, ...]
    message_id: str
    link: Optional[str] = attr.field(default=None, repr=False)
    code: Optional[str] = attr.field(default=None, repr=False)
    registering: bool = True
