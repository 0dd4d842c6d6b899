"""POST /login with a password, without HTTP (contract B13)."""

from __future__ import annotations

from typing import Any, Mapping

import attr

from regsys import json_body
from regsys.accounts.handler import RegistrationHandler
from regsys.callbacks.logins import LoginChecks
from regsys.client_api.credentials import PASSWORD, PasswordCheck
from regsys.config import PasswordsConfig
from regsys.credentials.access_tokens import parse_device_request
from regsys.errors import UnknownLoginType
from regsys.interfaces import IBlocking
from regsys.model import Client, Secret
from regsys.model.devices import LoggedIn


@attr.frozen(kw_only=True)
class PasswordLogin:
    """``m.login.password``: ``passwords`` finds the user and checks the password, ``blocking`` and
    the modules' ``checks`` may refuse, ``handler`` creates the device."""

    handler: RegistrationHandler
    passwords: PasswordCheck
    blocking: IBlocking
    checks: LoginChecks
    config: PasswordsConfig

    def types(self) -> tuple[str, ...]:
        """The login types on offer."""
        return (PASSWORD,) if self.config.login_enabled and self.config.localdb_enabled else ()

    async def attempt(self, body: Mapping[str, Any], client: Client) -> LoggedIn:
        """Log in. Raises the same LoginFailed for a wrong password and an unknown user, and
        ResourceLimitExceeded while the server is blocked (contract B9)."""
        # Before anything is read: malformed requests count as well.
        await self.passwords.count(client)
        if json_body.required_string(body, "type") not in self.types():
            raise UnknownLoginType()
        identifier = self.passwords.identifier_in(body)
        password = Secret(json_body.required_string(body, "password", limit=json_body.MAX_PASSWORD))
        device = parse_device_request(body)
        user = await self.passwords.check(identifier, password, None)
        await self.blocking.check_login(user)
        if self.checks.hooks:
            await self.checks.check(user.user_id, device, client)
        login = await self.handler.log_in(user, device)
        return LoggedIn(user_id=user.user_id, login=login)
