"""How the callbacks of modules and embedders are called (contract B10).

Callbacks are registered under their module's name and called in that order. They may return at
once, be ``async`` or return a Deferred. One that raises, times out or returns an invalid value is
logged under its module's name, and counted. One that decides then raises Unavailable: all such
callbacks come before the first write, so the client can simply try again. A notice still goes to
the other modules, and neither delays nor changes the client's answer.
"""

from __future__ import annotations

import contextlib
import copy
import enum
import inspect
from typing import Any, Callable, ClassVar, Generic, Iterable, Optional, TypeVar

import attr
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from regsys.errors import ModuleRefusal, NoAnswer, Unavailable
from regsys.model.json_values import json_object

DEADLINE_MS = 10_000

T = TypeVar("T")
# A function, or for callbacks that are registered together a mapping of functions.
Hook = TypeVar("Hook")
# Called after each call of a callback, with its moment and module, how many seconds it took, and
# what went wrong: "raised", "timeout" or "wrong_type"; None if nothing did.
Observe = Callable[[str, str, float, Optional[str]], None]

log = Logger()


class CallbackFailed(Unavailable):
    """A callback that decides has raised, or returned an invalid value."""


def _unobserved(moment: str, module: str, seconds: float, trouble: Optional[str]) -> None:
    pass


@attr.define(kw_only=True, eq=False)
class CallbackList(Generic[Hook]):
    """The callbacks of one kind (``moment``). ``answers``: what they may answer with, in words.
    ``may_refuse``: a ModuleRefusal with a 4xx that one raises reaches the client. ``deadline_ms``:
    how long one may take; None for what the configuration says."""

    moment: ClassVar[str]
    answers: ClassVar[str] = "anything"
    may_refuse: ClassVar[bool] = False

    clock: IReactorTime
    deadline_ms: Optional[int] = None
    hooks: list[tuple[str, Hook]] = attr.field(init=False, factory=list)
    # Whether one of them is a loaded module's.
    has_modules: bool = attr.field(init=False, default=False)
    _configured_ms: int = attr.field(init=False, default=DEADLINE_MS)
    _observe: Observe = attr.field(init=False, default=_unobserved)

    def register(self, module: str, hook: Hook) -> None:
        """Add a callback after those that are registered; ``module`` is for the log.
        TypeError for what cannot be called."""
        self.check_module_name(module)
        if not callable(hook):
            raise TypeError(
                f"register({module!r}, …) of {self.moment}: a {type(hook).__name__} cannot be"
                " called: pass a function"
            )
        self.hooks.append((module, hook))

    def check_module_name(self, module: object) -> None:
        """TypeError for what is no name of a module."""
        if not isinstance(module, str):
            raise TypeError(
                f"register(…) of {self.moment}: first a name for the log, a str, not"
                f" {type(module).__name__}"
            )

    def register_of_module(self, module: str, hook: Hook) -> None:
        """As ``register``, for a callback of a loaded module."""
        self.register(module, hook)
        self.has_modules = True

    def arrange(self, deadline_ms: int, observe: Observe) -> None:
        """Call them with the configured deadline, and tell ``observe`` of each call."""
        self._configured_ms, self._observe = deadline_ms, observe

    async def ask(self, module: str, hook: Any, read: Callable[[Any], T], *args: object) -> T:
        """The answer of the callback ``hook``, parsed by ``read``, which raises ValueError for an
        invalid one. CallbackFailed if it fails, another Unavailable after the deadline."""
        began_s = self.clock.seconds()
        kind: Optional[str] = None
        try:
            answer = await self._answer(hook, args)
            if not isinstance(answer, _Raised):
                return read(answer)
            refusal = _refusal(answer.failure) if self.may_refuse else None
            if refusal is not None:
                raise refusal
            kind = "raised"
            self._log_failure(module, answer.failure)
        except TimeoutError:
            kind = "timeout"
            self._log(module, f"did not answer within {self._ms} ms")
        except ValueError:
            kind = "wrong_type"
            wrong = f"answered with a {type(answer).__name__}"
            self._log(module, f"{wrong}: it may answer with {self.answers}")
        finally:
            self._observe(self.moment, module, self.clock.seconds() - began_s, kind)
        raise Unavailable() if kind == "timeout" else CallbackFailed()

    async def first(self, read: Callable[[Any], Optional[T]], *args: object) -> Optional[T]:
        """The first answer that ``read`` does not take for None; the callbacks after it are not
        called. None if there is none."""
        for module, hook in self.hooks:
            answer = await self.ask(module, hook, read, *args)
            if answer is not None:
                return answer
        return None

    @property
    def _ms(self) -> int:
        return self._configured_ms if self.deadline_ms is None else self.deadline_ms

    def _log_failure(self, module: str, failure: Failure) -> None:
        if isinstance(failure.value, NoAnswer):
            # Its text says all. A module of ours asks another server.
            self._log(module, f"got no answer: {failure.value}")
            return
        log.failure(
            "{moment} of module {module} failed",
            failure=failure,
            moment=self.moment,
            module=module,
        )

    def _log(self, module: str, trouble: str) -> None:
        log.error(
            "{moment} of module {module} {trouble}",
            moment=self.moment,
            module=module,
            trouble=trouble,
        )

    async def _answer(self, hook: Any, args: tuple[object, ...]) -> object:
        """What the callback returns, or raises as _Raised; TimeoutError after the deadline."""
        working = Deferred.fromCoroutine(_call(hook, args))
        # The wait has a Deferred of its own: the deadline also holds for a callback that cannot be
        # cancelled, and one that cancels itself is not taken for a client that has disconnected.
        answer: Deferred[object] = Deferred()
        working.addErrback(_Raised).addBoth(answer.callback)
        answer.addTimeout(self._ms / 1000, self.clock)
        try:
            return await answer
        finally:
            working.cancel()


class Notices(CallbackList[Hook]):
    """Callbacks that are told of something afterwards. Their answers are ignored."""

    def notify(self, *args: object) -> list[Deferred[None]]:
        """Begin to tell all; failures are logged. Each Deferred fires, with None, when its callback
        has been told."""
        return self.notify_these(self.hooks, *args)

    def notify_these(
        self, chosen: Iterable[tuple[str, Hook]], *args: object
    ) -> list[Deferred[None]]:
        """As ``notify``, but only these of the list."""
        return [
            Deferred.fromCoroutine(self._notify(module, hook, *args)).addErrback(
                lambda failure: log.failure("notifying a module", failure)
            )
            for module, hook in chosen
        ]

    async def _notify(self, module: str, hook: Hook, *args: object) -> None:
        with contextlib.suppress(Unavailable):  # it has been logged
            await self.ask(module, hook, lambda answer: None, *args)


@attr.frozen
class _Raised:
    failure: Failure


async def _call(hook: Callable[..., object], args: tuple[object, ...]) -> object:
    # A module may change its dicts and lists: the next one gets its own.
    own = [copy.deepcopy(arg) if isinstance(arg, (dict, list)) else arg for arg in args]
    answer = hook(*own)
    return await answer if inspect.isawaitable(answer) else answer


def plain_text(code: str) -> str:
    """The text of an errcode, which may be a member of an enum."""
    return str(code.value) if isinstance(code, enum.Enum) else code


def _refusal(failure: Failure) -> Optional[ModuleRefusal]:
    """The refusal that a client may get as it is; None for any other exception."""
    error = failure.value
    if not isinstance(error, ModuleRefusal):
        return None
    status, text, errcode = error.status, error.text, error.errcode
    if type(status) is not int or not 400 <= status < 500:
        return None
    if not (isinstance(text, str) and isinstance(errcode, str)):
        return None
    try:
        extra = json_object("additional_fields", error.extra)
    except (TypeError, ValueError):
        return None
    if type(extra.get("retry_after_ms", 0)) is not int:
        del extra["retry_after_ms"]
    return ModuleRefusal(status, text, plain_text(errcode), extra)
