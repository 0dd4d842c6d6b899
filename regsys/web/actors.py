"""Who makes a request: a user, or an application service for one of its users."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr

from regsys.client_api.appservice import AppserviceRequests
from regsys.errors import Forbidden, GuestForbidden
from regsys.http import Call, Reply
from regsys.interfaces import IAuth
from regsys.model import Challenge, Requester
from regsys.uia.confirmation import CarryOut, Confirmed
from regsys.uia.reauthentication import Reauthentication, ReauthenticationRequest
from regsys.web.login import requester
from regsys.web.responses import challenge_json


@attr.frozen(kw_only=True)
class Actors:
    """``reauthentication``: how users confirm a request; None if they cannot."""

    auth: IAuth
    appservices: AppserviceRequests
    reauthentication: Optional[Reauthentication]

    async def of(self, call: Call) -> tuple[Requester, bool]:
        """The user, and whether an application service acts as this user."""
        token = call.access_token
        service = None if token is None else self.appservices.services.by_token(token)
        if service is None:
            return await requester(call, self.auth), False
        asked = call.query("user_id"), call.query("device_id")
        return await self.appservices.acts_as(service, *asked), True

    async def confirmed(
        self,
        call: Call,
        body: Mapping[str, Any],
        carry_out: CarryOut,
        who: Requester,
        is_service: bool,
        binding: Optional[Mapping[str, Any]] = None,
    ) -> Optional[Reply]:
        """Carry the request out once its user has confirmed it: None then, else the challenge. An
        application service has nothing to confirm. Raises GuestForbidden."""
        if who.is_guest:
            raise GuestForbidden()
        if is_service:
            await carry_out(Confirmed(results={}))
            return None
        if self.reauthentication is None:
            raise Forbidden("This server has no way to confirm this request.")
        request = reauthentication_request(call, who, body)
        answer = await self.reauthentication.carry_out(request, carry_out, binding)
        return challenge_reply(answer) if isinstance(answer, Challenge) else None


def reauthentication_request(
    call: Call, who: Requester, body: Mapping[str, Any]
) -> ReauthenticationRequest:
    return ReauthenticationRequest(
        requester=who,
        method=call.method,
        uri=call.uri,
        body=body,
        client=call.client,
        gone=call.gone,
    )


def challenge_reply(challenge: Challenge) -> Reply:
    return Reply(challenge_json(challenge), status=401)
