"""Rooms that new users join, and pushers."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr

from regsys.model.identity import UserID


@attr.frozen(kw_only=True)
class FoundRoom:
    """A room that exists. ``servers``: the servers to join it through. ``resident``: a user of this
    server is in it, so that its state can be read here and its members can invite."""

    room_id: str
    servers: tuple[str, ...] = ()
    resident: bool = True


@attr.frozen(kw_only=True)
class NewRoom:
    """A room to be created. ``alias``: ``#name:server``, of this server. ``preset`` and ``invited``
    (the invite list) as in createRoom. ``federated``: other servers may join."""

    alias: str
    preset: str
    invited: tuple[UserID, ...] = ()
    federated: bool = True


@attr.frozen(kw_only=True)
class Pusher:
    """A pusher as in ``pushers/set``, deleted with its device. If ``lang`` is None, the user's
    language is not known."""

    user_id: UserID
    device_id: str
    kind: str
    app_id: str
    app_display_name: str
    device_display_name: str
    pushkey: str
    lang: Optional[str] = None
    data: Mapping[str, Any] = attr.field(factory=dict)
