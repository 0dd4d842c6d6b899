"""Registration tokens: their validity, and their administration (MSC3231, B13, B16.12-13)."""

from __future__ import annotations

from typing import Any, AsyncGenerator, Callable, Mapping, Optional, Sequence

from regsys import json_body
from regsys.client_api.register_flows import uses_tokens
from regsys.config import RegistrationConfig
from regsys.errors import InvalidParam, RegistrationDisabled
from regsys.http import Call, Endpoint, Reply
from regsys.http.reply import LongJSON, encode_json
from regsys.interfaces import IAuth
from regsys.interfaces.internal import ILimiter
from regsys.model.registration_tokens import RegistrationToken, TokenUse
from regsys.registration_tokens import DEFAULT_LENGTH, RegistrationTokens
from regsys.web.admin_queries import flag
from regsys.web.login import administrator
from regsys.web.responses import client_paths

ADMIN = "/_synapse/admin/v1/registration_tokens"
# How many uses of each token on a page are read in one query; most tokens have no more.
USES_AT_FIRST = 20


def validity(
    tokens: RegistrationTokens,
    config: RegistrationConfig,
    limiter: ILimiter,
    key_of: Callable[[str], str],
) -> Endpoint:
    async def get(call: Call) -> Reply:
        await limiter.take(key_of(call.client.address))
        if not config.enabled:
            raise RegistrationDisabled()
        token = call.required_query("token")
        return Reply({"valid": uses_tokens(config) and await tokens.is_valid(token)})

    paths = client_paths("register/m.login.registration_token/validity", "v1")
    return Endpoint("registration_token_validity", paths, {"GET": get})


def administration(tokens: RegistrationTokens, auth: IAuth) -> list[Endpoint]:
    """The administrators' endpoints: create, list, get, change, delete."""

    async def create(call: Call) -> Reply:
        admin = await administrator(call, auth)
        body = call.object()
        token, length = None, DEFAULT_LENGTH
        if "token" in body:
            token = _of_type(body, "token", str, "a string")
        elif "length" in body:
            length = _of_type(body, "length", int, "a number")
        new = await tokens.create(
            token=token, length=length, settings=_settings(body), creator=str(admin.user_id)
        )
        return Reply(_token_json(new))

    async def list_all(call: Call) -> Reply:
        await administrator(call, auth)
        valid, details = flag(call, "valid"), flag(call, "details")
        return Reply(LongJSON(_list(tokens, valid, bool(details))))

    async def get(call: Call) -> Reply:
        await administrator(call, auth)
        found = await tokens.get(call.path_args["token"])
        if flag(call, "details"):
            uses = await tokens.first_uses([found.token], USES_AT_FIRST)
            return Reply(LongJSON(_details(tokens, found, uses.get(found.token, ()))))
        return Reply(_token_json(found))

    async def put(call: Call) -> Reply:
        admin = await administrator(call, auth)
        body = call.object()
        settings = _settings(body)
        if json_body.has(body, "revoked"):
            settings["revoked"] = _of_type(body, "revoked", bool, "true or false")
        name, by = call.path_args["token"], str(admin.user_id)
        return Reply(_token_json(await tokens.change(name, settings, by)))

    async def delete(call: Call) -> Reply:
        admin = await administrator(call, auth)
        await tokens.delete(call.path_args["token"], str(admin.user_id))
        return Reply()

    return [
        Endpoint("registration_token_new", (f"{ADMIN}/new",), {"POST": create}),
        Endpoint("registration_tokens", (ADMIN,), {"GET": list_all}),
        Endpoint(
            "registration_token", (ADMIN + "/{token}",), {"GET": get, "PUT": put, "DELETE": delete}
        ),
    ]


async def _list(
    tokens: RegistrationTokens, valid: Optional[bool], details: bool
) -> AsyncGenerator[str, None]:
    """All tokens as JSON."""
    yield '{"registration_tokens":['
    comma = ""
    async for page in tokens.pages(valid):
        uses: Mapping[str, Sequence[TokenUse]] = {}
        if details:
            uses = await tokens.first_uses([token.token for token in page], USES_AT_FIRST)
        for token in page:
            yield comma
            comma = ","
            if not details:
                yield encode_json(_token_json(token))
                continue
            async for piece in _details(tokens, token, uses.get(token.token, ())):
                yield piece
    yield "]}"


async def _details(
    tokens: RegistrationTokens, token: RegistrationToken, first: Sequence[TokenUse]
) -> AsyncGenerator[str, None]:
    """A token as JSON with all its uses. ``first``: the first USES_AT_FIRST of them."""
    details = {
        **_token_json(token),
        "revoked": token.revoked,
        "note": token.note,
        "creator": token.creator,
        "created_ts": token.created_ms,
    }
    yield f'{encode_json(details).removesuffix("}")},"uses":[{_uses(first)}'
    if len(first) == USES_AT_FIRST:
        async for page in tokens.pages_of_uses(token.token, first[-1]):
            yield "," + _uses(page)
    yield "]}"


def _uses(uses: Sequence[TokenUse]) -> str:
    return ",".join(encode_json({"user_id": use.user_id, "used_ts": use.used_ms}) for use in uses)


def _token_json(token: RegistrationToken) -> dict[str, Any]:
    """The keys that administrators' tools expect, and no others."""
    return {
        "token": token.token,
        "uses_allowed": token.uses_allowed,
        "pending": token.pending,
        "completed": token.completed,
        "expiry_time": token.expiry_ms,
    }


def _settings(body: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in the body; null removes a limit."""
    settings: dict[str, Any] = {}
    for name, key in (("uses_allowed", "uses_allowed"), ("expiry_ms", "expiry_time")):
        if key in body:
            settings[name] = _or_none(body, key, int, "a number or null")
    if "note" in body:
        settings["note"] = _or_none(body, "note", str, "a string or null")
    return settings


def _or_none(body: Mapping[str, Any], key: str, kind: type, name: str) -> Any:
    return None if body[key] is None else _of_type(body, key, kind, name)


def _of_type(body: Mapping[str, Any], key: str, kind: type, name: str) -> Any:
    # Wrong types are M_INVALID_PARAM here (B16.13); a bool is not a number.
    if type(body[key]) is not kind:
        raise InvalidParam(f"'{key}' must be {name}.")
    return body[key]
