"""The hooks of modules: how they are called, and how several answers become one (contract B10).

Callbacks are registered under their module's name, asked in that order, and may answer at
once, be ``async`` or return a Deferred. One that raises, does not answer in time or answers
with something else is logged under its module's name. A question then ends in Unavailable: all
questions here come before the first write, so that the client can simply try again. A notice
goes to the others all the same, and neither holds an answer up nor changes it.
"""

from __future__ import annotations

import inspect
from typing import Any, Callable, ClassVar, Generic, TypeVar

import attr
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from regsys.errors import Unavailable

DEADLINE_MS = 10_000

T = TypeVar("T")
Hook = TypeVar("Hook", bound=Callable[..., object])

log = Logger()


@attr.define(kw_only=True, eq=False)
class CallbackList(Generic[Hook]):
    """The hooks of one moment, and the one way in which they are asked.

    A hook has ``deadline_ms`` to answer.
    """

    moment: ClassVar[str]

    clock: IReactorTime
    deadline_ms: int = DEADLINE_MS
    hooks: list[tuple[str, Hook]] = attr.field(init=False, factory=list)

    def register(self, module: str, hook: Hook) -> None:
        """Ask ``hook`` too, after those that are registered; ``module`` is for the log."""
        self.hooks.append((module, hook))

    async def ask(self, module: str, hook: Hook, read: Callable[[Any], T], *args: object) -> T:
        """The hook's answer as ``read`` understands it (ValueError: not at all)."""
        try:
            answer = await self._answer(hook, args)
            if isinstance(answer, _Raised):
                log.failure(
                    "{moment} of module {module} failed",
                    failure=answer.failure,
                    moment=self.moment,
                    module=module,
                )
                raise Unavailable()
            return read(answer)
        except TimeoutError:
            trouble = f"did not answer within {self.deadline_ms} ms"
        except ValueError:
            trouble = f"answered with a {type(answer).__name__} that it may not answer with"
        log.error(
            "{moment} of module {module} {trouble}",
            moment=self.moment,
            module=module,
            trouble=trouble,
        )
        raise Unavailable()

    async def _answer(self, hook: Hook, args: tuple[object, ...]) -> object:
        """What the hook answers or raises; TimeoutError after the deadline."""
        working = Deferred.fromCoroutine(_call(hook, args))
        # The wait has a Deferred of its own: the deadline holds for a hook that will not be
        # cancelled, and a hook that cancels itself is not taken for a client that went away.
        answer: Deferred[object] = Deferred()
        working.addErrback(_Raised).addBoth(answer.callback)
        answer.addTimeout(self.deadline_ms / 1000, self.clock)
        try:
            return await answer
        finally:
            working.cancel()


@attr.frozen
class _Raised:
    failure: Failure


async def _call(hook: Callable[..., object], args: tuple[object, ...]) -> object:
    answer = hook(*args)
    return await answer if inspect.isawaitable(answer) else answer
