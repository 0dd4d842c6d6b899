"""A registration subsystem as its embedder sees it: what can be hung on it, and what it offers."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Mapping, Optional, Sequence

import attr
from twisted.application import service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.resource import IResource

from regsys import http
from regsys.accounts.handler import RegistrationHandler
from regsys.accounts.monthly_active_users import Activity
from regsys.callbacks import BindingChanges, SpamChecks, ThreepidChanges, ThreepidRules
from regsys.client_api.names_from_threepids import display_name_of
from regsys.client_api.session_passwords import SessionPasswords
from regsys.consent import Consents
from regsys.http import Endpoint, InFlight, RefusalLog
from regsys.interfaces import (
    IAppservices,
    IAuth,
    IBlocking,
    IReloadable,
    IRequestSigner,
    ISmsSender,
    IStage,
    IUserDirectory,
    IUserLookup,
    IValidationMails,
)
from regsys.jobs import Housekeeping, JobRunner
from regsys.registration_tokens import RegistrationTokens
from regsys.uia.reauthentication import Reauthentication
from regsys.wiring.process import Process

log = Logger()


@attr.frozen(kw_only=True)
class Hooks:
    """Where a homeserver's own checks and stages go; each may be left as it is.

    ``spam`` and ``threepids`` take callbacks through their ``register``, ``threepid_changes``
    through that of its ``checks``, ``additions`` and ``removals``, ``binding_changes`` through that
    of its ``checks`` and ``updates``. ``stages`` are on offer beside ours; ``flows`` are the ways
    in, each the types of the stages that it asks for (None: those that the configuration asks for).
    ``template_directories`` hold the templates of your stages' pages. ``confirmation_flows`` are
    the ways for a user to confirm a request of an account endpoint (None: by password). ``users``:
    where an embedded subsystem finds a user's password hash for that; None: ``m.login.password`` is
    not on offer. If ``services`` is None, those whose files the configuration names. If
    ``blocking`` is None, as the configuration says. If ``directory`` is None, nobody is told of new
    profiles. ``mails`` sends what people are to confirm, ``sms`` text messages; None: the mail
    server and the gateway that the configuration names. ``signer`` signs requests to identity
    servers; None: they are shown the proof that an address was bound with. ``display_name`` makes
    the name that is shown of an email address, where ``register_mxid_from_3pid`` is ``email``.
    """

    spam: SpamChecks
    threepids: ThreepidRules
    threepid_changes: ThreepidChanges
    binding_changes: BindingChanges
    services: Optional[IAppservices] = None
    blocking: Optional[IBlocking] = None
    directory: Optional[IUserDirectory] = None
    mails: Optional[IValidationMails] = None
    sms: Optional[ISmsSender] = None
    signer: Optional[IRequestSigner] = None
    stages: Sequence[IStage] = ()
    flows: Optional[Sequence[tuple[str, ...]]] = None
    template_directories: Sequence[str] = ()
    confirmation_flows: Optional[Sequence[tuple[str, ...]]] = None
    users: Optional[IUserLookup] = None
    display_name: Callable[[str], str] = display_name_of


def hooks(
    clock: IReactorTime,
    *,
    spam: Optional[SpamChecks] = None,
    threepids: Optional[ThreepidRules] = None,
    threepid_changes: Optional[ThreepidChanges] = None,
    binding_changes: Optional[BindingChanges] = None,
    services: Optional[IAppservices] = None,
    blocking: Optional[IBlocking] = None,
    directory: Optional[IUserDirectory] = None,
    mails: Optional[IValidationMails] = None,
    sms: Optional[ISmsSender] = None,
    signer: Optional[IRequestSigner] = None,
    stages: Sequence[IStage] = (),
    flows: Optional[Sequence[tuple[str, ...]]] = None,
    template_directories: Sequence[str] = (),
    confirmation_flows: Optional[Sequence[tuple[str, ...]]] = None,
    users: Optional[IUserLookup] = None,
    display_name: Callable[[str], str] = display_name_of,
) -> Hooks:
    """Hooks with no callback registered. The arguments are the fields of ``Hooks``; the four lists
    of callbacks are made anew where None."""
    return Hooks(
        spam=spam or SpamChecks(clock=clock),
        threepids=threepids or ThreepidRules(clock=clock),
        threepid_changes=threepid_changes or ThreepidChanges.on(clock),
        binding_changes=binding_changes or BindingChanges.on(clock),
        services=services,
        blocking=blocking,
        directory=directory,
        mails=mails,
        sms=sms,
        signer=signer,
        stages=stages,
        flows=flows,
        template_directories=template_directories,
        confirmation_flows=confirmation_flows,
        users=users,
        display_name=display_name,
    )


@attr.define(eq=False, kw_only=True)
class Subsystem(service.Service):
    """A registration subsystem, ready to be mounted.

    It is an ``IService``: under a parent it starts and stops with that. Without one call ``start``
    once the reactor runs, and await ``stop`` before it ends; ``hurry`` where that takes too long.
    ``reauthentication``
    None: there is no stage by which a user could confirm anything. ``blocking``: whether anybody
    may come in, for a /login of your own.
    """

    handler: RegistrationHandler
    registration_tokens: RegistrationTokens
    consents: Consents
    auth: IAuth
    blocking: IBlocking
    reauthentication: Optional[Reauthentication]
    hooks: Hooks
    jobs: JobRunner
    process: Process
    in_flight: InFlight
    _refusals: RefusalLog
    _endpoints: Mapping[str, Endpoint]
    _housekeeping: Housekeeping
    _hashes: SessionPasswords
    _reloadable: Sequence[IReloadable] = ()
    _warnings: Sequence[str] = ()
    _activity: Optional[Activity] = None

    @property
    def endpoints(self) -> frozenset[str]:
        """The names of all endpoints, for ``resource``."""
        return frozenset(self._endpoints)

    def having(self, *more: Endpoint) -> Subsystem:
        """The same with these endpoints beside its own, under their names."""
        return attr.evolve(
            self, endpoints={**self._endpoints, **{item.name: item for item in more}}
        )

    def resource(
        self,
        endpoints: Optional[Iterable[str]] = None,
        otherwise: Optional[IResource] = None,
        client_address: Callable[[Any], str] = http.peer_address,
    ) -> IResource:
        """These endpoints (None: all) as one resource; see ``regsys.http.resource``."""
        chosen = self._endpoints if endpoints is None else endpoints
        return http.resource(
            [self._endpoints[name] for name in chosen],
            otherwise=otherwise,
            client_address=client_address,
            in_flight=self.in_flight,
            refusals=self._refusals,
        )

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        return Deferred.fromCoroutine(self.stop())

    def start(self) -> None:
        for warning in self._warnings:
            log.warn("{sentence}", sentence=warning)
        self.process.start()
        self.jobs.start()
        self._housekeeping.start()
        if self._activity is not None:
            self._activity.start()

    def reload(self) -> None:
        """Take up now what has changed in the files that may change while it runs, and say in the
        log what that was."""
        changes = [change for part in self._reloadable for change in part.reload()]
        # Whoever has changed the configuration itself must not take this for a yes.
        unchanged = "nothing has changed (a changed configuration needs a restart)"
        log.info("reloaded: {changes}", changes=", ".join(changes) or unchanged)

    async def stop(self) -> None:
        """Let the calls and jobs under way end, and the hashes that sessions were promised, then
        give the threads up."""
        while self.in_flight.count or self._hashes.is_busy:
            await self.in_flight.idle()
            await self._hashes.idle()
        self._housekeeping.stop()
        await self.jobs.stop()
        if self._activity is not None:
            await self._activity.stop()
        self.process.stop()

    def hurry(self) -> None:
        """There is no time left for password hashes: who waits for one is told to try again
        (503), and no process waits any longer for those that sessions were promised. ``stop`` goes
        on from there, without waiting for what threads still do."""
        self.process.refuse_hashes()
        self._hashes.close()
