"""How the hooks of modules are called (contract B10).

Hooks are registered under their module's name and called in that order. They may return at once, be
``async`` or return a Deferred. One that raises, times out or returns an invalid value is logged
under its module's name. A check then raises Unavailable: all checks come before the first write, so
the client can simply try again. A notice still goes to the other modules, and neither delays nor
changes the client's answer.
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
    """The hooks of one kind (``moment``). A hook has ``deadline_ms`` to answer. ``answers``: what
    it may answer with, in words."""

    moment: ClassVar[str]
    answers: ClassVar[str] = "anything"

    clock: IReactorTime
    deadline_ms: int = DEADLINE_MS
    hooks: list[tuple[str, Hook]] = attr.field(init=False, factory=list)

    def register(self, module: str, hook: Hook) -> None:
        """Add a hook after those that are registered; ``module`` is for the log.
        TypeError for what cannot be called."""
        if not isinstance(module, str):
            raise TypeError(
                f"register(…) of {self.moment}: first a name for the log, a str, not"
                f" {type(module).__name__}"
            )
        if not callable(hook):
            raise TypeError(
                f"register({module!r}, …) of {self.moment}: a {type(hook).__name__} cannot be"
                " called: pass a function"
            )
        self.hooks.append((module, hook))

    async def ask(self, module: str, hook: Hook, read: Callable[[Any], T], *args: object) -> T:
        """The hook's answer, parsed by ``read``, which raises ValueError for an invalid one."""
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
            trouble = f"answered with a {type(answer).__name__}: it may answer with {self.answers}"
        log.error(
            "{moment} of module {module} {trouble}",
            moment=self.moment,
            module=module,
            trouble=trouble,
        )
        raise Unavailable()

    async def _answer(self, hook: Hook, args: tuple[object, ...]) -> object:
        """What the hook returns, or raises as _Raised; TimeoutError after the deadline."""
        working = Deferred.fromCoroutine(_call(hook, args))
        # The wait has a Deferred of its own: the deadline also holds for a hook that cannot be
        # cancelled, and a hook that cancels itself is not taken for a client that has disconnected.
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
