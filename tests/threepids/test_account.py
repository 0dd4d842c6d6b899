"""Callbacks of modules on changes of an account's addresses, and their effect (B10.4)."""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from regsys.callbacks import DEADLINE_MS
from regsys.errors import Unavailable
from tests.support.accounts import AccountCase
from tests.support.validations import ALICE

ALICE_ID = "@alice:test.example"


class ChangesCase(AccountCase):
    """``self.changes`` is where hooks are registered; ``self.module_calls`` has their calls."""

    def setUp(self) -> None:
        super().setUp()
        self.module_calls: list[Any] = []
        self.restart()

    def restart(self, **options: Any) -> None:
        """The same server without any hook."""
        hooks = self.hooks(mails=self.mails)
        self.changes = hooks.threepid_changes
        self.system(database=self.database, hooks=hooks, **options)

    def recording_hook(self, what: str, answer: Any = None) -> Callable[..., Any]:
        """A hook that records its arguments, as ``what``, and returns ``answer``."""

        def hook(*args: Any) -> Any:
            self.module_calls.append((what, *args))
            return answer

        return hook


class MomentTests(ChangesCase):
    def test_order(self) -> None:
        """A module is asked before an address is added or removed, and told afterwards; a request
        that changes nothing reaches no module."""
        self.changes.checks.register("m", self.recording_hook("check"))
        self.changes.additions.register("m", self.recording_hook("added"))
        self.changes.removals.register("m", self.recording_hook("removed"))
        sid = self.validate_as(self.alice, ALICE.upper())
        self.assertEqual(self.module_calls, [])
        for _ in range(2):
            self.add_with_password(self.alice, sid)
        self.assertEqual(
            self.module_calls,
            [("check", ALICE_ID, "email", ALICE, True), ("added", ALICE_ID, "email", ALICE)],
        )
        self.module_calls.clear()
        for _ in range(2):
            self.delete(self.alice, ALICE.upper())
        asked = ("check", ALICE_ID, "email", ALICE, False)
        self.assertEqual(self.module_calls, [asked, ("removed", ALICE_ID, "email", ALICE), asked])

    def test_cutOff(self) -> None:
        """If the use of the validation was not stored, a retry completes it: no module is told
        twice, and the validation is used."""
        self.changes.additions.register("m", self.recording_hook("added"))
        sid = self.validate_as(self.alice)
        self.add_with_password(self.alice, sid)
        self.change("UPDATE validations SET used = FALSE")
        self.assertEqual(self.add_with_password(self.alice, sid).status, 200)
        self.assertEqual(len(self.module_calls), 1)
        self.assertEqual(self.rows("SELECT used FROM validations")[0][0], 1)

    def test_calledAfterwards(self) -> None:
        """When a module is told, the change is in the database."""
        count = "SELECT COUNT(*) FROM threepids"
        for hooks in (self.changes.checks, self.changes.additions, self.changes.removals):
            hooks.register("m", lambda *args: self.module_calls.append(self.rows(count)[0][0]))
        self.add_address(self.alice)
        self.delete(self.alice)
        self.assertEqual(self.module_calls, [0, 1, 1, 0])


class ObjectionTests(ChangesCase):
    def test_refused(self) -> None:
        """The first objection refuses the change, in the module's words; nothing has happened, and
        the validation stays valid."""
        sid = self.validate_as(self.alice)
        for errcode, expected in ((None, "M_THREEPID_DENIED"), ("ORG.EXAMPLE", "ORG.EXAMPLE")):
            self.restart()
            self.changes.checks.register(
                "one", self.recording_hook("one", (errcode, "Not on Sundays."))
            )
            self.changes.checks.register("two", self.recording_hook("two"))
            answer = self.add_with_password(self.alice, sid)
            self.assertRefused(answer, 403, expected)
            self.assertEqual(answer.json["error"], "Not on Sundays.")
        self.assertEqual({item[0] for item in self.module_calls}, {"one"})
        self.assertEqual(self.addresses_of(self.alice), [])
        self.restart()
        self.assertEqual(self.add_with_password(self.alice, sid).status, 200)
        self.changes.checks.register("one", self.recording_hook("one", (None, "Keep it.")))
        self.assertRefused(self.delete(self.alice), 403, "M_FORBIDDEN")
        self.assertEqual(self.addresses_of(self.alice), [ALICE])

    def test_broken(self) -> None:
        """A module that raises or returns nonsense prevents the change, which may work later."""

        def broken(*args: Any) -> None:
            raise RuntimeError("broken")

        sid = self.validate_as(self.alice)
        for answer in (broken, False, "M_FORBIDDEN", (None, None), (5, "no"), ("a", "b", "c")):
            self.restart()
            hook = broken if answer is broken else self.recording_hook("check", answer)
            self.changes.checks.register("m", hook)
            self.assertRefused(self.add_with_password(self.alice, sid), 503, "M_UNKNOWN", answer)
            self.flushLoggedErrors(RuntimeError)
        self.assertEqual(self.addresses_of(self.alice), [])

    def test_hanging(self) -> None:
        """So does one that does not return in time."""
        self.add_address(self.alice)
        self.changes.checks.register("m", lambda *args: Deferred())
        body = {"medium": "email", "address": ALICE}
        path = "/_matrix/client/v3/account/3pid/delete"
        waiting = self.client.start("POST", path, body, token=self.alice)
        self.clock.advance(DEADLINE_MS / 1000)
        self.assertRefused(self.client.answer(waiting), 503, "M_UNKNOWN")
        self.assertEqual(self.addresses_of(self.alice), [ALICE])


class NoticeTests(ChangesCase):
    def test_trouble(self) -> None:
        """A callback that raises, or never ends, is logged; the answer does not wait, and the
        others are told all the same."""

        def broken(*args: Any) -> None:
            raise Unavailable("not for the client")

        self.changes.additions.register("broken", broken)
        self.changes.additions.register("hanging", lambda *args: Deferred())
        self.changes.additions.register("sound", self.recording_hook("added"))
        with capturedLogs() as logs:
            self.add_address(self.alice)
            self.assertEqual(self.module_calls, [("added", ALICE_ID, "email", ALICE)])
            self.clock.advance(DEADLINE_MS / 1000)
        blamed = {event["module"] for event in logs if "module" in event}
        self.assertEqual(blamed, {"broken", "hanging"})
        self.flushLoggedErrors(Unavailable)


class OldCallbackTests(ChangesCase):
    def test_threepidBind(self) -> None:
        """A module with on_threepid_bind alone is told of additions by it, and named in the log
        once; one with the newer callback is called by that alone."""
        self.changes.old_additions.register("old", self.recording_hook("old"))
        self.changes.old_additions.register("new", self.recording_hook("never"))
        self.changes.additions.register("new", self.recording_hook("new"))
        with capturedLogs() as logs:
            for address in (ALICE, "other@mail.example"):
                self.add_address(self.alice, address)
        expected = [
            (what, ALICE_ID, "email", address)
            for address in (ALICE, "other@mail.example")
            for what in ("new", "old")
        ]
        self.assertEqual(self.module_calls, expected)
        warned = [event["module"] for event in logs if event["log_level"].name == "warn"]
        self.assertEqual(warned, ["old"])
