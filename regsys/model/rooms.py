"""Rooms that newcomers join, and pushers."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr

from regsys.model.identity import UserID


@attr.frozen(kw_only=True)
class FoundRoom:
    """A room that exists. ``servers``: by way of which it can be joined. ``resident``: somebody
    of this server is in it, so that its state can be read here and its people can invite."""

    room_id: str
    servers: tuple[str, ...] = ()
    resident: bool = True


@attr.frozen(kw_only=True)
class NewRoom:
    """A room about to be made. ``alias`` is ``#name:server``, of this server. ``preset`` as of
    the specification's createRoom. ``invited`` are on its invite list. ``federated``: other
    servers may join."""

    alias: str
    preset: str
    invited: tuple[UserID, ...] = ()
    federated: bool = True


@attr.frozen(kw_only=True)
class Pusher:
    """A pusher as of the specification's ``pushers/set``, tied to a device: gone with it. If
    ``lang`` is None, the reader's is not known."""

    user_id: UserID
    device_id: str
    kind: str
    app_id: str
    app_display_name: str
    device_display_name: str
    pushkey: str
    lang: Optional[str] = None
    data: Mapping[str, Any] = attr.field(factory=dict)
