"""What goes wrong with rooms: told to the operator, never to a client."""

from __future__ import annotations


class RoomRefused(Exception):
    """Something about a room could not be done, now; the text says what and why."""


class RoomTaken(RoomRefused):
    """The alias of a room about to be made names one by now."""
