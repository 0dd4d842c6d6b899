"""POST /account/deactivate."""

from __future__ import annotations

from regsys import json_body
from regsys.accounts.handler import RegistrationHandler
from regsys.audit.audit_log import AuditLog
from regsys.http import Call, Endpoint, Reply
from regsys.uia.confirmation import Confirmed
from regsys.web.actors import Actors
from regsys.web.responses import client_paths, unbinding_json


def deactivate(handler: RegistrationHandler, actors: Actors, audit: AuditLog) -> Endpoint:
    async def post(call: Call) -> Reply:
        who, is_service = await actors.of(call)
        body = call.object()
        erase = json_body.boolean(body, "erase")
        unbound = False

        async def carry_out(confirmed: Confirmed) -> None:
            nonlocal unbound
            unbound = await handler.deactivated(who.user_id, erase)
            await audit.changed(
                by="appservice" if is_service else None,
                what="deactivated",
                user_id=who.user_id,
                details={"erase": erase},
            )

        challenge = await actors.confirmed(call, body, carry_out, who, is_service)
        return challenge or Reply(unbinding_json(unbound))

    return Endpoint("deactivate", client_paths("account/deactivate"), {"POST": post})
