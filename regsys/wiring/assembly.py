"""A subsystem out of its stores and its writer."""

from __future__ import annotations

from typing import Callable, Mapping, Optional

from regsys.accounts.handler import RegistrationHandler
from regsys.client_api.signup import Signup
from regsys.config import ConfigError
from regsys.consent import Consents
from regsys.http import Endpoint
from regsys.http.refusals import RefusalLog
from regsys.http.serving import InFlight
from regsys.interfaces.internal import IRegistrationWriter
from regsys.jobs import Handler, JobRunner
from regsys.model.networks import address_key
from regsys.storage.housekeeping import Housekeeping
from regsys.templates import Templates
from regsys.web.pages import Pages
from regsys.wiring import accounts, jobs, template_checks
from regsys.wiring.activity import ActivityParts
from regsys.wiring.delegation import NO_JOBS
from regsys.wiring.endpoints import endpoints
from regsys.wiring.jobs import RegistrationJobs
from regsys.wiring.parts import Parts
from regsys.wiring.rules import rules
from regsys.wiring.stores import AccountStores
from regsys.wiring.subsystem import Subsystem


def assemble(
    parts: Parts,
    stores: AccountStores,
    planned: RegistrationJobs,
    consents: Consents,
    writer: IRegistrationWriter,
    *,
    active: Optional[ActivityParts] = None,
    recovery: Optional[Handler] = None,
    delegated: Mapping[str, Optional[Handler]] = NO_JOBS,
    for_workers: Optional[Callable[[RegistrationHandler], Endpoint]] = None,
    runs_jobs: bool = True,
) -> Subsystem:
    """If ``active`` is None, no activity is recorded. ``recovery`` runs the jobs that finish
    accounts in a homeserver's store; None if there are none. ``delegated`` runs those that tell a
    homeserver of accounts and logins. ``for_workers`` makes what workers
    call; None where there are none. ``runs_jobs``: else another process runs all jobs, and deletes
    what has expired."""
    config, active = parts.config, active or ActivityParts()
    post_consent = accounts.post_consent(parts, planned.planners, consents)
    made = rules(parts, stores, planned.planners, writer, consents, post_consent)
    handlers: Mapping[str, Optional[Handler]] = {}
    if runs_jobs:
        handlers = jobs.handlers(parts, planned, post_consent, recovery, delegated)
    runner = JobRunner(
        parts.stores.jobs,
        parts.clock,
        handlers=handlers,
        held=parts.held_jobs,
        metrics=parts.process.metrics if runs_jobs else None,
    )
    _check_templates(parts, made.signup)
    pages = Pages(Templates.load(config.public_baseurl, parts.template_directories))
    devices = () if stores.own is None else (stores.own.devices,)
    expiring = (*parts.stores.expiring, *devices, *active.expiring) if runs_jobs else ()
    waiting = jobs.warnings(
        config,
        has_rooms=stores.rooms is not None,
        has_sms_sender=parts.hooks.sms is not None,
    )
    return Subsystem(
        handler=made.handler,
        registration_tokens=made.tokens,
        consents=consents,
        auth=stores.auth,
        blocking=made.blocking,
        passwords=made.passwords,
        reauthentication=made.reauthentication,
        hooks=parts.hooks,
        jobs=runner,
        process=parts.process,
        in_flight=InFlight(parts.clock),
        refusals=RefusalLog(parts.clock, address_key, frozenset(made.signup.uia.stages)),
        reloadable=parts.threepid_rules.files,
        endpoints={
            endpoint.name: endpoint for endpoint in endpoints(parts, stores, made, pages, active)
        },
        for_workers=() if for_workers is None else (for_workers(made.handler),),
        warnings=(*config.warnings, *(waiting if runs_jobs else ())),
        hashes=made.signup.hashes,
        housekeeping=Housekeeping(expiring, parts.clock),
        activity=active.activity,
    )


def _check_templates(parts: Parts, signup: Signup) -> None:
    """ConfigError if a template of an administrator or embedder cannot be rendered."""
    own = [stage.page for stage in signup.uia.stages.values() if stage.page is not None]
    found = template_checks.problems(parts.config, parts.template_directories, own)
    if found:
        raise ConfigError(found)
