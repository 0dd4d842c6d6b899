"""The wiring: which implementation is behind which interface.

``standalone`` keeps accounts, devices and tokens in regsys's own tables; ``embedded`` leaves them
to a homeserver's stores. Both return a Subsystem. What is the homeserver's is an argument; what is
custom is in ``hooks``.
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
    IAppservices,
    IAuth,
    IBlocking,
    IDevices,
    IMonthlyActiveUsers,
    IPushers,
    IRequestSigner,
    IRooms,
    IThreepidStore,
    IUserDirectory,
    IUserLookup,
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
    directory: Optional[IUserDirectory] = None,
    blocking: Optional[IBlocking] = None,
    services: Optional[IAppservices] = None,
    signer: Optional[IRequestSigner] = None,
    process: Optional[Process] = None,
    hooks: Optional[Hooks] = None,
) -> Subsystem:
    """A subsystem over regsys's own tables: what ``regsys serve`` runs.

    ``clock`` is the reactor. The arguments from ``rooms`` to ``signer`` are those of ``embedded``.
    If ``process`` is None, the one that the configuration names is prepared and opened, which
    blocks: call this before the reactor runs.
    """
    parts = Parts.of(config, clock, process, hooks, services, signer)
    database = parts.process.database
    users, devices = UserStore(database), DeviceStore(database, clock)
    owners = ThreepidStore(database)
    watch = activity.Watch.of(parts)
    blocker = activity.blocking(parts, watch.users, users, owners, blocking)
    auth = watch.auth(TokenAuth(logins=devices, accounts=users, guests=parts.guests, clock=clock))
    pushers = PusherStore(database)
    writer = LocalWriter(
        accounts=users,
        devices=devices,
        logins=parts.logins,
        post_registration=accounts.post_registration(parts, users, auth, owners),
        start_jobs=parts.runner.start_jobs,
    )
    addresses = accounts.threepid_writer(parts, owners)
    deactivation = accounts.deactivation(parts, users, addresses, *watch.traces)
    handler = accounts.handler(
        parts,
        users,
        auth,
        watch.writer(writer),
        deactivation,
        blocker,
        elsewhere=parts.homeserver_accounts,
    )
    refresher = Refresher(logins=parts.logins, store=devices, clock=clock)
    passwords = accounts.password_check(parts, users, owners)
    logins = PasswordLogin(
        handler=handler,
        check=passwords,
        blocking=blocker,
        config=config.passwords,
    )
    appservices = accounts.appservices(parts, handler, users, users, devices, blocker)
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
        blocking=blocker,
        owners=owners,
        addresses=addresses,
        passwords=passwords,
        users=users,
        rooms=rooms or parts.rooms,
        pushers=pushers,
        directory=directory,
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
    users: Optional[IUserLookup] = None,
    threepids: Optional[IThreepidStore] = None,
    rooms: Optional[IRooms] = None,
    pushers: Optional[IPushers] = None,
    directory: Optional[IUserDirectory] = None,
    active_users: Optional[IMonthlyActiveUsers] = None,
    blocking: Optional[IBlocking] = None,
    services: Optional[IAppservices] = None,
    signer: Optional[IRequestSigner] = None,
    process: Optional[Process] = None,
    hooks: Optional[Hooks] = None,
) -> Subsystem:
    """A subsystem over a homeserver's own accounts, devices and tokens (docs/embedding.md).

    The arguments from ``store`` to ``signer`` are the homeserver's parts, described by their
    interfaces in ``regsys.interfaces.homeserver``. Without ``users`` no user confirms by password.
    Without ``threepids`` a taken address is refused only by ``store``. If ``rooms`` or
    ``directory`` is None, those of the homeserver that the configuration names are used, if it
    names one. Without ``pushers`` none is created. If ``blocking`` or ``services`` is None, as the
    configuration says. Without ``signer`` identity servers are shown the session that validated an
    address. ValueError if ``limit_usage_by_mau`` is on without ``active_users`` or ``blocking``.

    regsys keeps its sessions, idempotency keys and jobs in the database that ``config`` names.
    /login, /logout, /refresh and /versions are the homeserver's.
    """
    parts = Parts.of(config, clock, process, hooks, services, signer)
    addresses = None
    if threepids is not None:
        foreign = EmbeddedThreepids(store=threepids, jobs=parts.stores.jobs)
        addresses = accounts.threepid_writer(parts, foreign)
    blocker = activity.blocking(parts, active_users, store, threepids, blocking)
    activity.warn_embedder(parts)
    handler = accounts.handler(
        parts,
        store,
        auth,
        _embedded_writer(parts, store, devices, auth, threepids),
        accounts.deactivation(parts, addresses),
        blocker,
    )
    side = Side(
        handler=handler,
        accounts=store,
        auth=auth,
        appservices=accounts.appservices(parts, handler, store, users, None, blocker),
        blocking=blocker,
        owners=threepids,
        addresses=addresses,
        passwords=None if users is None else accounts.password_check(parts, users, threepids),
        users=users,
        rooms=rooms or parts.rooms,
        pushers=pushers,
        directory=directory,
    )
    return assemble(parts, side)


def _embedded_writer(
    parts: Parts,
    store: IAccountStore,
    devices: IDevices,
    auth: IAuth,
    threepids: Optional[IThreepidStore],
) -> EmbeddedWriter:
    """The writer over a homeserver's stores, with the job that recovers what a crash cut short."""
    writer = EmbeddedWriter(
        accounts=store,
        devices=devices,
        logins=parts.logins,
        planners=parts.planners,
        embedded_accounts=EmbeddedAccountStore(parts.process.database),
        post_registration=accounts.post_registration(parts, store, auth, threepids),
        start_jobs=parts.runner.start_jobs,
        recovered=parts.process.metrics.registered,
    )
    parts.runner.add_handlers({RECOVERY: writer.recover})
    return writer
