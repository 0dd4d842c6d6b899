"""``regsys audit``: what it prints, and what commands leave in the log."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from regsys.cli import audit as cli
from regsys.cli.arguments.audit import add_audit, moment
from regsys.model.audit import AuditEntry
from regsys.storage.audit import AuditStore
from regsys.testing.database import memory_database
from tests.cli.test_commands import CommandCase

NOW_MS = 1_700_000_000_000  # 2023-11-14 22:13:20 UTC
ALICE = "@alice:test.example"
ON = {"audit": {"enabled": True}}


class OutputTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = AuditStore(memory_database(self), 1)

    def add(self, *entries: AuditEntry) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.store.add(entries)))

    def asked(self, *words: str) -> str:
        parser = ArgumentParser()
        add_audit(parser)
        arguments: Namespace = parser.parse_args(words)
        shown = cli.show(self.store, arguments, NOW_MS, "test.example")
        return self.successResultOf(Deferred.fromCoroutine(shown))

    def test_lines(self) -> None:
        """One line for each entry, the newest first, without what is not known of it."""
        self.assertEqual(self.asked(), "There are no such entries.")
        self.assertEqual(self.asked("--json"), "")
        self.add(
            AuditEntry(when_ms=NOW_MS, what="registered", user_id=ALICE, rule="flow"),
            AuditEntry(
                when_ms=NOW_MS + 1000,
                what="refused",
                address="192.0.2.0/24",
                rule="rate-limit",
                times=12,
            ),
            AuditEntry(when_ms=NOW_MS + 2000, what="token-created", by="cli", details={"n": 1}),
        )
        lines = [
            '2023-11-14 22:13:22 UTC token-created by cli {"n": 1}',
            "2023-11-14 22:13:21 UTC refused from 192.0.2.0/24 rule rate-limit 12 times",
            f"2023-11-14 22:13:20 UTC registered {ALICE} rule flow",
        ]
        self.assertEqual(self.asked().splitlines(), lines)
        self.assertIn("the newest 1; --limit N", self.asked("--limit", "1"))
        first = json.loads(self.asked("--json", "--limit", "1"))
        self.assertEqual(
            first,
            {
                "time_ms": NOW_MS + 2000,
                "what": "token-created",
                "user_id": None,
                "by": "cli",
                "address": None,
                "rule": None,
                "times": 1,
                "details": {"n": 1},
            },
        )

    def test_filters(self) -> None:
        """By name or user ID, by whom, by an address as it is kept, by time."""
        self.add(
            AuditEntry(when_ms=NOW_MS - 5000, what="a", user_id=ALICE, by="cli", rule="cap hour"),
            AuditEntry(when_ms=NOW_MS - 3000, what="b", address="192.0.2.0/24"),
            AuditEntry(when_ms=NOW_MS - 1000, what="c", address="2001:db8::1"),
        )
        for words, found in (
            (("--user", "Alice"), "a"),
            (("--user", ALICE), "a"),
            (("--by", "cli"), "a"),
            (("--what", "b"), "b"),
            (("--rule", "cap"), "a"),
            (("--address", "192.0.2.99"), "b"),
            (("--address", "2001:db8::1"), "c"),
            (("--since", "2s"), "c"),
            (("--until", "4s"), "a"),
            (("--since", "4s", "--until", "2s"), "b"),
            (("--since", "2023-11-14T22:13:18"), "c"),
        ):
            shown = self.asked("--json", *words).splitlines()
            self.assertEqual([json.loads(line)["what"] for line in shown], [found], words)
        for wrong in ("yesterday", "7", ""):
            with self.assertRaises(ArgumentTypeError):
                moment(wrong)
        self.assertEqual(moment("2023-11-14"), (False, 1_699_920_000_000))

    def test_controlCharacters(self) -> None:
        """What a terminal would act on is spelt out, in either form."""
        evil = "@a\x1b[31m\n\u202e:x"
        self.add(AuditEntry(when_ms=1, what="c", user_id=evil, by=evil, details={"x": evil}))
        for text in (self.asked(), self.asked("--json")):
            self.assertTrue(text.isprintable(), text)
        self.assertEqual(json.loads(self.asked("--json"))["user_id"], evil)


class CommandTests(CommandCase):
    def audit(self, config: str, *words: str) -> list[Any]:
        done = self.regsys("audit", "-c", config, "--json", *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_commands(self) -> None:
        """What the command line changes is in the log; an erased person is not, and that they were
        erased is."""
        config = self.config(regsys=ON)
        for words in (
            ("register-user", "alice"),
            ("register-user", "bob", "--admin"),
            ("token", "create", "--token", "swordfish42"),
            ("token", "revoke", "swordfish42"),
            ("privacy", "erase", "alice", "--yes"),
        ):
            done = self.regsys(*words, "-c", config, stdin="correct horse\n")
            self.assertEqual(done.returncode, 0, done.stderr)
        found = [(row["what"], row["user_id"], row["by"]) for row in self.audit(config)]
        self.assertEqual(
            found,
            [
                ("erased", None, "cli"),
                ("token-changed", None, "cli"),
                ("token-created", None, "cli"),
                ("registered", "@bob:test.example", "cli"),
            ],
        )
        self.assertEqual(self.audit(config, "--user", "alice"), [])
        exported = json.loads(self.regsys("privacy", "export", "bob", "-c", config).stdout)
        ((rule, details),) = [(row["rule"], row["details"]) for row in exported["audit"]]
        self.assertEqual((rule, json.loads(details)), ("administrator", {"admin": True}))
        self.assertNotIn("swordfish42", str(self.rows("SELECT * FROM audit")))

    def test_off(self) -> None:
        """If nothing is written, the command says so, and shows what is there."""
        config = self.config()
        done = self.regsys("audit", "-c", config)
        self.assertEqual((done.returncode, done.stdout), (0, "There are no such entries.\n"))
        self.assertIn("regsys.audit.enabled is off", done.stderr)

    def test_wrong(self) -> None:
        """Wrong arguments are refused; so is another server's user."""
        config = self.config(regsys=ON)
        for wrong in (["--limit", "0"], ["--since", "soon"], ["--what"], ["now"]):
            self.assertEqual(self.called("audit", "-c", config, *wrong).returncode, 2, wrong)
        done = self.regsys("audit", "-c", config, "--user", "@a:other.example")
        self.assertEqual(done.returncode, 1)
        self.assertIn("is not of this server", done.stderr)
