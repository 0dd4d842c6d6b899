"""The API object's method that sends an event to a room."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr

from regsys.model import UserID
from regsys.modules.base import ApiBase


@attr.frozen(kw_only=True)
class SentEvent:
    """What a module may read of an event that it has sent."""

    event_id: str
    room_id: str
    sender: str
    type: str
    content: Mapping[str, Any]
    state_key: Optional[str] = None


class EventMethods(ApiBase):
    async def create_and_send_event_into_room(self, event_dict: Mapping[str, Any]) -> SentEvent:
        """Send this event, with its ``room_id``, ``type``, ``sender`` and ``content``, through
        ``regsys.homeserver``. Raises NotOffered if none is configured, RoomRefused if the
        homeserver has not taken it, ValueError for what is no event."""
        send = self._parts.send_event
        if send is None:
            reason = "regsys has no rooms, and none of a homeserver: configure regsys.homeserver"
            raise self._not_offered(
                "create_and_send_event_into_room", f"{reason}, see docs/modules.md"
            )
        room_id, kind, sender = (event_dict.get(name) for name in ("room_id", "type", "sender"))
        content, state_key = event_dict.get("content"), event_dict.get("state_key")
        if not (isinstance(room_id, str) and isinstance(kind, str) and isinstance(sender, str)):
            raise ValueError("an event needs room_id, type and sender, each a text")
        if not isinstance(content, Mapping) or not isinstance(state_key, (str, type(None))):
            raise ValueError("an event needs a content, a dict; its state_key is a text")
        event_id = await send(UserID.parse(sender), room_id, kind, content, state_key)
        return SentEvent(
            event_id=event_id,
            room_id=room_id,
            sender=sender,
            type=kind,
            content=content,
            state_key=state_key,
        )
