"""``cached``: a decorator that remembers what a module's method has returned."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from typing import Any, Callable, Hashable, Optional, Sequence

import attr
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from regsys.modules.names.contexts import run_in_background

Key = tuple[Hashable, ...]


@attr.frozen
class _Outcome:
    """What a call has returned, or a Failure: each caller gets its own Deferred of it."""

    result: Any


@attr.define(eq=False)
class CachedCall:
    """``key_of`` makes the key of the arguments; ``entries`` has the calls by their key, those
    under way included, the oldest first."""

    call: Callable[..., Any]
    key_of: Callable[..., Key]
    max_entries: int
    entries: OrderedDict[Key, Deferred[_Outcome]] = attr.field(factory=OrderedDict, init=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Deferred[Any]:
        key = self.key_of(*args, **kwargs)
        found = self.entries.get(key)
        if found is None:
            found = self._put(key, run_in_background(self.call, *args, **kwargs))
            found.addBoth(self._ended, key, found)
        else:
            self.entries.move_to_end(key)
        own: Deferred[Any] = Deferred()

        def pass_on(outcome: _Outcome) -> _Outcome:
            if not own.called:  # else it was cancelled
                own.callback(outcome.result)
            return outcome

        found.addCallback(pass_on)
        return own

    def invalidate(self, key: Sequence[Hashable]) -> None:
        """Forget the result of the call with these arguments."""
        self.entries.pop(tuple(key), None)

    def invalidate_all(self) -> None:
        self.entries.clear()

    def prefill(self, key: Sequence[Hashable], value: Any) -> None:
        """Remember this as the result of the call with these arguments."""
        self._put(tuple(key), succeed(_Outcome(value)))

    def _put(self, key: Key, result: Deferred[Any]) -> Deferred[Any]:
        self.entries[key] = result
        if len(self.entries) > self.max_entries:
            self.entries.popitem(last=False)
        return result

    def _ended(self, result: Any, key: Key, found: Deferred[Any]) -> _Outcome:
        if isinstance(result, Failure) and self.entries.get(key) is found:
            del self.entries[key]
        return _Outcome(result)


class _Method:
    """The descriptor: each instance gets a cache of its own, in its place."""

    def __init__(
        self, method: Callable[..., Any], max_entries: int, ignored: frozenset[str]
    ) -> None:
        self.method, self.max_entries, self.ignored = method, max_entries, ignored
        self.signature = inspect.signature(method)
        self.__doc__ = method.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: Optional[type] = None) -> Any:
        if instance is None:
            return self
        made = vars(instance)[self.name] = self._cache(instance)
        return made

    def _cache(self, instance: Any) -> CachedCall:
        def key_of(*args: Any, **kwargs: Any) -> Key:
            bound = self.signature.bind(instance, *args, **kwargs)
            bound.apply_defaults()
            named = list(bound.arguments.items())[1:]
            return tuple(value for name, value in named if name not in self.ignored)

        return CachedCall(self.method.__get__(instance), key_of, self.max_entries)


def cached(
    *,
    max_entries: int = 1000,
    num_args: Optional[int] = None,
    uncached_args: Sequence[str] = (),
    **others: Any,
) -> Callable[[Callable[..., Any]], Any]:
    """Remember what a method returns, by its arguments: the first ``num_args`` of them, but for
    ``uncached_args``. A failure is not remembered. The method then has ``invalidate((arg, …))``,
    ``invalidate_all()`` and ``prefill((arg, …), result)``."""

    def decorate(method: Callable[..., Any]) -> _Method:
        names = list(inspect.signature(method).parameters)[1:]
        beyond = [] if num_args is None else names[num_args:]
        return _Method(method, max_entries, frozenset([*uncached_args, *beyond]))

    return decorate
