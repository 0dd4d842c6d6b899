"""Validating an email address or phone number in order to register (contract B7, B13)."""

from __future__ import annotations

from typing import Any, Mapping

from regsys import json_body
from regsys.http import Call, Endpoint, Reply
from regsys.interfaces.internal import IPhoneValidation
from regsys.metrics import Metrics
from regsys.threepids.validation import Validations
from regsys.web.responses import client_paths

SUBMIT_MSISDN_PATH = "_matrix/client/unstable/add_threepid/msisdn/submit_token"


def request_email_token(validations: Validations, metrics: Metrics) -> Endpoint:
    async def post(call: Call) -> Reply:
        body = call.object()
        sid = await validations.request_token("email", body, call.client, call.languages)
        metrics.validation_requested("email", "register", body["send_attempt"])
        return Reply({"sid": sid})

    paths = client_paths("register/email/requestToken")
    return Endpoint("email_request_token", paths, {"POST": post})


def request_msisdn_token(
    phones: IPhoneValidation, public_baseurl: str, metrics: Metrics
) -> Endpoint:
    async def post(call: Call) -> Reply:
        body = call.object()
        answer = await phones.request_token(body, call.client, call.languages)
        metrics.validation_requested("msisdn", "register", body["send_attempt"])
        return Reply(with_submit_url(answer, public_baseurl))

    paths = client_paths("register/msisdn/requestToken")
    return Endpoint("msisdn_request_token", paths, {"POST": post})


def with_submit_url(answer: Mapping[str, Any], public_baseurl: str) -> Mapping[str, Any]:
    """The answer with its ``submit_url``, which is the same for all purposes."""
    return {**answer, "submit_url": f"{public_baseurl}{SUBMIT_MSISDN_PATH}"}


def submit_msisdn_token(phones: IPhoneValidation) -> Endpoint:
    async def post(call: Call) -> Reply:
        body = call.object()
        await phones.submit_token(
            sid=json_body.required_string(body, "sid"),
            client_secret=json_body.required_string(body, "client_secret"),
            token=json_body.required_string(body, "token"),
            client=call.client,
        )
        return Reply({"success": True})

    return Endpoint("msisdn_submit_token", (f"/{SUBMIT_MSISDN_PATH}",), {"POST": post})
