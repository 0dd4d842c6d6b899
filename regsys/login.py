"""The dialogue of POST /login, without HTTP: a password for a device (BEHAVIOUR B13)."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr

from regsys import bodies
from regsys.access_tokens import device_asked
from regsys.config import PasswordsConfig
from regsys.credentials import PASSWORD, PasswordCheck
from regsys.errors import BadJSON, InvalidParam, LoginFailed, UnknownLoginType
from regsys.handler import RegistrationHandler
from regsys.interfaces import IBlocking, IThreepidStore
from regsys.model import Client, LoggedIn, Secret
from regsys.threepids.addresses import CANONICAL, MSISDN, canonical_msisdn


@attr.frozen(kw_only=True)
class PasswordLogin:
    """``m.login.password``: ``check`` compares, ``blocking`` may object, ``handler`` logs in.
    ``threepids`` finds who is named by an address."""

    handler: RegistrationHandler
    check: PasswordCheck
    blocking: IBlocking
    threepids: IThreepidStore
    config: PasswordsConfig

    def types(self) -> tuple[str, ...]:
        """The login types on offer."""
        return (PASSWORD,) if self.config.login_enabled and self.config.localdb_enabled else ()

    async def attempt(self, body: Mapping[str, Any], client: Client) -> LoggedIn:
        """Log in, or raise: LoginFailed alike for a wrong password and an unknown user,
        ResourceLimitExceeded where the server takes nobody (BEHAVIOUR B9)."""
        limits = self.check.limits
        await limits.address.take(limits.key_of(client.address))
        if bodies.required_string(body, "type") not in self.types():
            raise UnknownLoginType()
        localpart = await self._localpart(body)
        password = Secret(bodies.required_string(body, "password", limit=bodies.MAX_PASSWORD))
        device = device_asked(body)
        user = await self.check.user(localpart, password)
        await self.blocking.check_login(user)
        login = await self.handler.register_device(
            user.user_id,
            device_id=device.device_id,
            initial_display_name=device.display_name,
            should_issue_refresh_token=device.wants_refresh_token,
        )
        return LoggedIn(user_id=user.user_id, login=login)

    async def _localpart(self, body: Mapping[str, Any]) -> Optional[str]:
        """Of the user who is named, or has the address that is given."""
        named = _threepid(body)
        if named is None:
            return self.check.localpart(body)
        owner = await self.threepids.owner_of(*named)
        # Nobody bears a name with a colon: it fails like any other, under a limit of its own.
        return ":".join(named) if owner is None else owner.localpart


def _threepid(body: Mapping[str, Any]) -> Optional[tuple[str, str]]:
    """The medium and address that the user is meant by, in ``m.id.thirdparty``, ``m.id.phone`` or
    the old flat keys; None: by neither. LoginFailed for what can be nobody's."""
    identifier = bodies.mapping(body, "identifier")
    kind = "m.id.thirdparty" if identifier is None else identifier.get("type")
    given = body if identifier is None else identifier
    try:
        if kind == "m.id.phone":
            number = "phone" if "phone" in given else "number"
            country = bodies.required_string(given, "country")
            return MSISDN, canonical_msisdn(bodies.required_string(given, number), country)
        if kind != "m.id.thirdparty" or (identifier is None and "medium" not in body):
            return None
        medium = bodies.required_string(given, "medium")
        if medium not in CANONICAL:
            raise BadJSON("'medium' must be email or msisdn.")
        return medium, CANONICAL[medium](bodies.required_string(given, "address"))
    except InvalidParam:
        raise LoginFailed() from None
