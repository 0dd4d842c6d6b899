"""POST /login, /logout, /logout/all and /refresh."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from regsys import json_body
from regsys.client_api.appservice import AppserviceRequests
from regsys.client_api.login import PasswordLogin
from regsys.clock import now_ms
from regsys.credentials.access_tokens import Refresher
from regsys.errors import Forbidden, MissingToken, UnknownToken
from regsys.http import Call, Endpoint, Reply
from regsys.interfaces import IAuth
from regsys.model import Requester, Secret
from regsys.model.login_types import APPLICATION_SERVICE
from regsys.storage.devices import DeviceStore
from regsys.web.responses import client_paths, login_json, tokens_json, user_json


async def requester(call: Call, auth: IAuth) -> Requester:
    """The requester; raises MissingToken or UnknownToken."""
    if call.access_token is None:
        raise MissingToken()
    found = await auth.whose(call.access_token)
    if found is None:
        raise UnknownToken()
    return found


async def administrator(call: Call, auth: IAuth) -> Requester:
    """The requesting server admin; Forbidden for any other user."""
    found = await requester(call, auth)
    if not found.is_admin:
        raise Forbidden("That is for server administrators.")
    return found


def login(logins: PasswordLogin, appservices: AppserviceRequests, clock: IReactorTime) -> Endpoint:
    async def get(call: Call) -> Reply:
        kinds = (*logins.types(), *appservices.types())
        return Reply({"flows": [{"type": kind} for kind in kinds]})

    async def post(call: Call) -> Reply:
        body = call.object()
        if body.get("type") == APPLICATION_SERVICE and appservices.services.services:
            done = await appservices.log_in(body, call.access_token)
        else:
            done = await logins.attempt(body, call.client)
        answer = {**user_json(done.user_id), **login_json(done.login, now_ms(clock))}
        done.answered(answer)
        return Reply(answer)

    return Endpoint("login", client_paths("login"), {"GET": get, "POST": post})


def logout(auth: IAuth, store: DeviceStore) -> Endpoint:
    async def post(call: Call) -> Reply:
        owner = await requester(call, auth)
        if owner.is_guest or owner.device_id is None:
            raise Forbidden("This token belongs to no device, and cannot be logged out.")
        await store.log_out(owner.user_id, owner.device_id, call.access_token)
        return Reply()

    return Endpoint("logout", client_paths("logout"), {"POST": post})


def logout_all(auth: IAuth, store: DeviceStore) -> Endpoint:
    async def post(call: Call) -> Reply:
        owner = await requester(call, auth)
        if owner.is_guest:
            raise Forbidden("A guest's token cannot be logged out.")
        await store.log_out(owner.user_id, None)
        return Reply()

    return Endpoint("logout_all", client_paths("logout/all"), {"POST": post})


def refresh(refresher: Refresher, clock: IReactorTime) -> Endpoint:
    async def post(call: Call) -> Reply:
        token = Secret(json_body.required_string(call.object(), "refresh_token"))
        return Reply(tokens_json(await refresher.refresh(token), now_ms(clock)))

    return Endpoint("refresh", client_paths("refresh", "v3", "v1"), {"POST": post})
