"""The calls between a worker and its master, as JSON (contract B11.2).

The shape is the one that deployed homeservers use. Between processes of ours ``register_user`` has
two more keys, ``account`` and ``rate_taken``, and its answer three: ``user_id``, ``terms`` and
``replayed``. ``device_check_registered`` has ``password_fingerprint``, ``deactivate`` has
``erase``, and ``unbound`` in its answer. Each side ignores keys that it does not know, and has a
default for absent ones. So a worker may be older or newer than its master, or come from elsewhere,
and so may the master.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Iterator, Mapping, Optional
from urllib.parse import quote

import attr

from regsys import json_body
from regsys.errors import BadJSON, WrongCall
from regsys.model import (
    Created,
    DeviceRequest,
    Login,
    LoginTerms,
    NewAccount,
    NewDevice,
    Secret,
    UserID,
)
from regsys.model.account_json import Issue, account_json, parse_account, parse_terms
from regsys.model.replication import ReplicationCall

PREFIX = "/_synapse/replication"
REGISTER_USER = "register_user"
REGISTER_DEVICE = "device_check_registered"
POST_REGISTER = "post_register"
DEACTIVATE = "deactivate"
NAMES = (REGISTER_USER, REGISTER_DEVICE, POST_REGISTER, DEACTIVATE)
# A call of ours alone, which has no id and no outcome.
RUN_JOBS_PATH = f"{PREFIX}/run_jobs"

# How far the caches of the other side are: we have none that depend on it.
_STREAMS = "_INT_STREAM_POS"


def path_of(name: str, user_id: UserID, call_id: str) -> str:
    """The path of a call; a user ID may contain anything, slashes too."""
    return f"{PREFIX}/{name}/{quote(str(user_id), safe='')}/{quote(call_id, safe='')}"


def fingerprint(body: Mapping[str, Any]) -> str:
    """The digest of the body's canonical JSON."""
    sent = {name: value for name, value in body.items() if name != _STREAMS}
    text = json.dumps(sent, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def key_of(call: ReplicationCall) -> str:
    """The idempotency key of a call that brings none."""
    return f"{call.name} {call.call_id}"


# --- register_user ------------------------------------------------------------------------------


@attr.frozen(kw_only=True)
class SentAccount:
    """The account of a ``register_user``. If ``counted_at`` is None, the worker has counted it
    against the limit of registrations, or there is none; else it is the client's address.
    ``planned``: its jobs are those that it brings."""

    account: NewAccount
    counted_at: Optional[str]
    planned: bool


def account_body(new: NewAccount) -> dict[str, Any]:
    """For any master. The worker has counted the registration by then."""
    return {
        "password_hash": new.password_hash,
        "was_guest": new.upgrades_guest,
        "make_guest": new.is_guest,
        "appservice_id": new.appservice_id,
        "create_profile_with_displayname": new.display_name,
        "admin": new.admin,
        "user_type": new.user_type,
        # A foreign master would count the registration once more.
        "address": None,
        "shadow_banned": new.shadow_banned,
        "approved": new.approved,
        "account": account_json(new),
        "rate_taken": True,
    }


def parse_account_body(
    body: Mapping[str, Any], call: ReplicationCall, issue: Issue, now_ms: int, approved: bool
) -> SentAccount:
    """The account that any worker sends. ``approved``: whether one is that says nothing about it.
    Raises BadJSON and WrongCall."""
    whole = json_body.mapping(body, "account")
    if whole is None:
        account = _plain_account(body, call, now_ms, approved)
    else:
        try:
            account = parse_account(whole, issue, call=call)
        except (KeyError, TypeError, ValueError, AttributeError):
            # The cause would quote the account, its password hash too.
            raise BadJSON("'account' is not an account.") from None
        if not all(0 <= number <= json_body.MAX_INTEGER for number in _times(account)):
            raise BadJSON("'account' has a time that is out of range.")
        if str(account.user_id) != call.user_id:
            raise WrongCall("'account' has another user ID than the path.")
    taken = json_body.boolean(body, "rate_taken")
    return SentAccount(
        account=account,
        counted_at=None if taken else json_body.string(body, "address"),
        planned=whole is not None,
    )


def _times(new: NewAccount) -> Iterator[int]:
    """The times that the account's rows hold, but for its jobs'."""
    yield new.created_ms
    yield from (item.validated_at_ms for item in new.threepids)
    if new.session_until_ms is not None:
        yield new.session_until_ms
    if new.device is not None:
        terms = new.device.login.terms
        for until_ms in (terms.valid_until_ms, terms.refresh_until_ms, terms.session_until_ms):
            if until_ms is not None:
                yield until_ms


def _plain_account(
    body: Mapping[str, Any], call: ReplicationCall, now_ms: int, approved: bool
) -> NewAccount:
    """The account of a worker that is not ours."""
    appservice_id = json_body.string(body, "appservice_id")
    admin = json_body.boolean(body, "admin")
    try:
        return NewAccount(
            key=key_of(call),
            call=call,
            user_id=parse_user_id(call.user_id),
            created_ms=now_ms,
            password_hash=json_body.string(body, "password_hash"),
            is_guest=json_body.boolean(body, "make_guest"),
            upgrades_guest=json_body.boolean(body, "was_guest"),
            admin=admin,
            user_type=json_body.string(body, "user_type"),
            approved=json_body.boolean(body, "approved", approved or admin),
            shadow_banned=json_body.boolean(body, "shadow_banned"),
            display_name=json_body.string(body, "create_profile_with_displayname"),
            appservice_id=appservice_id,
            is_ghost=appservice_id is not None,
        )
    except ValueError as error:
        raise WrongCall(str(error)) from None


def parse_kinds(body: Mapping[str, Any]) -> frozenset[str]:
    """The kinds of jobs of a ``run_jobs``. Raises BadJSON."""
    kinds = body.get("kinds")
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        raise BadJSON("'kinds' must be a list of strings.")
    return frozenset(kinds)


def parse_user_id(text: str) -> UserID:
    """The user ID of a path; WrongCall for anything else."""
    try:
        user_id = UserID.parse(text)
    except ValueError:
        raise WrongCall("The path names no user ID.") from None
    if not user_id.localpart or user_id.is_too_long:
        raise WrongCall("The path names a user ID that is empty or too long.")
    return user_id


def created_answer(created: Created) -> dict[str, Any]:
    """Without the tokens, which the worker computes."""
    login = created.login
    return {
        "user_id": str(created.user_id),
        "terms": None if login is None else attr.asdict(login.terms),
        "replayed": created.replayed,
    }


def parse_created(answer: Mapping[str, Any], new: NewAccount, issue: Issue) -> Optional[Created]:
    """What has become of this account; None if the master is not ours: it has made the account's
    row, and nothing else of it. ValueError for an answer that makes no sense."""
    if answer.get("user_id") is None:
        return None
    try:
        user_id, login = UserID.parse(answer["user_id"]), None
        if answer.get("terms") is not None:
            login = _login(user_id, parse_terms(answer["terms"]), new, issue)
        replayed = bool(answer.get("replayed", False))
        return Created(user_id=user_id, login=login, replayed=replayed)
    except (TypeError, AttributeError):
        raise ValueError("the answer of register_user has the wrong shape") from None


def _login(user_id: UserID, terms: LoginTerms, new: NewAccount, issue: Issue) -> Login:
    sent = None if new.device is None else new.device.login
    # Mostly it is what was sent, and need not be made once more.
    if sent is not None and (user_id, terms) == (new.user_id, sent.terms):
        return sent
    return issue(user_id, terms, new.key)


# --- device_check_registered --------------------------------------------------------------------


def device_body(device: NewDevice) -> dict[str, Any]:
    terms = device.login.terms
    fingerprint = device.password_fingerprint
    return {
        **({} if fingerprint is None else {"password_fingerprint": fingerprint}),
        "device_id": terms.device_id,
        "initial_display_name": device.display_name,
        "is_guest": terms.is_guest,
        "is_appservice_ghost": device.is_appservice_ghost,
        "should_issue_refresh_token": terms.refreshable,
        "auth_provider_id": device.auth_provider_id,
        "auth_provider_session_id": device.auth_provider_session_id,
    }


def parse_device_body(body: Mapping[str, Any]) -> tuple[DeviceRequest, bool, Optional[str]]:
    """The device, whether it is a guest's, and the fingerprint of the password that was checked for
    it, if one was. Raises BadJSON."""
    request = DeviceRequest(
        device_id=json_body.string(body, "device_id"),
        display_name=json_body.string(body, "initial_display_name"),
        is_appservice_ghost=json_body.boolean(body, "is_appservice_ghost"),
        wants_refresh_token=json_body.boolean(body, "should_issue_refresh_token"),
        auth_provider_id=json_body.string(body, "auth_provider_id"),
        auth_provider_session_id=json_body.string(body, "auth_provider_session_id"),
    )
    fingerprint = json_body.string(body, "password_fingerprint")
    return request, json_body.boolean(body, "is_guest"), fingerprint


def unbound(answer: Mapping[str, Any]) -> bool:
    """The answer to a ``deactivate``: whether identity servers have unbound all addresses. A call
    that is sent again is not told."""
    return answer.get("unbound") is True


def login_answer(login: Login) -> dict[str, Any]:
    refresh = login.refresh_token
    return {
        "device_id": login.device_id,
        "access_token": login.access_token.reveal(),
        "valid_until_ms": login.terms.valid_until_ms,
        "refresh_token": None if refresh is None else refresh.reveal(),
        "terms": attr.asdict(login.terms),
    }


def parse_login(answer: Mapping[str, Any], device: NewDevice) -> Login:
    """The login that the master has given this device. ValueError for an answer that makes no
    sense."""
    try:
        refresh = answer.get("refresh_token")
        if answer.get("terms") is not None:
            terms = parse_terms(answer["terms"])
        else:
            terms = LoginTerms(
                device_id=answer["device_id"],
                is_guest=device.login.terms.is_guest,
                refreshable=refresh is not None,
                valid_until_ms=answer.get("valid_until_ms"),
            )
        return Login(
            terms=terms,
            access_token=Secret(answer["access_token"]),
            refresh_token=None if refresh is None else Secret(refresh),
        )
    except (KeyError, TypeError, AttributeError):
        raise ValueError("the answer of device_check_registered has the wrong shape") from None


# --- post_register ------------------------------------------------------------------------------


def post_register_body(
    auth_result: Mapping[str, Any], access_token: Optional[Secret]
) -> dict[str, Any]:
    token = None if access_token is None else access_token.reveal()
    return {"auth_result": dict(auth_result), "access_token": token}


def parse_post_register_body(
    body: Mapping[str, Any],
) -> tuple[Mapping[str, Any], Optional[Secret]]:
    """What the stages found, and the token of the account's login. Raises BadJSON."""
    token = json_body.string(body, "access_token")
    found = json_body.mapping(body, "auth_result") or {}
    return found, None if token is None else Secret(token)


def auth_result_of(new: NewAccount) -> dict[str, Any]:
    """The addresses of this account, as the stages that found them would say. What else its stages
    found is of no use to a foreign master; m.login.terms is an error to some."""
    return {
        _STAGE_OF[item.medium]: {
            "medium": item.medium,
            "address": item.address,
            "validated_at": item.validated_at_ms,
        }
        for item in new.threepids
        if item.medium in _STAGE_OF
    }


_STAGE_OF = {"email": "m.login.email.identity", "msisdn": "m.login.msisdn"}
