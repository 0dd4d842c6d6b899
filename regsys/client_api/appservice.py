"""Application services' requests at /register, /login and /whoami, without HTTP (B3.4)."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping, Optional, Sequence

import attr

from regsys import json_body
from regsys.accounts.appservice_account import NOT_ITS_NAME, service_of
from regsys.accounts.handler import RegistrationHandler
from regsys.accounts.post_registration import threepids_in
from regsys.client_api.identifiers import identifier_in, parse_localpart
from regsys.credentials.access_tokens import parse_device_request, parse_login_request
from regsys.errors import (
    AppserviceLoginUnsupported,
    Forbidden,
    InvalidUsername,
    MissingParam,
    MissingToken,
    UnknownDevice,
    UsernameReserved,
    UserNotFound,
)
from regsys.interfaces import IAccountStore, IAppservices, IBlocking, IUserLookup
from regsys.model import Appservice, Client, Created, Requester, Secret, Threepid, UserID
from regsys.model.devices import LoggedIn
from regsys.model.login_types import APPLICATION_SERVICE
from regsys.storage.devices import DeviceStore

NOT_REGISTERED = "This user is not registered, or no longer registered."


def is_from_service(kind: str, body: Mapping[str, Any]) -> bool:
    """Whether an application service has sent this POST /register; BadJSON for a ``type`` that is
    not a string."""
    return kind == "user" and json_body.string(body, "type") == APPLICATION_SERVICE


@attr.frozen(kw_only=True)
class AppserviceRequests:
    """Handles application services' requests.

    If ``users`` is None, accounts cannot be looked up, and logins are refused. If ``devices`` is
    None, /whoami ignores the device that a service names. ``may_set_password``: a service may give
    an account a password, a display name and the addresses of its ``auth_result``. If
    ``homeserver_registers`` is not None, it passes registrations on to the homeserver, which alone
    makes and keeps the users of its application services.
    """

    handler: RegistrationHandler
    server_name: str
    services: IAppservices
    accounts: IAccountStore
    users: Optional[IUserLookup]
    devices: Optional[DeviceStore]
    blocking: IBlocking
    may_set_password: bool
    homeserver_registers: Optional[
        Callable[[Mapping[str, Any], Secret, Client], Awaitable[UserID]]
    ] = None

    def types(self) -> tuple[str, ...]:
        """The login types on offer; none if no service may log its users in."""
        offered = any(service.may_log_in for service in self.services.services)
        return (APPLICATION_SERVICE,) if offered else ()

    async def register(
        self, body: Mapping[str, Any], as_token: Optional[Secret], client: Client
    ) -> Created:
        """Create the account; the name is not lower-cased (B16.7)."""
        if self.homeserver_registers is not None:
            if as_token is None:
                raise MissingToken()
            return Created(user_id=await self.homeserver_registers(body, as_token, client))
        device = parse_login_request(body)
        password = display_name = None
        threepids: Sequence[Threepid] = ()
        if self.may_set_password:
            password = json_body.string(body, "password", limit=json_body.MAX_PASSWORD)
            display_name = json_body.string(body, "display_name")
            threepids = threepids_in(json_body.mapping(body, "auth_result") or {})
        return await self.handler.appservice_register(
            _name(body),
            as_token,
            password=Secret(password) if password else None,
            display_name=display_name,
            device=device,
            threepids=threepids,
        )

    async def log_in(self, body: Mapping[str, Any], as_token: Optional[Secret]) -> LoggedIn:
        """Create a device for one of the service's users. Forbidden if there is no such user, or
        not any more."""
        service = service_of(self.services, as_token)
        if not service.may_log_in:
            raise AppserviceLoginUnsupported()
        asked = parse_device_request(body)
        localpart = parse_localpart(identifier_in(body), self.server_name)
        user_id = UserID(localpart or "", self.server_name)
        if not self.services.may_use(service.id, user_id):
            raise UsernameReserved(NOT_ITS_NAME)
        user = None if self.users is None else await self.users.find(user_id.localpart)
        if user is None or user.user_id != user_id:
            raise Forbidden(NOT_REGISTERED)
        # The account names its service only where the namespace is exclusive.
        await self.blocking.check_login(attr.evolve(user, appservice_id=service.id))
        try:
            device = attr.evolve(asked, is_appservice_ghost=True)
            login = await self.handler.log_in(user, device)
        except UserNotFound:
            raise Forbidden(NOT_REGISTERED) from None
        return LoggedIn(user_id=user_id, login=login)

    async def acts_as(
        self, service: Appservice, user_id: Optional[str], device_id: Optional[str]
    ) -> Requester:
        """The user as whom the service acts: its sender if it names none. Raises Forbidden if there
        is no such user, or if it is not in the service's namespaces, and UnknownDevice if the user
        has no such device."""
        server_name = self.server_name
        try:
            acting = UserID.parse(user_id or f"@{service.sender_localpart}:{server_name}")
        except ValueError:
            raise Forbidden(NOT_ITS_NAME) from None
        is_ours = acting.server.lower() == server_name.lower()
        acting = UserID(acting.localpart, server_name)
        if not is_ours or not self.services.may_use(service.id, acting):
            raise Forbidden(NOT_ITS_NAME)
        if not await self._exists(acting) and not await self._is_sender_to_be(service, acting):
            raise Forbidden(NOT_REGISTERED)
        if device_id is None or self.devices is None:
            return Requester(user_id=acting)
        if not await self.devices.has_device(acting, device_id):
            raise UnknownDevice()
        return Requester(user_id=acting, device_id=device_id)

    async def _is_sender_to_be(self, service: Appservice, user_id: UserID) -> bool:
        """Whether it is the service's sender, not registered yet: bridges call /whoami before they
        register it (B16.11)."""
        is_sender = user_id.localpart == service.sender_localpart
        return is_sender and not await self.accounts.is_taken(user_id.localpart)

    async def _exists(self, user_id: UserID) -> bool:
        if self.users is None:
            return await self.accounts.is_taken(user_id.localpart)
        user = await self.users.find(user_id.localpart)
        return user is not None and user.user_id == user_id and not user.deactivated


def _name(body: Mapping[str, Any]) -> str:
    """The name under ``user``, an old key that some bridges send, or ``username``."""
    user, username = json_body.string(body, "user"), json_body.string(body, "username")
    name = username if user is None else user
    if name is None:
        raise MissingParam("'username' is missing.")
    if len(name) > json_body.MAX_NAME:
        raise InvalidUsername(f"A user name may have at most {json_body.MAX_NAME} characters.")
    return name
