"""The rules about accounts, each with the parts that it asks."""

from __future__ import annotations

from typing import Optional

from regsys.accounts.admission import Admission
from regsys.accounts.appservice_account import Ghosts
from regsys.accounts.handler import RegistrationHandler
from regsys.accounts.new_account import AccountPlanner
from regsys.accounts.post_consent import PostConsent
from regsys.accounts.usernames import Usernames
from regsys.client_api.account_password import PasswordChanges
from regsys.client_api.appservice import AppserviceRequests
from regsys.client_api.credentials import LoginLimits, PasswordCheck
from regsys.client_api.shared_secret import SharedSecret
from regsys.interfaces import IBlocking
from regsys.interfaces.internal import IRegistrationWriter
from regsys.model.networks import address_key
from regsys.uia.confirmation import Confirmation
from regsys.uia.reauthentication import Reauthentication
from regsys.wiring.delegation import NUMBER_PREFIX
from regsys.wiring.foundation import Foundation
from regsys.wiring.parts import Parts
from regsys.wiring.stores import AccountStores, OwnTables


def names(parts: Parts, stores: AccountStores) -> Usernames:
    return Usernames(
        server_name=parts.config.server_name,
        config=parts.config.registration,
        accounts=stores.accounts,
        services=parts.services,
        auth=stores.auth,
        clock=parts.clock,
        rules=parts.name_rules,
        exists_elsewhere=stores.exists_elsewhere,
        decided_elsewhere=parts.delegation is not None,
        number_prefix="" if parts.delegation is None else NUMBER_PREFIX,
        holder_of=(
            parts.stores.sessions.holder_of if parts.config.registration.hold_names else None
        ),
    )


def handler(
    base: Foundation,
    names: Usernames,
    writer: IRegistrationWriter,
    post_consent: PostConsent,
    blocking: IBlocking,
) -> RegistrationHandler:
    parts, config = base.parts, base.parts.config
    return RegistrationHandler(
        names=names,
        admission=_admission(parts, blocking),
        hasher=parts.process.hasher,
        planner=AccountPlanner(
            config=config.registration,
            logins=parts.logins,
            jobs=base.planned.planners,
            users=base.stores.users,
            clock=parts.clock,
            replay_window_ms=config.sessions.replay_window_ms,
            shadow=base.planned.shadow,
            audit=parts.audit,
            newcomers=config.newcomers,
        ),
        writer=writer,
        ghosts=Ghosts(
            services=parts.services,
            names=names,
            logins=parts.logins,
            hasher=parts.process.hasher,
            clock=parts.clock,
            audit=parts.audit,
        ),
        post_consent=post_consent,
        sessions=parts.stores.sessions,
        shadow=base.planned.shadow,
        # Where we keep the devices, their store tells of this.
        **({} if base.stores.own else {"told_of_logouts": parts.hooks.logins.ended.logged_out}),
    )


def _admission(parts: Parts, blocking: IBlocking) -> Admission:
    rate = parts.config.limits.registration
    return Admission(
        limiter=parts.limits.registrations(parts.config.limits),
        key_of=address_key,
        spam=parts.hooks.spam,
        blocking=blocking,
        threepids=parts.threepid_rules,
        changes=parts.hooks.threepid_changes,
        denied_ms=round(1000 / rate.per_second) if rate.per_second else 60_000,
    )


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
        callbacks=parts.hooks.logins.passwords,
        compares_own=parts.config.passwords.localdb_enabled,
    )


def password_changes(
    parts: Parts,
    own: OwnTables,
    passwords: PasswordCheck,
    reauthentication: Optional[Reauthentication],
    resets: Optional[Confirmation],
) -> PasswordChanges:
    config = parts.config
    enabled = config.passwords.reauth_enabled and config.passwords.localdb_enabled
    return PasswordChanges(
        users=own.users,
        passwords=passwords,
        hasher=parts.process.hasher,
        reauthentication=reauthentication if enabled else None,
        resets=resets,
        clock=parts.clock,
        replay_window_ms=config.sessions.replay_window_ms,
        audit=parts.audit,
        secret=parts.process.macaroon_secret,
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
