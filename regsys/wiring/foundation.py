"""What the writer and the rules stand on, whoever keeps the accounts."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.accounts.approvals import Approvals
from regsys.accounts.deactivation import Deactivation, OwnDeactivation
from regsys.accounts.newcomers import Newcomers
from regsys.accounts.post_consent import PostConsent
from regsys.accounts.post_registration import PostRegistration
from regsys.consent import Consents
from regsys.credentials.access_tokens import TokenAuth
from regsys.interfaces.internal import IAccountData
from regsys.wiring import threepids
from regsys.wiring.activity import ActivityParts
from regsys.wiring.embedders_parts import Given
from regsys.wiring.jobs import RegistrationJobs, registration_jobs
from regsys.wiring.parts import Parts
from regsys.wiring.stores import AccountStores, OwnTables


@attr.frozen(kw_only=True)
class Foundation:
    parts: Parts
    stores: AccountStores
    active: ActivityParts
    planned: RegistrationJobs
    consents: Consents
    newcomers: Optional[Newcomers]

    @classmethod
    def of(cls, parts: Parts, stores: AccountStores, active: ActivityParts) -> Foundation:
        planned = registration_jobs(parts, stores)
        consents = Consents(
            terms=parts.config.terms,
            store=parts.stores.consents,
            accounts=stores.accounts,
            planners=planned.planners,
            start_jobs=parts.held_jobs.put,
            server_name=parts.config.server_name,
            public_baseurl=parts.config.public_baseurl,
            clock=parts.clock,
        )
        newcomers = None
        if parts.delegation is not None:
            newcomers = parts.delegation.newcomers(
                parts.config.newcomers, consents, planned.auto_join, parts.audit
            )
        return cls(
            parts=parts,
            stores=stores,
            active=active,
            planned=planned,
            consents=consents,
            newcomers=newcomers,
        )

    def post_registration(self) -> PostRegistration:
        return PostRegistration(
            accounts=self.stores.accounts,
            auth=self.stores.auth,
            users=self.stores.users,
            threepids=self.stores.owners,
            consents=self.consents,
            planners=self.planned.planners,
            jobs=self.parts.stores.jobs,
            start_jobs=self.parts.held_jobs.put,
            clock=self.parts.clock,
        )

    def post_consent(self) -> PostConsent:
        return PostConsent(
            consents=self.consents,
            planners=self.planned.planners,
            jobs=self.parts.stores.jobs,
            start_jobs=self.parts.held_jobs.put,
            clock=self.parts.clock,
            is_suspended=None if self.newcomers is None else self.newcomers.store.is_suspended,
        )

    def deactivation(self) -> Deactivation:
        """Of what is kept beside the accounts themselves."""
        account_data: list[IAccountData] = []
        if self.stores.addresses is not None:
            account_data.append(self.stores.addresses)
        if self.newcomers is not None:
            account_data.append(self.newcomers.store)
        ours = self.parts.stores
        account_data += [*self.active.account_data, ours.sessions, ours.validations]
        if self.stores.own is not None:
            account_data += [self.stores.own.approvals, self.stores.own.administrator_sessions]
        return Deactivation(account_data, self.parts.unbinder.unbind_all_of)

    def own_deactivation(self, own: OwnTables) -> OwnDeactivation:
        return OwnDeactivation(
            accounts=own.users,
            rest=self.deactivation(),
            jobs=self.parts.stores.jobs,
            start_jobs=self.parts.held_jobs.put,
            clock=self.parts.clock,
        )

    def approvals(self, own: OwnTables) -> Approvals:
        parts = self.parts
        return Approvals(
            store=own.approvals,
            find=own.users.find,
            deactivation=self.own_deactivation(own),
            newcomers=self.newcomers,
            audit=parts.audit,
            start_jobs=parts.held_jobs.put,
            clock=parts.clock,
            mails=parts.config.email is not None,
        )


def over_own_tables(given: Given) -> tuple[OwnTables, Foundation]:
    """Of the master and its workers: they differ in the writer alone."""
    parts, clock = Parts.of(given), given.clock
    ended = None if parts.delegation is None else parts.delegation.logins_end
    logged_out = parts.hooks.logins.ended.logged_out
    kept_ms = parts.config.approval.kept_ms
    own = OwnTables.in_database(parts.process.database, clock, ended, logged_out, kept_ms)
    active = ActivityParts.of_own_accounts(parts)
    auth = TokenAuth(logins=own.devices, accounts=own.users, guests=parts.guests, clock=clock)
    stores = AccountStores(
        accounts=own.users,
        auth=active.auth(auth),
        users=own.users,
        addresses=threepids.writer(parts, own.threepids),
        rooms=given.rooms or parts.rooms,
        pushers=own.pushers,
        active_users=active.users,
        directory=given.directory,
        blocking=given.blocking,
        exists_elsewhere=parts.exists_elsewhere,
        own=own,
    )
    return own, Foundation.of(parts, stores, active)
