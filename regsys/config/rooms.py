"""The rooms that new users join (contract B5, B15)."""

from __future__ import annotations

import re
from typing import Optional

import attr

from regsys.config.values import Reader

PUBLIC = "public_chat"
PRIVATE = ("private_chat", "trusted_private_chat")
IF_MISSING = "if_missing"
_MOST_BYTES = 255
_ALIAS = re.compile(r"#[^\s\0:]+:(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,230})(:[0-9]{1,5})?")
_ROOM_ID = re.compile(r"![^\s\0]+")


@attr.frozen(kw_only=True)
class RoomsConfig:
    """``auto_join``: aliases or ids, in the order of the file, each once. ``inviter``: the
    localpart of the user who creates the rooms and invites to them; if None, the first user creates
    them, and there are no invitations. ``federated``: users of other servers may join the rooms
    that are created. ``if_missing``: a room is created whenever its alias names none; else only for
    the first real user."""

    auto_join: tuple[str, ...] = ()
    for_guests: bool = True
    autocreate: bool = True
    if_missing: bool = False
    federated: bool = True
    preset: str = PUBLIC
    inviter: Optional[str] = None


def read_rooms(reader: Reader) -> RoomsConfig:
    inviter = reader.text("auto_join_mxid_localpart")
    if inviter is not None and any(sign in inviter for sign in "@:"):
        mend = "write only the part between @ and the colon"
        reader.problem("auto_join_mxid_localpart", "a whole user ID", mend, inviter)
    preset = reader.choice("autocreate_auto_join_room_preset", (PUBLIC, *PRIVATE)) or PUBLIC
    if preset in PRIVATE and inviter is None:
        reader.problem(
            "autocreate_auto_join_room_preset",
            "nobody could invite newcomers to a private room",
            f"name a user by auto_join_mxid_localpart, or write {PUBLIC}",
            preset,
        )
    when = reader.section("regsys").choice("autocreate", ("first_user", IF_MISSING))
    return RoomsConfig(
        auto_join=_read_rooms(reader),
        for_guests=reader.flag("auto_join_rooms_for_guests", default=True),
        autocreate=reader.flag("autocreate_auto_join_rooms", default=True),
        if_missing=when == IF_MISSING,
        federated=reader.flag("autocreate_auto_join_rooms_federated", default=True),
        preset=preset,
        inviter=inviter,
    )


def _read_rooms(reader: Reader) -> tuple[str, ...]:
    rooms = reader.texts("auto_join_rooms")
    listed = reader.data.get("auto_join_rooms")
    for index, room in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(room, str) and not _is_room(room):
            mend = "write one such as '#lobby:example.com', in quotes"
            reader.problem(f"auto_join_rooms[{index}]", "not a room alias", mend, room)
    return tuple(dict.fromkeys(rooms))


def _is_room(text: str) -> bool:
    fits = _ALIAS.fullmatch(text) or _ROOM_ID.fullmatch(text)
    return fits is not None and len(text.encode("utf-8", "replace")) <= _MOST_BYTES
