"""The wiring: which implementation is used for which interface.

``standalone`` keeps accounts, devices and tokens in regsys's own tables; ``embedded`` leaves them
to a homeserver's stores. Both return a Subsystem.
"""

from __future__ import annotations

from typing import Any, Optional

from regsys.accounts.embedded_writer import EmbeddedWriter
from regsys.accounts.writer import LocalWriter
from regsys.config import Config
from regsys.credentials.access_tokens import TokenAuth
from regsys.interfaces import (
    IAccountStore,
    IAuth,
    IDevices,
    IMonthlyActiveUsers,
    IPushers,
    IRooms,
    IThreepidStore,
)
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.threepids.changes import EmbeddedThreepids
from regsys.wiring import accounts, activity
from regsys.wiring import threepids as threepid_wiring
from regsys.wiring.activity import ActivityParts
from regsys.wiring.assembly import assemble
from regsys.wiring.jobs import registration_jobs
from regsys.wiring.parts import Parts
from regsys.wiring.process import Process
from regsys.wiring.stores import AccountStores, OwnTables
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
    parts = Parts.from_config(config, clock, process, hooks)
    metrics = parts.process.metrics
    own = OwnTables.in_database(parts.process.database, clock)
    active = ActivityParts.of_own_accounts(parts)
    auth = TokenAuth(logins=own.devices, accounts=own.users, guests=parts.guests, clock=clock)
    stores = AccountStores(
        accounts=own.users,
        auth=active.auth(auth),
        users=own.users,
        addresses=threepid_wiring.writer(parts, own.threepids),
        rooms=rooms or parts.rooms,
        pushers=own.pushers,
        active_users=active.users,
        elsewhere=parts.homeserver_accounts,
        own=own,
    )
    planned = registration_jobs(parts, stores)
    consents = accounts.consents(parts, stores, planned.planners)
    writer = LocalWriter(
        accounts=own.users,
        devices=own.devices,
        logins=parts.logins,
        post_registration=accounts.post_registration(parts, stores, planned.planners, consents),
        deactivation=accounts.deactivation(parts, stores, active),
        start_jobs=parts.held_jobs.put,
        on_created=(metrics.registered, *active.on_created),
        on_logged_in=(metrics.logged_in, *active.on_logged_in),
    )
    return assemble(parts, stores, planned, consents, writer, active=active)


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
    parts = Parts.from_config(config, clock, process, hooks)
    metrics = parts.process.metrics
    addresses = None
    if threepids is not None:
        store_and_jobs = EmbeddedThreepids(store=threepids, jobs=parts.stores.jobs)
        addresses = threepid_wiring.writer(parts, store_and_jobs)
    stores = AccountStores(
        accounts=store,
        auth=auth,
        users=parts.hooks.users,
        addresses=addresses,
        rooms=rooms or parts.rooms,
        pushers=pushers,
        active_users=active_users,
    )
    activity.warn_embedder(parts)
    planned = registration_jobs(parts, stores)
    consents = accounts.consents(parts, stores, planned.planners)
    writer = EmbeddedWriter(
        accounts=store,
        devices=devices,
        logins=parts.logins,
        planners=planned.planners,
        outcomes=EmbeddedAccountStore(parts.process.database),
        post_registration=accounts.post_registration(parts, stores, planned.planners, consents),
        deactivation=accounts.deactivation(parts, stores),
        start_jobs=parts.held_jobs.put,
        on_created=(metrics.registered,),
        on_logged_in=(metrics.logged_in,),
    )
    return assemble(parts, stores, planned, consents, writer, recovery=writer.recover)
