"""The tables that are always ours, and the stores of accounts."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Optional

import attr

from regsys.interfaces import (
    IAccountStore,
    IAuth,
    IBlocking,
    IMonthlyActiveUsers,
    IPushers,
    IRooms,
    IThreepidStore,
    IUserDirectory,
    IUserLookup,
)
from regsys.model import UserID
from regsys.storage.administrator_sessions import AdministratorSessionStore
from regsys.storage.approvals import ApprovalStore
from regsys.storage.consents import ConsentStore
from regsys.storage.devices import DeviceStore
from regsys.storage.encryption import Encryptor
from regsys.storage.ended_logins import EndedLogins, LoggedOut
from regsys.storage.external_ids import ExternalIdStore
from regsys.storage.idempotency_keys import IdempotencyKeyStore
from regsys.storage.identity_server_bindings import BindingStore
from regsys.storage.jobs import JobStore
from regsys.storage.nonces import NonceStore
from regsys.storage.pushers import PusherStore
from regsys.storage.rate_limits import EmptyBuckets
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.storage.replication_calls import ReplicationCallStore
from regsys.storage.server_state import ServerStateStore
from regsys.storage.sessions import SessionStore
from regsys.storage.threepids import ThreepidStore
from regsys.storage.users import UserStore
from regsys.storage.validations import ValidationStore
from regsys.threepids.changes import ThreepidWriter


@attr.frozen(kw_only=True)
class Stores:
    """Our own tables that exist wherever accounts are kept."""

    sessions: SessionStore
    registration_tokens: RegistrationTokenStore
    validations: ValidationStore
    nonces: NonceStore
    idempotency_keys: IdempotencyKeyStore
    calls: ReplicationCallStore
    consents: ConsentStore
    bindings: BindingStore
    jobs: JobStore
    server_state: ServerStateStore
    empty_buckets: EmptyBuckets

    @classmethod
    def in_database(cls, database: Any, secret: bytes) -> Stores:
        """``secret`` is the key of what is encrypted in them."""
        return cls(
            sessions=SessionStore(database),
            registration_tokens=RegistrationTokenStore(database),
            validations=ValidationStore(database),
            nonces=NonceStore(database),
            idempotency_keys=IdempotencyKeyStore(database),
            calls=ReplicationCallStore(database),
            consents=ConsentStore(database),
            bindings=BindingStore(database, Encryptor(secret)),
            jobs=JobStore(database),
            server_state=ServerStateStore(database),
            empty_buckets=EmptyBuckets(database),
        )

    @property
    def expiring(self) -> tuple[Any, ...]:
        """Those whose rows expire."""
        return (
            self.sessions,
            self.registration_tokens,
            self.validations,
            self.nonces,
            self.idempotency_keys,
            self.empty_buckets,
            self.calls,
        )


@attr.frozen(kw_only=True)
class OwnTables:
    """Accounts and what belongs to them, where regsys keeps them."""

    users: UserStore
    devices: DeviceStore
    threepids: ThreepidStore
    pushers: PusherStore
    approvals: ApprovalStore
    administrator_sessions: AdministratorSessionStore
    external_ids: ExternalIdStore

    @classmethod
    def in_database(
        cls,
        database: Any,
        clock: Any,
        ended: Optional[EndedLogins],
        logged_out: LoggedOut,
        decisions_kept_ms: int,
    ) -> OwnTables:
        """``ended`` and ``logged_out`` are told of logins that end, as in DeviceStore.
        ``decisions_kept_ms``: how long decisions about approval are kept."""
        return cls(
            users=UserStore(database, ended, logged_out),
            devices=DeviceStore(database, clock, ended, logged_out),
            threepids=ThreepidStore(database),
            pushers=PusherStore(database),
            approvals=ApprovalStore(database, ended, logged_out, decisions_kept_ms),
            administrator_sessions=AdministratorSessionStore(database),
            external_ids=ExternalIdStore(database),
        )

    @property
    def expiring(self) -> tuple[Any, ...]:
        """Those whose rows expire."""
        return self.devices, self.approvals, self.administrator_sessions


@attr.frozen(kw_only=True)
class AccountStores:
    """Accounts and what belongs to them, in our tables or in those of a homeserver that embeds us.

    If ``users`` is None, accounts cannot be looked up and no password is compared. If ``addresses``
    is None, no account has an address. If ``rooms`` is None, jobs that need rooms wait. If
    ``pushers`` is None, no pushers are kept. If ``active_users`` is None, active users are not
    counted. If ``directory`` or ``blocking`` is None, the configuration decides.
    ``exists_elsewhere``: whether a homeserver beside ours has an account; None if there is no such
    homeserver. ``own`` are our tables; None where the homeserver keeps the accounts.
    """

    accounts: IAccountStore
    auth: IAuth
    users: Optional[IUserLookup]
    addresses: Optional[ThreepidWriter]
    rooms: Optional[IRooms]
    pushers: Optional[IPushers]
    active_users: Optional[IMonthlyActiveUsers]
    directory: Optional[IUserDirectory]
    blocking: Optional[IBlocking]
    exists_elsewhere: Optional[Callable[[UserID], Awaitable[bool]]] = None
    own: Optional[OwnTables] = None

    @property
    def owners(self) -> Optional[IThreepidStore]:
        """Where the owner of an address is looked up."""
        return None if self.addresses is None else self.addresses.store
