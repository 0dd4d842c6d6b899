"""A registration subsystem as its embedder sees it: its hooks, and what it offers."""

from __future__ import annotations

import difflib
from typing import Any, Callable, Iterable, Mapping, Optional, Protocol, Sequence

import attr
from twisted.application import service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.resource import IResource

from regsys import http
from regsys.accounts.administration import Administration
from regsys.accounts.approvals import Approvals
from regsys.accounts.followers import check_followers
from regsys.accounts.handler import RegistrationHandler
from regsys.accounts.monthly_active_users import Activity
from regsys.accounts.newcomers import Newcomers
from regsys.audit.audit_log import NO_AUDIT_LOG, AuditLog
from regsys.callbacks import (
    AccountCallbacks,
    BindingChanges,
    LoginCallbacks,
    NameCallbacks,
    SpamChecks,
    ThreepidChanges,
    ThreepidRules,
)
from regsys.client_api.credentials import PasswordCheck
from regsys.client_api.names_from_threepids import display_name_of
from regsys.client_api.session_passwords import SessionPasswords
from regsys.client_api.signup_desk import SignupDesk
from regsys.consent import Consents
from regsys.http import Endpoint
from regsys.http.refusals import RefusalLog
from regsys.http.routing import check_endpoint
from regsys.http.serving import InFlight
from regsys.interfaces import IAuth, IBlocking, IFollower, ISmsSender, IStage, IValidationMails
from regsys.jobs import JobRunner
from regsys.modules.background import Background
from regsys.modules.loader import LoadedModule
from regsys.modules.web_resources import WebResources
from regsys.registration_tokens import RegistrationTokens
from regsys.storage.audit import AuditStore
from regsys.storage.housekeeping import Housekeeping
from regsys.uia.reauthentication import Reauthentication
from regsys.uia.sessions import Flow
from regsys.wiring import arguments
from regsys.wiring.process import Process

log = Logger()


class Reloadable(Protocol):
    """What is read from files that may change while it runs."""

    def reload(self) -> Sequence[str]:
        """Read them again, and return what has changed, in words for the log."""
        ...


@attr.frozen(kw_only=True)
class Hooks:
    """What is custom at a homeserver; each may be left out. ``regsys.hooks`` makes one.

    Callbacks are registered on ``spam`` and ``threepids`` themselves, on the ``checks``,
    ``additions`` and ``removals`` of ``threepid_changes``, the ``checks`` and ``updates`` of
    ``binding_changes``, the ``usernames`` and ``display_names`` of ``names``, the
    ``passwords.types``, ``passwords.threepids``, ``checks``, ``begun`` and ``ended`` of ``logins``,
    and the ``made`` and ``expiry`` of ``accounts``.
    ``stages`` are offered beside ours. ``flows`` of registration, and
    ``confirmation_flows`` by which users confirm a request of an account endpoint, are each the
    types of their stages; if None, those that the configuration asks for, and a password.
    ``template_directories`` hold the templates of your stages' pages. ``mails`` sends the mails
    that validate addresses, ``sms`` text messages; if None, the mail server and the gateway that
    the configuration names. ``display_name`` makes the display name from an email address, where
    ``register_mxid_from_3pid`` is ``email``. ``followers`` are told of every new account; give the
    same ones to each process that makes accounts. TypeError for what cannot be used, ValueError if
    two followers have the same name, or two stages the same type.
    """

    spam: SpamChecks = attr.field(validator=arguments.callbacks(SpamChecks))
    threepids: ThreepidRules = attr.field(validator=arguments.callbacks(ThreepidRules))
    threepid_changes: ThreepidChanges = attr.field(validator=arguments.callbacks(ThreepidChanges))
    binding_changes: BindingChanges = attr.field(validator=arguments.callbacks(BindingChanges))
    names: NameCallbacks = attr.field(validator=arguments.callbacks(NameCallbacks))
    logins: LoginCallbacks = attr.field(validator=arguments.callbacks(LoginCallbacks))
    accounts: AccountCallbacks = attr.field(validator=arguments.callbacks(AccountCallbacks))
    mails: Optional[IValidationMails] = attr.field(
        default=None, validator=arguments.provided(IValidationMails)
    )
    sms: Optional[ISmsSender] = attr.field(default=None, validator=arguments.provided(ISmsSender))
    stages: Sequence[IStage] = attr.field(
        default=(), validator=[arguments.each_provided(IStage), arguments.distinct_types]
    )
    flows: Optional[Sequence[Flow]] = attr.field(default=None, validator=arguments.flows)
    confirmation_flows: Optional[Sequence[Flow]] = attr.field(
        default=None, validator=arguments.flows
    )
    template_directories: Sequence[str] = attr.field(default=(), validator=arguments.paths)
    display_name: Callable[[str], str] = attr.field(
        default=display_name_of, validator=arguments.function
    )
    followers: Sequence[IFollower] = attr.field(
        default=(), validator=[arguments.each_provided(IFollower), check_followers]
    )


def hooks(
    clock: IReactorTime,
    *,
    spam: Optional[SpamChecks] = None,
    threepids: Optional[ThreepidRules] = None,
    threepid_changes: Optional[ThreepidChanges] = None,
    binding_changes: Optional[BindingChanges] = None,
    names: Optional[NameCallbacks] = None,
    logins: Optional[LoginCallbacks] = None,
    accounts: Optional[AccountCallbacks] = None,
    mails: Optional[IValidationMails] = None,
    sms: Optional[ISmsSender] = None,
    stages: Sequence[IStage] = (),
    flows: Optional[Sequence[tuple[str, ...]]] = None,
    confirmation_flows: Optional[Sequence[tuple[str, ...]]] = None,
    template_directories: Sequence[str] = (),
    display_name: Callable[[str], str] = display_name_of,
    followers: Sequence[IFollower] = (),
) -> Hooks:
    """Hooks without callbacks. The arguments are the fields of ``Hooks``; the seven lists of
    callbacks are new ones if None. ``clock`` is the reactor."""
    arguments.check_clock("hooks", clock)
    return Hooks(
        spam=SpamChecks(clock=clock) if spam is None else spam,
        threepids=ThreepidRules(clock=clock) if threepids is None else threepids,
        threepid_changes=(
            ThreepidChanges.on(clock) if threepid_changes is None else threepid_changes
        ),
        binding_changes=BindingChanges.on(clock) if binding_changes is None else binding_changes,
        names=NameCallbacks.on(clock) if names is None else names,
        logins=LoginCallbacks.on(clock) if logins is None else logins,
        accounts=AccountCallbacks.on(clock) if accounts is None else accounts,
        mails=mails,
        sms=sms,
        stages=stages,
        flows=flows,
        confirmation_flows=confirmation_flows,
        template_directories=template_directories,
        display_name=display_name,
        followers=followers,
    )


@attr.define(eq=False, kw_only=True)
class Subsystem(service.Service):
    """A registration subsystem, ready to be mounted.

    It is an ``IService``: under a parent it starts and stops with that. Without one call ``start``
    once the reactor runs, and await ``stop`` before it ends; call ``hurry`` if that takes too long.
    If ``reauthentication`` is None, there is no stage by which a user could confirm a request.
    ``blocking`` and ``passwords`` are for a /login of your own: whether a user may log in at all,
    and whether a password is right; ``passwords`` is None if accounts cannot be looked up.
    ``administration`` is for administrators; None where a homeserver keeps the accounts.
    ``newcomers`` releases those who are suspended; None where this is no homeserver's auth service.
    ``signups``: the registrations that are not finished, for an operator.
    """

    handler: RegistrationHandler
    registration_tokens: RegistrationTokens
    consents: Consents
    newcomers: Optional[Newcomers]
    auth: IAuth
    blocking: IBlocking
    passwords: Optional[PasswordCheck]
    reauthentication: Optional[Reauthentication]
    administration: Optional[Administration]
    hooks: Hooks
    jobs: JobRunner
    process: Process
    audit_entries: AuditStore
    signups: SignupDesk
    in_flight: InFlight
    _refusals: RefusalLog
    _endpoints: Mapping[str, Endpoint]
    _housekeeping: Housekeeping
    _hashes: SessionPasswords
    _reloadable: Sequence[Reloadable] = ()
    # What workers call: not among the endpoints, because ``resource`` mounts those for clients.
    for_workers: Sequence[Endpoint] = ()
    _warnings: Sequence[str] = ()
    _activity: Optional[Activity] = None
    # None where this process decides about no account: a worker's, and an embedded one's.
    approvals: Optional[Approvals] = None
    audit: AuditLog = NO_AUDIT_LOG
    # The loaded modules, which live as long as this.
    modules: Sequence[LoadedModule] = ()
    _web_resources: WebResources = attr.field(factory=WebResources)
    _background: Optional[Background] = None
    _is_started: bool = attr.field(default=False, init=False)

    @property
    def endpoints(self) -> frozenset[str]:
        """The names of all endpoints, for ``resource``."""
        return frozenset(self._endpoints)

    def having(self, *more: Endpoint) -> Subsystem:
        """The same with these endpoints as well. ValueError for a name that is there already."""
        endpoints = dict(self._endpoints)
        for item in more:
            check_endpoint("having(…)", item)
            if item.name in endpoints:
                raise ValueError(
                    f"having(…): there is an endpoint {item.name!r} already: give yours another"
                    " name, and leave ours out of resource([…]) if yours takes its place"
                )
            endpoints[item.name] = item
        return attr.evolve(self, endpoints=endpoints)

    def resource(
        self,
        endpoints: Optional[Iterable[str]] = None,
        otherwise: Optional[IResource] = None,
        client_address: Callable[[Any], str] = http.peer_address,
        of_modules: bool = True,
    ) -> IResource:
        """These endpoints (None: all) as one resource; see ``regsys.http.resource``.
        ``of_modules``: what modules have registered is served, too. ValueError for a name that no
        endpoint has."""
        return http.resource(
            self._chosen(self._endpoints if endpoints is None else endpoints),
            otherwise=otherwise,
            client_address=client_address,
            in_flight=self.in_flight,
            refusals=self._refusals,
            **({"others": self._web_resources.find} if of_modules else {}),
        )

    def _chosen(self, names: Iterable[str]) -> Sequence[Endpoint]:
        if isinstance(names, str):
            raise TypeError(f"resource({names!r}): pass a list of names, resource([{names!r}])")
        found = []
        for name in names:
            if name not in self._endpoints:
                close = difflib.get_close_matches(str(name), self._endpoints, 1)
                hint = f" (did you mean {close[0]!r}?)" if close else ""
                raise ValueError(
                    f"resource([…]): there is no endpoint {name!r} here{hint}: there are"
                    f" {', '.join(sorted(self._endpoints))}"
                )
            found.append(self._endpoints[name])
        return found

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        return Deferred.fromCoroutine(self.stop())

    def start(self) -> None:
        """Log what is odd about the configuration, and begin. RuntimeError if it has begun."""
        if self._is_started:
            raise RuntimeError(
                "start(): this subsystem has started already: under a parent service it starts by"
                " itself, without one call start() once"
            )
        self._is_started = True
        for warning in self._warnings:
            log.warn("{sentence}", sentence=warning)
        self.process.start()
        self.jobs.start()
        self._housekeeping.start()
        self.audit.start()
        if self._activity is not None:
            self._activity.start()

    def reload(self) -> None:
        """Read again the files that may change while it runs, and log what has changed."""
        changes = [change for part in self._reloadable for change in part.reload()]
        # An operator who has changed the configuration itself must not take this for a success.
        unchanged = "nothing has changed (a changed configuration needs a restart)"
        log.info("reloaded: {changes}", changes=", ".join(changes) or unchanged)

    async def stop(self) -> None:
        """Wait for the requests and jobs under way, and for the password hashes of UIA sessions,
        then stop the threads."""
        while self.in_flight.count or self._hashes.is_busy:
            await self.in_flight.idle()
            await self._hashes.idle()
        self._housekeeping.stop()
        if self._background is not None:
            self._background.stop()
        await self.jobs.stop()
        await self.audit.stop()
        if self._activity is not None:
            await self._activity.stop()
        if self.process.master is not None:
            await self.process.master.close()
        if self.process.homeserver is not None:
            await self.process.homeserver.close()
        self.process.stop()
        self._is_started = False

    def hurry(self) -> None:
        """Give up password hashes, and a worker's master: requests that wait for them are answered
        503, and hashes of UIA sessions are not waited for. ``stop`` then ends without waiting for
        the threads."""
        self.process.refuse_hashes()
        self._hashes.close()
        if self.process.master is not None:
            self.process.master.give_up()
