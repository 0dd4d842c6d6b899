"""User-interactive authentication: sessions, flows and challenges (contract B8, B16).

This module knows stages only by their interface, and nothing of HTTP or registration.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Callable, Mapping, Optional, Sequence

import attr
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from regsys import clock, json_body, log_context
from regsys.errors import (
    InvalidParam,
    LimitExceeded,
    StageFailed,
    UnknownSession,
    UnknownStage,
    WrongSession,
)
from regsys.interfaces import IStage, StageContext
from regsys.model import Challenge, Client, UIASession, UserID, token_text
from regsys.model.networks import site_key
from regsys.model.uia import SESSION_LIFETIME_MS, StageFailure
from regsys.storage.sessions import SessionStore
from regsys.uia.turns import Turns

SESSION_ID_LETTERS = 24
# A session stores the request's whole URI; no client needs a longer one.
MAX_URI = 1024

Flow = tuple[str, ...]


@attr.frozen
class Auth:
    """The ``auth`` object of a request; ``given`` is False if there is none, or an empty one."""

    session_id: Optional[str] = None
    stage: Optional[str] = None
    fields: Mapping[str, Any] = attr.field(factory=dict, repr=False)
    given: bool = False

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Auth:
        """From a request's body; raises BadJSON for a wrong shape."""
        given = json_body.mapping(body, "auth") or {}
        # Null counts as left out for these two; for any other key the stage refuses it.
        fields = {
            name: value
            for name, value in given.items()
            if value is not None or name not in ("session", "type")
        }
        session_id, stage = json_body.string(fields, "session"), json_body.string(fields, "type")
        # An empty session id is none: known clients send it with their first request.
        return cls(session_id or None, stage, fields, bool(fields))


@attr.frozen
class Progress:
    """The state of a dialogue after an attempt. ``failure`` is None if nothing went wrong, else
    that of the stage ``failed``.

    A stage whose result is None was passed once and must be passed again.
    """

    results: Mapping[str, Any]
    failure: Optional[StageFailed] = None
    failed: Optional[str] = None

    @property
    def completed(self) -> tuple[str, ...]:
        """The passed stages."""
        return tuple(stage for stage, result in self.results.items() if result is not None)

    def undone(self, stage: str, failure: StageFailed) -> Progress:
        """The same, but this stage must be passed again."""
        return Progress({**self.results, stage: None}, failure, stage)

    def failed_at(self, now_ms: int) -> Optional[StageFailure]:
        """What the session remembers of the failure; None if nothing went wrong."""
        if self.failure is None or self.failed is None:
            return None
        failure = self.failure
        return StageFailure(
            stage=self.failed,
            failed_ms=now_ms,
            errcode=failure.errcode,
            text=failure.text,
            sid=failure.sid,
        )

    def completes(self, flows: Sequence[Flow]) -> bool:
        """Whether every stage of some flow is passed, in any order (B16.2)."""
        return self.failure is None and any(set(flow) <= set(self.completed) for flow in flows)


def is_passed(session: UIASession, stage: str) -> bool:
    """Whether this stage is passed; in a finished session every stage counts as passed."""
    return session.finished is not None or session.results.get(stage) is not None


@attr.frozen(kw_only=True)
class UserInteractiveAuth:
    """``per_address``: how many unfinished sessions an address may have; ``key_of`` maps an address
    to the key under which they are counted."""

    sessions: SessionStore
    stages: Mapping[str, IStage]
    clock: IReactorTime
    key_of: Callable[[str], str]
    per_address: int = 200
    turns: Turns = attr.field(init=False)

    @turns.default
    def _new_turns(self) -> Turns:
        return Turns(clock=self.clock)

    def turn(
        self, session_id: str, gone: Optional[Deferred[Any]] = None
    ) -> AbstractAsyncContextManager[None]:
        """One request of a session at a time in this process: the second sees what the first has
        done. Between processes the database decides. See ``Turns.turn``."""
        return self.turns.turn(session_id, gone)

    def begin(
        self,
        method: str,
        uri: str,
        client: Client,
        params: Mapping[str, Any],
        user_id: Optional[UserID] = None,
        session_id: Optional[str] = None,
    ) -> UIASession:
        """A new session, not stored yet: a request that completes at once needs no row.
        ``user_id``: the session's user; None if there is none yet. ``session_id``: a random one if
        None."""
        if len(uri) > MAX_URI:
            raise InvalidParam("The address of this request is too long.")
        now_ms, address = clock.now_ms(self.clock), self.key_of(client.address)
        session_id = session_id or token_text.random_letters(SESSION_ID_LETTERS)
        log_context.note_session(session_id)
        return UIASession(
            session_id=session_id,
            method=method,
            uri=uri,
            created_ms=now_ms,
            expires_ms=now_ms + SESSION_LIFETIME_MS,
            address=address,
            site=site_key(address),
            user_id=user_id,
            params=params,
            clients=(client,),
        )

    async def find(
        self, session_id: str, method: str, uri: str, user_id: Optional[UserID] = None
    ) -> UIASession:
        """The stored session. Raises UnknownSession if there is none, WrongSession if it was begun
        for another request (method and whole URI count, so r0 is not v3: B16.5) or user."""
        session = await self.open(session_id)
        if (session.method, session.uri, session.user_id) != (method, uri, user_id):
            raise WrongSession()
        return session

    async def open(self, session_id: str) -> UIASession:
        """The stored session, whichever request began it: its id suffices for its fallback pages.
        Raises UnknownSession if there is none."""
        session = await self.sessions.get(session_id, clock.now_ms(self.clock))
        if session is None:
            raise UnknownSession()
        log_context.note_session(session_id)
        return session

    async def step(
        self,
        session_id: str,
        stage: str,
        fields: Mapping[str, Any],
        client: Client,
        gone: Optional[Deferred[Any]] = None,
    ) -> Progress:
        """Try one stage of a session, as its fallback page does, and store the result. A stage that
        is passed already is left as it is. ``gone`` as of ``Turns.turn``."""
        async with self.turn(session_id, gone):
            session = await self.open(session_id)
            if is_passed(session, stage):
                return Progress(session.results)
            auth = Auth(session_id, stage, {**fields, "type": stage, "session": session_id}, True)
            progress = await self.attempt(session, auth, client)
            failure = progress.failed_at(clock.now_ms(self.clock))
            await self.sessions.save(session_id, client, None, progress.results, failure=failure)
            return progress

    async def attempt(self, session: UIASession, auth: Auth, client: Client) -> Progress:
        """Try the stage that ``auth`` names, if it names one. Raises UnknownStage for one that is
        not on offer; a StageFailed of the stage is in the result. TypeError for a stage that
        returns False or None, which neither refuses nor passes."""
        if auth.stage is None:
            return Progress(session.results)
        stage = self.stages.get(auth.stage)
        if stage is None:
            raise UnknownStage()
        try:
            context = StageContext(session=session, client=client)
            with self.turns.waiting_elsewhere(session.session_id):
                result = await stage.check(auth.fields, context)
        except StageFailed as failure:
            progress = Progress(session.results, failure, auth.stage)
            return progress.undone(auth.stage, failure) if failure.undoes else progress
        if result is None or result is False:
            raise TypeError(
                f"hooks(stage {auth.stage}): check returned {result}: raise StageFailed to refuse,"
                " return True if there is nothing to remember"
            )
        return Progress({**session.results, auth.stage: result})

    async def store(self, session: UIASession, progress: Progress) -> UIASession:
        """Store a new session. LimitExceeded if its address has too many unfinished ones,
        UsernameHeld if it is to hold a name that another session holds."""
        if progress.results is not session.results:
            session = attr.evolve(session, results=progress.results)
        failure = progress.failed_at(session.created_ms)
        if not await self.sessions.add(session, self.per_address, failure):
            refusal = LimitExceeded(60_000, "Too many unfinished sessions from this address.")
            raise refusal.by_rule("sessions-per-ip")
        return session

    def challenge(
        self, session: UIASession, progress: Progress, flows: Sequence[Flow], asked: bool
    ) -> Challenge:
        """The challenge for what is left to do. ``asked``: the client has sent an ``auth``, so
        ``completed`` is included; the very first 401 has none (B16.2)."""
        params = {}
        for name in dict.fromkeys(name for flow in flows for name in flow):
            stage_params = self.stages[name].params(session)
            if stage_params is not None:
                params[name] = stage_params
        return Challenge(
            session_id=session.session_id,
            flows=tuple(flows),
            params=params,
            completed=progress.completed if asked else None,
            errcode=progress.failure.errcode if progress.failure else None,
            error=progress.failure.text if progress.failure else None,
        )
