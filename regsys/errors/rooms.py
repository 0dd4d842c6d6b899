"""Errors of rooms, which the operator gets and no client."""

from __future__ import annotations


class RoomRefused(Exception):
    """Something about a room could not be done; the text says what and why. A retry may work."""


class RoomTaken(RoomRefused):
    """The alias of a room to be created already belongs to a room."""
