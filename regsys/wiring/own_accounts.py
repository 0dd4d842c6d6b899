"""What the master and its workers have in common: all that is over our own tables, but for the
writer."""

from __future__ import annotations

import attr

from regsys.consent import Consents
from regsys.credentials.access_tokens import TokenAuth
from regsys.wiring import accounts
from regsys.wiring import threepids as threepid_wiring
from regsys.wiring.activity import ActivityParts
from regsys.wiring.embedders_parts import Given
from regsys.wiring.jobs import RegistrationJobs, registration_jobs
from regsys.wiring.parts import Parts
from regsys.wiring.stores import AccountStores, OwnTables


@attr.frozen(kw_only=True)
class OwnAccounts:
    parts: Parts
    own: OwnTables
    active: ActivityParts
    stores: AccountStores
    planned: RegistrationJobs
    consents: Consents

    @classmethod
    def of(cls, given: Given) -> OwnAccounts:
        parts, clock = Parts.of(given), given.clock
        own = OwnTables.in_database(parts.process.database, clock)
        active = ActivityParts.of_own_accounts(parts)
        auth = TokenAuth(logins=own.devices, accounts=own.users, guests=parts.guests, clock=clock)
        stores = AccountStores(
            accounts=own.users,
            auth=active.auth(auth),
            users=own.users,
            addresses=threepid_wiring.writer(parts, own.threepids),
            rooms=given.rooms or parts.rooms,
            pushers=own.pushers,
            active_users=active.users,
            directory=given.directory,
            blocking=given.blocking,
            elsewhere=parts.homeserver_accounts,
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
