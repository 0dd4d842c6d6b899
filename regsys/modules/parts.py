"""What the API objects of all modules are made of."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping, Optional, Protocol, Sequence

import attr
from twisted.internet.defer import Deferred

from regsys.accounts.handler import RegistrationHandler
from regsys.audit.audit_log import NO_AUDIT_LOG, AuditLog
from regsys.config import Config
from regsys.interfaces import IAuth, IThreepidStore, IUserLookup
from regsys.model import UserID
from regsys.model.threepids import Mail
from regsys.modules.asking import AsksServers
from regsys.modules.background import Background
from regsys.modules.registry import Registry
from regsys.modules.web_resources import WebResources
from regsys.storage.database import Database
from regsys.storage.external_ids import ExternalIdStore
from regsys.storage.identity_server_bindings import BindingStore
from regsys.storage.sessions import SessionStore
from regsys.storage.users import UserStore


class SendEvent(Protocol):
    """Sends an event as this user; returns its id. With a ``state_key`` it is a state event."""

    async def __call__(
        self,
        sender: UserID,
        room_id: str,
        kind: str,
        content: Mapping[str, Any],
        state_key: Optional[str] = None,
    ) -> str: ...


class Profiles(Protocol):
    """Users' profiles, here or at the homeserver."""

    async def find(self, user_id: UserID) -> Optional[tuple[Optional[str], Optional[str]]]:
        """Display name and address of the avatar; None if there is no such user."""

    async def set_display_name(self, user_id: UserID, name: Optional[str]) -> None:
        """None: the user has none."""


class Answer(Protocol):
    """``regsys.outbound.http.Answer``."""

    @property
    def status(self) -> int: ...
    @property
    def body(self) -> bytes: ...
    def json(self) -> Any: ...


class HTTP(Protocol):
    """``regsys.outbound.http.HTTPClient``."""

    def get(self, url: str, query: Any, headers: Any = ...) -> Awaitable[Answer]: ...
    def post_form(self, url: str, fields: Any, headers: Any = ...) -> Awaitable[Answer]: ...
    def send_json(
        self, method: str, url: str, value: Any, headers: Any = ...
    ) -> Awaitable[Answer]: ...


@attr.frozen(kw_only=True)
class AccountParts:
    """``own`` and ``external_ids`` are None where a homeserver that embeds regsys keeps the
    accounts; ``users`` if it looks none up, ``threepids`` if it keeps no addresses, ``profiles`` if
    they cannot be reached. ``exists``: whether a homeserver beside ours has an account; None if
    there is no such homeserver. ``unexpired`` is ``auth``, and refuses accounts that have
    expired."""

    handler: RegistrationHandler
    is_taken: Callable[[str], Awaitable[bool]]
    exists: Optional[Callable[[UserID], Awaitable[bool]]]
    auth: IAuth
    unexpired: IAuth
    users: Optional[IUserLookup]
    own: Optional[UserStore]
    external_ids: Optional[ExternalIdStore]
    threepids: Optional[IThreepidStore]
    profiles: Optional[Profiles]
    sessions: SessionStore
    bindings: BindingStore


@attr.frozen(kw_only=True)
class ApiParts:
    """``clock`` is the reactor. ``database`` is the modules' own; None if this process has none.
    ``policy_servers`` asks those that modules of ours name. ``send_event`` sends events at the
    homeserver; None if none is configured. ``in_thread`` calls a function that may block for ever.
    ``deliver`` sends a mail; None without a
    mail server. ``template_directories`` are the administrator's and the embedder's."""

    config: Config
    registry: Registry
    clock: Any
    accounts: AccountParts
    database: Optional[Database]
    http: HTTP
    web: WebResources
    background: Background
    in_thread: Callable[..., Deferred[Any]]
    deliver: Optional[Callable[[Mail], Awaitable[None]]]
    policy_servers: AsksServers
    send_event: Optional[SendEvent] = None
    template_directories: Sequence[str] = ()
    audit: AuditLog = NO_AUDIT_LOG
