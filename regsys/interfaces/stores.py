"""Stores of our own rows, and of what only the standalone service keeps."""

from __future__ import annotations

from typing import Awaitable, Sequence

from zope.interface import Interface

from regsys.interfaces.homeserver import IThreepidStore
from regsys.model import (
    NewJob,
    Threepid,
    UserID,
)


class IOwnThreepidStore(IThreepidStore):
    """The identifiers of accounts, with the jobs that a change brings, held by us from birth: start
    them. A store of ours writes both or neither. ``EmbeddedThreepids`` writes the job that tells of
    the change first, which looks whether it was made if it comes late, and the others after it."""

    def add(
        user_id: UserID, threepid: Threepid, now_ms: int, jobs: Sequence[NewJob] = ()
    ) -> Awaitable[bool]:
        """As IThreepidStore.add."""

    def remove(
        user_id: UserID,
        medium: str,
        address: str,
        jobs: Sequence[NewJob] = (),
        now_ms: int = 0,
    ) -> Awaitable[bool]:
        """As IThreepidStore.remove; ``now_ms`` is when the jobs are born."""


class INonceStore(Interface):
    """What is good once: nonces for one attempt, captcha responses for one session."""

    def use(nonce: str, until_ms: int) -> Awaitable[bool]:
        """Use it up; False if it was used already. It must be remembered until ``until_ms``."""


class IExpiring(Interface):
    """Rows with an end: sessions, outcomes, spent tokens, reservations."""

    def delete_expired(now_ms: int, at_most: int) -> Awaitable[int]:
        """Remove up to ``at_most`` rows whose time is over; returns how many went."""


class IReloadable(Interface):
    """Something that was read from a file, which may change while we run."""

    def reload() -> Sequence[str]:
        """Read it again now; what has changed, in words for the log. What cannot be used is
        logged, and what was there before goes on."""
