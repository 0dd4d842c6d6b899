"""NewAccount and AccountFacts as JSON and back: for what is stored, and for what goes to another
process.

Access and refresh tokens are not in it: both sides compute them from the account's key.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, TypeVar, cast

import attr

from regsys.model.accounts import AccountFacts, NewAccount
from regsys.model.approvals import ApprovalRequest
from regsys.model.audit import Allowed
from regsys.model.devices import Login, LoginTerms, NewDevice
from regsys.model.identity import Threepid, UserID
from regsys.model.jobs import NewJob

T = TypeVar("T")
# Makes a login anew from its user, its terms and its account's key: ``Logins.issue``.
Issue = Callable[[UserID, LoginTerms, str], Login]


def _parsed(kind: type[T], data: Mapping[str, Any]) -> T:
    """The value of an attrs class with these fields. Unknown ones are ignored: a newer process may
    send them."""
    known = {field.name for field in attr.fields(cast(Any, kind))}
    return kind(**{name: value for name, value in data.items() if name in known})


def parse_terms(data: Mapping[str, Any]) -> LoginTerms:
    """The terms of a login of which ``data`` is the JSON; unknown keys are ignored."""
    return _parsed(LoginTerms, data)


def _parse_request(data: Mapping[str, Any]) -> ApprovalRequest:
    return _parsed(ApprovalRequest, {**data, "languages": tuple(data.get("languages", ()))})


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
    "stages": _AS_IT_IS,
    "extra": _AS_IT_IS,
    "session_id": _AS_IT_IS,
    "session_until_ms": _AS_IT_IS,
    "suspended": _AS_IT_IS,
    "shadow": _AS_IT_IS,
    "yields_to_holds": _AS_IT_IS,
    "jobs": _Codec(
        lambda jobs: [attr.asdict(job) for job in jobs],
        lambda jobs: tuple(_parsed(NewJob, job) for job in jobs),
    ),
    "approval_request": _Codec(
        lambda request: None if request is None else attr.asdict(request),
        lambda data: None if data is None else _parse_request(data),
    ),
    "allowed": _Codec(
        lambda allowed: None if allowed is None else attr.asdict(allowed),
        lambda data: None if data is None else _parsed(Allowed, data),
    ),
}
# The fields of AccountFacts that NewAccount has under another name, or not at all.
_CODECS_OF_FACTS = {"upgraded_guest": _AS_IT_IS, "device_id": _AS_IT_IS}
_FACTS: Mapping[str, _Codec] = {
    field.name: {**_CODECS, **_CODECS_OF_FACTS}[field.name] for field in attr.fields(AccountFacts)
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


def parse_account(data: Mapping[str, Any], issue: Issue, **more: Any) -> NewAccount:
    """The account of which ``data`` is the JSON, with the tokens that ``issue`` makes. A key that
    is absent has its field's default, unknown ones are ignored. ``more`` are further fields."""
    values = {name: codec.parse(data[name]) for name, codec in _CODECS.items() if name in data}
    if data.get("device") is None:
        return NewAccount(**values, **more)
    login = issue(values["user_id"], parse_terms(data["terms"]), values["key"])
    device = _parsed(NewDevice, {**data["device"], "login": login})
    return NewAccount(**values, **more, device=device)


def facts_json(facts: AccountFacts) -> dict[str, Any]:
    return {name: codec.to_json(getattr(facts, name)) for name, codec in _FACTS.items()}


def parse_facts(data: Mapping[str, Any]) -> AccountFacts:
    """The facts of which ``data`` is the JSON; absent keys as in ``parse_account``, unknown ones
    are ignored."""
    return AccountFacts(
        **{name: codec.parse(data[name]) for name, codec in _FACTS.items() if name in data}
    )
