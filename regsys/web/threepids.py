"""Proving an email address in order to register (BEHAVIOUR B7, B13)."""

from __future__ import annotations

from regsys import bodies
from regsys.http import Call, Endpoint, Reply
from regsys.metrics import Metrics
from regsys.validation import SUBMIT_PATHS, Validations
from regsys.web.answers import client_paths


def request_email_token(validations: Validations, metrics: Metrics) -> Endpoint:
    async def post(call: Call) -> Reply:
        body = call.object()
        sid = await validations.request_token("email", body, call.client, call.languages)
        metrics.validation_requested("email", "register", body["send_attempt"])
        return Reply({"sid": sid})

    paths = client_paths("register/email/requestToken")
    return Endpoint("email_request_token", paths, {"POST": post})


def submit_email_token(validations: Validations) -> Endpoint:
    """For clients, who send JSON. What is confirmed the session knows, whichever the path."""

    async def post(call: Call) -> Reply:
        body = call.object()
        await validations.confirm(
            sid=bodies.required_string(body, "sid"),
            client_secret=bodies.required_string(body, "client_secret"),
            token=bodies.required_string(body, "token"),
            client=call.client,
        )
        return Reply({"success": True})

    paths = tuple(f"/{path}" for path in SUBMIT_PATHS.values())
    return Endpoint("email_submit_token", paths, {"POST": post})
