"""A subsystem out of its stores and its writer."""

from __future__ import annotations

from typing import Mapping, Optional

from regsys.accounts.deactivation import FINISH_DEACTIVATION
from regsys.accounts.embedded_writer import RECOVERY
from regsys.client_api.signup import Signup
from regsys.config import ConfigError
from regsys.http.refusals import RefusalLog
from regsys.http.serving import InFlight
from regsys.interfaces.internal import IRegistrationWriter
from regsys.jobs import Announce, Handler, JobRunner
from regsys.model.networks import address_key
from regsys.storage.housekeeping import Housekeeping
from regsys.storage.newcomers import RELEASE_NEWCOMER
from regsys.templates import Templates
from regsys.web.pages import Pages
from regsys.wiring import jobs, template_checks, validations
from regsys.wiring.approvals import NO_MAILS, ApprovalParts
from regsys.wiring.delegation import FIRST_JOBS, NO_JOBS, URGENT
from regsys.wiring.endpoints import endpoints
from regsys.wiring.foundation import Foundation
from regsys.wiring.module_api import ApiMaker
from regsys.wiring.modules import arrange, load_modules
from regsys.wiring.parts import Parts
from regsys.wiring.replication import ForWorkers
from regsys.wiring.rules import rules
from regsys.wiring.subsystem import Subsystem


def assemble(
    base: Foundation,
    writer: IRegistrationWriter,
    *,
    recovery: Optional[Handler] = None,
    deactivation: Optional[Handler] = None,
    delegated: Mapping[str, Optional[Handler]] = NO_JOBS,
    approvals: Optional[ApprovalParts] = None,
    for_workers: Optional[ForWorkers] = None,
    announce: Optional[Announce] = None,
) -> Subsystem:
    """``recovery`` runs the jobs that finish accounts in a homeserver's store, ``deactivation``
    those that finish the deactivation of ours; None if there are none. ``delegated`` runs those
    that tell a homeserver of accounts and logins. ``approvals``: None where this process decides
    about no account. ``for_workers`` makes what workers call; None
    where there are none. ``announce`` tells another process, which runs all jobs and deletes what
    has expired; None where this one does."""
    parts, stores, active, config = base.parts, base.stores, base.active, base.parts.config
    runs_jobs = announce is None
    post_consent = base.post_consent()
    made = rules(base, writer, post_consent)
    handlers: Mapping[str, Optional[Handler]] = {}
    if runs_jobs:
        own = {
            RECOVERY: recovery,
            FINISH_DEACTIVATION: deactivation,
            RELEASE_NEWCOMER: None if base.newcomers is None else base.newcomers.run,
            **delegated,
            **(NO_MAILS if approvals is None else approvals.handlers()),
        }
        handlers = jobs.handlers(parts, base.planned, post_consent, own)
    runner = JobRunner(
        parts.stores.jobs,
        parts.clock,
        handlers=handlers,
        held=parts.held_jobs,
        metrics=parts.process.metrics if runs_jobs else None,
        announce=announce,
        urgent=URGENT,
        first=FIRST_JOBS,
    )
    _check_templates(parts, made.signup)
    pages = Pages(
        Templates.load(config.public_baseurl, parts.template_directories, brand=config.pages.brand)
    )
    own_expiring = () if stores.own is None else stores.own.expiring
    newcomers = () if base.newcomers is None else (base.newcomers,)
    expiring = (
        (*parts.stores.expiring, parts.audit_entries, *own_expiring, *active.expiring, *newcomers)
        if runs_jobs
        else ()
    )
    waiting = jobs.warnings(
        config,
        has_rooms=stores.rooms is not None,
        has_sms_sender=parts.hooks.sms is not None,
    )
    arrange(parts.hooks, config, parts.process.metrics)
    apis = ApiMaker.of(base, made.handler)
    return Subsystem(
        handler=made.handler,
        registration_tokens=made.tokens,
        consents=base.consents,
        newcomers=base.newcomers,
        auth=stores.auth,
        blocking=made.blocking,
        passwords=made.passwords,
        reauthentication=made.reauthentication,
        administration=made.administration,
        hooks=parts.hooks,
        jobs=runner,
        process=parts.process,
        signups=validations.desk(parts, made.validations, made.signup),
        in_flight=InFlight(parts.clock),
        refusals=RefusalLog(parts.clock, address_key, frozenset(made.signup.uia.stages)),
        reloadable=(parts.name_rules, *parts.threepid_rules.files),
        endpoints={
            endpoint.name: endpoint
            for endpoint in endpoints(parts, stores, made, pages, active, approvals)
        },
        for_workers=() if for_workers is None else (for_workers(made.handler, runner),),
        warnings=(*config.warnings, *(waiting if runs_jobs else ())),
        hashes=made.signup.hashes,
        approvals=None if approvals is None else approvals.approvals,
        housekeeping=Housekeeping(
            expiring, parts.clock, () if approvals is None else (approvals.watch.look,)
        ),
        activity=active.activity,
        audit=parts.audit,
        audit_entries=parts.audit_entries,
        # Last, so that the API object may have all that is made above.
        modules=load_modules(config, parts.hooks, apis.parts),
        web_resources=apis.web,
        background=apis.background,
    )


def _check_templates(parts: Parts, signup: Signup) -> None:
    """ConfigError if a template of an administrator or embedder cannot be rendered."""
    own = [stage.page for stage in signup.uia.stages.values() if stage.page is not None]
    found = template_checks.problems(parts.config, parts.template_directories, own)
    if found:
        raise ConfigError(found)
