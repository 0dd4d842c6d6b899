"""Checks of registrations and 3PIDs by modules (contract B10.2)."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Optional, Union

from zope.interface import implementer

from regsys.callbacks.base import CallbackList
from regsys.interfaces import Verdict
from regsys.interfaces.internal import IThreepidRules
from regsys.model import Registration

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


class SpamChecks(CallbackList[SpamCheck]):
    """The spam checkers; without any, every registration is allowed."""

    moment = "check_registration_for_spam"
    answers = "a Verdict, or " + ", ".join(repr(item.value) for item in Verdict)

    async def check(self, registration: Registration) -> Verdict:
        """The first verdict other than ALLOW; the checkers after it are not called."""
        for module, check in self.hooks:
            verdict = await self.ask(module, check, Verdict, *_spam_arguments(registration))
            if verdict is not Verdict.ALLOW:
                return verdict
        return Verdict.ALLOW


def _spam_arguments(registration: Registration) -> tuple[object, ...]:
    # New ones for each checker, which may change them.
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
