"""The UIA dialogue that confirms one request, without HTTP. What the request asks for is carried
out in the session's turn, once its stages are passed."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping, Optional, Sequence, Union

import attr
from twisted.internet.defer import Deferred

from regsys.errors import WrongSession
from regsys.model import Challenge, Client, UserID
from regsys.uia.sessions import Auth, Flow, UserInteractiveAuth


@attr.frozen(kw_only=True)
class ConfirmationRequest:
    """``user_id``: whose request it is; None if the stages are to show that. ``binding`` is what a
    later request of the session must repeat, beside method and URI. ``session_id``: that of a
    session that this request begins; a random one if None. The others are as in
    ReauthenticationRequest."""

    user_id: Optional[UserID]
    method: str
    uri: str
    body: Mapping[str, Any] = attr.field(repr=False)
    client: Client
    gone: Optional[Deferred[Any]] = attr.field(default=None, eq=False, repr=False)
    binding: Mapping[str, Any] = attr.field(factory=dict)
    session_id: Optional[str] = None


@attr.frozen(kw_only=True)
class Confirmed:
    """``results`` maps each passed stage to its result. ``session_id``: the stored session; None if
    the request needed none, or no confirmation."""

    results: Mapping[str, Any]
    session_id: Optional[str] = None


# Carries a confirmed request out. If there is a session, it ends it in its own transaction: that
# decides between processes, and nothing is confirmed and not done.
CarryOut = Callable[[Confirmed], Awaitable[None]]


@attr.frozen(kw_only=True)
class Confirmation:
    """``flows``: each a tuple of stages."""

    uia: UserInteractiveAuth
    flows: Sequence[Flow]

    async def confirm(
        self, request: ConfirmationRequest, carry_out: CarryOut
    ) -> Union[Confirmed, Challenge]:
        """One request of the dialogue. Returns Confirmed once ``carry_out`` has returned.

        ``carry_out`` is called again for a session whose request has been carried out: a client
        repeats a request whose answer it has lost. If it raises, what was passed stays passed.
        Raises WrongSession and UnknownSession; exceptions of stages, such as LimitExceeded, pass
        through.
        """
        auth = Auth.from_body(request.body)
        if auth.session_id is None:
            return await self._begin(request, auth, carry_out)
        async with self.uia.turn(auth.session_id, request.gone):
            return await self._go_on(request, auth, auth.session_id, carry_out)

    async def _begin(
        self, request: ConfirmationRequest, auth: Auth, carry_out: CarryOut
    ) -> Union[Confirmed, Challenge]:
        session = self.uia.begin(
            request.method,
            request.uri,
            request.client,
            request.binding,
            request.user_id,
            request.session_id,
        )
        progress = await self.uia.attempt(session, auth, request.client)
        if progress.completes(self.flows):
            confirmed = Confirmed(results=progress.results)
            await carry_out(confirmed)
            return confirmed
        session = await self.uia.store(session, progress)
        return self.uia.challenge(session, progress, self.flows, asked=auth.given)

    async def _go_on(
        self, request: ConfirmationRequest, auth: Auth, session_id: str, carry_out: CarryOut
    ) -> Union[Confirmed, Challenge]:
        uia = self.uia
        session = await uia.find(session_id, request.method, request.uri, request.user_id)
        if session.params != request.binding:
            raise WrongSession()
        confirmed = Confirmed(results=session.results, session_id=session_id)
        if session.carried_out:
            # Its stages may not be passed any more, a changed password for one.
            await carry_out(confirmed)
            return confirmed
        progress = await uia.attempt(session, auth, request.client)
        # Saved before it is carried out: a request that is repeated finds what was confirmed.
        await uia.sessions.save(session_id, request.client, None, progress.results)
        if not progress.completes(self.flows):
            return uia.challenge(session, progress, self.flows, asked=True)
        confirmed = attr.evolve(confirmed, results=progress.results)
        await carry_out(confirmed)
        return confirmed
