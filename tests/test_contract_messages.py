"""What the suites tell an embedder whose helper, ``make`` or part is not what they expect."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable, Mapping

from twisted.trial.unittest import SynchronousTestCase, TestCase

from regsys.testing import contracts
from regsys.testing.contracts import case
from regsys.testing.contracts.case import Contract
from tests.support import wrong_parts as wrong
from tests.support.suites import first_failure

SUITES = [getattr(contracts, name) for name in contracts.__all__ if name.endswith("Contract")]
DOCUMENT = Path(__file__).parent.parent / "docs" / "contracts.md"


def helpers_of(suite: type[Contract]) -> Mapping[str, Callable[..., Any]]:
    """What the suite's user must write, ``make`` first."""
    found: dict[str, Callable[..., Any]] = {"make": suite.make}  # type: ignore[attr-defined]
    for kind in reversed(suite.__mro__):
        for name, value in vars(kind).items():
            if hasattr(value, "__wrapped__"):
                found[name] = value
    return found


class HelperTests(SynchronousTestCase):
    def test_unwritten(self) -> None:
        """A helper that is not written yet says which suite wants it, how it is called, and what
        it is for."""
        failure = first_failure(type("Tests", (contracts.RoomsContract, TestCase), {}))
        wanted = "RoomsContract: write make() -> IRooms: Over a homeserver"
        self.assertIn(wanted, failure)
        for suite in SUITES:
            for name, helper in helpers_of(suite).items():
                with self.assertRaises(NotImplementedError) as caught:
                    helper(type("Tests", (suite, TestCase), {})(), None)
                told = rf"{suite.__name__}: write {name}\(.*\) -> .+: [A-Z].*\."
                self.assertRegex(str(caught.exception), told)
                self.assertNotIn("MaybeAwaitable", str(caught.exception))

    def test_written(self) -> None:
        """Each suite wants at least ``make``, and the example of a sentence is whole."""
        self.assertEqual(
            case.signature_of(contracts.RoomsContract.add_remote_room),
            "add_remote_room(localpart: str) -> str",
        )
        self.assertEqual(
            case.wish_of(contracts.RoomsContract.add_remote_room),
            "Create a public room on another server, with an alias of this localpart on that"
            " server, which no user of ours has joined.",
        )

    def test_document(self) -> None:
        """docs/contracts.md has each suite with what it wants, and nothing else."""
        document = DOCUMENT.read_text()
        rows = {
            name: re.findall(r"^\| (`.*`) \| (.*) \|$", section, re.MULTILINE)
            for name, section in re.findall(
                r"^### (\w+)\n(.*?)(?=^##|\Z)", document, re.MULTILINE | re.DOTALL
            )
        }
        wanted = {
            suite.__name__: [
                (f"`{case.signature_of(helper)}`", case.wish_of(helper).replace("``", "`"))
                for helper in helpers_of(suite).values()
            ]
            for suite in SUITES
        }
        for name, expected in wanted.items():
            self.assertEqual(rows.get(name), expected, name)
        self.assertEqual(set(rows), set(wanted))


class MakeTests(SynchronousTestCase):
    def test_shapes(self) -> None:
        """What ``make`` returns in place of the right thing is named, and the right thing too."""
        for suite, told in (
            (
                wrong.WrongDevices,
                "DevicesContract: make() returns a pair, the IDevices and the IAuth that knows its"
                " tokens, and has returned a MemoryDevices",
            ),
            (
                wrong.WrongHomeserver,
                "HomeserverContract: make() returns HomeserverParts(store=…, devices=…, auth=…),"
                " and has returned a MemoryAccounts",
            ),
            (wrong.WrongRooms, "NoneType does not declare IRooms"),
        ):
            self.assertIn(told, first_failure(suite))


class PlainMethodTests(SynchronousTestCase):
    def test_named(self) -> None:
        """A method that is a plain function, where it must be async, is named."""
        for suite, told in (
            (wrong.PlainTests, "PlainAccounts.is_taken returned a bool, which cannot be awaited"),
            (wrong.PlainHomeserver, "PlainAuth.whose returned a NoneType, which cannot be awaited"),
            (
                wrong.PlainFollowerTests,
                "PlainFollower.registered returned a NoneType, which",
            ),
        ):
            self.assertIn(told, first_failure(suite))


class FieldTests(SynchronousTestCase):
    def test_missing(self) -> None:
        """All fields that ``stored`` does not tell are named at once."""
        told = "stored: has no auth_provider_id, consents: keep each, or name it in not_kept"
        self.assertIn(told, first_failure(wrong.ForgetfulHomeserver))

    def test_lost(self) -> None:
        """So are all that are kept with another value."""
        failure = first_failure(wrong.LossyHomeserver)
        for told in ("admin is False and not True (User0)", "user_type is None and not 'special'"):
            self.assertIn(told, failure)

    def test_misnamed(self) -> None:
        """A name in ``not_kept`` that is no field of an account fails, with those that are."""
        failure = first_failure(wrong.MisnamedHomeserver)
        told = "not_kept: ['displayname', 'is_guest', 'key'] cannot be in it; these can: admin, app"
        self.assertIn(told, failure)


class RoomTests(SynchronousTestCase):
    def test_resident(self) -> None:
        """A wrong field of a room is named, with the call that it comes from."""
        told = (
            "True != False : FoundRoom.resident, by find('#there:remote.example'): False until a"
            " user of this server has joined the room"
        )
        self.assertIn(told, first_failure(wrong.ResidentTests))
