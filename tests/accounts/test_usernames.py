"""Which names may be registered, in which order they are refused, and how numbers are drawn."""

from __future__ import annotations

import string
from typing import Any, Collection, Coroutine

import attr
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from regsys.accounts.usernames import GAVE_UP_S, STEPS, Usernames, ascii_lower
from regsys.errors import (
    AllNamesReserved,
    Forbidden,
    InvalidUsername,
    RegistrationError,
    SessionFinished,
    UnknownToken,
    UsernameReserved,
    UsernameTaken,
)
from regsys.interfaces import IAccountStore, IAuth
from regsys.model import Secret, UserID
from regsys.model.accounts import Outcome
from regsys.testing import MemoryAppservices, provides
from tests.support.naming import SERVER, Accounts, Auth, UsernamesCase, user

# What the specification allows in a new name.
GRAMMAR = frozenset(string.ascii_lowercase + string.digits + "._=-/+")


def finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits; a Deferred is too slow for a million calls."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


class GrammarTests(UsernamesCase):
    def test_provides(self) -> None:
        """The fakes of these tests have the methods of the real classes."""
        provides(IAccountStore, Accounts())
        provides(IAuth, Auth({}))

    def accepted(self, prefix: str, codes: int) -> set[str]:
        """Which of the first ``codes`` code points may follow ``prefix``, lower-cased as
        POST /register does."""
        found = set()
        for code in range(codes):
            try:
                finish(self.names.check(ascii_lower(prefix + chr(code))))
            except InvalidUsername:
                continue
            found.add(chr(code))
        return found

    def test_everyCharacterByItself(self) -> None:
        """Of all code points, the names of one character are ASCII letters and ``. = - / +``:
        no other character becomes a letter by lower-casing (the Kelvin sign, the dotless i)."""
        self.assertEqual(self.accepted("", 0x110000), {*string.ascii_letters, *".=-/+"})

    def test_everyCharacterWithinAName(self) -> None:
        """Within a name digits and underscores are allowed too, and nothing else."""
        self.assertEqual(self.accepted("x", 0x10000), {*string.ascii_letters, *GRAMMAR})

    def test_lowerCasingLeavesTheRestAlone(self) -> None:
        """Only A-Z are lower-cased: a character that merely folds to a letter stays unchanged."""
        self.assertEqual(ascii_lower("AZaz09._=-/+"), "azaz09._=-/+")
        for foreign in (
            "\N{KELVIN SIGN}",
            "\N{LATIN SMALL LETTER LONG S}",
            "\u0130",
            "\u0131",
            "Ä",
        ):
            self.assertEqual(ascii_lower(foreign), foreign)

    def test_capitalsAreRefusedWhereNobodyLowersThem(self) -> None:
        """The rule itself accepts lower-case letters alone."""
        self.refusal(InvalidUsername, "Alice")

    def test_emptyNameIsRefused(self) -> None:
        """A name has at least one character."""
        self.refusal(InvalidUsername, "")

    def test_leadingUnderscore(self) -> None:
        """A name begins with an underscore only where the server allows that."""
        self.refusal(InvalidUsername, "_a")
        self.assertIsNone(self.check("a_"))
        allowing = self.make(allow_underscore_prefixed_localpart=True)
        self.assertIsNone(self.check("_a", allowing))

    def test_255Bytes(self) -> None:
        """The whole user ID, with its sigil and its server, has at most 255 bytes."""
        longest = 255 - len(f"@:{SERVER}")
        self.assertIsNone(self.check("a" * longest))
        self.refusal(InvalidUsername, "a" * (longest + 1))

    def test_digits(self) -> None:
        """A name of digits alone is refused; one other character makes it a name."""
        for refused in ("1", "0", "99999999999999999999"):
            self.refusal(InvalidUsername, refused)
        for allowed in ("1a", "1_", "1.", "-1", "1+1", "1/2"):
            self.assertIsNone(self.check(allowed))


class TakenTests(UsernamesCase):
    def test_takenName(self) -> None:
        """A taken name is refused, a free one passes."""
        self.refusal(UsernameTaken, "taken")
        self.assertIsNone(self.check("free"))

    def test_silenceUntilCompletion(self) -> None:
        """With ``inhibit_user_in_use_error`` only the completing request refuses a taken name; an
        invalid name is refused early."""
        silent = self.make(inhibit_user_in_use_error=True)
        self.assertIsNone(self.check("taken", silent, early=True))
        self.refusal(UsernameTaken, "taken", silent)
        self.refusal(UsernameTaken, "taken", self.names, early=True)
        self.refusal(InvalidUsername, "42", silent, early=True)
        self.refusal(InvalidUsername, "ä", silent, early=True)

    def test_finishedSession(self) -> None:
        """The name that a session has registered passes at once, although it is taken by now;
        another name does not."""
        self.assertIsNone(self.check("taken", assigned_user_id=user("taken")))
        self.assertIsNone(self.check("42", assigned_user_id=user("42")))
        self.refusal(SessionFinished, "free", assigned_user_id=user("taken"))

    def test_ownKey(self) -> None:
        """A name that this very registration has taken before, under its key, passes; so does a
        guest's name whose token is dead since. A name that another registration has taken does
        not."""
        made = Outcome(key="key", user_id=user("taken"), created_ms=0)
        self.accounts.outcomes["key"] = made
        self.accounts.taken.add("other")
        dead = Secret("dead")
        self.assertIsNone(self.check("taken", key="key"))
        self.assertIsNone(self.check("taken", key="key", guest_access_token=dead))
        self.refusal(UsernameTaken, "taken", key="another key")
        self.refusal(UsernameTaken, "other", key="key")
        self.refusal(UnknownToken, "other", key="key", guest_access_token=dead)
        self.refusal(InvalidUsername, "42x$", key="key")


class GuestTests(UsernamesCase):
    def test_ownName(self) -> None:
        """A guest may keep its own name, although it is taken and all digits."""
        token = Secret("guest")
        self.assertEqual(self.check("42", guest_access_token=token), user("42"))

    def test_unknownToken(self) -> None:
        """An unknown token is answered with M_UNKNOWN_TOKEN, whatever the name."""
        for name in ("42", "taken", "free"):
            self.refusal(UnknownToken, name, guest_access_token=Secret("nobody's"))

    def test_foreignToken(self) -> None:
        """Another guest's token, a user's token, or a name that isn't the guest's is forbidden."""
        for name, token in (
            ("42", "another guest"),
            ("taken", "a user"),
            ("free", "guest"),
            ("taken", "guest"),
        ):
            self.refusal(Forbidden, name, guest_access_token=Secret(token))


class ReservedTests(UsernamesCase):
    def test_serverNotices(self) -> None:
        """The user of the server's notices is reserved, in whatever case it was configured."""
        names = self.make(server_notices_localpart="Notices")
        self.refusal(UsernameReserved, "notices", names)
        self.assertIsNone(self.check("notices2", names))

    def test_appservices(self) -> None:
        """A name in a service's exclusive namespace is refused to all others; the service itself,
        which is named by its id, may have it."""
        names = self.make("irc_a")
        self.refusal(UsernameReserved, "irc_a", names)
        self.assertIsNone(self.check("irc_b", names))
        names.check_not_reserved(user("irc_a"), "bridge")
        names.check_not_reserved(user("irc_b"))
        self.assertRaises(UsernameReserved, names.check_not_reserved, user("irc_a"), "other")

    def test_noServiceMayHaveTheNoticesUser(self) -> None:
        """The notices user is reserved from services too."""
        names = self.make("notices", server_notices_localpart="notices")
        self.assertRaises(UsernameReserved, names.check_not_reserved, user("notices"), "bridge")


class OrderTests(UsernamesCase):
    def test_earlierRefusalWins(self) -> None:
        """Of several reasons the first of B1 is reported: grammar, finished session, reserved,
        length, taken, digits."""
        long = "a" * 250
        self.accounts.taken |= {long, "7", "_x", "irc"}
        names = self.make("_x", long, "irc", "7")
        other = user("other")
        guest = Secret("guest")
        cases: list[tuple[type[RegistrationError], str, dict[str, Any]]] = [
            (InvalidUsername, "Ä", {"assigned_user_id": user("Ä")}),
            (InvalidUsername, "", {"assigned_user_id": user("")}),
            (InvalidUsername, "_x", {"assigned_user_id": user("_x")}),
            (InvalidUsername, "_x", {}),
            (SessionFinished, "irc", {"assigned_user_id": other}),
            (SessionFinished, long, {"assigned_user_id": other}),
            (UsernameReserved, long, {}),
            (UsernameReserved, "irc", {"guest_access_token": guest}),
            (UsernameReserved, "7", {}),
        ]
        for error, name, more in cases:
            self.refusal(error, name, names, **more)
        self.refusal(InvalidUsername, long)
        self.refusal(InvalidUsername, long, guest_access_token=guest)
        self.refusal(UsernameTaken, "7")


class DrawingTests(UsernamesCase):
    def draw(self, names: Usernames) -> UserID:
        drawn = self.successResultOf(Deferred.fromCoroutine(names.draw()))
        assert isinstance(drawn, UserID)
        return drawn

    def test_numbers(self) -> None:
        """Generated names are the numbers of a sequence, each drawn once."""
        self.assertEqual([self.draw(self.names) for _ in range(2)], [user("1"), user("2")])

    def test_steppingOver(self) -> None:
        """Numbers that are taken or reserved are skipped, however many."""
        self.accounts.taken |= {str(number) for number in range(1, 501)}
        names = self.make(*(str(number) for number in range(501, 601)))
        self.assertEqual(self.draw(names), user("601"))

    def test_everyNumberReserved(self) -> None:
        """If a service has reserved all numbers, the draw fails at once, and a log line, once,
        names the service."""
        names = attr.evolve(self.names, services=Greedy(most=99))
        with capturedLogs() as logs:
            for _ in range(2):
                self.failureResultOf(Deferred.fromCoroutine(names.draw()), AllNamesReserved)
                self.clock.advance(GAVE_UP_S)
        self.assertEqual(self.draw(self.names), user("3"))
        (line,) = logs
        self.assertEqual((line["log_level"].name, line["services"]), ("error", "greedy"))
        self.assertEqual(line["localpart"], "1")

    def test_manyNumbersReserved(self) -> None:
        """If there are free numbers far away, the draw goes on until it has found one."""
        names = attr.evolve(self.names, services=Greedy(most=3))
        self.assertEqual(self.draw(names), user("1000"))
        names = attr.evolve(self.names, services=Greedy(most=6))
        self.failureResultOf(Deferred.fromCoroutine(names.draw()), AllNamesReserved)
        self.assertEqual(self.draw(self.names), user(str(1001 + STEPS)))

    def test_soughtInVain(self) -> None:
        """After an unsuccessful search the next one starts no sooner than in a minute, however many
        requests there are: each number is a write, and any client may ask for a guest."""
        names = attr.evolve(self.names, services=Greedy(most=4))
        self.accounts.taken |= {str(number) for number in range(10_000, 10_010)}
        for seconds in (0, GAVE_UP_S - 1):
            self.clock.advance(seconds)
            self.failureResultOf(Deferred.fromCoroutine(names.draw()), AllNamesReserved)
        self.assertEqual(self.accounts.number, STEPS)
        self.clock.advance(1)
        self.assertEqual(self.draw(names), user("10010"))
        self.assertEqual(self.draw(names), user("10011"))


@attr.frozen
class Greedy(MemoryAppservices):
    """Reserves every name of up to this many characters."""

    most: int = 0

    def reserved_for(self, user_id: UserID) -> Collection[str]:
        return ["greedy"] if len(user_id.localpart) <= self.most else ()
