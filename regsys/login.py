"""The dialogue of POST /login, without HTTP: a password for a device (BEHAVIOUR B13)."""

from __future__ import annotations

from typing import Any, Mapping

import attr

from regsys import bodies
from regsys.access_tokens import MAX_DEVICE_ID, MAX_DISPLAY_NAME
from regsys.config import PasswordsConfig
from regsys.credentials import PASSWORD, PasswordCheck
from regsys.errors import UnknownLoginType
from regsys.handler import RegistrationHandler
from regsys.model import Client, Login, Secret, UserID


@attr.frozen(kw_only=True)
class LoggedIn:
    user_id: UserID
    login: Login


@attr.frozen(kw_only=True)
class PasswordLogin:
    handler: RegistrationHandler
    check: PasswordCheck
    config: PasswordsConfig

    def types(self) -> tuple[str, ...]:
        """The login types on offer."""
        return (PASSWORD,) if self.config.login_enabled and self.config.localdb_enabled else ()

    async def attempt(self, body: Mapping[str, Any], client: Client) -> LoggedIn:
        """Log in, or raise: LoginFailed alike for a wrong password and an unknown user."""
        limits = self.check.limits
        await limits.address.take(limits.key_of(client.address))
        if bodies.required_string(body, "type") not in self.types():
            raise UnknownLoginType()
        localpart = self.check.localpart(body)
        password = Secret(bodies.required_string(body, "password", limit=bodies.MAX_PASSWORD))
        device_id = bodies.string(body, "device_id", limit=MAX_DEVICE_ID)
        display_name = bodies.string(body, "initial_device_display_name", limit=MAX_DISPLAY_NAME)
        refresh = bodies.boolean(body, "refresh_token")
        user = await self.check.user(localpart, password)
        login = await self.handler.register_device(
            user.user_id,
            device_id=device_id,
            initial_display_name=display_name,
            should_issue_refresh_token=refresh,
        )
        return LoggedIn(user_id=user.user_id, login=login)
