"""What the master and its workers have in common: all that is over our own tables, but for the
writer."""

from __future__ import annotations

from typing import Any, Optional

import attr

from regsys.config import Config
from regsys.consent import Consents
from regsys.credentials.access_tokens import TokenAuth
from regsys.interfaces import IAppservices, IBlocking, IRequestSigner, IRooms, IUserDirectory
from regsys.wiring import accounts
from regsys.wiring import threepids as threepid_wiring
from regsys.wiring.activity import ActivityParts
from regsys.wiring.embedders_parts import EmbeddersParts
from regsys.wiring.jobs import RegistrationJobs, registration_jobs
from regsys.wiring.parts import Parts
from regsys.wiring.process import Process
from regsys.wiring.stores import AccountStores, OwnTables
from regsys.wiring.subsystem import Hooks


@attr.frozen(kw_only=True)
class OwnAccounts:
    parts: Parts
    own: OwnTables
    active: ActivityParts
    stores: AccountStores
    planned: RegistrationJobs
    consents: Consents

    @classmethod
    def checked(
        cls,
        function: str,
        config: Config,
        clock: Any,
        *,
        rooms: Optional[IRooms],
        directory: Optional[IUserDirectory],
        blocking: Optional[IBlocking],
        services: Optional[IAppservices],
        signer: Optional[IRequestSigner],
        process: Optional[Process],
        hooks: Optional[Hooks],
        deadline_s: float,
    ) -> OwnAccounts:
        """Of what an embedder has passed to ``function``, which is checked."""
        given = EmbeddersParts.of(function, config, clock, deadline_s)
        rooms = given.optional("rooms", IRooms, rooms)
        directory = given.optional("directory", IUserDirectory, directory)
        blocking = given.optional("blocking", IBlocking, blocking)
        services = given.optional("services", IAppservices, services)
        signer = given.optional("signer", IRequestSigner, signer)
        process, all_hooks = given.process(process), given.hooks(hooks)
        parts = Parts.from_config(config, clock, process, all_hooks, services, signer)
        ended = None if parts.delegation is None else parts.delegation.logins_end
        own = OwnTables.in_database(parts.process.database, clock, ended)
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
            directory=directory,
            blocking=blocking,
            exists_elsewhere=parts.exists_elsewhere,
            own=own,
        )
        planned = registration_jobs(parts, stores)
        return cls(
            parts=parts,
            own=own,
            active=active,
            stores=stores,
            planned=planned,
            consents=accounts.consents(parts, stores, planned.planners),
        )
