"""regsys keeps the accounts, and a homeserver asks it whose a token is: docs/embedding.md."""

from __future__ import annotations

from typing import Any, Optional

import attr
from twisted.web.resource import IResource
from zope.interface import implementer

import regsys
from regsys.errors import Unavailable, UnknownToken
from regsys.interfaces import IAuth
from regsys.model import Requester, Secret, UserID

# --- In one process ----------------------------------------------------------------------


def mount(
    config: regsys.Config, reactor: Any, own: IResource, **testing: Any
) -> tuple[regsys.Subsystem, IResource]:
    """The registration, and a root that leaves all else, /versions too, to ``own``."""
    registration = regsys.standalone(config, reactor, **testing)
    endpoints = registration.endpoints - {"versions"}
    return registration, registration.resource(endpoints, otherwise=own)


async def sender_of(registration: regsys.Subsystem, access_token: str) -> UserID:
    """Whose request it is that bears this token."""
    requester = await registration.auth.whose(Secret(access_token))
    if requester is None:
        raise UnknownToken()
    return requester.user_id


# --- Over HTTP ---------------------------------------------------------------------------


@implementer(IAuth)
@attr.frozen(kw_only=True)
class RemoteAuth:
    """Asks a ``regsys serve``. ``secret`` is its option ``regsys.introspection_secret``."""

    http: Any  # treq, or a treq.client.HTTPClient
    base_url: str
    secret: Secret

    async def whose(self, token: Secret) -> Optional[Requester]:
        response = await self.http.post(
            f"{self.base_url}/_regsys/v1/introspect",
            data={"token": token.reveal()},
            headers={"Authorization": f"Bearer {self.secret.reveal()}"},
            timeout=5,
        )
        answer = await response.json()
        if response.code != 200:
            raise Unavailable()
        if not answer["active"]:
            return None
        return Requester(
            user_id=UserID.parse(answer["sub"]),
            device_id=answer["device_id"],
            is_guest=answer["is_guest"],
            valid_until_ms=answer["exp"] * 1000 if "exp" in answer else None,
        )
