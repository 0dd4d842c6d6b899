"""The wiring: which implementation stands behind which seam. Everything can be replaced.

``standalone`` keeps accounts, devices and tokens in regsys's own tables; ``embedded`` leaves
them to a homeserver's stores. Both give a Subsystem.
"""

from __future__ import annotations

from typing import Any, Optional

from regsys.accounts.embedded_writer import RECOVERY, EmbeddedWriter
from regsys.accounts.writer import LocalWriter
from regsys.client_api.login import PasswordLogin
from regsys.config import Config
from regsys.credentials.access_tokens import Refresher, TokenAuth
from regsys.interfaces import (
    IAccountStore,
    IAuth,
    IDevices,
    IMonthlyActiveUsers,
    IPushers,
    IRooms,
    IThreepidStore,
)
from regsys.storage.devices import DeviceStore
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.storage.pushers import PusherStore
from regsys.storage.threepids import ThreepidStore
from regsys.storage.users import UserStore
from regsys.threepids.changes import EmbeddedThreepids
from regsys.web import account, login
from regsys.wiring import accounts, activity
from regsys.wiring.assembly import Side, assemble
from regsys.wiring.parts import Parts
from regsys.wiring.process import Process
from regsys.wiring.subsystem import Hooks, Subsystem


def standalone(
    config: Config,
    clock: Any,
    *,
    rooms: Optional[IRooms] = None,
    process: Optional[Process] = None,
    hooks: Optional[Hooks] = None,
) -> Subsystem:
    """A subsystem over regsys's own tables: what ``regsys serve`` runs.

    ``clock`` is the reactor. If ``rooms`` is None, those of the homeserver that the configuration
    names. If ``process`` is None, the one that the configuration names is prepared and opened,
    which blocks, so call this before the reactor runs.
    """
    parts = Parts.of(config, clock, process, hooks)
    database = parts.process.database
    users, devices = UserStore(database), DeviceStore(database, clock)
    owners = ThreepidStore(database)
    watch = activity.Watch.of(parts)
    blocking = activity.blocking(parts, watch.users, users, owners)
    auth = watch.auth(TokenAuth(logins=devices, accounts=users, guests=parts.guests, clock=clock))
    pushers, metrics = PusherStore(database), parts.process.metrics
    addresses = accounts.threepid_writer(parts, owners)
    writer = LocalWriter(
        accounts=users,
        devices=devices,
        logins=parts.logins,
        post_registration=accounts.post_registration(parts, users, auth, owners),
        deactivation=accounts.deactivation(parts, users, addresses, *watch.traces),
        start_jobs=parts.runner.start_jobs,
        on_created=(metrics.registered, *watch.on_created),
        on_logged_in=(metrics.logged_in, *watch.on_logged_in),
    )
    handler = accounts.handler(
        parts,
        users,
        auth,
        writer,
        accounts.post_consent(parts, users),
        blocking,
        elsewhere=parts.homeserver_accounts,
    )
    refresher = Refresher(logins=parts.logins, store=devices, clock=clock)
    passwords = accounts.password_check(parts, users, owners)
    logins = PasswordLogin(
        handler=handler,
        check=passwords,
        blocking=blocking,
        config=config.passwords,
    )
    appservices = accounts.appservices(parts, handler, users, users, devices, blocking)
    endpoints = [
        login.login(logins, appservices, clock),
        login.logout(auth, devices),
        login.logout_all(auth, devices),
        login.refresh(refresher, clock),
        account.versions(),
        account.pushers(auth, pushers),
    ]
    side = Side(
        handler=handler,
        accounts=users,
        auth=auth,
        appservices=appservices,
        blocking=blocking,
        owners=owners,
        addresses=addresses,
        passwords=passwords,
        users=users,
        rooms=rooms or parts.rooms,
        pushers=pushers,
        endpoints=endpoints,
        expiring=[devices, *watch.expiring],
        activity=watch.activity,
    )
    return assemble(parts, side)


def embedded(
    config: Config,
    clock: Any,
    *,
    store: IAccountStore,
    devices: IDevices,
    auth: IAuth,
    threepids: Optional[IThreepidStore] = None,
    rooms: Optional[IRooms] = None,
    pushers: Optional[IPushers] = None,
    active_users: Optional[IMonthlyActiveUsers] = None,
    process: Optional[Process] = None,
    hooks: Optional[Hooks] = None,
) -> Subsystem:
    """A subsystem over a homeserver's own accounts, devices and tokens.

    ``threepids`` tells who has which address; None: an address that is taken is refused only by
    ``store``, when an account is made. ``rooms`` and ``pushers`` are for what follows a
    registration; None: nobody gets a pusher, or joins a room unless the configuration names a
    homeserver. ``active_users`` counts who uses the server; ValueError if ``limit_usage_by_mau`` is
    on and nobody counts. regsys keeps its sessions, outcomes and jobs in the database that
    ``config`` names. /login, /logout, /refresh and /versions are the homeserver's.
    """
    parts = Parts.of(config, clock, process, hooks)
    addresses = None
    if threepids is not None:
        foreign = EmbeddedThreepids(store=threepids, jobs=parts.stores.jobs)
        addresses = accounts.threepid_writer(parts, foreign)
    writer = EmbeddedWriter(
        accounts=store,
        devices=devices,
        logins=parts.logins,
        planners=parts.planners,
        outcomes=EmbeddedAccountStore(parts.process.database),
        post_registration=accounts.post_registration(parts, store, auth, threepids),
        deactivation=accounts.deactivation(parts, addresses),
        start_jobs=parts.runner.start_jobs,
        on_created=(parts.process.metrics.registered,),
        on_logged_in=(parts.process.metrics.logged_in,),
    )
    parts.runner.add_handlers({RECOVERY: writer.recover})
    users, after_consent = parts.hooks.users, accounts.post_consent(parts, store)
    blocking = activity.blocking(parts, active_users, store, threepids)
    activity.warn_embedder(parts)
    handler = accounts.handler(parts, store, auth, writer, after_consent, blocking)
    side = Side(
        handler=handler,
        accounts=store,
        auth=auth,
        appservices=accounts.appservices(parts, handler, store, users, None, blocking),
        blocking=blocking,
        owners=threepids,
        addresses=addresses,
        passwords=None if users is None else accounts.password_check(parts, users, threepids),
        users=users,
        rooms=rooms or parts.rooms,
        pushers=pushers,
    )
    return assemble(parts, side)
