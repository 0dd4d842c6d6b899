"""The API object's method that sends an event to a room."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Protocol

import attr

from regsys.model import UserID


class NotOffered(Exception):
    """A module uses something that homeservers offer and regsys does not."""


class SendEvent(Protocol):
    """Sends an event as this user; returns its id. With a ``state_key`` it is a state event."""

    async def __call__(
        self,
        sender: UserID,
        room_id: str,
        kind: str,
        content: Mapping[str, Any],
        state_key: Optional[str] = None,
    ) -> str: ...


@attr.frozen(kw_only=True)
class SentEvent:
    """What a module may read of an event that it has sent."""

    event_id: str
    room_id: str
    sender: str
    type: str
    content: Mapping[str, Any]
    state_key: Optional[str] = None


class EventMethods:
    _send_event: Optional[SendEvent]

    async def create_and_send_event_into_room(self, event_dict: Mapping[str, Any]) -> SentEvent:
        """Send this event, with its ``room_id``, ``type``, ``sender`` and ``content``, through
        ``regsys.homeserver``. Raises NotOffered if none is configured, RoomRefused if the
        homeserver has not taken it, ValueError for what is no event."""
        if self._send_event is None:
            raise NotOffered(
                "create_and_send_event_into_room: regsys has no rooms, and none of a homeserver:"
                " configure regsys.homeserver, see docs/modules.md"
            )
        room_id, kind, sender = (event_dict.get(name) for name in ("room_id", "type", "sender"))
        content, state_key = event_dict.get("content"), event_dict.get("state_key")
        if not (isinstance(room_id, str) and isinstance(kind, str) and isinstance(sender, str)):
            raise ValueError("an event needs room_id, type and sender, each a text")
        if not isinstance(content, Mapping) or not isinstance(state_key, (str, type(None))):
            raise ValueError("an event needs a content, a dict; its state_key is a text")
        event_id = await self._send_event(UserID.parse(sender), room_id, kind, content, state_key)
        return SentEvent(
            event_id=event_id,
            room_id=room_id,
            sender=sender,
            type=kind,
            content=content,
            state_key=state_key,
        )
