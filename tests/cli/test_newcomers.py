"""``regsys newcomers`` and ``approve-user``: their output, and their effects. With a Synapse:
``tests/test_synapse_process.py``."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any, Coroutine

from twisted.internet.defer import Deferred

from regsys.cli import newcomers
from regsys.cli.names import user_id_of
from regsys.errors import RegistrationError
from tests.accounts.test_delegation import OPTIONS
from tests.accounts.test_newcomers import NewcomerCase, suspending


class ActionTests(NewcomerCase):
    def approving(self, name: str) -> Coroutine[Any, Any, str]:
        assert self.subsystem.approvals is not None
        user_id = user_id_of(name, "test.example")
        return newcomers.approve(self.subsystem.approvals, user_id)

    def approve(self, name: str) -> str:
        made: str = self.wait(self.approving(name))
        self.settle()
        return made

    def listed(self, most: int = 100, as_json: bool = False) -> str:
        arguments = Namespace(most=most, json=as_json)
        found: str = self.wait(newcomers.listed(self.subsystem, arguments))
        return found

    def test_list(self) -> None:
        """One line for each, the oldest first, and until when, if that is known."""
        self.assertEqual(self.listed(), newcomers.NOBODY)
        self.register()
        self.clock.advance(60)
        self.register("bob")
        alice = "@alice:test.example  suspended since 2023-11-14 22:13:20 UTC"
        bob = "@bob:test.example  suspended since 2023-11-14 22:14:20 UTC"
        self.assertEqual(self.listed(), f"{alice}\n{bob}")
        more = "These are the oldest 1; --most N shows more."
        self.assertEqual(self.listed(1), f"{alice}\n{more}")
        self.restart(**suspending(after="1h"))
        self.assertEqual(self.listed().splitlines()[1], f"{bob}  until 2023-11-14 23:14:20 UTC")
        first = json.loads(self.listed(as_json=True))[0]
        self.assertEqual(first["user_id"], "@alice:test.example")
        self.assertEqual(first["until_ts"] - first["suspended_ts"], 3_600_000)
        self.restart(**OPTIONS)
        self.assertEqual(self.listed().splitlines()[1], f"{bob}  until 2023-11-14 22:14:20 UTC")

    def test_approve(self) -> None:
        """A newcomer is released, whatever the case of the name; anybody else is approved."""
        self.register()
        self.assertIn("is no longer suspended", self.approve("Alice"))
        self.assertFalse(self.is_suspended())
        self.change("UPDATE users SET approved = FALSE")
        self.assertEqual(self.approve("alice"), "@alice:test.example may log in.")
        self.assertEqual(self.rows("SELECT approved FROM users"), [(1,)])
        asked = Deferred.fromCoroutine(self.approving("bob"))
        self.failureResultOf(asked, RegistrationError)

    def test_noAuthService(self) -> None:
        """Where nobody can be suspended, nobody is."""
        options = dict.fromkeys(OPTIONS, None)
        self.system(**options)
        self.assertEqual(self.listed(), newcomers.NOBODY)
