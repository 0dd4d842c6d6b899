"""The hash of a registration's password, stored with its session until the account is created.

The plain password must not reach the database. So the process that has received it hashes it, after
the answer, and the session's row holds a lease (``hashing_until_ms``): any process that gets the
session's last request knows whether a hash is still to come (contract B8.3).
"""

from __future__ import annotations

import secrets
from typing import Optional, Sequence

import attr
from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from regsys import clock
from regsys.credentials.hashing import HashingPool
from regsys.errors import RegistrationError, Unavailable
from regsys.model import Secret, UIASession
from regsys.uia.sessions import UserInteractiveAuth

log = Logger()

# How long hashing a session's password and storing the hash may take. If the process dies, no
# request waits longer for the hash.
LEASE_MS = 30_000
# How many sessions' passwords may wait in memory for room in the hashing queue.
MOST_QUEUED = 100
# How long the last request of a session waits for the hash, and how often it reads the row while
# another process makes the hash.
MOST_WAIT_S = 10.0
POLL_S = 0.2
# How often storing the hash is retried while the database is away, until the lease ends.
RETRY_S = 1.0


@attr.define(eq=False)
class _Pending:
    """A hash to come. ``waiting``: those who get it, or None if it will not be made. ``made``: the
    hash, until it is stored."""

    session_id: str
    mark: str
    until_ms: int
    password: Secret
    waiting: list[Deferred[Optional[str]]] = attr.field(factory=list)
    made: Optional[str] = attr.field(default=None, repr=False)

    def result(self) -> Deferred[Optional[str]]:
        """A new Deferred, which the caller may cancel."""
        if self.made is not None:
            return succeed(self.made)
        mine: Deferred[Optional[str]] = Deferred(lambda _: self.waiting.remove(mine))
        self.waiting.append(mine)
        return mine

    def finish(self, password_hash: Optional[str]) -> None:
        self.made = password_hash
        while self.waiting:
            self.waiting.pop(0).callback(password_hash)


@attr.define(kw_only=True, eq=False)
class SessionPasswords:
    """Hashes sessions' passwords, and waits for the hashes that other processes make."""

    uia: UserInteractiveAuth
    hasher: HashingPool
    clock: IReactorTime
    # By session, in the order of arrival: those that wait for room in the hashing queue, and those
    # that are being hashed, stored or given up.
    _queue: dict[str, _Pending] = attr.field(factory=dict, init=False, repr=False)
    _making: dict[str, _Pending] = attr.field(factory=dict, init=False, repr=False)
    _idle: list[Deferred[None]] = attr.field(factory=list, init=False, repr=False)
    _is_serving: bool = attr.field(default=False, init=False)
    _is_closed: bool = attr.field(default=False, init=False)

    # --- A password arrives ---------------------------------------------------------------

    def with_password_id(self, session: UIASession, password: Optional[Secret]) -> UIASession:
        """The session with a new mark, which tells this password from those of other requests, and
        with the lease for hashing it if there is room. Without a password the same session."""
        if password is None:
            return session
        until_ms = clock.now_ms(self.clock) + LEASE_MS if self._has_place() else None
        mark = secrets.token_hex(8)
        return attr.evolve(session, password_id=mark, hashing_until_ms=until_ms)

    def _has_place(self) -> bool:
        if len(self._queue) >= MOST_QUEUED:
            # A full queue drops those whose lease has ended, which are else hashed all the same.
            now_ms = clock.now_ms(self.clock)
            for pending in list(self._queue.values()):
                if pending.until_ms <= now_ms:
                    del self._queue[pending.session_id]
                    pending.finish(None)
        return not self._is_closed and len(self._queue) < MOST_QUEUED

    def hash_soon(self, session: UIASession, password: Optional[Secret]) -> None:
        """After the answer, hash the password that ``with_password_id`` has marked, and store the
        hash unless a newer password has arrived meanwhile. Without a password, or without a lease,
        do nothing."""
        mark, until_ms = session.password_id, session.hashing_until_ms
        if password is None or mark is None or until_ms is None:
            return
        # A newer password replaces the one before.
        pending = _Pending(session.session_id, mark, until_ms, password)
        earlier = self._queue.get(session.session_id)
        self._queue[session.session_id] = pending
        if earlier is not None:
            earlier.finish(None)
        self.clock.callLater(0, self._serve)

    def _serve(self) -> None:
        if not self._is_serving:
            self._is_serving = True
            serving = Deferred.fromCoroutine(self._serve_queue())
            serving.addErrback(lambda failure: log.failure("hashing in the background", failure))

    async def _serve_queue(self) -> None:
        try:
            while self._queue:
                await self.hasher.wait_for_room()
                pending = next(iter(self._queue.values()), None)
                if pending is not None:
                    self._making[pending.session_id] = self._queue.pop(pending.session_id)
                    making = Deferred.fromCoroutine(self._make(pending))
                    making.addErrback(lambda failure: log.failure("keeping a hash", failure))
        finally:
            self._is_serving = False

    async def _make(self, pending: _Pending) -> None:
        try:
            password_hash = await self._hash(pending)
            if password_hash is None:
                await self._give_up([pending])
            else:
                pending.finish(password_hash)
                await self._keep(pending, password_hash)
        except RegistrationError as error:
            log.info("a session's password hash was not kept: {error}", error=error.text)
        finally:
            self._discard(pending)

    def _discard(self, pending: _Pending) -> None:
        if self._making.get(pending.session_id) is pending:
            del self._making[pending.session_id]
        pending.finish(None)
        if not self.is_busy:
            while self._idle:
                self._idle.pop(0).callback(None)

    async def _hash(self, pending: _Pending) -> Optional[str]:
        """The hash; None if it was not made: the process is stopping, or a thread has failed."""
        try:
            return await self.hasher.hash(pending.password, pending.session_id)
        except RegistrationError as error:
            log.info("a session's password was not hashed: {error}", error=error.text)
        except Exception:
            # No caller would see this error, and no request may wait for this hash any longer.
            log.failure("hashing a session's password")
        return None

    async def _keep(self, pending: _Pending, password_hash: str) -> None:
        sessions = self.uia.sessions
        while True:
            try:
                return await sessions.keep_hash(pending.session_id, pending.mark, password_hash)
            except Unavailable:
                if clock.now_ms(self.clock) >= pending.until_ms:
                    raise
            await deferLater(self.clock, RETRY_S)

    async def _give_up(self, given_up: Sequence[_Pending]) -> None:
        """Release the leases, so that no process waits for these hashes."""
        marks = {pending.session_id: pending.mark for pending in given_up}
        try:
            await self.uia.sessions.give_up_hashes(marks)
        except RegistrationError as error:
            log.info("could not release the lease of a hash: {error}", error=error.text)

    # --- The last request arrives ---------------------------------------------------------

    async def with_hash(self, session: UIASession) -> UIASession:
        """The session with its password's hash, after at most MOST_WAIT_S; without one if no
        process makes it, or if another process has finished the session.

        Raises UnknownSession if it has expired meanwhile, Unavailable if this process is stopping.
        """
        if session.password_hash is not None or session.finished is not None:
            return session
        with self.uia.turns.waiting_elsewhere(session.session_id):
            return await self._with_hash(session)

    async def _with_hash(self, session: UIASession) -> UIASession:
        until_s = self.clock.seconds() + MOST_WAIT_S
        while session.password_hash is None and session.finished is None:
            left_s = until_s - self.clock.seconds()
            if left_s <= 0:
                break
            pending = self._pending(session)
            if pending is not None:
                password_hash = await self._result(pending, left_s)
                if password_hash is not None:
                    return attr.evolve(session, password_hash=password_hash)
            elif (session.hashing_until_ms or 0) <= clock.now_ms(self.clock):
                break
            elif self._is_closed:
                raise Unavailable()
            else:
                await deferLater(self.clock, min(POLL_S, left_s))
            session = await self.uia.open(session.session_id)
        return session

    def _pending(self, session: UIASession) -> Optional[_Pending]:
        for pending in (self._queue.get(session.session_id), self._making.get(session.session_id)):
            if pending is not None and pending.mark == session.password_id:
                return pending
        return None

    async def _result(self, pending: _Pending, left_s: float) -> Optional[str]:
        try:
            return await pending.result().addTimeout(left_s, self.clock)
        except TimeoutError:
            return None

    # --- The process stops ----------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether a hash is still to be made or stored."""
        return bool(self._queue or self._making)

    def idle(self) -> Deferred[None]:
        """Fires once no hash is left to be made or stored."""
        if not self.is_busy:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._idle.append(waiting)
        return waiting

    def close(self) -> None:
        """Give up the queued passwords, and accept no more; hashing that has begun goes on."""
        self._is_closed = True
        self._making.update(self._queue)
        given_up = list(self._queue.values())
        self._queue.clear()
        closing = Deferred.fromCoroutine(self._close(given_up))
        closing.addErrback(lambda failure: log.failure("giving up hashes", failure))

    async def _close(self, given_up: Sequence[_Pending]) -> None:
        try:
            await self._give_up(given_up)
        finally:
            for pending in given_up:
                self._discard(pending)
