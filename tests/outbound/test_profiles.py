"""Newcomers' names at a homeserver: put there once, and never over what a person chose."""

from __future__ import annotations

from regsys.interfaces import IUserDirectory
from regsys.outbound.profiles import HomeserverDirectory
from regsys.testing import provides
from tests.homeserver_double import FORGET
from tests.outbound.homeserver_case import HomeserverCase, user

ALICE = user("alice")


class HomeserverDirectoryTests(HomeserverCase):
    def setUp(self) -> None:
        super().setUp()
        self.directory = HomeserverDirectory(self.homeserver)

    def test_provides(self) -> None:
        provides(IUserDirectory, self.directory)

    def test_tells(self) -> None:
        """The account is made there, and has the name; also where it began without any."""
        for localpart in ("alice", "bob"):
            if localpart == "bob":
                self.double.profiles[f"@{localpart}:test.example"] = None
            self.wait(self.directory.profile_created(user(localpart), "Al Ice"))
            self.assertEqual(self.double.profiles[f"@{localpart}:test.example"], "Al Ice")

    def test_nothingToTell(self) -> None:
        """A name that it has by itself is not put there again; without one there is only the
        account."""
        for name in ("alice", None):
            self.wait(self.directory.profile_created(ALICE, name))
        self.assertEqual(self.double.called("name"), 0)
        self.assertEqual(self.double.profiles, {str(ALICE): "alice"})

    def test_ownName(self) -> None:
        """A job that runs again, its answer lost, leaves the name that the person has chosen
        since."""
        self.double.mishaps["name"] = [FORGET]
        self.refused(self.directory.profile_created(ALICE, "Al Ice"))
        self.assertEqual(self.double.profiles[str(ALICE)], "Al Ice")
        self.double.profiles[str(ALICE)] = "Queen Alice"
        self.wait(self.directory.profile_created(ALICE, "Al Ice"))
        self.assertEqual(self.double.profiles[str(ALICE)], "Queen Alice")

    def test_trouble(self) -> None:
        """What goes wrong is told, so that the job is tried again."""
        self.double.mishaps.update({"profile": ["500"], "name": ["429"]})
        for errcode in ("M_UNKNOWN", "M_LIMIT_EXCEEDED"):
            self.assertIn(errcode, self.refused(self.directory.profile_created(ALICE, "Al Ice")))
        self.wait(self.directory.profile_created(ALICE, "Al Ice"))
