"""Asking for a mail to prove an address with, in order to register (BEHAVIOUR B7, B13)."""

from __future__ import annotations

from regsys.http import Call, Endpoint, Reply
from regsys.metrics import Metrics
from regsys.validation import Validations
from regsys.web.answers import client_paths


def request_email_token(validations: Validations, metrics: Metrics) -> Endpoint:
    async def post(call: Call) -> Reply:
        body = call.object()
        sid = await validations.request_token("email", body, call.client, call.languages)
        metrics.validation_requested("email", "register", body["send_attempt"])
        return Reply({"sid": sid})

    paths = client_paths("register/email/requestToken")
    return Endpoint("email_request_token", paths, {"POST": post})
