"""The callbacks of a registration: checks, names, and the notice afterwards (contract B10.2)."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping, Optional, Union

import attr
from twisted.internet.defer import DeferredList
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from regsys import json_body
from regsys.callbacks.base import CallbackList, Notices
from regsys.interfaces import Verdict
from regsys.interfaces.internal import IThreepidRules
from regsys.model import Registration, UserID

# check_registration_for_spam(email_threepid, username, request_info, auth_provider_id): the
# validated email address as a dict of medium, address and validated_at (ms), or None; the
# localpart, or None if it will be generated; (user agent, IP) of each request of the session; the
# provider that has authenticated the user, or None. Returns a Verdict or its value.
SpamAnswer = Union[Verdict, str]
SpamCheck = Callable[
    [Optional[dict[str, Any]], Optional[str], list[tuple[str, str]], Optional[str]],
    Union[SpamAnswer, Awaitable[SpamAnswer]],
]
# is_3pid_allowed(medium, address, registration): the canonical address, and whether it is for an
# account that is being registered. Returns a bool.
ThreepidRule = Callable[[str, str, bool], Union[bool, Awaitable[bool]]]
# get_username_for_registration(uia_results, params), get_displayname_for_registration: what the
# stages have found (``uia_results``), and what the client has sent, never the password. Returns a
# name, or None to leave it to others.
NameChoice = Callable[
    [dict[str, Any], dict[str, Any]], Union[Optional[str], Awaitable[Optional[str]]]
]
# on_user_registration(user_id): afterwards. The result is ignored.
RegistrationNotice = Callable[[str], object]

# The most characters of a display name.
MAX_DISPLAY_NAME = 256


@attr.define(kw_only=True, eq=False)
class SpamChecks(CallbackList[SpamCheck]):
    """The spam checkers; without any, every registration is allowed."""

    moment = "check_registration_for_spam"
    answers = "a Verdict, or " + ", ".join(repr(item.value) for item in Verdict)
    may_refuse = True

    # Those of loaded modules, of which the text of a verdict is a wrong answer.
    _enum_alone: list[SpamCheck] = attr.field(init=False, factory=list)

    def register_of_module(self, module: str, hook: SpamCheck) -> None:
        super().register_of_module(module, hook)
        self._enum_alone.append(hook)

    async def check(self, registration: Registration) -> Verdict:
        """The first verdict other than ALLOW; the checkers after it are not called."""
        return (await self.decide(registration))[0]

    async def decide(self, registration: Registration) -> tuple[Verdict, str]:
        """As ``check``, with the name of the checker whose verdict it is; empty for ALLOW."""
        for module, check in self.hooks:
            read = _as_enum if check in self._enum_alone else Verdict
            verdict = await self.ask(module, check, read, *_spam_arguments(registration))
            if verdict is not Verdict.ALLOW:
                return verdict, module
        return Verdict.ALLOW, ""


def _as_enum(answer: object) -> Verdict:
    if not isinstance(answer, Verdict):
        raise ValueError("not a Verdict")
    return answer


def _spam_arguments(registration: Registration) -> tuple[object, ...]:
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
class ThreepidRules(CallbackList[ThreepidRule]):
    """The rules for 3PIDs; without any, every address is allowed."""

    moment = "is_3pid_allowed"
    answers = "True or False"

    async def is_allowed(self, medium: str, address: str, registering: bool) -> bool:
        """False if a rule returns False; the rules after it are not called."""
        for module, rule in self.hooks:
            if not await self.ask(module, rule, _as_bool, medium, address, registering):
                return False
        return True


def _as_bool(answer: object) -> bool:
    if not isinstance(answer, bool):
        raise ValueError("not a bool")
    return answer


class UsernameChoices(CallbackList[NameChoice]):
    moment = "get_username_for_registration"
    answers = "None or a user name, a str"


class DisplayNameChoices(CallbackList[NameChoice]):
    moment = "get_displayname_for_registration"
    answers = f"None or a display name, a str of at most {MAX_DISPLAY_NAME} characters"


@attr.frozen(kw_only=True)
class NameCallbacks:
    """The callbacks that choose the names of new accounts."""

    usernames: UsernameChoices
    display_names: DisplayNameChoices

    @classmethod
    def on(cls, clock: IReactorTime) -> NameCallbacks:
        """Without any callback yet."""
        return cls(
            usernames=UsernameChoices(clock=clock), display_names=DisplayNameChoices(clock=clock)
        )

    @property
    def any(self) -> bool:
        """Whether a callback is registered."""
        return bool(self.usernames.hooks or self.display_names.hooks)

    async def username(
        self, uia_results: Mapping[str, Any], params: Mapping[str, Any]
    ) -> Optional[str]:
        """The first user name that a callback returns; None if none does."""
        return await self.usernames.first(_as_username, dict(uia_results), dict(params))

    async def display_name(
        self, uia_results: Mapping[str, Any], params: Mapping[str, Any]
    ) -> Optional[str]:
        """The first display name that a callback returns; None if none does."""
        return await self.display_names.first(_as_display_name, dict(uia_results), dict(params))


def _as_username(answer: object) -> Optional[str]:
    if answer is not None and not isinstance(answer, str):
        raise ValueError("not a name")
    return answer


def _as_display_name(answer: object) -> Optional[str]:
    name = _as_username(answer)
    if name is not None and (len(name) > MAX_DISPLAY_NAME or not json_body.is_text(name)):
        raise ValueError("not a name that can be stored")
    return name


class RegistrationNotices(Notices[RegistrationNotice]):
    moment = "on_user_registration"

    async def tell(self, user_id: UserID) -> None:
        """Call the callbacks for an account that exists. Returns when all have returned; the
        failure of one is logged, and the others are called."""
        await DeferredList(self.notify(str(user_id)))
