"""Values that modules get and make, and types that they name in annotations alone."""

from __future__ import annotations

from typing import Any, Mapping, NoReturn, Optional, TypeVar, Union

import attr

from regsys.modules.names.errors import Codes, SynapseError

T = TypeVar("T")

JsonDict = dict[str, Any]
JsonMapping = Mapping[str, Any]
StateMap = Mapping[tuple[str, str], T]
UserProfile = dict[str, Any]


@attr.frozen
class UserID:
    """A user ID in its parts."""

    localpart: str
    domain: str

    @classmethod
    def from_string(cls, s: str) -> UserID:
        localpart, colon, domain = s[1:].partition(":")
        if s[:1] != "@" or not colon or not domain:
            raise SynapseError(400, f"{s!r} is not a user ID.", Codes.INVALID_PARAM)
        return cls(localpart, domain)

    @classmethod
    def is_valid(cls, s: str) -> bool:
        try:
            cls.from_string(s)
        except SynapseError:
            return False
        return True

    def to_string(self) -> str:
        return f"@{self.localpart}:{self.domain}"

    __str__ = to_string


@attr.frozen
class Requester:
    """Who has sent a request."""

    user: UserID
    access_token_id: Optional[int] = None
    is_guest: bool = False
    scope: frozenset[str] = frozenset()
    shadow_banned: bool = False
    device_id: Optional[str] = None
    app_service: Optional[object] = None
    authenticated_entity: Optional[str] = None


def create_requester(user_id: Union[str, UserID], **more: Any) -> Requester:
    user = user_id if isinstance(user_id, UserID) else UserID.from_string(user_id)
    more.setdefault("authenticated_entity", user.to_string())
    return Requester(user, **more)


@attr.frozen(kw_only=True)
class UserInfo:
    """An account. ``creation_ts``: seconds since the Unix epoch."""

    user_id: UserID
    creation_ts: int
    is_admin: bool = False
    is_deactivated: bool = False
    is_guest: bool = False
    is_shadow_banned: bool = False
    user_type: Optional[str] = None
    appservice_id: Optional[int] = None
    consent_server_notice_sent: Optional[str] = None
    consent_version: Optional[str] = None


@attr.frozen
class ProfileInfo:
    avatar_url: Optional[str] = None
    display_name: Optional[str] = None


def get_localpart_from_id(string: str) -> str:
    return _halves(string)[0]


def get_domain_from_id(string: str) -> str:
    return _halves(string)[1]


def _halves(string: str) -> tuple[str, str]:
    before, colon, after = string.partition(":")
    if not colon:
        raise SynapseError(400, f"{string!r} has no server name.", Codes.INVALID_PARAM)
    return before[1:], after


class _Inside(type):
    """The type of the classes below, of which no part is here."""

    def __getattr__(cls, name: str) -> NoReturn:
        raise AttributeError(
            f"{cls.__name__}.{name}: regsys has no such inside of a homeserver, see"
            " docs/modules.md",
            name=name,
            obj=cls,
        )


class EventBase(metaclass=_Inside):
    """An event of a room; regsys has none."""


class DatabasePool(metaclass=_Inside):
    """Modules use ``ModuleApi.run_db_interaction``."""


class LoggingTransaction(metaclass=_Inside):
    """What ``ModuleApi.run_db_interaction`` passes has ``execute`` and ``fetch…``, too."""
