"""The hooks of modules: how they are called, and how several answers become one (BEHAVIOUR B10).

Hooks are registered under their module's name, asked in that order, and may answer at
once, be ``async`` or return a Deferred. One that raises, does not answer in time or answers
with something else is logged under its module's name. A question then ends in Unavailable: all
questions here come before the first write, so that the client can simply try again. A notice
goes to the others all the same, and neither holds an answer up nor changes it.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import Any, Awaitable, Callable, ClassVar, Generic, Optional, TypeVar, Union

import attr
from twisted.internet.defer import Deferred, DeferredList, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from regsys.errors import ThreepidChangeRefused, Unavailable
from regsys.interfaces import ISpamChecks, IThreepidChanges, IThreepidRules, Verdict
from regsys.model import Registration, UserID

DEADLINE_MS = 10_000

T = TypeVar("T")
Hook = TypeVar("Hook", bound=Callable[..., object])

# check_registration_for_spam(email_threepid, username, request_info, auth_provider_id):
# the validated email address as a dict of medium, address and validated_at (ms), or None;
# the localpart, or None if one is to be drawn; (user agent, IP) of each request seen; how
# the person was authenticated elsewhere, or None. Answers a Verdict or its value.
SpamAnswer = Union[Verdict, str]
SpamCheck = Callable[
    [Optional[dict[str, Any]], Optional[str], list[tuple[str, str]], Optional[str]],
    Union[SpamAnswer, Awaitable[SpamAnswer]],
]
# is_3pid_allowed(medium, address, registration): the address canonical, and whether it is
# for an account about to be made. Answers a bool.
ThreepidRule = Callable[[str, str, bool], Union[bool, Awaitable[bool]]]
# check_user_third_party_identifier(user_id, medium, address, adding): before an account gets the
# address, or loses it. Answers None if it may, else (errcode, sentence for the person); where the
# errcode is None it is that of B10.4.
Objection = Optional[tuple[Optional[str], str]]
ThreepidCheck = Callable[[str, str, str, bool], Union[Objection, Awaitable[Objection]]]
# on_add_user_third_party_identifier(user_id, medium, address), on_remove_…: afterwards. What it
# answers is not looked at.
ThreepidNotice = Callable[[str, str, str], object]

log = Logger()


@attr.define(kw_only=True, eq=False)
class _Hooks(Generic[Hook]):
    """The hooks of one moment, and the one way in which they are asked.

    A hook has ``deadline_ms`` to answer.
    """

    moment: ClassVar[str]

    clock: IReactorTime
    deadline_ms: int = DEADLINE_MS
    _hooks: list[tuple[str, Hook]] = attr.field(init=False, factory=list)

    def register(self, module: str, hook: Hook) -> None:
        """Ask ``hook`` too, after those that are registered; ``module`` is for the log."""
        self._hooks.append((module, hook))

    async def _ask(self, module: str, hook: Hook, read: Callable[[Any], T], *args: object) -> T:
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


@implementer(ISpamChecks)
class SpamChecks(_Hooks[SpamCheck]):
    """The spam checkers; without any, everybody is allowed."""

    moment = "check_registration_for_spam"

    async def judge(self, registration: Registration) -> Verdict:
        """The first answer that isn't ALLOW; the checkers after it are not asked."""
        for module, check in self._hooks:
            verdict = await self._ask(module, check, Verdict, *_spam_arguments(registration))
            if verdict is not Verdict.ALLOW:
                return verdict
        return Verdict.ALLOW


def _spam_arguments(registration: Registration) -> tuple[object, ...]:
    # Made anew for each checker: one that changes them does not change the next one's.
    emails = [
        {"medium": item.medium, "address": item.address, "validated_at": item.validated_at_ms}
        for item in registration.threepids
        if item.medium == "email"
    ]
    own = (registration.client,) if registration.client else ()
    return (
        emails[0] if emails else None,
        registration.localpart,
        [(client.user_agent, client.address) for client in registration.clients or own],
        registration.auth_provider_id,
    )


@implementer(IThreepidRules)
class ThreepidRules(_Hooks[ThreepidRule]):
    """The rules about third-party identifiers; without any, every address is allowed."""

    moment = "is_3pid_allowed"

    async def is_allowed(self, medium: str, address: str, registering: bool) -> bool:
        """False as soon as one rule says so; the rules after it are not asked."""
        for module, rule in self._hooks:
            if not await self._ask(module, rule, _as_bool, medium, address, registering):
                return False
        return True


def _as_bool(answer: object) -> bool:
    if not isinstance(answer, bool):
        raise ValueError("not a bool")
    return answer


class ThreepidChecks(_Hooks[ThreepidCheck]):
    """Who may object to a change of an account's identifiers."""

    moment = "check_user_third_party_identifier"

    async def check(self, user_id: UserID, medium: str, address: str, adding: bool) -> None:
        """Raise the first objection; the checks after it are not asked."""
        for module, hook in self._hooks:
            args = (str(user_id), medium, address, adding)
            objection = await self._ask(module, hook, _as_objection, *args)
            if objection is not None:
                errcode, text = objection
                default = "M_THREEPID_DENIED" if adding else "M_FORBIDDEN"
                raise ThreepidChangeRefused(errcode or default, text)


def _as_objection(answer: object) -> Objection:
    if answer is None:
        return None
    if isinstance(answer, tuple) and len(answer) == 2:
        errcode, text = answer
        if isinstance(text, str) and (errcode is None or isinstance(errcode, str)):
            return errcode, text
    raise ValueError("neither None nor an errcode and a sentence")


class _ThreepidNotices(_Hooks[ThreepidNotice]):
    """Who is told of a change that has happened."""

    def __bool__(self) -> bool:
        """Whether anybody is."""
        return bool(self._hooks)

    def tell(self, user_id: UserID, medium: str, address: str) -> list[Deferred[None]]:
        """Begin to tell everybody; what goes wrong with one is logged. Each fires, with None,
        when one has been told."""
        started = []
        for module, hook in self._hooks:
            telling = self._tell(module, hook, str(user_id), medium, address)
            started.append(
                Deferred.fromCoroutine(telling).addErrback(
                    lambda failure: log.failure("telling a module", failure)
                )
            )
        return started

    async def _tell(self, module: str, hook: ThreepidNotice, *args: str) -> None:
        with contextlib.suppress(Unavailable):  # it has been logged
            await self._ask(module, hook, lambda answer: None, *args)


class ThreepidAdditions(_ThreepidNotices):
    moment = "on_add_user_third_party_identifier"


class ThreepidRemovals(_ThreepidNotices):
    moment = "on_remove_user_third_party_identifier"


@implementer(IThreepidChanges)
@attr.frozen(kw_only=True)
class ThreepidChanges:
    """The hooks around a change of what an existing account has: before it, and after."""

    checks: ThreepidChecks
    additions: ThreepidAdditions
    removals: ThreepidRemovals

    @classmethod
    def on(cls, clock: IReactorTime) -> ThreepidChanges:
        """Without any hook yet."""
        return cls(
            checks=ThreepidChecks(clock=clock),
            additions=ThreepidAdditions(clock=clock),
            removals=ThreepidRemovals(clock=clock),
        )

    async def check(self, user_id: UserID, medium: str, address: str, adding: bool) -> None:
        await self.checks.check(user_id, medium, address, adding)

    def has_listeners(self) -> bool:
        return bool(self.additions)

    async def tell_added(self, user_id: UserID, medium: str, address: str) -> None:
        await DeferredList(self.additions.tell(user_id, medium, address))

    def added(self, user_id: UserID, medium: str, address: str) -> None:
        self.additions.tell(user_id, medium, address)

    def removed(self, user_id: UserID, medium: str, address: str) -> None:
        self.removals.tell(user_id, medium, address)
