"""``regsys privacy``, for a person who asks."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from twisted.internet.defer import Deferred

from regsys.cli import privacy
from regsys.errors import RegistrationError
from tests.cli.test_commands import CommandCase
from tests.support.accounts import AccountCase

ALICE = "@alice:test.example"


class ActionTests(AccountCase):
    def asked(self, action: str, user: str, yes: bool = False) -> Deferred[str]:
        arguments = Namespace(action=action, user=user, yes=yes)
        return Deferred.fromCoroutine(privacy.run(self.subsystem, "test.example", arguments))

    def export(self, user: str = ALICE) -> Any:
        return json.loads(self.successResultOf(self.asked("export", user)))

    def test_exportAndErase(self) -> None:
        """An account is shown, and erased only if that is meant; again, nothing is different."""
        self.add_address(self.alice)
        before = self.export("Alice")
        self.assertEqual((before["user_id"], before["users"][0]["deactivated"]), (ALICE, False))
        self.assertEqual(before["profiles"], [{"display_name": "alice"}])
        self.assertTrue({"devices", "logins", "threepids", "validations"} <= before.keys(), before)
        failure = self.failureResultOf(self.asked("erase", ALICE), RegistrationError)
        self.assertIn("repeat it with --yes", failure.getErrorMessage())
        self.assertEqual(self.export(), before)
        for _ in range(2):
            self.successResultOf(self.asked("erase", ALICE, yes=True))
            after = self.export()
            (account,) = after["users"]
            self.assertTrue(account["deactivated"] and account["erased"], account)
            self.assertEqual(after["profiles"], [{"display_name": None}])
            self.assertEqual(
                {"devices", "logins", "threepids", "uia_sessions"} & after.keys(), set()
            )
        self.assertEqual(self.export("bob")["profiles"], [{"display_name": "bob"}])

    def test_nobody(self) -> None:
        """A user who is not here, or of another server, is refused with a reason."""
        for user, words in (
            ("carol", "there is no user @carol:test.example"),
            ("@bob:other.example", "is not of this server, test.example"),
            ("@bob", "write @name:test.example"),
        ):
            for action in ("export", "erase"):
                failure = self.failureResultOf(self.asked(action, user), RegistrationError)
                self.assertIn(words, failure.getErrorMessage())


class CommandTests(CommandCase):
    def test_commands(self) -> None:
        """An account of the command line is erased by it, and then shown by it."""
        config = self.config()
        for words, status in (
            (("register-user", "alice"), 0),
            (("privacy", "erase", "alice"), 1),
            (("privacy", "erase", "alice", "--yes"), 0),
        ):
            done = self.regsys(*words, "-c", config, stdin="correct horse\n")
            self.assertEqual(done.returncode, status, done.stderr)
        done = self.regsys("privacy", "export", ALICE, "-c", config)
        self.assertTrue(json.loads(done.stdout)["users"][0]["erased"], done.stdout)
