"""The rules about accounts, each with the parts that it asks."""

from __future__ import annotations

from typing import Optional

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
from regsys.client_api.shared_secret import SharedSecret
from regsys.consent import Consents
from regsys.interfaces import IBlocking
from regsys.interfaces.internal import IAccountData, IJobPlanner, IRegistrationWriter
from regsys.model.networks import address_key
from regsys.wiring.activity import ActivityParts
from regsys.wiring.delegation import NUMBER_PREFIX
from regsys.wiring.parts import Parts
from regsys.wiring.stores import AccountStores


def names(parts: Parts, stores: AccountStores) -> Usernames:
    return Usernames(
        server_name=parts.config.server_name,
        config=parts.config.registration,
        accounts=stores.accounts,
        services=parts.services,
        auth=stores.auth,
        clock=parts.clock,
        exists_elsewhere=stores.exists_elsewhere,
        decided_elsewhere=parts.delegation is not None,
        number_prefix="" if parts.delegation is None else NUMBER_PREFIX,
    )


def handler(
    parts: Parts,
    stores: AccountStores,
    names: Usernames,
    planners: IJobPlanner,
    writer: IRegistrationWriter,
    post_consent: PostConsent,
    blocking: IBlocking,
) -> RegistrationHandler:
    config = parts.config
    return RegistrationHandler(
        names=names,
        admission=_admission(parts, blocking),
        hasher=parts.process.hasher,
        planner=AccountPlanner(
            config=config.registration,
            logins=parts.logins,
            jobs=planners,
            users=stores.users,
            clock=parts.clock,
            replay_window_ms=config.sessions.replay_window_ms,
        ),
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


def _admission(parts: Parts, blocking: IBlocking) -> Admission:
    rate = parts.config.limits.registration
    return Admission(
        limiter=parts.limits.by_address("registration", rate),
        key_of=address_key,
        spam=parts.hooks.spam,
        blocking=blocking,
        threepids=parts.threepid_rules,
        changes=parts.hooks.threepid_changes,
        denied_ms=round(1000 / rate.per_second) if rate.per_second else 60_000,
    )


def consents(parts: Parts, stores: AccountStores, planners: IJobPlanner) -> Consents:
    return Consents(
        terms=parts.config.terms,
        store=parts.stores.consents,
        accounts=stores.accounts,
        planners=planners,
        start_jobs=parts.held_jobs.put,
        server_name=parts.config.server_name,
        public_baseurl=parts.config.public_baseurl,
        clock=parts.clock,
    )


def post_registration(
    parts: Parts, stores: AccountStores, planners: IJobPlanner, consents: Consents
) -> PostRegistration:
    return PostRegistration(
        accounts=stores.accounts,
        auth=stores.auth,
        users=stores.users,
        threepids=stores.owners,
        consents=consents,
        planners=planners,
        jobs=parts.stores.jobs,
        start_jobs=parts.held_jobs.put,
        clock=parts.clock,
    )


def post_consent(parts: Parts, planners: IJobPlanner, consents: Consents) -> PostConsent:
    return PostConsent(
        consents=consents,
        planners=planners,
        jobs=parts.stores.jobs,
        start_jobs=parts.held_jobs.put,
        clock=parts.clock,
    )


def deactivation(
    parts: Parts, stores: AccountStores, active: Optional[ActivityParts] = None
) -> Deactivation:
    account_data: list[IAccountData] = []
    if stores.own is not None:
        account_data.append(stores.own.users)
    if stores.addresses is not None:
        account_data.append(stores.addresses)
    if active is not None:
        account_data += active.account_data
    ours = parts.stores
    return Deactivation([*account_data, ours.sessions, ours.validations, parts.unbinder])


def appservices(
    parts: Parts, stores: AccountStores, handler: RegistrationHandler, blocking: IBlocking
) -> AppserviceRequests:
    return AppserviceRequests(
        handler=handler,
        server_name=parts.config.server_name,
        services=parts.services,
        accounts=stores.accounts,
        users=stores.users,
        devices=None if stores.own is None else stores.own.devices,
        blocking=blocking,
        may_set_password=parts.config.registration.appservice_may_set_password,
        homeserver_registers=(
            None if parts.delegation is None else parts.delegation.synapse.register_ghost
        ),
    )


def password_check(parts: Parts, stores: AccountStores) -> Optional[PasswordCheck]:
    """None where accounts cannot be looked up."""
    if stores.users is None:
        return None
    limits = parts.config.limits
    return PasswordCheck(
        server_name=parts.config.server_name,
        accounts=stores.users,
        threepids=stores.owners,
        hasher=parts.process.hasher,
        limits=LoginLimits(
            address=parts.limits.by_address("login address", limits.login_address),
            account=parts.limits.by_key("login account", limits.login_account),
            failed=parts.limits.by_key("login failed", limits.login_failed),
            key_of=address_key,
        ),
        policy=parts.config.passwords.policy,
    )


def shared_secret(parts: Parts) -> Optional[SharedSecret]:
    """None if none is configured."""
    secret = parts.config.registration.shared_secret
    if secret is None:
        return None
    return SharedSecret(
        secret=secret,
        server_secret=parts.process.macaroon_secret,
        nonces=parts.stores.nonces,
        clock=parts.clock,
    )
