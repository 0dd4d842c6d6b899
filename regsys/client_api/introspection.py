"""What a homeserver learns of a token from its auth service (contract B17.2), without HTTP."""

from __future__ import annotations

import re
from typing import Any, Mapping

import attr
from twisted.internet.interfaces import IReactorTime

from regsys import clock
from regsys.credentials.internal_tokens import PREFIX, InternalTokens
from regsys.errors import UnknownToken
from regsys.interfaces import IAuth
from regsys.model import Secret, UserID

INACTIVE: Mapping[str, Any] = {"active": False}
API_SCOPE = "urn:matrix:client:api:*"
ADMIN_SCOPE = "urn:synapse:admin:*"
DEVICE_SCOPE = "urn:matrix:client:device:"
# What a scope may hold of a device's ID. Homeservers that read ``device_id`` do not need it.
_PLAIN = re.compile(r"[A-Za-z0-9._~-]+")


@attr.frozen(kw_only=True)
class Introspection:
    """``auth`` knows only logins of which the homeserver knows the account and the device: it
    answers 500 to the client for an account that it does not know."""

    auth: IAuth
    internal: InternalTokens
    clock: IReactorTime

    async def of(self, token: Secret) -> Mapping[str, Any]:
        """The answer of RFC 7662."""
        if token.reveal().startswith(PREFIX):
            return self._of_internal(token)
        try:
            owner = await self.auth.whose(token)
        except UnknownToken:
            owner = None
        if owner is None or owner.is_guest:
            return INACTIVE
        answer = _answer(owner.user_id, owner.is_admin)
        if owner.device_id is not None:
            answer["device_id"] = owner.device_id
            if _PLAIN.fullmatch(owner.device_id):
                answer["scope"] += f" {DEVICE_SCOPE}{owner.device_id}"
        if owner.valid_until_ms is not None:
            # No expires_in for an endless token: the homeserver takes 0 for the end.
            answer["expires_in"] = (owner.valid_until_ms - clock.now_ms(self.clock)) // 1000
            if answer["expires_in"] < 1:
                return INACTIVE
        return answer

    def _of_internal(self, token: Secret) -> Mapping[str, Any]:
        who = self.internal.read(token)
        if who is None:
            return INACTIVE
        return {**_answer(who.user_id, who.is_admin), "expires_in": who.valid_s}


def _answer(user_id: UserID, is_admin: bool) -> dict[str, Any]:
    return {
        "active": True,
        "sub": str(user_id),
        "username": user_id.localpart,
        "scope": f"{API_SCOPE} {ADMIN_SCOPE}" if is_admin else API_SCOPE,
    }
