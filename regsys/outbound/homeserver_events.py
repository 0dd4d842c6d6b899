"""Events that modules send to rooms of the homeserver beside us."""

from __future__ import annotations

import secrets
from typing import Any, Mapping, Optional

import attr

from regsys.model import UserID
from regsys.outbound.homeserver import Homeserver, HomeserverSilent

# Less than a callback has, so that a module learns of a homeserver that does not answer, and may go
# on without.
DEADLINE_S = 5.0


@attr.frozen
class HomeserverEvents:
    homeserver: Homeserver

    async def send(
        self,
        sender: UserID,
        room_id: str,
        kind: str,
        content: Mapping[str, Any],
        state_key: Optional[str] = None,
    ) -> str:
        """Send the event as this user, who must have joined the room, and return its id. With a
        ``state_key`` it is a state event. Raises RoomRefused."""
        # Each call is a new event: nothing is tried again.
        last = (
            ("send", kind, secrets.token_hex(16))
            if state_key is None
            else ("state", kind, state_key)
        )
        path = ("v3", "rooms", room_id, *last)
        asked = self.homeserver.act(sender, "PUT", path, dict(content))
        event_id = (await self.homeserver.within(DEADLINE_S, asked)).get("event_id")
        if not isinstance(event_id, str):
            raise HomeserverSilent("the homeserver's answer has no event_id")
        return event_id
