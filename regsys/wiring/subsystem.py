"""A registration subsystem as its embedder sees it: its hooks, and what it offers."""

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
from regsys.http import Endpoint
from regsys.http.refusals import RefusalLog
from regsys.http.serving import InFlight
from regsys.interfaces import IAuth, IBlocking, ISmsSender, IStage, IValidationMails
from regsys.jobs import JobRunner
from regsys.registration_tokens import RegistrationTokens
from regsys.storage.housekeeping import Housekeeping
from regsys.threepids.domains import DomainFile
from regsys.uia.reauthentication import Reauthentication
from regsys.wiring.process import Process

log = Logger()


@attr.frozen(kw_only=True)
class Hooks:
    """What is custom at a homeserver; each may be left out. ``regsys.hooks`` makes one.

    Callbacks are registered on ``spam`` and ``threepids`` themselves, on the ``checks``,
    ``additions`` and ``removals`` of ``threepid_changes``, and on the ``checks`` and ``updates`` of
    ``binding_changes``. ``stages`` are offered beside ours. ``flows`` of registration, and
    ``confirmation_flows`` by which users confirm a request of an account endpoint, are each the
    types of their stages; if None, those that the configuration asks for, and a password.
    ``template_directories`` hold the templates of your stages' pages. ``mails`` sends the mails
    that validate addresses, ``sms`` text messages; if None, the mail server and the gateway that
    the configuration names. ``display_name`` makes the display name from an email address, where
    ``register_mxid_from_3pid`` is ``email``.
    """

    spam: SpamChecks
    threepids: ThreepidRules
    threepid_changes: ThreepidChanges
    binding_changes: BindingChanges
    mails: Optional[IValidationMails] = None
    sms: Optional[ISmsSender] = None
    stages: Sequence[IStage] = ()
    flows: Optional[Sequence[tuple[str, ...]]] = None
    confirmation_flows: Optional[Sequence[tuple[str, ...]]] = None
    template_directories: Sequence[str] = ()
    display_name: Callable[[str], str] = display_name_of


def hooks(
    clock: IReactorTime,
    *,
    spam: Optional[SpamChecks] = None,
    threepids: Optional[ThreepidRules] = None,
    threepid_changes: Optional[ThreepidChanges] = None,
    binding_changes: Optional[BindingChanges] = None,
    mails: Optional[IValidationMails] = None,
    sms: Optional[ISmsSender] = None,
    stages: Sequence[IStage] = (),
    flows: Optional[Sequence[tuple[str, ...]]] = None,
    confirmation_flows: Optional[Sequence[tuple[str, ...]]] = None,
    template_directories: Sequence[str] = (),
    display_name: Callable[[str], str] = display_name_of,
) -> Hooks:
    """Hooks without callbacks. The arguments are the fields of ``Hooks``; the four lists of
    callbacks are new ones if None. ``clock`` is the reactor."""
    return Hooks(
        spam=spam or SpamChecks(clock=clock),
        threepids=threepids or ThreepidRules(clock=clock),
        threepid_changes=threepid_changes or ThreepidChanges.on(clock),
        binding_changes=binding_changes or BindingChanges.on(clock),
        mails=mails,
        sms=sms,
        stages=stages,
        flows=flows,
        confirmation_flows=confirmation_flows,
        template_directories=template_directories,
        display_name=display_name,
    )


@attr.define(eq=False, kw_only=True)
class Subsystem(service.Service):
    """A registration subsystem, ready to be mounted.

    It is an ``IService``: under a parent it starts and stops with that. Without one call ``start``
    once the reactor runs, and await ``stop`` before it ends; call ``hurry`` if that takes too long.
    If ``reauthentication`` is None, there is no stage by which a user could confirm a request.
    ``blocking`` is for a /login of your own: whether a user may log in at all.
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
    _reloadable: Sequence[DomainFile] = ()
    _warnings: Sequence[str] = ()
    _activity: Optional[Activity] = None

    @property
    def endpoints(self) -> frozenset[str]:
        """The names of all endpoints, for ``resource``."""
        return frozenset(self._endpoints)

    def having(self, *more: Endpoint) -> Subsystem:
        """The same with these endpoints as well."""
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
        await self.jobs.stop()
        if self._activity is not None:
            await self._activity.stop()
        self.process.stop()

    def hurry(self) -> None:
        """Give up password hashes: requests that wait for one are answered 503, and those of UIA
        sessions are not waited for. ``stop`` then ends without waiting for the threads."""
        self.process.refuse_hashes()
        self._hashes.close()
