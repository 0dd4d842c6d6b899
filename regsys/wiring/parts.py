"""What every part of a subsystem is made of: configuration, clock, process, our own tables."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Optional, Sequence

import attr

from regsys.accounts.name_rules import NameRules
from regsys.appservices.namespaces import Appservices
from regsys.audit.audit_log import NO_AUDIT_LOG, AuditLog, WrittenAuditLog
from regsys.config import Config
from regsys.credentials.access_tokens import GuestTokens, Logins
from regsys.interfaces import IAppservices, IRooms
from regsys.jobs import HeldJobs
from regsys.model import UserID
from regsys.model.networks import address_key
from regsys.outbound.homeserver import Homeserver
from regsys.outbound.homeserver_accounts import HomeserverAccounts
from regsys.outbound.homeserver_rooms import HomeserverRooms
from regsys.outbound.identity_server_v1 import IdentityServer
from regsys.outbound.identity_server_v2 import IdentityServers
from regsys.storage.audit import AuditStore
from regsys.threepids.addresses import AllowedThreepids
from regsys.threepids.attempts import ValidationAttempts
from regsys.threepids.domains import EmailDomains
from regsys.threepids.identity_server_unbinding import Unbinder
from regsys.wiring.delegation import Delegation
from regsys.wiring.embedders_parts import Given
from regsys.wiring.limits import Limits
from regsys.wiring.process import Process, open_process, prepare
from regsys.wiring.stores import Stores
from regsys.wiring.subsystem import Hooks


@attr.frozen(kw_only=True)
class Parts:
    """``clock`` is the reactor. ``homeserver`` acts as users at the homeserver; None if none is
    configured. If ``delegation`` is None, this is no homeserver's auth service. If ``phone_server``
    is None, no other server validates phone numbers. ``held_jobs`` takes the jobs that a
    transaction has just written to the runner of this process. ``audit_entries`` are there although
    ``audit`` may be off: those from before."""

    config: Config
    clock: Any
    process: Process
    hooks: Hooks
    services: IAppservices
    homeserver: Optional[Homeserver]
    delegation: Optional[Delegation]
    stores: Stores
    limits: Limits
    audit: AuditLog
    audit_entries: AuditStore
    guests: GuestTokens
    logins: Logins
    held_jobs: HeldJobs
    unbinder: Unbinder
    phone_server: Optional[IdentityServer]
    name_rules: NameRules
    threepid_rules: EmailDomains
    validation_attempts: ValidationAttempts

    @classmethod
    def of(cls, given: Given) -> Parts:
        """If no process is given, the configured one is prepared and opened, which blocks."""
        config, clock, hooks = given.config, given.clock, given.hooks
        process, services = given.process, given.services
        if process is None:
            _, secret = prepare(config)
            process = open_process(config, clock, secret)
        if services is None:
            services = Appservices.from_services(config.appservices, config.server_name)
        secret = process.macaroon_secret
        guests = GuestTokens(server_name=config.server_name, secret=secret)
        stores = Stores.in_database(process.database, secret)
        held_jobs = HeldJobs()
        limits = Limits(process)
        audit_entries = AuditStore(process.database, config.audit.retention_ms)
        audit = NO_AUDIT_LOG
        if config.audit.enabled:
            audit = WrittenAuditLog.of(config.audit, audit_entries, clock)
        homeserver = None
        if config.homeserver is not None:
            homeserver = Homeserver.from_config(config.homeserver, config.server_name, process.http)
        delegation = Delegation.from_config(config, clock, process, held_jobs.put)
        if delegation is not None:
            homeserver = delegation.homeserver(config.server_name, process.http)
        return cls(
            config=config,
            clock=clock,
            process=process,
            hooks=hooks,
            services=services,
            homeserver=homeserver,
            delegation=delegation,
            stores=stores,
            limits=limits,
            audit=audit,
            audit_entries=audit_entries,
            guests=guests,
            logins=Logins(config=config.tokens, secret=secret, guests=guests, clock=clock),
            held_jobs=held_jobs,
            unbinder=_unbinder(given, process, stores),
            phone_server=_phone_server(config, clock, process),
            name_rules=NameRules.load(config.names),
            threepid_rules=EmailDomains.load(
                AllowedThreepids(callbacks=hooks.threepids, allowed=config.threepids.allowed),
                config.email_domains,
                process.seconds,
            ),
            validation_attempts=ValidationAttempts(
                limiter=limits.by_address("validation attempts", config.limits.validation),
                key_of=address_key,
            ),
        )

    @property
    def template_directories(self) -> Sequence[str]:
        """Where templates are looked up before ours: the administrator's, then the embedder's."""
        own = self.config.template_directory
        return [*([own] if own else []), *self.hooks.template_directories]

    @property
    def rooms(self) -> Optional[IRooms]:
        """The rooms of the configured homeserver."""
        return None if self.homeserver is None else HomeserverRooms(homeserver=self.homeserver)

    @property
    def exists_elsewhere(self) -> Optional[Callable[[UserID], Awaitable[bool]]]:
        """Whether the configured homeserver has an account, asked over connections of their own:
        requests wait for them, and jobs may hold all others. None if there is none."""
        if self.delegation is not None:
            return self.delegation.synapse.exists
        if self.config.homeserver is None:
            return None
        own = Homeserver.from_config(
            self.config.homeserver, self.config.server_name, self.process.http
        )
        return HomeserverAccounts(own).exists


def _phone_server(config: Config, clock: Any, process: Process) -> Optional[IdentityServer]:
    """One for all parts that ask it, so that they share its limit of requests at once."""
    url = config.phones.identity_server
    if url is None:
        return None
    return IdentityServer(url=url, http=process.http.apart(), clock=clock)


def _unbinder(given: Given, process: Process, stores: Stores) -> Unbinder:
    """What asks the identity servers that clients name, and unbinds addresses there."""
    servers = IdentityServers(
        config=given.config.identity_servers,
        http=process.http.apart(),
        guarded=process.guarded_http,
        signer=given.signer,
    )
    return Unbinder(
        store=stores.bindings,
        servers=servers,
        changes=given.hooks.binding_changes,
        jobs=stores.jobs,
        clock=given.clock,
    )
