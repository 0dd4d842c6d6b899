"""Running a handler: its answer, its failure, and a client that has disconnected."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Awaitable, Callable, Mapping, Optional

import attr
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from regsys import deadlines, log_context
from regsys.errors import RegistrationError
from regsys.http.addresses import AddressPolicy
from regsys.http.call import Call, read_call
from regsys.http.refusals import RefusalLog
from regsys.http.reply import INTERNAL_ERROR, Headers, Reply, refusal, render, rendered, write

Handler = Callable[[Call], Awaitable[Reply]]

log = Logger()


class InFlight:
    """Counts the calls under way, also those whose client has disconnected.

    ``clock``: for the deadline of each call's database calls; None for no deadline of the call.
    """

    def __init__(self, clock: Optional[IReactorTime] = None) -> None:
        self.count = 0
        self.clock = clock
        self._waiting: list[Deferred[None]] = []

    def idle(self) -> Deferred[None]:
        """Fires once no call is under way."""
        if not self.count:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def deadline(self) -> AbstractContextManager[None]:
        """The context of a call, within which its deadline holds."""
        return nullcontext() if self.clock is None else deadlines.for_request(self.clock)

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.count -= 1
        if not self.count:
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)


@attr.frozen(eq=False, slots=False)
class Leaf(Resource):
    """The resource of one pattern of paths, for all methods."""

    pattern: str
    methods: Mapping[bytes, Handler]
    fallback: Handler
    client_address: AddressPolicy
    in_flight: InFlight
    refusals: RefusalLog
    path_args: Mapping[str, str] = attr.field(factory=dict)

    isLeaf = True

    def render(self, request: Request) -> int:
        Deferred.fromCoroutine(self._serve(request)).addErrback(self._log_failure, request)
        return NOT_DONE_YET

    async def _serve(self, request: Request) -> None:
        """Run the handler to its end, even if the client disconnects: a registration that has begun
        to write must be finished. Then only the answer is dropped."""
        log_context.begin_request(request.method.decode("latin-1"))
        gone = request.notifyFinish()
        gone.addErrback(lambda reason: None)
        with self.in_flight, self.in_flight.deadline():
            reply, content, headers = await self._answer(request, gone)
            if not gone.called:
                write(request, reply, content, headers)
                request.finish()

    async def _answer(self, request: Request, gone: Deferred[None]) -> tuple[Reply, bytes, Headers]:
        handler = self.methods.get(request.method, self.fallback)
        try:
            call = read_call(request, self.path_args, self.client_address, gone)
            log_context.note_address(call.client.address)
            try:
                reply = await self._reply(handler, call)
            except RegistrationError as error:
                reply = refusal(error)
            if handler is not self.fallback:
                self.refusals.log_if_refused(call, self.pattern, reply)
            return (reply, *await render(reply, lambda: not gone.called))
        except RegistrationError as error:
            reply = refusal(error)
        except Exception:
            # A bug of ours or of an embedder's: the client gets no detail of it.
            self._log_failure(Failure(), request)
            reply = INTERNAL_ERROR
        return (reply, *rendered(reply))

    async def _reply(self, handler: Handler, call: Call) -> Reply:
        answer = handler(call)
        if not inspect.isawaitable(answer):
            raise TypeError(
                f"a handler of {self.pattern} returned a {type(answer).__name__}, which cannot be"
                " awaited: make it async"
            )
        reply = await answer
        if not isinstance(reply, Reply):
            raise TypeError(
                f"a handler of {self.pattern} returned a {type(reply).__name__}, not a Reply"
            )
        return reply

    def _log_failure(self, failure: Failure, request: IRequest) -> None:
        # The pattern: a path or query as sent may hold a secret.
        method = request.method.decode("latin-1")
        log.failure("{method} {path} failed", failure, method=method, path=self.pattern)
