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


class IExpiring(Interface):
    """Rows with an end: sessions, outcomes, spent tokens, reservations."""

    def delete_expired(now_ms: int, at_most: int) -> Awaitable[int]:
        """Remove up to ``at_most`` rows whose time is over; returns how many went."""
