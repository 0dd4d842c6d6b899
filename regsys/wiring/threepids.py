"""The third-party identifiers of newcomers and of accounts."""

from __future__ import annotations

from typing import Optional, Sequence

from regsys.accounts.homeserver_emails import emails_changed
from regsys.accounts.newcomers import Newcomers
from regsys.accounts.usernames import Usernames
from regsys.client_api.chosen_names import ChosenNames
from regsys.client_api.names_from_threepids import ThreepidNames
from regsys.interfaces.internal import IOwnThreepidStore
from regsys.model import UserID
from regsys.model.jobs import NewJob
from regsys.threepids.account import AccountThreepids
from regsys.threepids.addresses import NewcomersThreepids
from regsys.threepids.changes import ThreepidWriter
from regsys.threepids.identity_server_bindings import Bindings
from regsys.wiring.parts import Parts
from regsys.wiring.stores import AccountStores


def writer(parts: Parts, store: IOwnThreepidStore) -> ThreepidWriter:
    return ThreepidWriter(
        store=store,
        dedup_keys=parts.stores.jobs,
        start_jobs=parts.held_jobs.put,
        clock=parts.clock,
        following=no_jobs if parts.delegation is None else emails_changed,
    )


def no_jobs(user_id: UserID, medium: str) -> Sequence[NewJob]:
    return ()


def newcomers(parts: Parts, stores: AccountStores) -> NewcomersThreepids:
    return NewcomersThreepids(
        rules=parts.threepid_rules, accounts=stores.accounts, owners=stores.owners
    )


def names(parts: Parts, usernames: Usernames) -> ChosenNames:
    return ChosenNames(
        modules=parts.hooks.names,
        threepids=ThreepidNames(
            names=usernames, config=parts.config.threepids, display_name=parts.hooks.display_name
        ),
        names=usernames,
    )


def of_accounts(
    parts: Parts, addresses: ThreepidWriter, newcomers: Optional[Newcomers]
) -> AccountThreepids:
    return AccountThreepids(
        store=addresses.store,
        writer=addresses,
        validations=parts.stores.validations,
        rules=parts.threepid_rules,
        changes=parts.hooks.threepid_changes,
        attempts=parts.validation_attempts,
        clock=parts.clock,
        may_change=parts.config.threepids.may_change,
        phone_server=parts.phone_server,
        **({} if newcomers is None else {"jobs_with_address": newcomers.jobs_with_address}),
    )


def bindings(parts: Parts, held: AccountThreepids) -> Bindings:
    return Bindings(
        threepids=held,
        store=parts.stores.bindings,
        servers=parts.unbinder.servers,
        changes=parts.hooks.binding_changes,
        unbinder=parts.unbinder,
        limit=parts.limits.by_key("binding", parts.config.limits.validation),
        clock=parts.clock,
        may_bind=parts.config.identity_servers.may_bind,
    )
