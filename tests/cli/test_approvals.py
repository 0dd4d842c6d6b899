"""``regsys approvals``: its output, its effects and its exit status."""

from __future__ import annotations

import json
import sqlite3
from argparse import Namespace
from contextlib import closing
from typing import Any

from twisted.internet.defer import Deferred

from regsys.cli import approvals as cli
from regsys.cli.results import Done
from tests.accounts.test_approvals import MAIL, NEEDED, WHY, ApprovalCase
from tests.cli.test_commands import CommandCase

ALICE = "@alice:test.example"


class ActionTests(ApprovalCase):
    def start(self, action: str, *names: str, **arguments: Any) -> Deferred[Done]:
        defaults = {"most": 100, "json": False, "reason": None, "names": names}
        given = Namespace(**{**defaults, **arguments})
        return Deferred.fromCoroutine(cli.ACTIONS[action](self.approvals, "test.example", given))

    def do(self, action: str, *names: str, **arguments: Any) -> str:
        done = self.successResultOf(self.start(action, *names, **arguments))
        self.assertEqual((done.status, done.problem), (0, None))
        return done.text

    def test_list(self) -> None:
        """One line for each account, whatever is in it; the same as JSON."""
        self.assertEqual(self.do("list"), "Nobody waits for approval.")
        self.assertEqual(self.do("list", json=True), "[]")
        self.ask_for(X_Forwarded_For="192.0.2.7")
        self.add_mail()
        self.assertEqual(
            self.do("list"),
            f"{ALICE}  waits since 2023-11-14 22:13:20 UTC  {MAIL}  from 192.0.2.7  "
            '"I sing in the choir.\\nAnn knows me <3"',
        )
        (found,) = json.loads(self.do("list", json=True))
        self.assertEqual((found["user_id"], found["reason"]), (ALICE, WHY))
        self.ask_for("bob")
        self.assertIn("  no address  ", self.do("list"))
        self.assertIn("the oldest 1;", self.do("list", most=1))

    def test_harmless(self) -> None:
        """What a person has written reaches no terminal as a command, however it came there."""
        self.ask_for()
        self.change("UPDATE approvals SET reason = ?", "\x1b]0;x\x07 \u202e \x9b31m")
        for text in (self.do("list"), self.do("list", json=True)):
            self.assertTrue(text.replace("\n", "").isprintable(), text)

    def test_approve(self) -> None:
        """By names or user IDs; again it is said by whom and when."""
        for name in ("alice", "bob"):
            self.ask_for(name)
        both = "@alice:test.example is approved.\n@bob:test.example is approved."
        self.assertEqual(self.do("approve", "alice", "@bob:test.example"), both)
        self.clock.advance(1)
        again = f"{ALICE} is approved already by cli, 2023-11-14 22:13:20 UTC."
        self.assertEqual(self.do("approve", "Alice"), again)
        self.assertEqual(self.log_in().status, 200)
        (found,) = json.loads(self.do("approve", "alice", json=True))
        self.assertEqual((found["decision"], found["is_new"]), ("approved", False))

    def test_refuse(self) -> None:
        """With the reason, which is kept."""
        self.ask_for()
        self.assertEqual(self.do("refuse", "alice", reason="no"), f"{ALICE} is refused.")
        self.assertEqual(self.rows("SELECT refusal_reason FROM approvals"), [("no",)])

    def test_someFail(self) -> None:
        """All names are tried; what went wrong is told for each, what was done is printed."""
        for name in ("alice", "bob", "ended"):
            self.ask_for(name)
        self.do("refuse", "bob")
        self.change("UPDATE users SET deactivated = TRUE WHERE name_key = 'ended'")
        names = ("nobody", "bob", "@x:other.example", "@x", "ended", "alice")
        done = self.successResultOf(self.start("approve", *names))
        self.assertEqual((done.text, done.status), (f"{ALICE} is approved.", 1))
        lines = (done.problem or "").split("\nregsys: ")
        for line, words in zip(
            lines,
            (
                "there is no user 'nobody'",
                "@bob:test.example is refused already by cli",
                "@x:other.example is not of this server, test.example",
                "write @name:test.example",
                "ended: This account has been deactivated.",
            ),
            strict=True,
        ):
            self.assertIn(words, line)


class ProcessTests(CommandCase):
    def test_commands(self) -> None:
        """Who waits is listed, also without an action, approved and refused; the exit status says
        whether all was done."""
        config = self.config(experimental_features=NEEDED)
        self.regsys("register-user", "-c", config, "alice", stdin="swordfish\n")
        with closing(sqlite3.connect(self.folder / "homeserver-regsys.db")) as database, database:
            database.execute("UPDATE users SET approved = FALSE")
        listed = self.regsys("approvals", "-c", config, "--json")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        self.assertEqual(json.loads(listed.stdout)[0]["user_id"], ALICE)
        done = self.regsys("approvals", "approve", "alice", "nobody", "-c", config)
        self.assertEqual(
            (done.returncode, done.stdout, done.stderr),
            (1, f"{ALICE} is approved.\n", "regsys: there is no user 'nobody'\n"),
        )
        self.assertEqual(self.rows("SELECT approved FROM users"), [(1,)])
        for wrong in (["approve"], ["refuse"], ["mend", "x"], ["list", "--most", "0"]):
            self.assertEqual(self.called("approvals", *wrong, "-c", config).returncode, 2, wrong)
