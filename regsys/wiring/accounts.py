"""The rules, each with what it asks for."""

from __future__ import annotations

from typing import Optional, Sequence

from regsys.accounts.admission import Admission
from regsys.accounts.appservice_account import Ghosts
from regsys.accounts.deactivation import Deactivation
from regsys.accounts.handler import RegistrationHandler
from regsys.accounts.new_account import AccountPlanner
from regsys.accounts.post_consent import PostConsent
from regsys.accounts.post_registration import PostRegistration
from regsys.accounts.usernames import Usernames
from regsys.client_api.appservice import AppserviceRequests
from regsys.client_api.credentials import LoginLimits, PasswordCheck
from regsys.client_api.names_from_threepids import ThreepidNames
from regsys.client_api.shared_secret import SharedSecret
from regsys.config import Config, Rate
from regsys.consent import AFTER_CONSENT, Consents
from regsys.interfaces import (
    IAccountData,
    IAccountStore,
    IAuth,
    IBlocking,
    IConcurrencyLimiter,
    IHomeserverAccounts,
    IOwnThreepidStore,
    IRegistrationWriter,
    IThreepidStore,
    IUserLookup,
)
from regsys.networks import address_key
from regsys.rate_limit import NoConcurrencyLimit, OneAtATimeByAddress, RateInstead
from regsys.storage.devices import DeviceStore
from regsys.threepids.account import AccountThreepids
from regsys.threepids.addresses import NewcomersThreepids
from regsys.threepids.changes import ThreepidWriter
from regsys.threepids.identity_server_bindings import Bindings
from regsys.wiring.parts import Parts


def handler(
    parts: Parts,
    accounts: IAccountStore,
    auth: IAuth,
    writer: IRegistrationWriter,
    post_consent: PostConsent,
    blocking: IBlocking,
    elsewhere: Optional[IHomeserverAccounts] = None,
) -> RegistrationHandler:
    """``elsewhere``: whose names nobody gets here; None where the accounts are the homeserver's."""
    config = parts.config
    names = Usernames(
        server_name=config.server_name,
        config=config.registration,
        accounts=accounts,
        services=parts.services,
        auth=auth,
        clock=parts.clock,
        elsewhere=elsewhere,
    )
    per_second = config.limits.registration.per_second
    admission = Admission(
        limiter=parts.limit_by_address(config.limits.registration),
        key_of=address_key,
        spam=parts.hooks.spam,
        blocking=blocking,
        threepids=parts.threepid_rules,
        changes=parts.hooks.threepid_changes,
        denied_ms=round(1000 / per_second) if per_second else 60_000,
    )
    return RegistrationHandler(
        names=names,
        admission=admission,
        hasher=parts.process.hasher,
        planner=AccountPlanner(
            config=config.registration,
            logins=parts.logins,
            clock=parts.clock,
            replay_window_ms=config.sessions.replay_window_ms,
        ),
        planners=parts.planners,
        writer=writer,
        ghosts=Ghosts(
            services=parts.services,
            names=names,
            logins=parts.logins,
            hasher=parts.process.hasher,
            clock=parts.clock,
        ),
        post_consent=post_consent,
        sessions=parts.stores.sessions,
    )


def appservices(
    parts: Parts,
    handler: RegistrationHandler,
    accounts: IAccountStore,
    users: Optional[IUserLookup],
    devices: Optional[DeviceStore],
    blocking: IBlocking,
) -> AppserviceRequests:
    return AppserviceRequests(
        handler=handler,
        services=parts.services,
        accounts=accounts,
        users=users,
        devices=devices,
        blocking=blocking,
        may_set_password=parts.config.registration.appservice_may_set_password,
    )


def post_registration(
    parts: Parts, accounts: IAccountStore, auth: IAuth, owners: Optional[IThreepidStore]
) -> PostRegistration:
    return PostRegistration(
        accounts=accounts,
        auth=auth,
        threepids=owners,
        consents=consents(parts, accounts),
        planners=parts.planners,
        jobs=parts.stores.jobs,
        start_jobs=parts.runner.start_jobs,
        clock=parts.clock,
    )


def post_consent(parts: Parts, accounts: IAccountStore) -> PostConsent:
    after = PostConsent(
        consents=consents(parts, accounts),
        planners=parts.planners,
        jobs=parts.stores.jobs,
        start_jobs=parts.runner.start_jobs,
        clock=parts.clock,
    )
    parts.runner.add_handlers({AFTER_CONSENT: after.run})
    return after


def warnings(config: Config, *, has_rooms: bool, has_texter: bool) -> Sequence[str]:
    """What the operator is told at each start: what is configured, and has to wait.
    ``has_texter``: an embedder sends text messages."""
    told, sms = [], config.phones.sms
    if config.rooms.auto_join and not has_rooms:
        told.append(
            "auto_join_rooms is set, but there is no homeserver to ask: newcomers are NOT joined "
            "to any room. Their jobs wait until regsys.homeserver names one (regsys jobs)."
        )
    if sms is not None and sms.url is None and not has_texter:
        told.append(
            "regsys.sms is enabled, but has no url: codes for phone numbers are NOT sent. They "
            "wait until it names a gateway."
        )
    return told


def deactivation(parts: Parts, *kept: Optional[IAccountData]) -> Deactivation:
    """``kept`` is what the accounts' side keeps, in the order in which it is forgotten."""
    ours = (parts.stores.sessions, parts.stores.validations, parts.unbinder)
    return Deactivation([part for part in (*kept, *ours) if part is not None])


def password_check(
    parts: Parts, users: IUserLookup, owners: Optional[IThreepidStore]
) -> PasswordCheck:
    limits = parts.config.limits
    return PasswordCheck(
        server_name=parts.config.server_name,
        accounts=users,
        threepids=owners,
        hasher=parts.process.hasher,
        limits=LoginLimits(
            address=parts.limit_by_address(limits.login_address),
            account=parts.limit(limits.login_account),
            failed=parts.limit(limits.login_failed),
            key_of=address_key,
        ),
    )


def availability_limit(parts: Parts) -> IConcurrencyLimiter:
    chosen = parts.config.limits.availability
    if isinstance(chosen, Rate):
        return RateInstead(parts.limit_by_address(chosen))
    return NoConcurrencyLimit() if chosen == "off" else OneAtATimeByAddress.on(parts.clock)


def newcomers(
    parts: Parts, accounts: IAccountStore, owners: Optional[IThreepidStore]
) -> NewcomersThreepids:
    return NewcomersThreepids(rules=parts.threepid_rules, accounts=accounts, owners=owners)


def threepid_names(parts: Parts, names: Usernames) -> ThreepidNames:
    return ThreepidNames(
        names=names, config=parts.config.threepids, display_name=parts.hooks.display_name
    )


def threepid_writer(parts: Parts, store: IOwnThreepidStore) -> ThreepidWriter:
    return ThreepidWriter(
        store=store,
        dedup_keys=parts.stores.jobs,
        start_jobs=parts.runner.start_jobs,
        clock=parts.clock,
    )


def account_threepids(
    parts: Parts, store: IThreepidStore, writer: ThreepidWriter
) -> AccountThreepids:
    return AccountThreepids(
        store=store,
        writer=writer,
        validations=parts.stores.validations,
        rules=parts.threepid_rules,
        changes=parts.hooks.threepid_changes,
        attempts=parts.proof_attempts,
        clock=parts.clock,
        may_change=parts.config.threepids.may_change,
        prover=parts.phone_prover,
    )


def bindings(parts: Parts, held: AccountThreepids) -> Bindings:
    return Bindings(
        held=held,
        store=parts.stores.bindings,
        servers=parts.unbinder.servers,
        changes=parts.hooks.binding_changes,
        unbinder=parts.unbinder,
        limit=parts.limit(parts.config.limits.validation),
        clock=parts.clock,
        may_bind=parts.config.identity_servers.may_bind,
    )


def consents(parts: Parts, accounts: IAccountStore) -> Consents:
    return Consents(
        terms=parts.config.terms,
        store=parts.stores.consents,
        accounts=accounts,
        planners=parts.planners,
        start_jobs=parts.runner.start_jobs,
        server_name=parts.config.server_name,
        public_baseurl=parts.config.public_baseurl,
        clock=parts.clock,
    )


def shared_secret(parts: Parts) -> Optional[SharedSecret]:
    secret = parts.config.registration.shared_secret
    if secret is None:
        return None
    return SharedSecret(
        secret=secret,
        server_secret=parts.process.macaroon_secret,
        nonces=parts.stores.nonces,
        clock=parts.clock,
    )
