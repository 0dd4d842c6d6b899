"""What only a Synapse's admin API can do for its auth service. It is asked with a token of ours,
which Synapse has us introspect: so no administrator's account is needed."""

from __future__ import annotations

from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any, Callable, Mapping, Optional, Sequence
from urllib.parse import quote

import attr
from twisted.logger import Logger

from regsys import clock
from regsys.model import Secret, UserID
from regsys.model.provisioning import HomeserverUser
from regsys.outbound.http import Answer
from regsys.outbound.synapse_requests import SynapseRequests, errcode, is_unknown

# An older Synapse knows suspension as an experiment only.
NO_SUSPENSION = (
    "; and it must know suspension, which an older one may need experimental_features:"
    " {msc3823_account_suspension: true} for"
)

log = Logger()


@attr.frozen(kw_only=True)
class SynapseAdmin:
    """``token_of`` makes a token of this user with the scope of an administrator. The user must
    exist there: for an unknown one Synapse answers 500."""

    requests: SynapseRequests
    token_of: Callable[[UserID], Secret]

    async def user(self, user_id: UserID) -> Optional[HomeserverUser]:
        """The user; None if there is none. It is asked by its own token."""
        answer = await self._ask("GET", f"v2/users/{quote(str(user_id), '')}", user_id)
        if is_unknown(answer):
            return None
        if answer.status != 200:
            raise self.requests.refused("v2/users", answer)
        found = self.requests.json_object("v2/users", answer)
        created_s, service = found.get("creation_ts"), found.get("appservice_id")
        if type(created_s) is not int or not isinstance(service, (str, type(None))):
            raise self.requests.unavailable("v2/users", "the answer has another shape")
        now_ms = clock.now_ms(self.requests.http.clock)
        return HomeserverUser(
            appservice_id=service,
            created_ms=created_s * 1000 + now_ms - _clock_ms(answer.date, now_ms),
            deactivated=found.get("deactivated") is True,
        )

    async def emails(self, user_id: UserID) -> Sequence[str]:
        """The email addresses that the user, whom it knows, has there."""
        answer = await self._ask("GET", f"v2/users/{quote(str(user_id), '')}", user_id)
        if answer.status != 200:
            raise self.requests.refused("v2/users", answer)
        found = self.requests.json_object("v2/users", answer).get("threepids")
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise self.requests.unavailable("v2/users", "the answer has no threepids")
        return [str(item.get("address")) for item in found if item.get("medium") == "email"]

    async def email_owner(self, acting: UserID, address: str) -> Optional[UserID]:
        """The user who has this email address; None if nobody has. ``acting``: any user whom it
        knows."""
        path = f"v1/threepid/email/users/{quote(address, '')}"
        answer = await self._ask("GET", path, acting)
        if is_unknown(answer):
            return None
        if answer.status != 200:
            raise self.requests.refused("v1/threepid", answer)
        found = self.requests.json_object("v1/threepid", answer)
        try:
            return UserID.parse(str(found.get("user_id")))
        except ValueError:
            raise self.requests.unavailable("v1/threepid", "the answer has no user_id") from None

    async def shadow_ban(self, user_id: UserID) -> None:
        path = f"v1/users/{quote(str(user_id), '')}/shadow_ban"
        answer = await self._ask("POST", path, user_id, {})
        if answer.status != 200:
            raise self.requests.refused("shadow_ban", answer)

    async def suspend(self, user_id: UserID, suspended: bool) -> None:
        """Suspend the user, or no longer. A suspended user sends nothing but what only they see:
        they join no room, and change no profile."""
        path, body = f"v1/suspend/{quote(str(user_id), '')}", {"suspend": suspended}
        answer = await self._ask("PUT", path, user_id, body, else_=NO_SUSPENSION)
        if answer.status != 200:
            raise self.requests.refused("v1/suspend", answer)

    async def set_user_type(self, user_id: UserID, user_type: str) -> None:
        """A type that it does not know is logged: a retry would not help."""
        path = f"v2/users/{quote(str(user_id), '')}"
        answer = await self._ask("PUT", path, user_id, {"user_type": user_type})
        if answer.status == 400:
            log.error(
                "the homeserver does not know the user type {user_type}, which {user_id} has here:"
                " name it in its user_types.extra_user_types",
                user_type=user_type,
                user_id=str(user_id),
            )
        elif answer.status != 200:
            raise self.requests.refused("v2/users", answer)

    async def _ask(
        self,
        method: str,
        path: str,
        acting: UserID,
        body: Optional[Mapping[str, Any]] = None,
        else_: str = "",
    ) -> Answer:
        """``else_``: what it may also mean that the call is not known there."""
        token = self.token_of(acting).reveal()
        answer = await self.requests.ask(method, f"/_synapse/admin/{path}", token, body)
        if errcode(answer) == "M_UNRECOGNIZED":
            raise self.requests.unavailable(
                f"admin API, {method} {path.partition('/')[0]}",
                f"{answer.status} M_UNRECOGNIZED — regsys.homeserver.url must be the address of the"
                " homeserver's main process: its workers serve only a part of the admin API"
                + else_,
            )
        return answer


def _clock_ms(date: Optional[str], now_ms: int) -> int:
    """The time by the clock of whoever has answered with this Date; ``now_ms`` if it has none."""
    try:
        moment = parsedate_to_datetime(date or "")
    except (TypeError, ValueError):
        return now_ms
    return int(moment.replace(tzinfo=moment.tzinfo or timezone.utc).timestamp() * 1000)
