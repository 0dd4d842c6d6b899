"""What is different where this is the auth service of a homeserver (contract B17)."""

from __future__ import annotations

from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

import attr

from regsys.accounts.auto_join import AutoJoinPlanner
from regsys.accounts.delegated_writer import DelegatedWriter
from regsys.accounts.earlier_accounts import FIND_EARLIER, EarlierAccounts, find_earlier
from regsys.accounts.homeserver_emails import HomeserverEmails
from regsys.accounts.newcomers import Newcomers
from regsys.accounts.provisioning import END_LOGINS, LoginsEnd, ProvisionedDevices, Provisioner
from regsys.accounts.provisioning_attempts import PROVISION_EARLIER, Attempts
from regsys.accounts.writer import LocalWriter, OnCreated
from regsys.audit.audit_log import AuditLog
from regsys.client_api.credentials import PasswordCheck
from regsys.client_api.introspection import Introspection
from regsys.config import Config, DelegationConfig, NewcomersConfig
from regsys.consent import Consents
from regsys.credentials.access_tokens import GuestTokens, TokenAuth
from regsys.credentials.internal_tokens import InternalTokens
from regsys.http import Endpoint
from regsys.interfaces import IAuth, IThreepidStore
from regsys.jobs import Handler
from regsys.model import UserID
from regsys.model.jobs import NewJob
from regsys.outbound.homeserver import AuthServiceAccess, Homeserver
from regsys.outbound.http import HTTPClient
from regsys.outbound.synapse import Synapse
from regsys.outbound.synapse_admin import SynapseAdmin
from regsys.outbound.synapse_requests import SynapseRequests
from regsys.storage.devices import DeviceStore
from regsys.storage.earlier_accounts import EarlierAccountStore
from regsys.storage.jobs import JobStore
from regsys.storage.newcomers import NewcomerStore
from regsys.storage.provisioning import (
    PROVISION_ACCOUNT,
    PROVISION_DEVICE,
    KnownLogins,
    ProvisioningStore,
)
from regsys.storage.users import UserStore
from regsys.web import account_page, introspection
from regsys.web.pages import Pages
from regsys.wiring.process import Process

# The kinds of jobs, none of which a process runs that tells no homeserver.
NO_JOBS: Mapping[str, Optional[Handler]] = {
    PROVISION_ACCOUNT: None,
    PROVISION_DEVICE: None,
    PROVISION_EARLIER: None,
    FIND_EARLIER: None,
    END_LOGINS: None,
}
# The kind that must not wait, and what begins with each process that tells a homeserver.
URGENT = (END_LOGINS,)
FIRST_JOBS = (find_earlier(),)
# Numbers alone are refused there: they are kept for guests.
NUMBER_PREFIX = "u"


@attr.frozen(kw_only=True)
class Delegation:
    """The homeserver, what it is told, and by which tokens. ``users`` and ``devices`` are for
    look-ups."""

    config: DelegationConfig
    public_baseurl: str
    clock: Any
    synapse: Synapse
    admin: SynapseAdmin
    tokens: InternalTokens
    provisioner: Provisioner
    pending: ProvisioningStore
    users: UserStore
    devices: DeviceStore
    jobs: JobStore
    start_jobs: Callable[[Sequence[NewJob]], None]

    @classmethod
    def from_config(
        cls,
        config: Config,
        clock: Any,
        process: Process,
        start_jobs: Callable[[Sequence[NewJob]], None],
    ) -> Optional[Delegation]:
        """None if this is no homeserver's auth service."""
        if config.delegation is None:
            return None
        database = process.database
        synapse = Synapse(
            SynapseRequests.from_config(config.delegation, process.http, process.homeserver)
        )
        tokens = InternalTokens(secret=process.macaroon_secret, clock=clock)

        def token_of(user_id: UserID) -> Any:
            return tokens.make(user_id, is_admin=True)

        admin = SynapseAdmin(requests=synapse.requests, token_of=token_of)
        pending = ProvisioningStore(database)
        return cls(
            config=config.delegation,
            public_baseurl=config.public_baseurl,
            clock=clock,
            synapse=synapse,
            admin=admin,
            tokens=tokens,
            provisioner=Provisioner(users=synapse, admin=admin, pending=pending),
            pending=pending,
            users=UserStore(database),
            devices=DeviceStore(database, clock),
            jobs=JobStore(database),
            start_jobs=start_jobs,
        )

    def homeserver(self, server_name: str, http: HTTPClient) -> Homeserver:
        """Its client-server API, for what jobs do as users."""
        access = AuthServiceAccess(token_of=self.tokens.make, anybody=self.pending.somebody)
        return Homeserver.acting_by(access, self.config.url, server_name, http)

    @property
    def logins_end(self) -> LoginsEnd:
        return LoginsEnd(
            homeserver=self.synapse,
            devices=self.devices,
            jobs=self.jobs,
            start_jobs=self.start_jobs,
            clock=self.clock,
        )

    def writer(
        self, local: LocalWriter, on_created: Sequence[OnCreated], devices: DeviceStore
    ) -> DelegatedWriter:
        """Around one that writes to our own tables. ``on_created`` are told of the accounts that
        are whole on both sides."""
        provisioned = self.provisioned_devices(devices)
        return DelegatedWriter(
            local=attr.evolve(
                local, devices=provisioned, start_jobs=lambda jobs: None, on_created=()
            ),
            accounts=local.accounts,
            homeserver=self.synapse,
            provisioner=self.provisioner,
            attempts=self.attempts,
            earlier=self.earlier,
            pending=self.pending,
            issue=local.logins.issue,
            start_jobs=self.start_jobs,
            clock=self.clock,
            on_created=on_created,
        )

    def provisioned_devices(self, devices: DeviceStore) -> ProvisionedDevices:
        return ProvisionedDevices(
            devices=devices,
            homeserver=self.synapse,
            earlier=self.earlier,
            pending=self.pending,
            start_jobs=self.start_jobs,
        )

    @property
    def attempts(self) -> Attempts:
        earlier = EarlierAccountStore(self.devices.db)
        return Attempts(pending=self.pending, earlier=earlier, clock=self.clock)

    @property
    def earlier(self) -> EarlierAccounts:
        return EarlierAccounts(
            store=EarlierAccountStore(self.devices.db),
            devices=self.devices,
            homeserver=self.synapse,
            provisioner=self.provisioner,
            pending=self.pending,
            attempts=self.attempts,
            jobs=self.jobs,
            start_jobs=self.start_jobs,
            clock=self.clock,
        )

    def emails(self, owners: IThreepidStore) -> HomeserverEmails:
        return HomeserverEmails(
            homeserver=self.synapse,
            admin=self.admin,
            owners=owners,
            known=self.pending,
            jobs=self.jobs,
            start_jobs=self.start_jobs,
            clock=self.clock,
        )

    def newcomers(
        self,
        config: Optional[NewcomersConfig],
        consents: Consents,
        rooms: Optional[AutoJoinPlanner],
        audit: AuditLog,
    ) -> Newcomers:
        return Newcomers(
            config=config,
            store=NewcomerStore(self.devices.db),
            homeserver=self.admin,
            pending=self.pending,
            consents=consents,
            rooms=rooms,
            start_jobs=self.start_jobs,
            audit=audit,
            clock=self.clock,
        )

    def handlers(self, writer: DelegatedWriter) -> Mapping[str, Optional[Handler]]:
        """What runs the jobs of the writer."""
        return {
            PROVISION_ACCOUNT: writer.recover,
            PROVISION_DEVICE: self.provisioned_devices(self.devices).run,
            PROVISION_EARLIER: self.earlier.run,
            FIND_EARLIER: self.earlier.find,
            END_LOGINS: self.logins_end.run,
        }

    def endpoints(
        self,
        guests: GuestTokens,
        active: Callable[[IAuth], IAuth],
        passwords: Optional[PasswordCheck],
        pages: Pages,
    ) -> Iterator[Endpoint]:
        """What the homeserver asks, and the page to which it sends its users. ``active`` records
        who is active."""
        known = KnownLogins(self.devices.db, self.clock)
        auth = TokenAuth(logins=known, accounts=self.users, guests=guests, clock=self.clock)
        asked = Introspection(auth=active(auth), internal=self.tokens, clock=self.clock)
        yield introspection.delegated_introspection(asked.of, self.config.secret)
        yield introspection.discovery(self.public_baseurl, account_page.PATH)
        if passwords is not None:
            allow_reset = self.synapse.allow_cross_signing_reset
            yield account_page.account_page(passwords, allow_reset, pages)
