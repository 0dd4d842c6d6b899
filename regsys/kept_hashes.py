"""The hash of a registration's password, kept with its session until the account is made."""

from __future__ import annotations

import secrets
from typing import Optional

import attr
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys.errors import RegistrationError
from regsys.interfaces import IHasher
from regsys.model import Secret, UIASession
from regsys.uia.sessions import UserInteractiveAuth

log = Logger()


def marked(session: UIASession, password: Optional[Secret]) -> UIASession:
    """The session with a mark of its own for this password, which tells it from those of other
    requests; the same session where this request brings none."""
    if password is None:
        return session
    return attr.evolve(session, password_mark=secrets.token_hex(8))


@attr.frozen(kw_only=True)
class KeptHashes:
    """So the plain password reaches no disk, and the last request need not wait (B8.3)."""

    uia: UserInteractiveAuth
    hasher: IHasher
    clock: IReactorTime

    def make_soon(self, session: UIASession, password: Optional[Secret]) -> None:
        """Once the answer is on its way, hash the password that ``marked`` has marked, and keep
        the hash, unless a newer password has come meanwhile. None: there is nothing to do."""
        if password is not None:
            self.clock.callLater(0, self._start, session, password)

    def _start(self, session: UIASession, password: Secret) -> None:
        keeping = Deferred.fromCoroutine(self._make(session, password))
        keeping.addErrback(lambda failure: log.failure("keeping a password hash", failure))

    async def _make(self, session: UIASession, password: Secret) -> None:
        # In the session's turn: its next request waits, and finds what is kept here. Without
        # room for a hash none is kept: the client's last request brings the password again,
        # or is asked for it.
        session_id, mark = session.session_id, session.password_mark
        async with self.uia.turn(session_id):
            if mark is None or not self.hasher.has_room():
                return
            try:
                password_hash = await self.hasher.hash(password, session_id)
                await self.uia.sessions.keep_hash(session_id, mark, password_hash)
            except RegistrationError as error:
                log.info("a session's password hash was not kept: {error}", error=error.text)
