"""The parts that an embedder brings: each is checked, and each of its calls has a deadline."""

from __future__ import annotations

import functools
from typing import Any, Optional, TypeVar

import attr
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import Interface
from zope.interface.interface import Method

from regsys import deadlines
from regsys.config import Config
from regsys.errors import Unavailable
from regsys.interfaces import (
    IAppservices,
    IBlocking,
    IFollower,
    IRequestSigner,
    IRooms,
    ISmsSender,
    IStage,
    IUserDirectory,
    IValidationMails,
)
from regsys.wiring import arguments
from regsys.wiring.process import Process
from regsys.wiring.stand_ins import Call, answer_of, stand_in
from regsys.wiring.subsystem import Hooks
from regsys.wiring.subsystem import hooks as new_hooks

T = TypeVar("T")

log = Logger()


@attr.frozen(kw_only=True)
class Given:
    """What every way to run may be given, checked. If ``process`` is None, the configured one is to
    be opened; what else is None has not been given."""

    config: Config
    clock: Any
    process: Optional[Process]
    hooks: Hooks
    rooms: Optional[IRooms]
    directory: Optional[IUserDirectory]
    blocking: Optional[IBlocking]
    services: Optional[IAppservices]
    signer: Optional[IRequestSigner]


@attr.frozen
class EmbeddersParts:
    """What an embedder passes to ``function``. Each part that is taken by ``required``,
    ``optional`` or ``given`` is checked (TypeError), and returned with a deadline of ``deadline_s``
    for each call of a method that is awaited."""

    function: str
    clock: Any
    deadline_s: float

    @classmethod
    def of(cls, function: str, config: Config, clock: Any, deadline_s: float) -> EmbeddersParts:
        """The parts of this call, whose first arguments are checked."""
        arguments.check_config(function, config)
        arguments.check_clock(function, clock, arguments.MEMORY_PROCESS)
        arguments.check_deadline(function, deadline_s)
        return cls(function, clock, deadline_s)

    def given(
        self,
        config: Config,
        process: Optional[Process],
        hooks: Optional[Hooks],
        rooms: Optional[IRooms],
        directory: Optional[IUserDirectory],
        blocking: Optional[IBlocking],
        services: Optional[IAppservices],
        signer: Optional[IRequestSigner],
    ) -> Given:
        return Given(
            config=config,
            clock=self.clock,
            process=self._process(process),
            hooks=self.hooks(hooks),
            rooms=self.optional("rooms", IRooms, rooms),
            directory=self.optional("directory", IUserDirectory, directory),
            blocking=self.optional("blocking", IBlocking, blocking),
            services=self.optional("services", IAppservices, services),
            signer=self.optional("signer", IRequestSigner, signer),
        )

    def required(self, name: str, interface: type[Interface], part: T) -> T:
        argument = f"{self.function}({name}=…)"
        arguments.check_provides(argument, interface, part)
        return self._with_deadline(argument, interface, part)

    def optional(self, name: str, interface: type[Interface], part: Optional[T]) -> Optional[T]:
        return None if part is None else self.required(name, interface, part)

    def _process(self, given: Optional[Process]) -> Optional[Process]:
        if given is None:
            arguments.check_reactor(self.function, self.clock)
        else:
            maker, argument = "regsys.testing.memory_process", f"{self.function}(process=…)"
            arguments.check_made_by(maker, argument, Process, given)
        return given

    def hooks(self, given: Optional[Hooks]) -> Hooks:
        """The parts that are in these hooks have been checked."""
        if given is None:
            return new_hooks(self.clock)
        maker, argument = "regsys.hooks(reactor, …)", f"{self.function}(hooks=…)"
        arguments.check_made_by(maker, argument, Hooks, given)
        return attr.evolve(
            given,
            mails=self._of_hooks("mails", IValidationMails, given.mails),
            sms=self._of_hooks("sms", ISmsSender, given.sms),
            stages=[self._of_hooks(f"stage {item.type}", IStage, item) for item in given.stages],
            followers=[
                self._of_hooks(f"follower {item.name}", IFollower, item) for item in given.followers
            ],
        )

    def _of_hooks(self, name: str, interface: type[Interface], part: T) -> T:
        if part is None:
            return part
        return self._with_deadline(f"hooks({name})", interface, part)

    def _with_deadline(self, argument: str, interface: type[Interface], part: T) -> T:
        def instead(method: Method) -> Call:
            return self._call(argument, method, part)

        return stand_in(interface, part, instead)

    def _call(self, argument: str, method: Method, part: object) -> Call:
        name = method.getName()
        own = f"{argument}: {type(part).__name__}.{name}"

        @functools.wraps(getattr(part, name))
        async def call(*args: Any, **kwargs: Any) -> Any:
            returned = getattr(part, name)(*args, **kwargs)
            working: Deferred[Any] = Deferred.fromCoroutine(answer_of(own, method, returned))
            # Most parts answer at once, or soon: the first need no timer.
            return await (working if working.called else self._in_time(own, working))

        return call

    async def _in_time(self, own: str, working: Deferred[T]) -> T:
        """The result; Unavailable after the deadline. What comes later is dropped: nobody waits for
        it, and the part may not be able to stop."""
        seconds = deadlines.seconds_for(self.deadline_s, self.clock.seconds())
        answer: Deferred[T] = Deferred(lambda _: working.cancel())

        def give_up() -> None:
            log.error(
                "{method} did not answer within {seconds} s, and was cancelled",
                method=own,
                seconds=round(seconds, 1),
            )
            # First, so that a part that cannot be cancelled does not hold up the caller.
            answer.errback(Unavailable())
            working.cancel()

        def ended(result: Any) -> None:
            if not answer.called:
                answer.callback(result)  # a Failure goes on as an errback

        timer = self.clock.callLater(seconds, give_up)
        working.addBoth(ended)
        try:
            return await answer
        finally:
            if timer.active():
                timer.cancel()
