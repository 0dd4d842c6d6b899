"""The accounts that application services make for users whom they bridge (contract B3.2, B3.3)."""

from __future__ import annotations

import secrets
from typing import Optional

import attr
from twisted.internet.interfaces import IReactorTime

from regsys import clock
from regsys.accounts.usernames import Usernames
from regsys.credentials.access_tokens import Logins
from regsys.credentials.hashing import HashingPool
from regsys.errors import (
    AppserviceLoginUnsupported,
    InvalidUsername,
    MissingToken,
    UnknownToken,
    UsernameReserved,
)
from regsys.interfaces import IAppservices
from regsys.model import Appservice, DeviceRequest, NewAccount, NewDevice, Secret, UserID
from regsys.model.identity import MAX_USER_ID_BYTES

NOT_ITS_NAME = "This user name is not one of this application service's."


def service_of(services: IAppservices, as_token: Optional[Secret]) -> Appservice:
    """The service with this token. Raises MissingToken for None, UnknownToken if none has it."""
    if as_token is None:
        raise MissingToken()
    service = services.by_token(as_token)
    if service is None:
        raise UnknownToken()
    return service


@attr.frozen(kw_only=True)
class Ghosts:
    """Checks a service's request for an account: its token, its namespaces, the name."""

    services: IAppservices
    names: Usernames
    logins: Logins
    hasher: HashingPool
    clock: IReactorTime

    async def plan(
        self,
        localpart: str,
        as_token: Optional[Secret],
        password: Optional[Secret] = None,
        display_name: Optional[str] = None,
        device: Optional[DeviceRequest] = None,
    ) -> NewAccount:
        """The account, all but its jobs. Nothing is written.

        Raises what RegistrationHandler.appservice_register raises, but for a name that is taken.
        """
        service = service_of(self.services, as_token)
        if device is not None and not service.may_log_in:
            raise AppserviceLoginUnsupported()
        user_id = UserID(localpart, self.names.server_name)
        check_historical(user_id)
        if not self.services.may_use(service.id, user_id):
            raise UsernameReserved(NOT_ITS_NAME)
        self.names.check_not_reserved(user_id, service.id)
        exclusive = service.id in self.services.reserved_for(user_id)
        if not exclusive:
            # A name in an exclusive namespace is this service's at the homeserver as well.
            await self.names.check_elsewhere(user_id)
        if device is not None:
            device = attr.evolve(device, is_appservice_ghost=True)
        terms = None if device is None else self.logins.terms(device)
        # Last, because it costs the most.
        password_hash = None if password is None else await self.hasher.hash(password)
        new = NewAccount(
            key=secrets.token_hex(16),
            user_id=user_id,
            created_ms=clock.now_ms(self.clock),
            password_hash=password_hash,
            display_name=display_name or localpart,
            appservice_id=service.id if exclusive else None,
            is_ghost=True,
        )
        if device is None or terms is None:
            return new
        login = self.logins.issue(user_id, terms, new.key)
        return attr.evolve(new, device=NewDevice.from_request(device, login))


def check_historical(user_id: UserID) -> None:
    """Raise InvalidUsername for what is no user ID by the historical grammar either."""
    localpart = user_id.localpart
    if not localpart or any(sign in ":\0" or "\ud800" <= sign <= "\udfff" for sign in localpart):
        raise InvalidUsername("A user name has at least one character, and no colon or NUL.")
    if user_id.is_too_long:
        raise InvalidUsername(f"A user ID may have at most {MAX_USER_ID_BYTES} bytes.")
