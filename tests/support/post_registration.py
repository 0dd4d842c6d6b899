"""The actions after a registration, over a database, for tests of their callers."""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence

from regsys.accounts.post_consent import PostConsent
from regsys.accounts.post_registration import PostRegistration
from regsys.config import TermsConfig
from regsys.consent import Consents
from regsys.interfaces import IAccountStore, IAuth, IThreepidStore
from regsys.interfaces.internal import IJobPlanner
from regsys.model.jobs import NewJob
from regsys.storage.consents import ConsentStore
from regsys.storage.jobs import JobStore
from regsys.testing.contracts.case import SERVER


def post_registration(
    database: Any,
    clock: Any,
    *,
    accounts: IAccountStore,
    auth: IAuth,
    planners: IJobPlanner,
    start_jobs: Callable[[Sequence[NewJob]], None],
    owners: Optional[IThreepidStore] = None,
    terms: Optional[TermsConfig] = None,
) -> PostRegistration:
    """``terms``: None if there are no policies."""
    consents = Consents(
        terms=terms or TermsConfig(),
        store=ConsentStore(database),
        accounts=accounts,
        planners=planners,
        start_jobs=start_jobs,
        server_name=SERVER,
        public_baseurl="https://hs.example/",
        clock=clock,
    )
    return PostRegistration(
        accounts=accounts,
        auth=auth,
        threepids=owners,
        consents=consents,
        planners=planners,
        jobs=JobStore(database),
        start_jobs=start_jobs,
        clock=clock,
    )


def post_consent(registration: PostRegistration) -> PostConsent:
    """What follows consents, of the same parts."""
    return PostConsent(
        consents=registration.consents,
        planners=registration.planners,
        jobs=registration.jobs,
        start_jobs=registration.start_jobs,
        clock=registration.clock,
    )
