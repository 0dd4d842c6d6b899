"""Values that modules get and make, and types that they name in annotations alone."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, NoReturn, Optional, TypeVar, Union

from regsys.modules.names.errors import Codes, SynapseError
from regsys.modules.shapes import ModuleRequester, ModuleUserID

T = TypeVar("T")

JsonDict = dict[str, Any]
JsonMapping = Mapping[str, Any]
StateMap = Mapping[tuple[str, str], T]
UserProfile = dict[str, Any]


def create_requester(
    user_id: Union[str, ModuleUserID],
    access_token_id: object = None,
    is_guest: bool = False,
    scope: Iterable[str] = (),
    shadow_banned: bool = False,
    device_id: Optional[str] = None,
    **others: Any,
) -> ModuleRequester:
    user = user_id if isinstance(user_id, ModuleUserID) else ModuleUserID.from_string(user_id)
    return ModuleRequester(
        user=user,
        device_id=device_id,
        is_guest=is_guest,
        is_admin=False,
        shadow_banned=shadow_banned,
        scope=frozenset(scope),
    )


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
