"""The wiring: which implementation is used for which interface.

``standalone`` keeps accounts, devices and tokens in regsys's own tables; ``embedded`` leaves them
to a homeserver's stores; ``worker`` has another process write them. All return a Subsystem. What is
the homeserver's is an argument; what is custom is in ``hooks``.
"""

from __future__ import annotations

from typing import Any, Optional

from regsys.accounts.embedded_writer import EmbeddedWriter
from regsys.accounts.writer import LocalWriter
from regsys.config import Config
from regsys.interfaces import (
    IAccountStore,
    IAccountStoreWithDevices,
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
from regsys.interfaces.internal import IRegistrationWriter
from regsys.modules import install_names
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.storage.users import Also
from regsys.threepids.changes import EmbeddedThreepids
from regsys.wiring import activity, replication
from regsys.wiring import threepids as threepid_wiring
from regsys.wiring.activity import ActivityParts
from regsys.wiring.approvals import ApprovalParts
from regsys.wiring.assembly import assemble
from regsys.wiring.delegation import NO_JOBS
from regsys.wiring.embedders_parts import EmbeddersParts
from regsys.wiring.foundation import Foundation, over_own_tables
from regsys.wiring.parts import Parts
from regsys.wiring.process import Process
from regsys.wiring.stores import AccountStores
from regsys.wiring.subsystem import Hooks, Subsystem

# How long a call of an embedder's part may take, unless the embedder says otherwise.
DEADLINE_S = 30.0


def standalone(
    config: Config,
    clock: Any,
    *,
    rooms: Optional[IRooms] = None,
    directory: Optional[IUserDirectory] = None,
    blocking: Optional[IBlocking] = None,
    services: Optional[IAppservices] = None,
    signer: Optional[IRequestSigner] = None,
    also: Optional[Also] = None,
    process: Optional[Process] = None,
    hooks: Optional[Hooks] = None,
    deadline_s: float = DEADLINE_S,
) -> Subsystem:
    """A subsystem over regsys's own tables: what ``regsys serve`` runs.

    ``clock`` is the reactor. The arguments from ``rooms`` to ``signer`` and ``deadline_s`` are
    those of ``embedded``. ``also`` is for a homeserver whose tables are in the same database: it
    writes its own rows in each account's transaction (``LocalWriter``). If ``process`` is None, the
    one that the configuration names is prepared and opened, which blocks: call this before the
    reactor runs.
    """
    brought = EmbeddersParts.of("standalone", config, clock, deadline_s)
    _check_main("standalone", config)
    given = brought.given(config, process, hooks, rooms, directory, blocking, services, signer)
    own, base = over_own_tables(given)
    parts, metrics = base.parts, base.parts.process.metrics
    deactivation = base.own_deactivation(own)
    logins, ended = parts.hooks.logins.begun, parts.hooks.logins.ended
    # The end of a guest's login is told before the user's login.
    told = (ended.registered, logins.registered)
    approvals = ApprovalParts.of(parts, own, base.approvals(own))
    on_created = (metrics.registered, *base.active.on_created, *told, approvals.watch.created)
    local = LocalWriter(
        accounts=own.users,
        devices=own.devices,
        logins=parts.logins,
        post_registration=base.post_registration(),
        deactivation=deactivation,
        start_jobs=parts.held_jobs.put,
        on_created=on_created,
        on_logged_in=(metrics.logged_in, *base.active.on_logged_in, logins.logged_in),
        also=also,
    )
    writer: IRegistrationWriter = local
    delegated = NO_JOBS
    if parts.delegation is not None:
        writer = made = parts.delegation.writer(local, on_created, own.devices)
        delegated = parts.delegation.handlers(made)
    return assemble(
        base,
        writer,
        deactivation=deactivation.run,
        delegated=delegated,
        approvals=approvals,
        for_workers=replication.endpoint_for_workers(parts, writer),
    )


def worker(
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
    deadline_s: float = DEADLINE_S,
) -> Subsystem:
    """A worker: a subsystem that has its master make accounts and devices, and deactivate accounts
    (docs/workers.md). It may be mounted in any process.

    ``config`` is the master's with the worker's own options, as ``regsys.load`` reads the two
    files: ``worker_app``, ``instance_map.main`` and ``worker_replication_secret`` say that it is a
    worker, and where its master is. Both are over the same PostgreSQL database. The arguments are
    those of ``standalone``: give what the master has been given. A worker runs no jobs: the master
    does. ValueError for a main process's configuration.
    """
    brought = EmbeddersParts.of("worker", config, clock, deadline_s)
    if config.worker is None:
        raise ValueError(
            "worker(config): this is a main process's configuration, without worker_app: load the"
            " worker's file after the main one, or use regsys.standalone"
        )
    given = brought.given(config, process, hooks, rooms, directory, blocking, services, signer)
    _, base = over_own_tables(given)
    return assemble(
        base,
        replication.remote_writer(base.parts),
        announce=replication.announced_jobs(base.parts),
    )


def of_process(config: Config, clock: Any, process: Optional[Process] = None) -> Subsystem:
    """The subsystem of a process of ours: a worker if this is a worker's configuration."""
    if config.modules.modules:
        # Embedders do this themselves: their process may be a homeserver of this name.
        install_names()
    made = standalone if config.worker is None else worker
    return made(config, clock, process=process)


def _check_main(function: str, config: Config) -> None:
    if config.worker is not None:
        raise ValueError(
            f"{function}(config): this is a worker's configuration (worker_app): use regsys.worker"
        )


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
    deadline_s: float = DEADLINE_S,
) -> Subsystem:
    """A subsystem over a homeserver's own accounts, devices and tokens (docs/embedding.md).

    The arguments from ``store`` to ``signer`` are the homeserver's parts, described by their
    interfaces in ``regsys.interfaces.homeserver``. Without ``users`` the stage m.login.password is
    not offered. Without ``threepids`` a taken address is refused only by ``store``. If ``rooms`` or
    ``directory`` is None, those of the homeserver that the configuration names are used, if it
    names one. Without ``pushers`` no pusher is created. If ``blocking`` or ``services`` is None,
    the configuration decides. Without ``signer`` identity servers are shown the session that
    validated an address. ValueError if ``limit_usage_by_mau`` is on without ``active_users`` or
    ``blocking``.

    regsys keeps its sessions, idempotency keys and jobs in the database that ``config`` names.
    /login, /logout, /refresh, /pushers and /versions are the homeserver's.

    A call of a part, those in ``hooks`` included, that has not ended after ``deadline_s`` is
    cancelled: a client gets a 503, a job is retried. A call for a client ends with the client's
    request at the latest. TypeError names the argument that cannot be used.
    """
    brought = EmbeddersParts.of("embedded", config, clock, deadline_s)
    _check_main("embedded", config)
    if getattr(config, "delegation", None) is not None:
        raise ValueError(
            "embedded(config): regsys.homeserver.delegated is for a regsys that keeps the accounts:"
            " leave it out, or use regsys.standalone"
        )
    store = brought.required("store", IAccountStore, store)
    devices = brought.required("devices", IDevices, devices)
    auth = brought.required("auth", IAuth, auth)
    users = brought.optional("users", IUserLookup, users)
    threepids = brought.optional("threepids", IThreepidStore, threepids)
    pushers = brought.optional("pushers", IPushers, pushers)
    active_users = brought.optional("active_users", IMonthlyActiveUsers, active_users)
    given = brought.given(config, process, hooks, rooms, directory, blocking, services, signer)
    parts = Parts.of(given)
    metrics = parts.process.metrics
    addresses = None
    if threepids is not None:
        store_and_jobs = EmbeddedThreepids(store=threepids, jobs=parts.stores.jobs)
        addresses = threepid_wiring.writer(parts, store_and_jobs)
    stores = AccountStores(
        accounts=store,
        auth=auth,
        users=users,
        addresses=addresses,
        rooms=given.rooms or parts.rooms,
        pushers=pushers,
        active_users=active_users,
        directory=given.directory,
        blocking=given.blocking,
    )
    activity.warn_embedder(parts)
    base = Foundation.of(parts, stores, ActivityParts())
    writer = EmbeddedWriter(
        accounts=store,
        devices=devices,
        logins=parts.logins,
        planners=base.planned.planners,
        embedded_accounts=EmbeddedAccountStore(parts.process.database),
        post_registration=base.post_registration(),
        deactivation=base.deactivation(),
        start_jobs=parts.held_jobs.put,
        on_created=(metrics.registered, parts.hooks.logins.begun.registered),
        on_logged_in=(metrics.logged_in, parts.hooks.logins.begun.logged_in),
        accounts_have_devices=bool(IAccountStoreWithDevices.providedBy(store)),
    )
    return assemble(base, writer, recovery=writer.recover)
