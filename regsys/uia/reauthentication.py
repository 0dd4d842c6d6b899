"""Reauthentication, without HTTP: the UIA dialogue by which a user confirms a request of an account
endpoint (contract B8.2). A stolen token alone does not suffice to change an account."""

from __future__ import annotations

import itertools
from typing import Any, Awaitable, Callable, Mapping, Optional, Sequence, Union

import attr
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from regsys import clock
from regsys.errors import NoPassword, UnknownSession
from regsys.model import Challenge, Client, Requester, UserID
from regsys.uia.confirmation import CarryOut, Confirmation, ConfirmationRequest, Confirmed
from regsys.uia.sessions import Flow, UserInteractiveAuth


@attr.frozen(kw_only=True)
class ReauthenticationRequest:
    """A request that ``requester`` must confirm. ``uri`` is path and query as sent. Of ``body``
    only ``auth`` is read, and nothing is stored. ``gone`` fires when the client has disconnected
    (``Request.notifyFinish``); None if that is not known.
    """

    requester: Requester
    method: str
    uri: str
    body: Mapping[str, Any] = attr.field(repr=False)
    client: Client
    gone: Optional[Deferred[Any]] = attr.field(default=None, eq=False, repr=False)


@attr.frozen(kw_only=True)
class Reauthenticated:
    """The user has confirmed this request: carry out now what its body asks for.

    ``results`` maps each passed stage to its result; empty if the device need not reauthenticate
    yet.
    """

    results: Mapping[str, Any]


@attr.frozen(kw_only=True)
class Reauthentication:
    """``flows``: each a tuple of stages. ``timeout_ms``: for how long a device that has
    reauthenticated need not do so again; 0 if every request must be confirmed. ``may_confirm``:
    whether this user can pass the flows at all; None if every user can.

    Only this process knows which devices have reauthenticated lately: another process, or this one
    after a restart, asks again.
    """

    uia: UserInteractiveAuth
    flows: Sequence[Flow]
    clock: IReactorTime
    timeout_ms: int = 0
    may_confirm: Optional[Callable[[UserID], Awaitable[bool]]] = None
    # Until when a device need not reauthenticate, the earliest end first.
    _until_ms: dict[tuple[UserID, str], int] = attr.field(factory=dict, init=False, repr=False)

    async def confirm(self, request: ReauthenticationRequest) -> Union[Reauthenticated, Challenge]:
        """One request of the dialogue.

        Raises WrongSession for a session of another user or another request, UnknownSession for one
        that has expired or was used: a session confirms one request. NoPassword for a user who has
        none to confirm it by. Exceptions of stages, such as LimitExceeded, pass through.
        """

        async def spend(confirmed: Confirmed) -> None:
            session_id = confirmed.session_id
            if session_id is not None and not await self.uia.sessions.remove(session_id):
                raise UnknownSession()  # another process has just used it

        answer = await self.carry_out(request, spend)
        return answer if isinstance(answer, Challenge) else Reauthenticated(results=answer.results)

    async def carry_out(
        self,
        request: ReauthenticationRequest,
        carry_out: CarryOut,
        binding: Optional[Mapping[str, Any]] = None,
    ) -> Union[Confirmed, Challenge]:
        """As ``confirm``, but ``carry_out`` does what the request asks for and ends the session, in
        one transaction (see ``Confirmation.confirm``); ``binding`` as in ConfirmationRequest."""
        requester = request.requester
        if self._is_trusted(requester):
            confirmed = Confirmed(results={})
            await carry_out(confirmed)
            return confirmed
        if "auth" not in request.body and not await self._may_confirm(requester.user_id):
            raise NoPassword()
        answer = await Confirmation(uia=self.uia, flows=self.flows).confirm(
            ConfirmationRequest(
                user_id=requester.user_id,
                method=request.method,
                uri=request.uri,
                body=request.body,
                client=request.client,
                gone=request.gone,
                binding=binding or {},
            ),
            carry_out,
        )
        if isinstance(answer, Confirmed):
            self._note(requester)
        return answer

    async def _may_confirm(self, user_id: UserID) -> bool:
        return self.may_confirm is None or await self.may_confirm(user_id)

    def _note(self, requester: Requester) -> None:
        now_ms = clock.now_ms(self.clock)
        ended = itertools.takewhile(lambda item: item[1] <= now_ms, self._until_ms.items())
        for device, _ in list(ended):
            del self._until_ms[device]
        key = _device(requester)
        if self.timeout_ms and key is not None:
            self._until_ms.pop(key, None)
            self._until_ms[key] = now_ms + self.timeout_ms

    def _is_trusted(self, requester: Requester) -> bool:
        key = _device(requester)
        # If the clock was set back meanwhile, the rest is longer than the timeout: ask again.
        return (
            key is not None
            and 0 < self._until_ms.get(key, 0) - clock.now_ms(self.clock) <= self.timeout_ms
        )


def _device(requester: Requester) -> Optional[tuple[UserID, str]]:
    """The device whose reauthentication lasts; None for a token without a device."""
    return None if requester.device_id is None else (requester.user_id, requester.device_id)
