"""Names of new users at a homeserver: set there once, and never over a name that the user chose."""

from __future__ import annotations

from regsys.errors import RoomRefused
from regsys.interfaces import IUserDirectory
from regsys.model import JOB_LEASE_MS
from regsys.outbound.homeserver import AT_ONCE, HomeserverSilent
from regsys.outbound.homeserver_profiles import (
    DEADLINE_S,
    HomeserverDirectory,
    HomeserverProfiles,
)
from regsys.testing import provides
from tests.doubles.homeserver import FORGET, STALL
from tests.outbound.homeserver_case import HomeserverCase, user

ALICE = user("alice")


class HomeserverDirectoryTests(HomeserverCase):
    def setUp(self) -> None:
        super().setUp()
        self.directory = HomeserverDirectory(self.homeserver)

    def test_provides(self) -> None:
        provides(IUserDirectory, self.directory)

    def test_tells(self) -> None:
        """The account is made there, and has the name; also if it began without one."""
        for localpart in ("alice", "bob"):
            if localpart == "bob":
                self.double.profiles[f"@{localpart}:test.example"] = None
            self.wait(self.directory.profile_created(user(localpart), "Al Ice", False))
            self.assertEqual(self.double.profiles[f"@{localpart}:test.example"], "Al Ice")

    def test_nothingToTell(self) -> None:
        """A name that it has by default is not set again; without a name there is only the
        account."""
        for name in ("alice", None):
            self.wait(self.directory.profile_created(ALICE, name, False))
        self.assertEqual(self.double.called("name"), 0)
        self.assertEqual(self.double.profiles, {str(ALICE): "alice"})

    def test_hidden(self) -> None:
        """A hidden user is hidden before the name is set."""
        self.wait(self.directory.profile_created(ALICE, "Al Ice", True))
        hidden = {(str(ALICE), "im.vector.hide_profile"): {"hide_profile": True}}
        self.assertEqual(self.double.account_data, hidden)
        calls = [name for name, _ in self.double.calls]
        self.assertLess(calls.index("data"), calls.index("name"))

    def test_ownName(self) -> None:
        """A repeated job, whose answer was lost, keeps the name that the user has chosen since."""
        self.double.faults["name"] = [FORGET]
        self.refused(self.directory.profile_created(ALICE, "Al Ice", False))
        self.assertEqual(self.double.profiles[str(ALICE)], "Al Ice")
        self.double.profiles[str(ALICE)] = "Queen Alice"
        self.wait(self.directory.profile_created(ALICE, "Al Ice", False))
        self.assertEqual(self.double.profiles[str(ALICE)], "Queen Alice")

    def test_trouble(self) -> None:
        """An error is raised, so that the job is retried."""
        self.double.faults.update({"profile": ["500"], "name": ["429"]})
        for errcode in ("M_UNKNOWN", "M_LIMIT_EXCEEDED"):
            self.assertIn(
                errcode, self.refused(self.directory.profile_created(ALICE, "Al Ice", False))
            )
        self.wait(self.directory.profile_created(ALICE, "Al Ice", False))

    def test_deadline(self) -> None:
        """All of it together ends before the job's lease, waiting for turns included."""
        self.double.faults["find"] = [STALL] * AT_ONCE * 3
        for _ in range(3 * AT_ONCE):
            asking = self.begin(self.homeserver.ask("GET", ("v3", "directory", "room", "#a:b")))
            asking.addErrback(lambda failure: failure.trap(RoomRefused))
        telling = self.begin(self.directory.profile_created(ALICE, "Al Ice", False))
        self.clock.pump([1.0] * (int(DEADLINE_S) - 1))
        self.assertNoResult(telling)
        self.clock.advance(1)
        self.failureResultOf(telling, HomeserverSilent)
        self.assertLess(DEADLINE_S, JOB_LEASE_MS / 1000)
        self.assertEqual(self.double.called("register"), 0)


class HomeserverProfilesTests(HomeserverCase):
    def test_profiles(self) -> None:
        """The profile is the one there; to look creates nobody, and a name can be removed."""
        profiles = HomeserverProfiles(self.homeserver)
        self.assertIsNone(self.wait(profiles.find(ALICE)))
        self.assertEqual((self.double.profiles, self.double.called("register")), ({}, 0))
        self.double.profiles[str(ALICE)] = "Al Ice"
        self.assertEqual(self.wait(profiles.find(ALICE)), ("Al Ice", None))
        for name in ("Queen Alice", None):
            self.wait(profiles.set_display_name(ALICE, name))
            self.assertEqual(self.wait(profiles.find(ALICE)), (name, None))
        self.double.faults["whole_profile"] = ["500"]
        self.refused(profiles.find(ALICE))
