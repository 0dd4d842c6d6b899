"""The callbacks that check logins, before our own passwords are compared (contract B10)."""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Awaitable, Callable, Iterable, Iterator, Mapping, Optional, Union

import attr
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from regsys.callbacks.base import CallbackFailed, CallbackList, Hook, log
from regsys.errors import Unavailable
from regsys.model import UserID
from regsys.model.login_types import APPLICATION_SERVICE, PASSWORD

# Called with the body of /login's answer, once the user has logged in. The result is ignored.
AnswerCallback = Callable[[dict[str, Any]], object]
# What a checker returns: the ID of the user who has shown who they are, and the callback that gets
# the answer (or None); None to leave it to others.
Answer = Optional[tuple[str, Optional[AnswerCallback]]]
# A checker of a login type: check(user, login_type, login_dict), with the name as it was typed, and
# the fields of the type.
AuthChecker = Callable[[str, str, dict[str, Any]], Union[Answer, Awaitable[Answer]]]
# What a module registers: checkers by login type and names of the fields.
Checkers = Mapping[tuple[str, tuple[str, ...]], AuthChecker]
# check_3pid_auth(medium, address, password), with the canonical address.
ThreepidAuthChecker = Callable[[str, str, str], Union[Answer, Awaitable[Answer]]]


@attr.frozen(kw_only=True)
class CheckedLogin:
    """``user_id`` has been authenticated by a callback of ``module``. Call ``answered`` with the
    body of the login's answer; it does not wait."""

    user_id: UserID
    module: str
    answered: Callable[[Mapping[str, Any]], None] = attr.field(repr=False)


class _LoginCheckers(CallbackList[Hook]):
    """One that raises or returns something else is passed over; one that hangs refuses."""

    answers = "None, or a tuple of a user ID and a callback (or None)"

    async def first_of(
        self, checkers: Iterable[tuple[str, Callable[..., object]]], *args: object
    ) -> Optional[CheckedLogin]:
        """The login that the first checker knows; those after it are not called. None if none
        does. Unavailable if one takes too long."""
        for module, checker in checkers:
            try:
                known = await self.ask(module, checker, _as_login, *args)
            except CallbackFailed:
                continue
            if known is not None:
                user_id, callback = known
                answered = functools.partial(self._answered, module, callback)
                return CheckedLogin(user_id=user_id, module=module, answered=answered)
        return None

    def _answered(
        self, module: str, callback: Optional[AnswerCallback], answer: Mapping[str, Any]
    ) -> None:
        async def tell(callback: AnswerCallback) -> None:
            with contextlib.suppress(Unavailable):  # it has been logged
                await self.ask(module, callback, lambda result: None, dict(answer))

        if callback is not None:
            Deferred.fromCoroutine(tell(callback)).addErrback(
                lambda failure: log.failure("telling a module of a login", failure)
            )

    def _log_failure(self, module: str, failure: Failure) -> None:
        # The text of the exception may quote the password.
        error = type(failure.value).__name__
        where = [f"{name} ({file}, line {line})" for name, file, line, *_ in failure.frames[-3:]]
        self._log(module, f"failed: {error} in {', '.join(where) or 'an unknown place'}")


def _as_login(answer: object) -> Optional[tuple[UserID, Optional[AnswerCallback]]]:
    if answer is None:
        return None
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise ValueError("no tuple of two")
    user_id, callback = answer
    if not isinstance(user_id, str) or not (callback is None or callable(callback)):
        raise ValueError("no user ID and callback")
    return UserID.parse(user_id), callback


@attr.frozen
class _LoginType:
    """``fields``: as ``first``, the first module of this type, has named them."""

    fields: tuple[str, ...]
    first: str
    checkers: list[tuple[str, AuthChecker]] = attr.field(factory=list)


@attr.define(kw_only=True, eq=False)
class AuthCheckers(_LoginCheckers[Checkers]):
    """The checkers of login types. Each module registers a mapping."""

    moment = "auth_checkers"

    _types: dict[str, _LoginType] = attr.field(init=False, factory=dict)

    def register(self, module: str, hook: Checkers) -> None:
        """Add the checkers of a mapping. TypeError for another shape, for a login type of which
        another module wants other fields, and for one that no checker may have."""
        self.check_module_name(module)
        if not isinstance(hook, Mapping):
            raise TypeError(
                f"auth_checkers of {module}: a {type(hook).__name__} is no mapping of (login type,"
                " (field, …)) to a checker"
            )
        found = dict(_entries(module, hook))
        for kind, (fields, _) in found.items():
            known = self._types.get(kind)
            if known is not None and set(known.fields) != set(fields):
                raise TypeError(
                    f"auth_checkers of {module}: the login type {kind} has the fields"
                    f" {', '.join(fields)} here, and {', '.join(known.fields)} in {known.first}: a"
                    " client could not log in by both"
                )
        self.hooks.append((module, hook))
        for kind, (fields, checker) in found.items():
            self._types.setdefault(kind, _LoginType(fields, module)).checkers.append(
                (module, checker)
            )

    def types(self) -> tuple[str, ...]:
        """The login types that have a checker."""
        return tuple(self._types)

    def fields_of(self, kind: str) -> tuple[str, ...]:
        """The fields that a login of this type must have; empty if it has no checker."""
        found = self._types.get(kind)
        return () if found is None else found.fields

    async def check(
        self, kind: str, name: str, fields: Mapping[str, Any]
    ) -> Optional[CheckedLogin]:
        """The login that a checker of this type knows. ``name``: as it was typed. None without all
        ``fields`` of the type."""
        found = self._types.get(kind)
        if found is None or not fields.keys() >= set(found.fields):
            return None
        own = {field: fields[field] for field in found.fields}
        return await self.first_of(found.checkers, name, kind, own)


def _entries(
    module: str, checkers: Checkers
) -> Iterator[tuple[str, tuple[tuple[str, ...], AuthChecker]]]:
    """Login type, fields and checker of each item. TypeError for what cannot be one."""
    seen = set()
    for key, checker in checkers.items():
        wrong = _wrong(key, checker)
        if wrong is None and key[0] in seen:
            wrong = "this login type is there twice"
        if wrong is not None:
            raise TypeError(f"auth_checkers of {module}: {key!r}: {wrong}")
        kind, fields = key
        seen.add(kind)
        yield kind, (tuple(fields), checker)


def _wrong(key: object, checker: object) -> Optional[str]:
    """What is wrong with an item of the mapping; None if nothing is."""
    if not isinstance(key, tuple) or len(key) != 2 or not isinstance(key[0], str):
        return "write (login type, (field, …))"
    kind, fields = key
    if not isinstance(fields, (tuple, list)) or not all(isinstance(it, str) for it in fields):
        return "write the names of the fields as a tuple: ('password',)"
    if not kind or kind == APPLICATION_SERVICE:
        return "no checker can have this login type"
    if kind == PASSWORD and "password" not in fields:
        return "'password' must be among the fields"
    return None if callable(checker) else f"a {type(checker).__name__} cannot be called"


class ThreepidAuthCheckers(_LoginCheckers[ThreepidAuthChecker]):
    moment = "check_3pid_auth"

    async def check(self, medium: str, address: str, password: str) -> Optional[CheckedLogin]:
        """The login that a checker knows, of a user who is named by an address."""
        return await self.first_of(self.hooks, medium, address, password)


@attr.frozen(kw_only=True)
class PasswordCallbacks:
    """The callbacks that check a login in place of our own passwords."""

    types: AuthCheckers
    threepids: ThreepidAuthCheckers

    @classmethod
    def on(cls, clock: IReactorTime) -> PasswordCallbacks:
        """Without any callback yet."""
        return cls(types=AuthCheckers(clock=clock), threepids=ThreepidAuthCheckers(clock=clock))

    @property
    def check_passwords(self) -> bool:
        """Whether a callback checks ``m.login.password``."""
        return bool(PASSWORD in self.types.types() or self.threepids.hooks)
