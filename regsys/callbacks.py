"""The hooks of modules: how they are called, and how several answers become one (BEHAVIOUR B10).

Hooks are registered under their module's name, asked in that order, and may answer at
once, be ``async`` or return a Deferred. One that raises, does not answer in time or answers
with something else is logged under its module's name, and the question ends in Unavailable:
all questions here come before the first write, so that the client can simply try again.
"""

from __future__ import annotations

import inspect
from typing import Any, Awaitable, Callable, ClassVar, Generic, Optional, TypeVar, Union

import attr
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from regsys.errors import Unavailable
from regsys.interfaces import ISpamChecks, IThreepidRules, Verdict
from regsys.model import Registration

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

log = Logger()


@attr.define(kw_only=True, eq=False)
class _Deciding(Generic[Hook]):
    """The hooks that decide one question, and the one way in which they are asked.

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
class SpamChecks(_Deciding[SpamCheck]):
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
class ThreepidRules(_Deciding[ThreepidRule]):
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
