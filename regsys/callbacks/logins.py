"""The callbacks of logins, from the first to the last, and of requests with an access token."""

from __future__ import annotations

import re
from typing import Any, Awaitable, Callable, Mapping, Optional, Sequence, Union

import attr
from twisted.internet.interfaces import IReactorTime

from regsys.callbacks.base import CallbackList, Notices, plain_text
from regsys.callbacks.passwords import PasswordCallbacks
from regsys.callbacks.registration import RegistrationNotices
from regsys.errors import AccountExpired, LoginRefused
from regsys.model import (
    GUEST_DEVICE_ID,
    Client,
    DeviceRequest,
    NewAccount,
    NewDevice,
    Secret,
    UserID,
)
from regsys.model.json_values import json_object

# What check_login_for_spam returns for a login that it allows.
NOT_SPAM = "NOT_SPAM"
_ERRCODE = re.compile(r"[A-Z][A-Z0-9_.]*")

# check_login_for_spam(user_id, device_id, initial_display_name, request_info, auth_provider_id):
# the device as the client asks for it; (user agent, IP) of the request; the provider that has
# authenticated the user, or None. Returns NOT_SPAM, an errcode, or an errcode with further keys of
# the body.
LoginAnswer = Union[str, tuple[str, dict[str, Any]]]
LoginCheck = Callable[
    [str, Optional[str], Optional[str], list[tuple[str, str]], Optional[str]],
    Union[LoginAnswer, Awaitable[LoginAnswer]],
]
# on_user_login(user_id, auth_provider_type, auth_provider_id): afterwards, also after a
# registration that logs in. Both are None unless a provider has authenticated the user.
LoginNotice = Callable[[str, Optional[str], Optional[str]], object]
# on_logged_out(user_id, device_id, access_token): afterwards. Empty text for a token that is not
# known: only hashes are stored.
LogoutNotice = Callable[[str, Optional[str], str], object]
# is_user_expired(user_id): at each request with an access token. Returns a bool, or None to leave
# it to others.
ExpiryCheck = Callable[[str], Union[Optional[bool], Awaitable[Optional[bool]]]]


class LoginChecks(CallbackList[LoginCheck]):
    moment = "check_login_for_spam"
    answers = "NOT_SPAM, an errcode, or a tuple of an errcode and a dict"
    may_refuse = True

    async def check(
        self,
        user_id: UserID,
        device: DeviceRequest,
        client: Client,
        auth_provider_id: Optional[str] = None,
    ) -> None:
        """Raise the first refusal; the checks after it are not called."""
        refused = await self.first(
            _as_refusal,
            str(user_id),
            device.device_id,
            device.display_name,
            [(client.user_agent, client.address)],
            auth_provider_id,
        )
        if refused is not None:
            raise LoginRefused(*refused)


def _as_refusal(answer: object) -> Optional[tuple[str, Mapping[str, Any]]]:
    """The errcode and further keys; None for a login that is allowed."""
    if answer == NOT_SPAM:
        return None
    code, extra = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, {})
    text = plain_text(code) if isinstance(code, str) else ""
    # A text that is no errcode is a mistake, not a refusal that a client could read.
    if not _ERRCODE.fullmatch(text) or text == NOT_SPAM:
        raise ValueError("no errcode")
    try:
        return text, json_object("the dict", extra)
    except TypeError as error:
        raise ValueError(str(error)) from None


class LoginNotices(Notices[LoginNotice]):
    moment = "on_user_login"

    def registered(self, new: NewAccount) -> None:
        """This account is made; if that has logged it in, the callbacks are called."""
        if new.device is not None:
            self._tell(new.user_id, new.auth_provider_id)

    def logged_in(self, user_id: UserID, device: NewDevice) -> None:
        """This device has been logged in."""
        self._tell(user_id, device.auth_provider_id)

    def _tell(self, user_id: UserID, auth_provider_id: Optional[str]) -> None:
        if self.hooks:
            # Providers are called by their kind, and by a name of their own: oidc-example.
            kind = None if auth_provider_id is None else auth_provider_id.partition("-")[0]
            self.notify(str(user_id), kind, auth_provider_id)


class LogoutNotices(Notices[LogoutNotice]):
    moment = "on_logged_out"

    def logged_out(
        self,
        user_id: UserID,
        device_ids: Sequence[Optional[str]],
        token: Optional[Secret] = None,
    ) -> None:
        """These devices of the user have been logged out. ``token``: the access token of the only
        one, if it is known."""
        if self.hooks:
            for device_id in device_ids:
                self.notify(str(user_id), device_id, "" if token is None else token.reveal())

    def registered(self, new: NewAccount) -> None:
        """This account is made; if a guest has become a user, that has ended the guest's login."""
        if new.upgrades_guest:
            self.logged_out(new.user_id, [GUEST_DEVICE_ID])


class ExpiryChecks(CallbackList[ExpiryCheck]):
    moment = "is_user_expired"
    answers = "True, False or None"

    async def check(self, user_id: UserID) -> None:
        """Raise AccountExpired if the first callback that knows says so."""
        if await self.first(_as_optional_bool, str(user_id)):
            raise AccountExpired()


def _as_optional_bool(answer: object) -> Optional[bool]:
    if not isinstance(answer, (bool, type(None))):
        raise ValueError("not a bool")
    return answer


@attr.frozen(kw_only=True)
class LoginCallbacks:
    """The callbacks that authenticate a user, before a login, after it, and after its end."""

    passwords: PasswordCallbacks
    checks: LoginChecks
    begun: LoginNotices
    ended: LogoutNotices

    @classmethod
    def on(cls, clock: IReactorTime) -> LoginCallbacks:
        """Without any callback yet."""
        return cls(
            passwords=PasswordCallbacks.on(clock),
            checks=LoginChecks(clock=clock),
            begun=LoginNotices(clock=clock),
            ended=LogoutNotices(clock=clock),
        )


@attr.frozen(kw_only=True)
class AccountCallbacks:
    """The callbacks after an account was made, and for its requests."""

    made: RegistrationNotices
    expiry: ExpiryChecks

    @classmethod
    def on(cls, clock: IReactorTime) -> AccountCallbacks:
        """Without any callback yet."""
        return cls(made=RegistrationNotices(clock=clock), expiry=ExpiryChecks(clock=clock))
