"""The wiring: which implementation stands behind which seam. Everything can be replaced.

``standalone`` keeps accounts, devices and tokens in regsys's own tables; ``embedded`` leaves
them to a homeserver's stores. Both give a Subsystem.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

import attr

from regsys.access_tokens import GuestTokens, Logins, Refresher, TokenAuth
from regsys.admission import Admission
from regsys.backend import Backend, open_backend, prepare
from regsys.config import Config, Rate
from regsys.confirmation import Confirmation
from regsys.consent import Consents
from regsys.credentials import PASSWORD, LoginLimits, PasswordCheck
from regsys.flows import TERMS, registration_flows
from regsys.foreign_writer import RECOVERY, ForeignWriter
from regsys.handler import RegistrationHandler
from regsys.http import Endpoint, InFlight
from regsys.interfaces import (
    IAccountStore,
    IAuth,
    IDevices,
    ILimiter,
    INonceStore,
    IRegistrationTokenStore,
    IRegistrationWriter,
    IStage,
    IThreepidRules,
    IThreepidStore,
    ITurnstile,
    IUserLookup,
    IValidationMails,
    IValidationStore,
)
from regsys.jobs import FollowUps, Housekeeping, JobRunner
from regsys.login import PasswordLogin
from regsys.mails import Mails, ValidationPost
from regsys.offered_proofs import offered_proofs
from regsys.offered_stages import offered_stages
from regsys.outbound.email import SMTPMailer
from regsys.ratelimit import Buckets, LimitedTurnstile, OpenTurnstile, Turnstile, address_key
from regsys.registration_tokens import RegistrationTokens
from regsys.shared_secret import SharedSecret
from regsys.signup import Signup
from regsys.stages import PasswordStage, TermsStage
from regsys.storage.consents import ConsentStore
from regsys.storage.devices import DeviceStore
from regsys.storage.foreign import ForeignOutcomeStore
from regsys.storage.jobs import JobStore
from regsys.storage.nonces import NonceStore
from regsys.storage.outcomes import OutcomeStore
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.storage.sessions import SessionStore
from regsys.storage.threepids import ThreepidStore
from regsys.storage.users import UserStore
from regsys.storage.validations import ValidationStore
from regsys.subsystem import Hooks, Subsystem, hooks
from regsys.templates import Templates
from regsys.threepids import AllowedThreepids, NewcomersThreepids
from regsys.uia import Flow, UserInteractiveAuth
from regsys.usernames import Usernames
from regsys.web import (
    account,
    admin,
    availability,
    consent,
    fallback,
    health,
    login,
    pages,
    register,
    registration_page,
)
from regsys.web import registration_tokens as token_api
from regsys.web import threepids as threepid_api
from regsys.web.pages import Pages
from regsys.writer import CountingWriter, LocalWriter


def standalone(
    config: Config,
    clock: Any,
    *,
    backend: Optional[Backend] = None,
    hooks: Optional[Hooks] = None,
) -> Subsystem:
    """A subsystem over regsys's own tables: what ``regsys serve`` runs.

    ``clock`` is the reactor. ``backend`` None: the one that the configuration names is
    prepared and opened, which blocks, so call this before the reactor runs.
    """
    parts = _Parts.of(config, clock, backend, hooks)
    users, devices = UserStore(parts.database), DeviceStore(parts.database, clock)
    auth = TokenAuth(logins=devices, accounts=users, guests=parts.guests, clock=clock)
    writer = LocalWriter(
        accounts=users, devices=devices, logins=parts.logins, start_jobs=parts.runner.start_jobs
    )
    handler = parts.handler(users, auth, writer)
    refresher = Refresher(logins=parts.logins, store=devices, clock=clock)
    passwords = parts.password_check(users)
    owners = ThreepidStore(parts.database)
    logins = PasswordLogin(
        handler=handler, check=passwords, threepids=owners, config=config.passwords
    )
    own = [
        login.login(logins, clock),
        login.logout(auth, devices),
        login.logout_all(auth, devices),
        login.refresh(refresher, clock),
        account.versions(),
    ]
    newcomers = parts.newcomers(users, owners)
    return parts.subsystem(handler, users, auth, newcomers, own, passwords, devices)


def embedded(
    config: Config,
    clock: Any,
    *,
    store: IAccountStore,
    devices: IDevices,
    auth: IAuth,
    threepids: Optional[IThreepidStore] = None,
    backend: Optional[Backend] = None,
    hooks: Optional[Hooks] = None,
) -> Subsystem:
    """A subsystem over a homeserver's own accounts, devices and tokens.

    ``threepids`` tells who has which address; None: an address that is taken is refused only by
    ``store``, when an account is made. regsys keeps its sessions, outcomes and jobs in the
    database that ``config`` names. /login, /logout, /refresh and /versions are the homeserver's.
    """
    parts = _Parts.of(config, clock, backend, hooks)
    writer = ForeignWriter(
        accounts=store,
        devices=devices,
        logins=parts.logins,
        follow_ups=parts.follow_ups,
        outcomes=ForeignOutcomeStore(parts.database),
        start_jobs=parts.runner.start_jobs,
    )
    parts.runner.add_handlers({RECOVERY: writer.recover})
    users = parts.hooks.users
    passwords = None if users is None else parts.password_check(users)
    newcomers = parts.newcomers(store, threepids)
    handler = parts.handler(store, auth, writer)
    return parts.subsystem(handler, store, auth, newcomers, [], passwords)


@attr.frozen(kw_only=True)
class _Parts:
    """What both kinds of subsystem are made of."""

    config: Config
    clock: Any
    backend: Backend
    hooks: Hooks
    guests: GuestTokens
    logins: Logins
    follow_ups: FollowUps
    runner: JobRunner

    @classmethod
    def of(
        cls, config: Config, clock: Any, backend: Optional[Backend], given: Optional[Hooks]
    ) -> _Parts:
        if backend is None:
            _, secret = prepare(config)
            backend = open_backend(config, clock, secret)
        chosen = given or hooks(clock)
        secret = backend.macaroon_secret
        guests = GuestTokens(server_name=config.server_name, secret=secret)
        follow_ups = FollowUps(directory=chosen.directory)
        return cls(
            config=config,
            clock=clock,
            backend=backend,
            hooks=chosen,
            guests=guests,
            logins=Logins(config=config.tokens, secret=secret, guests=guests, clock=clock),
            follow_ups=follow_ups,
            runner=JobRunner(
                JobStore(backend.database), clock, follow_ups.handlers(), backend.metrics
            ),
        )

    @property
    def database(self) -> Any:
        return self.backend.database

    def limit(self, rate: Rate) -> ILimiter:
        return Buckets(
            per_second=rate.per_second,
            burst_count=rate.burst_count,
            seconds=self.backend.seconds,
        )

    def password_check(self, users: IUserLookup) -> PasswordCheck:
        limits = self.config.limits
        return PasswordCheck(
            server_name=self.config.server_name,
            accounts=users,
            hasher=self.backend.hasher,
            limits=LoginLimits(
                address=self.limit(limits.login_address),
                account=self.limit(limits.login_account),
                failed=self.limit(limits.login_failed),
                key_of=address_key,
            ),
        )

    def turnstile(self) -> ITurnstile:
        chosen = self.config.limits.availability
        if isinstance(chosen, Rate):
            return LimitedTurnstile(self.limit(chosen))
        return OpenTurnstile() if chosen == "off" else Turnstile(clock=self.clock)

    def handler(
        self, accounts: IAccountStore, auth: IAuth, writer: IRegistrationWriter
    ) -> RegistrationHandler:
        config = self.config
        names = Usernames(
            server_name=config.server_name,
            config=config.registration,
            accounts=accounts,
            services=self.hooks.services,
            auth=auth,
        )
        per_second = config.limits.registration.per_second
        admission = Admission(
            limiter=self.limit(config.limits.registration),
            key_of=address_key,
            spam=self.hooks.spam,
            blocking=self.hooks.blocking,
            threepids=self.threepid_rules(),
            denied_ms=round(1000 / per_second) if per_second else 60_000,
        )
        return RegistrationHandler(
            names=names,
            admission=admission,
            hasher=self.backend.hasher,
            logins=self.logins,
            follow_ups=self.follow_ups,
            writer=CountingWriter(writer=writer, metrics=self.backend.metrics),
            config=config.registration,
            clock=self.clock,
            replay_window_ms=config.sessions.replay_window_ms,
        )

    def threepid_rules(self) -> IThreepidRules:
        return AllowedThreepids(
            callbacks=self.hooks.threepids, allowed=self.config.threepids.allowed
        )

    def newcomers(
        self, accounts: IAccountStore, owners: Optional[IThreepidStore]
    ) -> NewcomersThreepids:
        return NewcomersThreepids(rules=self.threepid_rules(), accounts=accounts, owners=owners)

    def pages(self) -> Pages:
        own = self.config.template_directory
        directories = [*([own] if own else []), *self.hooks.template_directories]
        return Pages(Templates.load(self.config.public_baseurl, directories))

    def mails(self) -> Optional[IValidationMails]:
        """What sends mails: the embedder's, else a mail server, if one is configured."""
        config, own = self.config, self.config.template_directory
        if self.hooks.mails is not None or config.email is None:
            return self.hooks.mails
        directories = [*([own] if own else []), *self.hooks.template_directories]
        return ValidationPost(
            mails=Mails.load(config.email, config.server_name, config.public_baseurl, directories),
            mailer=SMTPMailer.on(self.clock, config.email, config.server_name),
        )

    def consents(self, accounts: IAccountStore) -> Consents:
        return Consents(
            terms=self.config.terms,
            store=ConsentStore(self.database),
            accounts=accounts,
            server_name=self.config.server_name,
            public_baseurl=self.config.public_baseurl,
            clock=self.clock,
        )

    def shared_secret(self, nonces: INonceStore) -> Optional[SharedSecret]:
        secret = self.config.registration.shared_secret
        if secret is None:
            return None
        return SharedSecret(
            secret=secret,
            server_secret=self.backend.macaroon_secret,
            nonces=nonces,
            clock=self.clock,
        )

    def stages(
        self,
        tokens: IRegistrationTokenStore,
        token_limit: ILimiter,
        nonces: INonceStore,
        validations: IValidationStore,
    ) -> Mapping[str, IStage]:
        """The stages on offer: ours as configured, and the embedder's."""
        ours = offered_stages(
            self.config,
            self.backend,
            self.clock,
            tokens=tokens,
            token_limit=token_limit,
            used=nonces,
            validations=validations,
        )
        return {stage.type: stage for stage in (*ours, *self.hooks.stages)}

    def uia(
        self, sessions: SessionStore, flows: Sequence[Flow], stages: Mapping[str, IStage]
    ) -> UserInteractiveAuth:
        """ValueError for flows that these stages cannot complete."""
        unknown = {name for flow in flows for name in flow} - stages.keys()
        if unknown or not flows or not all(flows):
            raise ValueError(f"flows need stages that exist; unknown: {sorted(unknown)}")
        return UserInteractiveAuth(
            sessions=sessions,
            stages=stages,
            clock=self.clock,
            key_of=address_key,
            per_address=self.config.sessions.per_address,
        )

    def confirmation(
        self, sessions: SessionStore, passwords: Optional[PasswordCheck]
    ) -> Optional[Confirmation]:
        """How users confirm: by password where we know theirs, or as the embedder says."""
        stages = {stage.type: stage for stage in self.hooks.stages}
        config, flows = self.config.passwords, self.hooks.confirmation_flows
        if passwords is not None and config.reauth_enabled and config.localdb_enabled:
            stages[PASSWORD] = PasswordStage(passwords=passwords)
            flows = flows or ((PASSWORD,),)
        if flows is None:
            return None
        return Confirmation(
            uia=self.uia(sessions, flows, stages),
            flows=flows,
            clock=self.clock,
            timeout_ms=self.config.sessions.confirmed_ms,
        )

    def subsystem(
        self,
        handler: RegistrationHandler,
        accounts: IAccountStore,
        auth: IAuth,
        newcomers: NewcomersThreepids,
        own: Sequence[Endpoint],
        passwords: Optional[PasswordCheck],
        *expiring: Any,
    ) -> Subsystem:
        config, sessions = self.config, SessionStore(self.database)
        nonces = NonceStore(self.database)
        token_store = RegistrationTokenStore(self.database)
        token_limit = self.limit(config.limits.token_validity)
        registration_tokens = RegistrationTokens(store=token_store, clock=self.clock)
        flows = self.hooks.flows
        if flows is None:
            flows = registration_flows(config)
        validation_store = ValidationStore(self.database)
        stages = self.stages(token_store, token_limit, nonces, validation_store)
        terms = stages[TERMS]
        uia = self.uia(sessions, flows, stages)
        signup = Signup(
            handler=handler,
            uia=uia,
            newcomers=newcomers,
            hasher=self.backend.hasher,
            flows=flows,
            registration=config.registration,
            passwords=config.passwords,
            clock=self.clock,
            policies=terms.versions if isinstance(terms, TermsStage) else {},
        )
        validations = offered_proofs(
            config,
            self.backend,
            self.clock,
            store=validation_store,
            newcomers=newcomers,
            mails=self.mails(),
            limit=self.limit,
            runner=self.runner,
        )
        consents = self.consents(accounts)
        page_maker = self.pages()
        endpoints = [
            register.register(signup, self.clock),
            fallback.fallback(handler, uia, page_maker),
            registration_page.registration_page(config, stages.values(), page_maker),
            availability.availability(handler, config.registration, self.turnstile(), address_key),
            account.whoami(auth),
            health.health(),
            pages.static(),
            token_api.validity(registration_tokens, config.registration, token_limit, address_key),
            *token_api.administration(registration_tokens, auth),
            threepid_api.request_email_token(validations, self.backend.metrics),
            threepid_api.submit_email_token(validations),
            admin.shared_secret_registration(handler, self.shared_secret(nonces), self.clock),
            admin.username_available(handler, auth),
            *own,
        ]
        if config.introspection_secret is not None:
            endpoints.append(account.introspect(auth, config.introspection_secret))
        if config.terms.policies:
            endpoints.append(consent.policies(consents, self.pages()))
        stores = (
            sessions,
            token_store,
            validation_store,
            nonces,
            OutcomeStore(self.database),
            *expiring,
        )
        return Subsystem(
            handler=handler,
            registration_tokens=registration_tokens,
            consents=consents,
            auth=auth,
            confirmation=self.confirmation(sessions, passwords),
            hooks=self.hooks,
            jobs=self.runner,
            backend=self.backend,
            in_flight=InFlight(),
            endpoints={endpoint.name: endpoint for endpoint in endpoints},
            housekeeping=Housekeeping(stores, self.clock),
        )
