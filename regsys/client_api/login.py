"""POST /login with a password, or by a login type of modules, without HTTP (contract B13)."""

from __future__ import annotations

from typing import Any, Mapping

import attr

from regsys import json_body
from regsys.accounts.handler import RegistrationHandler
from regsys.callbacks.logins import LoginChecks
from regsys.client_api.credentials import PasswordCheck
from regsys.config import PasswordsConfig
from regsys.credentials.access_tokens import parse_device_request
from regsys.errors import UnknownLoginType
from regsys.interfaces import IBlocking
from regsys.model import Client
from regsys.model.devices import LoggedIn
from regsys.model.login_types import PASSWORD


@attr.frozen(kw_only=True)
class PasswordLogin:
    """``m.login.password``, and the login types that modules check: ``passwords`` finds the user,
    ``blocking`` and the modules' ``checks`` may refuse, ``handler`` creates the device."""

    handler: RegistrationHandler
    passwords: PasswordCheck
    blocking: IBlocking
    checks: LoginChecks
    config: PasswordsConfig

    def types(self) -> tuple[str, ...]:
        """The login types on offer. ``password_config.enabled`` switches a password off for all
        who check it, other types never."""
        by_password = self.config.login_enabled and self.passwords.checks_passwords
        others = [kind for kind in self.passwords.types() if kind != PASSWORD]
        return (*((PASSWORD,) if by_password else ()), *others)

    async def attempt(self, body: Mapping[str, Any], client: Client) -> LoggedIn:
        """Log in. Raises the same LoginFailed for a wrong password and an unknown user,
        ResourceLimitExceeded while the server is blocked (contract B9), and Unavailable if a
        module takes too long."""
        # Before anything is read: malformed requests count as well.
        await self.passwords.count(client)
        kind = json_body.required_string(body, "type")
        if kind not in self.types():
            raise UnknownLoginType()
        credentials = self.passwords.credentials_in(body, kind)
        device = parse_device_request(body)
        found = await self.passwords.authenticate(credentials)
        user = found.user
        await self.blocking.check_login(user)
        if self.checks.hooks:
            await self.checks.check(user.user_id, device, client)
        login = await self.handler.log_in(user, device)
        return LoggedIn(user_id=user.user_id, login=login, answered=found.answered)
