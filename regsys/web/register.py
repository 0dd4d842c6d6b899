"""POST /register."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from regsys.client_api.appservice import AppserviceRequests, is_from_service
from regsys.client_api.signup import Registered, Signup, SignupRequest
from regsys.clock import now_ms
from regsys.http import Call, Endpoint, Reply
from regsys.web.responses import challenge_json, client_paths, registration_json


def register(signup: Signup, appservices: AppserviceRequests, clock: IReactorTime) -> Endpoint:
    async def post(call: Call) -> Reply:
        kind, body = call.query("kind") or "user", call.object()
        if is_from_service(kind, body):
            created = await appservices.register(body, call.access_token, call.client)
            return Reply(registration_json(created, now_ms(clock)))
        request = SignupRequest(
            kind=kind,
            body=body,
            uri=call.uri,
            client=call.client,
            access_token=call.access_token,
            languages=call.languages,
            gone=call.gone,
        )
        outcome = await signup.attempt(request)
        if isinstance(outcome, Registered):
            return Reply(registration_json(outcome.created, now_ms(clock)))
        return Reply(challenge_json(outcome), status=401)

    return Endpoint("register", client_paths("register"), {"POST": post})
