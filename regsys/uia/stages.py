"""The stages of user-interactive authentication that regsys brings, one class each."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

import attr
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from regsys import bodies, clocks
from regsys.credentials import PASSWORD, PasswordCheck
from regsys.errors import (
    BadJSON,
    InvalidParam,
    LoginFailed,
    MissingParam,
    StageFailed,
    UnknownStage,
)
from regsys.interfaces import ILimiter, IRegistrationTokenStore, IStage, StageContext, StagePage
from regsys.model import Secret, UIASession
from regsys.uia.flows import DUMMY, REGISTRATION_TOKEN, TERMS


@implementer(IStage)
class DummyStage:
    """``m.login.dummy``: passed by asking (contract B16.2)."""

    type = DUMMY
    page = None

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return None

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        return True


@implementer(IStage)
@attr.frozen
class TermsStage:
    """``m.login.terms``: passed by asking (contract B16.2); what is remembered is which version
    of which policy was accepted. ``policies``: as clients are told of them (B8.9), maybe none."""

    policies: Mapping[str, Mapping[str, Any]]

    type = TERMS

    @property
    def versions(self) -> Mapping[str, str]:
        """What passing the stage means: the version of each policy, by its name."""
        return {name: policy["version"] for name, policy in self.policies.items()}

    @property
    def page(self) -> Optional[StagePage]:
        if not self.policies:
            return None
        return StagePage(template="stages/terms.html", fields={"accepted": "accepted"})

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return {"policies": self.policies} if self.policies else None

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        return self.versions


@implementer(IStage)
@attr.frozen(kw_only=True)
class RegistrationTokenStage:
    """``m.login.registration_token``: a token with a use left, which the session then holds
    (contract B8.8). ``limiter`` and ``key_of``: how many tokens an address may try."""

    store: IRegistrationTokenStore
    limiter: ILimiter
    key_of: Callable[[str], str]
    clock: IReactorTime

    type = REGISTRATION_TOKEN
    page = StagePage(template="stages/registration_token.html", fields={"token": "token"})

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return None

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        if not auth.get("session"):
            # The use is held by the session: one that nobody can come back to holds none.
            raise StageFailed("M_MISSING_PARAM", "'session' is missing.")
        if "token" not in auth:
            raise StageFailed("M_MISSING_PARAM", "'token' is missing.")
        token = auth["token"]
        if not isinstance(token, str):
            raise StageFailed("M_INVALID_PARAM", "'token' must be a string.")
        held = context.session.results.get(self.type)
        if held is not None and held != token:
            raise StageFailed("M_INVALID_PARAM", "This session already uses another token.")
        await self.limiter.take(self.key_of(context.client.address))
        now_ms = clocks.now_ms(self.clock)
        session_id = context.session.session_id
        if not await self.store.reserve(token, session_id, now_ms):
            raise StageFailed("M_UNAUTHORIZED", "This registration token is not valid.")
        return token


@implementer(IStage)
@attr.frozen(kw_only=True)
class PasswordStage:
    """``m.login.password``: the password of the user whose session it is (contract B8.5), within
    the limits of logging in. It is compared and forgotten."""

    passwords: PasswordCheck

    type = PASSWORD
    page = None

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return None

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        user_id = context.session.user_id
        if user_id is None:
            raise UnknownStage()
        # As the specification has it, and /login: here M_UNAUTHORIZED would say less.
        refused = StageFailed("M_FORBIDDEN", "The user name or the password is wrong.")
        try:
            named = await self.passwords.localpart(auth)
            password = bodies.required_string(auth, "password", limit=bodies.MAX_PASSWORD)
        except MissingParam as error:
            raise StageFailed("M_MISSING_PARAM", error.text) from None
        except (BadJSON, InvalidParam) as error:
            raise StageFailed("M_INVALID_PARAM", error.text) from None
        except LoginFailed:
            raise refused from None
        if named is None or named.lower() != user_id.name_key:
            raise refused
        try:
            await self.passwords.user(user_id.localpart, Secret(password))
        except LoginFailed:
            raise refused from None
        return True
