"""Which user names are held for the sessions of POST /register (docs/names.md)."""

from __future__ import annotations

from typing import Optional

import attr

from regsys import clock
from regsys.accounts.usernames import ascii_lower
from regsys.errors import UsernameHeld
from regsys.model import UIASession
from regsys.model.uia import NameHold
from regsys.uia.sessions import Progress, UserInteractiveAuth


def asked_localpart(session: UIASession) -> Optional[str]:
    """The name that the session asks for; None if it asks for none."""
    username = session.params.get("username")
    return None if username is None else ascii_lower(username)


@attr.frozen(kw_only=True)
class NameHolds:
    """``enabled``: names are held. ``silent``: no challenge tells that a name is taken or held."""

    uia: UserInteractiveAuth
    enabled: bool
    silent: bool

    def wanted(self, session: UIASession) -> Optional[NameHold]:
        """What the session asks to hold; None where names are not held."""
        if not self.enabled:
            return None
        # A guest who becomes a user has its name already.
        name = None if session.guest_id is not None else asked_localpart(session)
        return NameHold(name=name, now_ms=clock.now_ms(self.uia.clock))

    async def store(self, session: UIASession, progress: Progress) -> UIASession:
        """Store a new session, and hold the name for it. Raises UsernameHeld if another session
        holds that and the client may learn it, and as ``UserInteractiveAuth.store`` does."""
        hold = self.wanted(session)
        if hold is None or hold.name is None:
            return await self.uia.store(session, progress)
        holding = attr.evolve(session, held_name=hold.name, held_until_ms=hold.until_ms)
        try:
            return await self.uia.store(holding, progress)
        except UsernameHeld:
            if not self.silent:
                raise
            return await self.uia.store(session, progress)
