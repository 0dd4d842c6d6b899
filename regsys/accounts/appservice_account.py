"""The accounts that application services make for users whom they bridge (contract B3.2, B3.3)."""

from __future__ import annotations

import secrets
from typing import Optional

import attr
from twisted.internet.interfaces import IReactorTime

from regsys import clock
from regsys.accounts.usernames import Usernames
from regsys.audit.audit_log import NO_AUDIT_LOG, AuditLog
from regsys.credentials.access_tokens import Logins
from regsys.credentials.hashing import HashingPool
from regsys.errors import (
    AppserviceLoginUnsupported,
    InvalidUsername,
    MissingToken,
    UnknownToken,
    UsernameReserved,
    UsernameTaken,
)
from regsys.interfaces import IAppservices
from regsys.model import Appservice, DeviceRequest, NewAccount, NewDevice, Secret, UserID
from regsys.model.identity import MAX_USER_ID_BYTES
from regsys.model.token_text import token_hash

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
    audit: AuditLog = NO_AUDIT_LOG

    async def plan(
        self,
        localpart: str,
        as_token: Optional[Secret],
        password: Optional[Secret] = None,
        display_name: Optional[str] = None,
        device: Optional[DeviceRequest] = None,
        key: Optional[str] = None,
    ) -> NewAccount:
        """The account, all but its jobs. Nothing is written. If ``key`` is None, one is drawn.

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
        if key is not None:
            key = key_of(service.id, user_id, key)
        if not exclusive:
            # A name in an exclusive namespace is this service's at the homeserver as well.
            await self._check_elsewhere(user_id, key)
        if device is not None:
            device = attr.evolve(device, is_appservice_ghost=True)
        terms = None if device is None else self.logins.terms(device)
        # Last, because it costs the most.
        password_hash = None if password is None else await self.hasher.hash(password)
        new = NewAccount(
            key=key or secrets.token_hex(16),
            user_id=user_id,
            created_ms=clock.now_ms(self.clock),
            password_hash=password_hash,
            display_name=display_name or localpart,
            appservice_id=service.id if exclusive else None,
            is_ghost=True,
            allowed=self.audit.allowed("appservice", by=service.id),
        )
        if device is None or terms is None:
            return new
        login = self.logins.issue(user_id, terms, new.key)
        return attr.evolve(new, device=NewDevice.from_request(device, login))

    async def _check_elsewhere(self, user_id: UserID, key: Optional[str]) -> None:
        """As Usernames.check_elsewhere; a name that the key has taken here passes."""
        try:
            await self.names.check_elsewhere(user_id)
        except UsernameTaken:
            if not await self.names.has_made(key, user_id):
                raise


def key_of(appservice_id: str, user_id: UserID, key: str) -> str:
    """The idempotency key of this service's account: with the same ``key`` neither another
    service nor another name finds this account, nor does any account that no service has made."""
    return token_hash("\0".join(("appservice", appservice_id, str(user_id), key)))


def check_historical(user_id: UserID) -> None:
    """Raise InvalidUsername for what is no user ID by the historical grammar either."""
    localpart = user_id.localpart
    if not localpart or any(sign in ":\0" or "\ud800" <= sign <= "\udfff" for sign in localpart):
        raise InvalidUsername("A user name has at least one character, and no colon or NUL.")
    if user_id.is_too_long:
        raise InvalidUsername(f"A user ID may have at most {MAX_USER_ID_BYTES} bytes.")
