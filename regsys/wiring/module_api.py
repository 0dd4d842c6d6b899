"""What the API objects of modules have: parts of the subsystem, and some of their own."""

from __future__ import annotations

from typing import Awaitable, Callable, Optional

import attr

from regsys.accounts.handler import RegistrationHandler
from regsys.model.threepids import Mail
from regsys.modules.background import Background
from regsys.modules.parts import AccountParts, ApiParts, Profiles
from regsys.modules.registry import Registry
from regsys.modules.web_resources import WebResources
from regsys.outbound.homeserver_events import HomeserverEvents
from regsys.outbound.homeserver_profiles import HomeserverProfiles, SynapseProfiles
from regsys.storage.external_ids import ExternalIdStore
from regsys.storage.profiles import ProfileStore
from regsys.wiring.endpoints import unexpired_auth
from regsys.wiring.foundation import Foundation
from regsys.wiring.parts import Parts

# How much of a callback's time a module of ours waits for the server that it asks.
HTTP_SHARE = 0.8


@attr.frozen
class ApiMaker:
    """``web`` and ``background`` are filled by modules, and used by the subsystem."""

    base: Foundation
    handler: RegistrationHandler
    web: WebResources
    background: Background

    @classmethod
    def of(cls, base: Foundation, handler: RegistrationHandler) -> ApiMaker:
        return cls(base, handler, WebResources(), Background(base.parts.clock))

    def parts(self, registry: Registry) -> ApiParts:
        parts = self.base.parts
        # Ended before the callback that waits for it is.
        deadline_s = HTTP_SHARE * parts.config.modules.deadline_ms / 1000
        beside = parts.homeserver
        return ApiParts(
            config=parts.config,
            registry=registry,
            clock=parts.clock,
            accounts=self._accounts(),
            database=parts.process.modules_database,
            http=parts.process.http.apart(),
            web=self.web,
            background=self.background,
            in_thread=parts.process.in_modules_thread,
            deliver=_deliver(parts),
            template_directories=parts.template_directories,
            audit=parts.audit,
            policy_servers=attr.evolve(parts.process.http, deadline_s=deadline_s),
            send_event=None if beside is None else HomeserverEvents(beside).send,
        )

    def _accounts(self) -> AccountParts:
        parts, stores = self.base.parts, self.base.stores
        own, database = stores.own, parts.process.database
        return AccountParts(
            handler=self.handler,
            is_taken=stores.accounts.is_taken,
            exists=stores.exists_elsewhere,
            auth=stores.auth,
            unexpired=unexpired_auth(parts, stores),
            users=stores.users,
            own=None if own is None else own.users,
            external_ids=None if own is None else ExternalIdStore(database),
            threepids=stores.owners,
            profiles=self._profiles(),
            sessions=parts.stores.sessions,
            bindings=parts.stores.bindings,
        )

    def _profiles(self) -> Optional[Profiles]:
        """The homeserver's, if it can be asked: ours hold what an account began with."""
        parts = self.base.parts
        if parts.delegation is not None:
            return SynapseProfiles(parts.delegation.synapse)
        if parts.homeserver is not None:
            return HomeserverProfiles(parts.homeserver)
        if self.base.stores.own is not None:
            return ProfileStore(parts.process.database)
        return None


def _deliver(parts: Parts) -> Optional[Callable[[Mail], Awaitable[None]]]:
    config = parts.config
    if config.email is None:
        return None
    # Not above: as in ``wiring/validations.py``, the import installs a reactor.
    from regsys.outbound.email import SMTPMailer

    return SMTPMailer.on(parts.clock, config.email, config.server_name).send
