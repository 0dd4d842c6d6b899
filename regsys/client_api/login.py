"""POST /login with a password, without HTTP (contract B13)."""

from __future__ import annotations

from typing import Any, Mapping

import attr

from regsys import json_body
from regsys.accounts.handler import RegistrationHandler
from regsys.client_api.credentials import PASSWORD, PasswordCheck
from regsys.config import PasswordsConfig
from regsys.credentials.access_tokens import parse_device_request
from regsys.errors import UnknownLoginType
from regsys.interfaces import IBlocking
from regsys.model import Client, Secret
from regsys.model.devices import LoggedIn


@attr.frozen(kw_only=True)
class PasswordLogin:
    """``m.login.password``: ``check`` finds the user and checks the password, ``blocking`` may
    refuse, ``handler`` creates the device."""

    handler: RegistrationHandler
    check: PasswordCheck
    blocking: IBlocking
    config: PasswordsConfig

    def types(self) -> tuple[str, ...]:
        """The login types on offer."""
        return (PASSWORD,) if self.config.login_enabled and self.config.localdb_enabled else ()

    async def attempt(self, body: Mapping[str, Any], client: Client) -> LoggedIn:
        """Log in. Raises the same LoginFailed for a wrong password and an unknown user, and
        ResourceLimitExceeded while the server is blocked (contract B9)."""
        limits = self.check.limits
        await limits.address.take(limits.key_of(client.address))
        if json_body.required_string(body, "type") not in self.types():
            raise UnknownLoginType()
        localpart = await self.check.localpart(body)
        password = Secret(json_body.required_string(body, "password", limit=json_body.MAX_PASSWORD))
        device = parse_device_request(body)
        user = await self.check.user(localpart, password)
        await self.blocking.check_login(user)
        login = await self.handler.register_device(
            user.user_id,
            device_id=device.device_id,
            initial_display_name=device.display_name,
            should_issue_refresh_token=device.wants_refresh_token,
        )
        return LoggedIn(user_id=user.user_id, login=login)
