"""The endpoints of a subsystem."""

from __future__ import annotations

from typing import Iterator, Optional, Sequence

from regsys.client_api.expired_accounts import UnexpiredAuth
from regsys.client_api.login import PasswordLogin
from regsys.config import Rate
from regsys.credentials.access_tokens import Refresher
from regsys.http import Endpoint
from regsys.interfaces import IAuth
from regsys.interfaces.internal import IConcurrencyLimiter
from regsys.limits.concurrency import (
    NoConcurrencyLimit,
    OneAtATimeByAddress,
    RateAsConcurrencyLimit,
)
from regsys.model import MailPurpose
from regsys.model.canonical_threepids import EMAIL, MSISDN
from regsys.model.networks import address_key
from regsys.threepids.identity_server_bindings import Bindings
from regsys.web import (
    account,
    account_deactivation,
    account_password,
    account_threepids,
    admin,
    availability,
    consent,
    devices,
    fallback,
    jobs,
    login,
    operations,
    register,
    registration_page,
    registration_tokens,
)
from regsys.web import introspection as introspection_api
from regsys.web import pages as static_pages
from regsys.web import threepids as validation_api
from regsys.web.actors import Actors
from regsys.web.audited import audited
from regsys.web.pages import Pages
from regsys.wiring import accounts, administration, uia, validations
from regsys.wiring.activity import ActivityParts
from regsys.wiring.approvals import ApprovalParts
from regsys.wiring.parts import Parts
from regsys.wiring.rules import Rules
from regsys.wiring.stores import AccountStores, OwnTables


def endpoints(
    parts: Parts,
    stores: AccountStores,
    rules: Rules,
    pages: Pages,
    active: ActivityParts,
    approvals: Optional[ApprovalParts],
) -> list[Endpoint]:
    """All that these stores and this configuration have an endpoint for."""
    config, auth = parts.config, unexpired_auth(parts, stores)
    made = [
        *_registration(parts, rules, pages),
        *_validation(parts, stores, rules, pages),
        *_administration(parts, stores, rules),
        account.whoami(auth, rules.appservices),
        operations.health(parts.process.database.is_lost),
        static_pages.static(config.pages.brand),
    ]
    if stores.own is not None:
        made += _own_accounts(parts, stores, stores.own, rules)
        if rules.administration is not None and parts.delegation is None:
            made += administration.endpoints(parts, stores.own, rules.administration, auth)
    if approvals is not None:
        made += approvals.endpoints(parts, auth, rules.passwords, pages)
    if rules.bindings is not None:
        made += _account_threepids(parts, stores, rules.bindings, rules)
    if config.introspection_secret is not None:
        made.append(introspection_api.introspect(stores.auth, config.introspection_secret))
    if parts.delegation is not None:
        made += parts.delegation.endpoints(parts.guests, active.auth, rules.passwords, pages)
    if config.terms.policies:
        made.append(consent.policies(rules.consents, pages))
    return made


def _registration(parts: Parts, rules: Rules, pages: Pages) -> Iterator[Endpoint]:
    config, signup = parts.config, rules.signup
    audit, stages = parts.audit, frozenset(signup.uia.stages)
    yield audited(register.register(signup, rules.appservices, parts.clock), audit, stages)
    yield audited(fallback.fallback(rules.handler, signup.uia, pages), audit, stages)
    yield registration_page.registration_page(config, signup.stages_in_flows(), pages)
    limit = _availability_limit(parts)
    yield availability.availability(rules.handler, config.registration, limit, address_key)
    yield registration_tokens.validity(
        rules.tokens, config.registration, rules.token_limit, address_key
    )


def _validation(
    parts: Parts, stores: AccountStores, rules: Rules, pages: Pages
) -> Iterator[Endpoint]:
    url, metrics = parts.config.public_baseurl, parts.process.metrics
    yield audited(validation_api.request_email_token(rules.validations, metrics), parts.audit)
    yield from validations.confirmation_pages(parts, stores, rules.validations, pages)
    yield audited(validation_api.request_msisdn_token(rules.phones, url, metrics), parts.audit)
    yield validation_api.submit_msisdn_token(rules.phones)


def _administration(parts: Parts, stores: AccountStores, rules: Rules) -> Iterator[Endpoint]:
    handler, auth = rules.handler, unexpired_auth(parts, stores)
    yield from registration_tokens.administration(rules.tokens, auth)
    secret = accounts.shared_secret(parts)
    shared = admin.shared_secret_registration(handler, secret, parts.clock)
    yield audited(shared, parts.audit)
    yield admin.username_available(handler, auth)
    yield from jobs.endpoints(parts.stores.jobs, auth, parts.clock, parts.audit)


def _own_accounts(
    parts: Parts, stores: AccountStores, own: OwnTables, rules: Rules
) -> Iterator[Endpoint]:
    """Where a homeserver keeps the accounts, it has these itself."""
    auth, clock = unexpired_auth(parts, stores), parts.clock
    if rules.passwords is not None:
        logins = PasswordLogin(
            handler=rules.handler,
            passwords=rules.passwords,
            blocking=rules.blocking,
            checks=parts.hooks.logins.checks,
            config=parts.config.passwords,
        )
        yield login.login(logins, rules.appservices, clock)
    # A user whose account has expired can still log out.
    yield login.logout(stores.auth, own.devices)
    yield login.logout_all(stores.auth, own.devices)
    refresher = Refresher(logins=parts.logins, store=own.devices, clock=clock)
    yield login.refresh(refresher, clock)
    yield account.versions()
    yield account.pushers(auth, own.pushers)
    actors = Actors(
        auth=auth, appservices=rules.appservices, reauthentication=rules.reauthentication
    )
    yield from devices.endpoints(
        devices.Devices(
            store=own.devices,
            actors=actors,
            clock=clock,
            replay_window_ms=parts.config.sessions.replay_window_ms,
        )
    )
    yield account_deactivation.deactivate(rules.handler, actors, parts.audit)
    yield from _passwords(parts, own, rules, auth)


def _passwords(parts: Parts, own: OwnTables, rules: Rules, auth: IAuth) -> Iterator[Endpoint]:
    if rules.passwords is None:
        return
    resets = uia.resets(parts, own)
    changes = accounts.password_changes(parts, own, rules.passwords, rules.reauthentication, resets)
    requests = _token_requests(parts, rules, MailPurpose.PASSWORD_RESET)
    metrics = parts.process.metrics
    yield account_password.password(changes, auth)
    yield account_password.request_token(EMAIL, requests.email, changes, metrics)
    yield account_password.request_token(MSISDN, requests.msisdn, changes, metrics)
    of_homeserver = None if parts.delegation is None else parts.delegation.synapse.capabilities
    yield account_password.capabilities(
        changes, auth, parts.config.threepids.may_change, of_homeserver
    )


def _account_threepids(
    parts: Parts, stores: AccountStores, bindings: Bindings, rules: Rules
) -> Sequence[Endpoint]:
    requests = _token_requests(parts, rules, MailPurpose.ADD_THREEPID)
    return account_threepids.endpoints(
        bindings.threepids,
        requests,
        bindings,
        rules.reauthentication,
        unexpired_auth(parts, stores),
    )


def _token_requests(
    parts: Parts, rules: Rules, purpose: MailPurpose
) -> account_threepids.TokenRequests:
    return account_threepids.TokenRequests(
        purpose=purpose,
        validations=rules.validations,
        phones=rules.phones,
        public_baseurl=parts.config.public_baseurl,
        metrics=parts.process.metrics,
    )


def unexpired_auth(parts: Parts, stores: AccountStores) -> IAuth:
    """For requests that an expired account must not make."""
    return UnexpiredAuth(auth=stores.auth, expiry=parts.hooks.accounts.expiry)


def _availability_limit(parts: Parts) -> IConcurrencyLimiter:
    chosen = parts.config.limits.availability
    if isinstance(chosen, Rate):
        return RateAsConcurrencyLimit(parts.limits.by_address("availability", chosen))
    return NoConcurrencyLimit() if chosen == "off" else OneAtATimeByAddress.on(parts.clock)
