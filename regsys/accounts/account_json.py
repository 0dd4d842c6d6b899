"""NewAccount as JSON and back: for what is stored, and for what goes to another process.

Access and refresh tokens are not in it: both sides compute them from the account's key.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping

import attr

from regsys.model import Login, LoginTerms, NewAccount, NewDevice, Threepid, UserID
from regsys.model.jobs import NewJob

# Makes a login anew from its user, its terms and its account's key: ``Logins.issue``.
Issue = Callable[[UserID, LoginTerms, str], Login]


@attr.frozen
class _Codec:
    to_json: Callable[[Any], Any]
    parse: Callable[[Any], Any]


_AS_IT_IS = _Codec(lambda value: value, lambda value: value)
_CODECS: Mapping[str, _Codec] = {
    "key": _AS_IT_IS,
    "user_id": _Codec(str, UserID.parse),
    "created_ms": _AS_IT_IS,
    "password_hash": _AS_IT_IS,
    "is_guest": _AS_IT_IS,
    "upgrades_guest": _AS_IT_IS,
    "admin": _AS_IT_IS,
    "user_type": _AS_IT_IS,
    "approved": _AS_IT_IS,
    "shadow_banned": _AS_IT_IS,
    "display_name": _AS_IT_IS,
    "appservice_id": _AS_IT_IS,
    "is_ghost": _AS_IT_IS,
    "auth_provider_id": _AS_IT_IS,
    "threepids": _Codec(
        lambda items: [attr.astuple(item) for item in items],
        lambda items: tuple(Threepid(*item) for item in items),
    ),
    "vouched_emails": _Codec(list, tuple),
    "registration_token": _AS_IT_IS,
    "consents": _Codec(dict, dict),
    "session_id": _AS_IT_IS,
    "session_until_ms": _AS_IT_IS,
    "jobs": _Codec(
        lambda jobs: [attr.asdict(job) for job in jobs],
        lambda jobs: tuple(NewJob(**job) for job in jobs),
    ),
}
# A device is two keys: ``terms`` for its login, ``device`` for these.
_OF_DEVICE = (
    "display_name",
    "is_appservice_ghost",
    "auth_provider_id",
    "auth_provider_session_id",
)


def account_json(new: NewAccount) -> dict[str, Any]:
    """All of the account, its password hash too, but for its tokens."""
    device = new.device
    return {
        **{name: codec.to_json(getattr(new, name)) for name, codec in _CODECS.items()},
        "terms": None if device is None else attr.asdict(device.login.terms),
        "device": None if device is None else {name: getattr(device, name) for name in _OF_DEVICE},
    }


def parse_account(data: Mapping[str, Any], issue: Issue) -> NewAccount:
    """The account of which ``data`` is the JSON, with the tokens that ``issue`` makes. A key that
    is absent has its field's default."""
    values = {name: codec.parse(data[name]) for name, codec in _CODECS.items() if name in data}
    new = NewAccount(**values)
    if data.get("device") is None:
        return new
    login = issue(new.user_id, LoginTerms(**data["terms"]), new.key)
    return attr.evolve(new, device=NewDevice(login=login, **data["device"]))
