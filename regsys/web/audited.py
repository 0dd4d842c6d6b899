"""Endpoints whose refusals the audit log counts: the one place that all of them pass."""

from __future__ import annotations

from typing import Collection, Mapping, Optional

import attr

from regsys.audit.audit_log import AuditLog
from regsys.errors import RegistrationError
from regsys.http import Call, Endpoint, Reply
from regsys.http.serving import Handler
from regsys.uia.stage_types import EMAIL_IDENTITY, MSISDN_STAGE

# No refusal: the request lacks something.
_LACKING = frozenset({"M_MISSING_PARAM", "M_INVALID_PARAM", "M_CAPTCHA_NEEDED"})
# Clients ask again and again whether the address is confirmed by now.
_WAITING = frozenset({EMAIL_IDENTITY, MSISDN_STAGE})


def audited(endpoint: Endpoint, audit: AuditLog, stages: Collection[str] = ()) -> Endpoint:
    """The same endpoint, whose refusals are counted. ``stages``: the types of the UIA stages that
    there are. If the log is off, it is the very same."""
    if not audit.is_on:
        return endpoint
    post = _watched(endpoint.handlers["POST"], audit, frozenset(stages) - _WAITING)
    return attr.evolve(endpoint, handlers={**endpoint.handlers, "POST": post})


def _watched(handler: Handler, audit: AuditLog, stages: Collection[str]) -> Handler:
    async def watched(call: Call) -> Reply:
        address = call.client.address
        try:
            reply = await handler(call)
        except RegistrationError as error:
            audit.refused(error, address)
            raise
        stage = _failed_stage(call, reply)
        if stage in stages:
            audit.refused_by(f"stage {stage}", address)
        return reply

    return watched


def _failed_stage(call: Call, reply: Reply) -> Optional[object]:
    """The stage that the client has tried and not passed; None if there is none."""
    if "stage" in call.path_args:
        # A fallback page, which shows its form again with a sentence.
        errcode = (reply.refused or "").partition(":")[0]
        failed = reply.status == 200 and errcode and errcode not in _LACKING
        return call.path_args["stage"] if failed else None
    body = reply.body
    if reply.status != 401 or not isinstance(body, Mapping) or "errcode" not in body:
        return None
    if body["errcode"] in _LACKING:
        return None
    auth = call.object().get("auth")
    return auth.get("type") if isinstance(auth, Mapping) else None
