"""Registrations that are not finished, for the operator who helps (``regsys signups``)."""

from __future__ import annotations

import hashlib
from typing import Any, Mapping, Optional

import attr

from regsys.model.uia import StageFailure

# Hexadecimal digits of an id: enough for a few million registrations at a time.
_ID_LENGTH = 10


@attr.frozen(kw_only=True)
class Failures:
    """``last`` is the latest of ``count`` failures of a stage."""

    count: int
    last: StageFailure


@attr.frozen(kw_only=True)
class Delivery:
    """The job that is to deliver a message. ``error`` is None if it has not failed yet."""

    job_id: str
    attempts: int
    due_ms: int
    error: Optional[str]


@attr.frozen(kw_only=True)
class SentMessage:
    """A validation session of an address, begun at ``begun_ms``, by its last message, which was
    asked for at ``asked_ms``.

    ``delivery`` is None once a server has taken the message, or it was given up for the reason
    ``refusal``. ``tries``: how many codes were tried. If ``validated_ms`` is None, the address is
    not validated yet.
    """

    sid: str = attr.field(repr=False)
    medium: str
    address: str
    begun_ms: int
    asked_ms: int
    send_attempt: int
    tries: int
    validated_ms: Optional[int] = None
    claimed_by: Optional[str] = attr.field(default=None, repr=False)
    refusal: Optional[str] = None
    delivery: Optional[Delivery] = None


@attr.frozen(kw_only=True)
class OpenSession:
    """A UIA session of a registration that has made no account. ``has_password``: a client has sent
    one. ``passed``: the stages that are passed, with their results."""

    session_id: str = attr.field(repr=False)
    created_ms: int
    address: str
    params: Mapping[str, Any] = attr.field(repr=False)
    passed: Mapping[str, Any] = attr.field(repr=False)
    failures: Mapping[str, Failures]
    held_name: Optional[str]
    held_until_ms: Optional[int]
    has_password: bool


@attr.frozen(kw_only=True)
class HalfFinished:
    """A registration that is not finished: its session with the messages that belong to it, as far
    as clients have shown them; or, with ``session`` None, a message that no session has shown."""

    session: Optional[OpenSession]
    messages: tuple[SentMessage, ...]

    @property
    def id(self) -> str:
        """By which it is named. The ids of sessions are secrets of their clients: this is none."""
        session = self.session
        key = f"message {self.messages[0].sid}" if session is None else session.session_id
        return hashlib.sha256(f"sign-up {key}".encode()).hexdigest()[:_ID_LENGTH]

    @property
    def begun_ms(self) -> int:
        return self.messages[0].begun_ms if self.session is None else self.session.created_ms

    def message_of(self, medium: str) -> Optional[SentMessage]:
        """The latest message to an address of this medium; None if none is known."""
        found = [message for message in self.messages if message.medium == medium]
        return max(found, key=lambda message: message.asked_ms, default=None)
