"""What modules have to say when an account's addresses change, and what becomes of it (B10.4)."""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from regsys.callbacks import DEADLINE_MS, ThreepidChanges
from regsys.errors import Unavailable
from regsys.interfaces import IThreepidChanges
from regsys.testing import provides
from tests.support.accounts import AccountCase
from tests.support.validations import ALICE

HER = "@alice:test.example"


class ChangesCase(AccountCase):
    """``self.changes`` is where modules hang their hooks; ``self.heard`` what they have heard."""

    def setUp(self) -> None:
        super().setUp()
        self.heard: list[Any] = []
        self.over_again()

    def over_again(self, **options: Any) -> None:
        """The same server without any hook."""
        hooks = self.hooks(mails=self.mails)
        self.changes = hooks.threepid_changes
        self.system(database=self.database, hooks=hooks, **options)

    def hear(self, what: str, answer: Any = None) -> Callable[..., Any]:
        """A hook that remembers what it was told, as ``what``, and answers so."""

        def hook(*args: Any) -> Any:
            self.heard.append((what, *args))
            return answer

        return hook


class MomentTests(ChangesCase):
    def test_provides(self) -> None:
        """The hooks are what the rules ask for."""
        provides(IThreepidChanges, ThreepidChanges.on(self.clock))

    def test_order(self) -> None:
        """A module is asked before an address is added or removed, and told afterwards; what
        changes nothing is told nobody."""
        self.changes.checks.register("m", self.hear("check"))
        self.changes.additions.register("m", self.hear("added"))
        self.changes.removals.register("m", self.hear("removed"))
        sid = self.proven_by(self.alice, ALICE.upper())
        self.assertEqual(self.heard, [])
        for _ in range(2):
            self.confirmed(self.alice, sid)
        self.assertEqual(
            self.heard, [("check", HER, "email", ALICE, True), ("added", HER, "email", ALICE)]
        )
        self.heard.clear()
        for _ in range(2):
            self.delete(self.alice, ALICE.upper())
        asked = ("check", HER, "email", ALICE, False)
        self.assertEqual(self.heard, [asked, ("removed", HER, "email", ALICE), asked])

    def test_cutOff(self) -> None:
        """Where the proof's use was not written down any more, asking again ends the matter:
        nobody hears of the address twice, and the proof is used."""
        self.changes.additions.register("m", self.hear("added"))
        sid = self.proven_by(self.alice)
        self.confirmed(self.alice, sid)
        self.change("UPDATE validations SET used = FALSE")
        self.assertEqual(self.confirmed(self.alice, sid).status, 200)
        self.assertEqual(len(self.heard), 1)
        self.assertEqual(self.rows("SELECT used FROM validations")[0][0], 1)

    def test_toldAfterwards(self) -> None:
        """By the time a module is told, the change is in the database."""
        count = "SELECT COUNT(*) FROM threepids"
        for hooks in (self.changes.checks, self.changes.additions, self.changes.removals):
            hooks.register("m", lambda *args: self.heard.append(self.rows(count)[0][0]))
        self.added(self.alice)
        self.delete(self.alice)
        self.assertEqual(self.heard, [0, 1, 1, 0])


class ObjectionTests(ChangesCase):
    def test_refused(self) -> None:
        """The first objection refuses the change, in the module's words; nothing has happened,
        and the proof is as good as before."""
        sid = self.proven_by(self.alice)
        for errcode, expected in ((None, "M_THREEPID_DENIED"), ("ORG.EXAMPLE", "ORG.EXAMPLE")):
            self.over_again()
            self.changes.checks.register("one", self.hear("one", (errcode, "Not on Sundays.")))
            self.changes.checks.register("two", self.hear("two"))
            answer = self.confirmed(self.alice, sid)
            self.assertRefused(answer, 403, expected)
            self.assertEqual(answer.json["error"], "Not on Sundays.")
        self.assertEqual({item[0] for item in self.heard}, {"one"})
        self.assertEqual(self.held(self.alice), [])
        self.over_again()
        self.assertEqual(self.confirmed(self.alice, sid).status, 200)
        self.changes.checks.register("one", self.hear("one", (None, "Keep it.")))
        self.assertRefused(self.delete(self.alice), 403, "M_FORBIDDEN")
        self.assertEqual(self.held(self.alice), [ALICE])

    def test_broken(self) -> None:
        """A module that raises or answers nonsense lets nothing happen, which may work later."""

        def broken(*args: Any) -> None:
            raise RuntimeError("broken")

        sid = self.proven_by(self.alice)
        for answer in (broken, False, "M_FORBIDDEN", (None, None), (5, "no"), ("a", "b", "c")):
            self.over_again()
            hook = broken if answer is broken else self.hear("check", answer)
            self.changes.checks.register("m", hook)
            self.assertRefused(self.confirmed(self.alice, sid), 503, "M_UNKNOWN", answer)
            self.flushLoggedErrors(RuntimeError)
        self.assertEqual(self.held(self.alice), [])

    def test_hanging(self) -> None:
        """So does one that does not answer in time."""
        self.added(self.alice)
        self.changes.checks.register("m", lambda *args: Deferred())
        body = {"medium": "email", "address": ALICE}
        path = "/_matrix/client/v3/account/3pid/delete"
        waiting = self.client.start("POST", path, body, token=self.alice)
        self.clock.advance(DEADLINE_MS / 1000)
        self.assertRefused(self.client.answer(waiting), 503, "M_UNKNOWN")
        self.assertEqual(self.held(self.alice), [ALICE])


class NoticeTests(ChangesCase):
    def test_trouble(self) -> None:
        """One who is told and raises, or never ends, is logged; the answer does not wait, and
        the others are told all the same."""

        def broken(*args: Any) -> None:
            raise Unavailable("not for the client")

        self.changes.additions.register("broken", broken)
        self.changes.additions.register("hanging", lambda *args: Deferred())
        self.changes.additions.register("sound", self.hear("added"))
        with capturedLogs() as logs:
            self.added(self.alice)
            self.assertEqual(self.heard, [("added", HER, "email", ALICE)])
            self.clock.advance(DEADLINE_MS / 1000)
        blamed = {event["module"] for event in logs if "module" in event}
        self.assertEqual(blamed, {"broken", "hanging"})
        self.flushLoggedErrors(Unavailable)


class OldNameTests(ChangesCase):
    def test_threepidBind(self) -> None:
        """A module that knows only on_threepid_bind hears of additions by it, and is named in the
        log once; one that knows the newer name hears by that alone."""
        self.changes.old_additions.register("old", self.hear("old"))
        self.changes.old_additions.register("new", self.hear("never"))
        self.changes.additions.register("new", self.hear("new"))
        with capturedLogs() as logs:
            for address in (ALICE, "other@mail.example"):
                self.added(self.alice, address)
        told = [
            (what, HER, "email", address)
            for address in (ALICE, "other@mail.example")
            for what in ("new", "old")
        ]
        self.assertEqual(self.heard, told)
        warned = [event["module"] for event in logs if event["log_level"].name == "warn"]
        self.assertEqual(warned, ["old"])
