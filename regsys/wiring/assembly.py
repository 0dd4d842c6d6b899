"""All parts of a subsystem put together, and its endpoints."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import attr

from regsys.accounts.handler import RegistrationHandler
from regsys.accounts.monthly_active_users import Activity
from regsys.client_api.appservice import AppserviceRequests
from regsys.client_api.credentials import PasswordCheck
from regsys.client_api.signup import Signup
from regsys.config import ConfigError
from regsys.http import Endpoint, InFlight, RefusalLog
from regsys.interfaces import (
    IAccountStore,
    IAuth,
    IBlocking,
    IPushers,
    IRooms,
    IThreepidStore,
    IUserDirectory,
    IUserLookup,
)
from regsys.jobs import Housekeeping
from regsys.networks import address_key
from regsys.registration_tokens import RegistrationTokens
from regsys.templates import Templates
from regsys.threepids.changes import ThreepidWriter
from regsys.web import (
    account,
    account_threepids,
    admin,
    availability,
    consent,
    fallback,
    health,
    pages,
    register,
    registration_page,
)
from regsys.web import jobs as job_api
from regsys.web import registration_tokens as token_api
from regsys.web import threepids as threepid_api
from regsys.web.pages import Pages
from regsys.wiring import accounts, jobs, template_checks, threepids, uia
from regsys.wiring.parts import Parts
from regsys.wiring.subsystem import Subsystem


@attr.frozen(kw_only=True)
class Side:
    """What differs with who keeps the accounts: regsys, or a homeserver.

    ``owners`` and ``addresses`` (both or neither) find and change who has which address; None:
    nobody does. If ``users`` is None, nobody finds a user's account; if ``passwords`` is None,
    nobody compares passwords; if ``rooms`` is None, jobs that need rooms wait; if ``pushers`` is
    None, nobody keeps pushers; if ``directory`` is None, the configured homeserver's is told; if
    ``activity`` is None, nobody is counted. ``endpoints`` are added to those of both sides, the
    rows of ``expiring`` to the housekeeping.
    """

    handler: RegistrationHandler
    accounts: IAccountStore
    auth: IAuth
    appservices: AppserviceRequests
    blocking: IBlocking
    owners: Optional[IThreepidStore]
    addresses: Optional[ThreepidWriter]
    passwords: Optional[PasswordCheck]
    users: Optional[IUserLookup] = None
    rooms: Optional[IRooms] = None
    pushers: Optional[IPushers] = None
    directory: Optional[IUserDirectory] = None
    endpoints: Sequence[Endpoint] = ()
    expiring: Sequence[Any] = ()
    activity: Optional[Activity] = None


def assemble(parts: Parts, side: Side) -> Subsystem:
    """The rules over this side's stores, their endpoints, and what starts and stops with them."""
    config, stores, auth, handler = parts.config, parts.stores, side.auth, side.handler
    token_limit = parts.limit_by_address(config.limits.token_validity)
    tokens = RegistrationTokens(store=stores.registration_tokens, clock=parts.clock)
    newcomers = accounts.newcomers(parts, side.accounts, side.owners)
    signup = uia.signup(parts, handler, newcomers, token_limit)
    validations = threepids.validations(parts, newcomers, signup)
    phones = threepids.phones(parts, validations)
    consents = accounts.consents(parts, side.accounts)
    _check_templates(parts, signup)
    maker = Pages(Templates.load(config.public_baseurl, parts.template_directories))
    concurrency = accounts.availability_limit(parts)
    jobs.notices(parts, side.owners, side.users, side.directory)
    jobs.rooms(parts, side.rooms, side.users)
    jobs.pushers(parts, side.pushers)
    endpoints = [
        register.register(signup, side.appservices, parts.clock),
        fallback.fallback(handler, signup.uia, maker),
        registration_page.registration_page(config, signup.stages_in_flows(), maker),
        availability.availability(handler, config.registration, concurrency, address_key),
        account.whoami(auth, side.appservices),
        health.health(parts.process.database.is_lost),
        pages.static(),
        token_api.validity(tokens, config.registration, token_limit, address_key),
        *token_api.administration(tokens, auth),
        threepid_api.request_email_token(validations, parts.process.metrics),
        *threepids.confirmation_pages(parts, validations, maker),
        threepid_api.request_msisdn_token(phones, config.public_baseurl, parts.process.metrics),
        threepid_api.submit_msisdn_token(phones),
        admin.shared_secret_registration(handler, accounts.shared_secret(parts), parts.clock),
        admin.username_available(handler, auth),
        *job_api.endpoints(stores.jobs, auth, parts.clock),
        *side.endpoints,
    ]
    reauthentication = uia.reauthentication(parts, side.passwords)
    if side.owners is not None and side.addresses is not None:
        held = accounts.account_threepids(parts, side.owners, side.addresses)
        requests = account_threepids.TokenRequests(
            validations=validations,
            phones=phones,
            public_baseurl=config.public_baseurl,
            metrics=parts.process.metrics,
        )
        endpoints += account_threepids.endpoints(
            held, requests, accounts.bindings(parts, held), reauthentication, auth
        )
    if config.introspection_secret is not None:
        endpoints.append(account.introspect(auth, config.introspection_secret))
    if config.terms.policies:
        endpoints.append(consent.policies(consents, maker))
    return Subsystem(
        handler=handler,
        registration_tokens=tokens,
        consents=consents,
        auth=auth,
        blocking=side.blocking,
        reauthentication=reauthentication,
        hooks=parts.hooks,
        jobs=parts.runner,
        process=parts.process,
        in_flight=InFlight(parts.clock),
        refusals=RefusalLog(parts.clock, address_key, frozenset(signup.uia.stages)),
        reloadable=parts.threepid_rules.files,
        endpoints={endpoint.name: endpoint for endpoint in endpoints},
        warnings=accounts.warnings(
            config, has_rooms=side.rooms is not None, has_texter=parts.hooks.sms is not None
        ),
        hashes=signup.hashes,
        housekeeping=Housekeeping((*stores.expiring, *side.expiring), parts.clock),
        activity=side.activity,
    )


def _check_templates(parts: Parts, signup: Signup) -> None:
    """ConfigError: some template of an administrator or embedder cannot be rendered."""
    own = [stage.page for stage in signup.uia.stages.values() if stage.page is not None]
    found = template_checks.problems(parts.config, parts.template_directories, own)
    if found:
        raise ConfigError(found)
