"""The rooms that new users join."""

from __future__ import annotations

from regsys.config import RoomsConfig
from tests.config.case import ConfigCase

LOBBY, ID = "#lobby:example.com", "!opaque:example.com"


class RoomsTests(ConfigCase):
    def test_defaults(self) -> None:
        """By default there are none; a created room is public, created by the first user, and
        federated."""
        self.assertEqual(self.parse({}).rooms, RoomsConfig())
        self.assertEqual(self.parse({"auto_join_rooms": None}).rooms, RoomsConfig())

    def test_everything(self) -> None:
        """Every option is read, rooms in their order and each once; none is listed as unused."""
        config = self.parse(
            {
                "auto_join_rooms": [LOBBY, ID, LOBBY, "!v12", "#ünlü:[::1]:8448"],
                "auto_join_rooms_for_guests": False,
                "autocreate_auto_join_rooms": False,
                "autocreate_auto_join_rooms_federated": False,
                "autocreate_auto_join_room_preset": "trusted_private_chat",
                "auto_join_mxid_localpart": "admin",
                "regsys": {"autocreate": "if_missing"},
            }
        )
        self.assertEqual(
            config.rooms,
            RoomsConfig(
                auto_join=(LOBBY, ID, "!v12", "#ünlü:[::1]:8448"),
                for_guests=False,
                autocreate=False,
                if_missing=True,
                federated=False,
                preset="trusted_private_chat",
                inviter="admin",
            ),
        )
        self.assertEqual((config.unused, config.warnings), ((), ()))

    def test_notARoom(self) -> None:
        """An invalid alias is refused with its index, value and remedy."""
        for bad in (
            "lobby",
            "#lobby",
            "#:example.com",
            "@a:example.com",
            "#a b:c",
            "!",
            "#a:b:c:d",
        ):
            self.assertProblem(
                {"auto_join_rooms": [LOBBY, bad]},
                f"auto_join_rooms[1]: not a room alias ({bad!r})",
                "#lobby:example.com",
            )
        self.assertProblem({"auto_join_rooms": [f"#{'a' * 255}:b"]}, "auto_join_rooms[0]: not a")
        self.assertProblem({"auto_join_rooms": [5, LOBBY]}, "auto_join_rooms[0]: not text (5)")
        self.assertProblem({"auto_join_rooms": LOBBY}, "auto_join_rooms: text, not a list")

    def test_privateWithoutInviter(self) -> None:
        """A private preset requires an inviter; a public one, or none, does not."""
        name = "autocreate_auto_join_room_preset"
        for preset in ("private_chat", "trusted_private_chat"):
            self.assertProblem(
                {name: preset}, f"{name}: nobody could invite", preset, "auto_join_mxid_localpart"
            )
            self.parse({name: preset, "auto_join_mxid_localpart": "admin"})
        self.assertProblem({name: "secret_chat"}, f"{name}: not known here ('secret_chat')")

    def test_refused(self) -> None:
        """An inviter is a name without its server; whether rooms are created is a boolean."""
        for bad in ("@admin:example.com", "admin:example.com"):
            self.assertProblem(
                {"auto_join_mxid_localpart": bad}, "auto_join_mxid_localpart: a whole user ID", bad
            )
        self.assertProblem({"regsys": {"autocreate": "never"}}, "regsys.autocreate: not known")
