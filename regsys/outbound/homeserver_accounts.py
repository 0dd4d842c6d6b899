"""Which accounts the homeserver beside us has: none of their names may be registered here."""

from __future__ import annotations

from typing import Optional

import attr
from twisted.logger import Logger

from regsys.errors import RoomRefused, Unavailable
from regsys.model import UserID
from regsys.outbound.homeserver import Homeserver, HomeserverRefused

# The client waits for it, and must have its answer within ten.
ASK_S = 5.0
# While the homeserver cannot be asked, the time between two log lines.
LOG_EVERY_S = 30.0

_WHOAMI = ("v3", "account", "whoami")

log = Logger()


@attr.define(eq=False)
class HomeserverAccounts:
    """Asks /account/whoami as the user: an application service may act only as an account that
    exists, in whatever state (application service API, "Identity assertion"). Unlike
    /register/available this has no rate limit, works while registration is off there, and knows
    names in our own exclusive namespace; unlike /register it creates nothing."""

    homeserver: Homeserver
    _logged_s: Optional[float] = attr.field(default=None, init=False)

    async def exists(self, user_id: UserID) -> bool:
        """Whether the homeserver has an account of exactly this user ID, in whatever state. Raises
        Unavailable if it does not say."""
        try:
            asking = self.homeserver.ask("GET", _WHOAMI, acting=user_id)
            answer = await self.homeserver.within(ASK_S, asking)
        except HomeserverRefused as refusal:
            if (refusal.status, refusal.errcode) == (403, "M_FORBIDDEN"):
                return False
            # Deactivated, locked or suspended, but it exists.
            if (refusal.errcode or "").startswith("M_USER_"):
                return True
            raise self._unavailable(str(refusal)) from None
        except RoomRefused as silence:
            raise self._unavailable(str(silence)) from None
        if answer.get("user_id") != str(user_id):
            raise self._unavailable(f"{self.homeserver.url}: it is not asked as {user_id}")
        return True

    def _unavailable(self, reason: str) -> Unavailable:
        now_s = self.homeserver.http.clock.seconds()
        if self._logged_s is None or not 0 <= now_s - self._logged_s < LOG_EVERY_S:
            self._logged_s = now_s
            log.error(
                "the homeserver does not say which names it has, so nobody can register: {reason}",
                reason=reason,
            )
        error = Unavailable()
        error.reason = f"the homeserver does not say whether this name is free: {reason}"
        return error
