"""``regsys token``: its output, and its effects."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
from argparse import Namespace
from typing import Any, Optional

import segno
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys.cli import tokens as cli
from regsys.errors import InvalidParam, TokenNotFound
from regsys.json_body import MAX_INTEGER
from regsys.registration_tokens import RegistrationTokens
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.storage.users import UserStore
from regsys.testing import config
from regsys.testing.database import memory_database
from regsys.web.registration_page import registration_page_url
from tests.cli.test_commands import CommandCase
from tests.support.values import using

NOW_S = 1_700_000_000  # 2023-11-14 22:13:20 UTC
CREATE = {
    "token": None,
    "length": 16,
    "uses": None,
    "expires": None,
    "note": None,
    "json": False,
}
CONFIG = config(public_baseurl="https://hs.example/deep")
LINK = "https://hs.example/deep/_matrix/static/client/register/?token="


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class PlainTerminal(Terminal):
    encoding = "ascii"


def modules(drawn: list[str]) -> list[list[bool]]:
    """The rows of a QR code out of its text, in which a character is two modules, one above the
    other; a module is True if it is dark."""
    rows: list[list[bool]] = []
    for line in drawn:
        text = line.removeprefix("\x1b[97;40m").removesuffix("\x1b[0m")
        rows.append([character not in "█▀" for character in text])
        rows.append([character not in "█▄" for character in text])
    return rows


class ActionTests(SynchronousTestCase):
    def setUp(self) -> None:
        clock = Clock()
        clock.advance(NOW_S)
        self.db = memory_database(self, clock)
        self.tokens = RegistrationTokens(store=RegistrationTokenStore(self.db), clock=clock)

    def wait(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def start(
        self, action: str, stdout: Optional[io.StringIO] = None, **arguments: Any
    ) -> Deferred[str]:
        """Begin the action, where its output goes to ``stdout``, by default to a pipe."""
        given = {**(CREATE if action == "create" else {"json": False}), **arguments}
        self.stderr = io.StringIO()
        with (
            contextlib.redirect_stdout(stdout or io.StringIO()),
            contextlib.redirect_stderr(self.stderr),
        ):
            link_of = functools.partial(registration_page_url, CONFIG)
            work = cli.ACTIONS[action](self.tokens, Namespace(**given), link_of)
            return Deferred.fromCoroutine(work)

    def do(self, action: str, **arguments: Any) -> str:
        return self.successResultOf(self.start(action, **arguments))

    def test_create(self) -> None:
        """Only the token is printed, so that a script can use it; the link goes to standard
        error."""
        name = self.do("create", uses=3, expires="2d", note="for Zoë")
        made = self.wait(self.tokens.get(name))
        self.assertEqual(
            (made.uses_allowed, made.expiry_ms, made.note, made.creator),
            (3, (NOW_S + 2 * 86400) * 1000, "for Zoë", None),
        )
        self.assertEqual(len(self.do("create", length=5)), 5)
        self.assertEqual(self.do("create", token="mine"), "mine")
        self.assertEqual(self.stderr.getvalue(), f"{LINK}mine\n")

    def test_createAsJson(self) -> None:
        """As JSON both are in one object, on a terminal too."""
        for stdout in (io.StringIO(), Terminal()):
            made = json.loads(self.do("create", stdout=stdout, json=True))
            self.assertEqual(made, {"token": made["token"], "link": LINK + made["token"]})
            self.assertEqual(self.stderr.getvalue(), "")

    def test_createAtTerminal(self) -> None:
        """On a terminal the link follows the token, and its QR code, if the terminal has the
        characters for that."""
        token, link, *drawn = self.do("create", stdout=Terminal(), token="a~b").splitlines()
        self.assertEqual((token, link), ("a~b", f"{LINK}a~b"))
        code = segno.make(link, micro=False)
        expected = [list(map(bool, row)) for row in code.matrix_iter()]
        found = modules(drawn)[: len(expected)]  # the last line may have one module too many
        self.assertEqual(found, expected)
        plain = self.do("create", stdout=PlainTerminal(), token="b")
        self.assertEqual(plain.splitlines(), ["b", f"{LINK}b"])

    def test_refused(self) -> None:
        """Invalid arguments are refused with the reason."""
        self.do("create", token="mine", uses=1)
        for arguments in (
            {"token": "mine"},
            {"token": "a b"},
            {"length": 65},
            {"uses": -1},
            {"expires": "soon"},
            {"expires": "0s"},
            {"expires": "9999999999y"},
        ):
            self.assertIsNotNone(
                self.failureResultOf(self.start("create", **arguments), InvalidParam), arguments
            )
        for action in ("show", "revoke"):
            self.failureResultOf(self.start(action, token="none", undo=False), TokenNotFound)

    def test_list(self) -> None:
        """One line for each token: whether it is valid, its uses, its expiry, and its note."""
        self.assertEqual(self.do("list"), "There are no tokens.")
        self.do("create", token="a", uses=3, expires="1d", note="for Zoë")
        self.do("create", token="b", uses=0)
        self.do("create", token="c")
        self.wait(self.tokens.change("c", {"expiry_ms": MAX_INTEGER}))
        self.do("revoke", token="c", undo=False)
        self.wait(self.tokens.store.reserve("a", "session", NOW_S * 1000))
        self.assertEqual(
            self.do("list").splitlines(),
            [
                "a  valid  0 of 3 used, 1 under way  ends 2023-11-15 22:13:20 UTC  for Zoë",
                "b  not valid  0 of 0 used, 0 under way  never ends",
                "c  revoked  0 of any number used, 0 under way  ends 9999-12-31 23:59:59 UTC",
            ],
        )

    def test_show(self) -> None:
        """One token with its creation, and the users who have used it."""
        self.do("create", token="a")
        for name in ("alice", "bob"):
            new = using(name, "a", created_ms=(NOW_S + 60) * 1000)
            self.wait(UserStore(self.db).create_account(new))
        creating = self.tokens.create(token="b", settings={}, creator="@root:test.example")
        self.wait(creating)
        self.assertEqual(
            self.do("show", token="a").splitlines(),
            [
                "a  valid  2 of any number used, 0 under way  never ends",
                "made 2023-11-14 22:13:20 UTC on the command line",
                "2023-11-14 22:14:20 UTC  @alice:contract.example",
                "2023-11-14 22:14:20 UTC  @bob:contract.example",
            ],
        )
        self.assertIn("by @root:test.example", self.do("show", token="b"))

    def test_revoke(self) -> None:
        """A revoked token is valid again once that is undone."""
        self.do("create", token="a")
        self.assertIn("a  revoked", self.do("revoke", token="a", undo=False))
        self.assertFalse(self.wait(self.tokens.is_valid("a")))
        self.assertIn("a  valid", self.do("revoke", token="a", undo=True))
        self.assertTrue(self.wait(self.tokens.is_valid("a")))

    def test_delete(self) -> None:
        """Tokens are deleted, as far as they are there; what they have made stays recorded."""
        for name in ("a", "b", "c"):
            self.do("create", token=name)
        self.wait(UserStore(self.db).create_account(using("alice", "a")))
        done: Any = self.do("delete", tokens=["a", "b", "a"])
        self.assertEqual((done.text, done.status), ("a  deleted\nb  deleted", 0))
        done = self.do("delete", tokens=["b", "c"], json=True)
        self.assertEqual((json.loads(done.text), done.status), ({"b": False, "c": True}, 1))
        self.assertEqual(self.do("list"), "There are no tokens.")

    def test_json(self) -> None:
        """For programs: all about the tokens, and of one its uses."""
        self.do("create", token="a", uses=1, note="for Zoë")
        self.wait(UserStore(self.db).create_account(using("alice", "a")))
        (listed,) = json.loads(self.do("list", json=True))
        self.assertEqual((listed["valid"], listed["completed"]), (False, 1))
        self.assertEqual(listed["note"], "for Zoë")
        shown = json.loads(self.do("show", token="a", json=True))
        self.assertEqual([use["user_id"] for use in shown["uses"]], ["@alice:contract.example"])


class ProcessTests(CommandCase):
    def test_token(self) -> None:
        """The commands work on the configured database, with the file named before or after the
        action; a refusal is one line and status 1."""
        config = self.config()
        made = self.regsys("token", "create", "-c", config, "--uses", "2", "--expires", "7d")
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertRegex(made.stdout, r"\A[A-Za-z0-9]{16}\n\Z")
        name = made.stdout.strip()
        link = f"https://test.example/_matrix/static/client/register/?token={name}\n"
        self.assertTrue(made.stderr.endswith(link), made.stderr)
        revoked = self.regsys("token", "-c", config, "revoke", name)
        self.assertIn("revoked", revoked.stdout)
        undone = self.regsys("token", "revoke", "--undo", name, "-c", config)
        self.assertIn("valid", undone.stdout)
        listed = self.regsys("tokens", "-c", config)
        self.assertRegex(listed.stdout, rf"\A{name}  valid  0 of 2 used.*\n\Z")
        self.assertEqual(
            self.rows("SELECT token, uses_allowed, creator FROM registration_tokens"),
            [(name, 2, None)],
        )
        refused = self.regsys("token", "show", "-c", config, "nobodys")
        self.assertEqual(
            (refused.returncode, refused.stdout, refused.stderr),
            (1, "", "regsys: There is no such registration token.\n"),
        )

    def test_whatIsMissing(self) -> None:
        """Without an action, or a token, the usage is shown."""
        for arguments in (["token"], ["token", "show"], ["token", "create", "--uses", "few"]):
            done = self.called(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertTrue(re.search(r"usage: regsys token", done.stderr), done.stderr)
