"""Two calls that meet in the same rows, on PostgreSQL, in every order of their statements."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Iterator, Optional, Sequence

from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import InvalidRegistrationToken, ThreepidInUse, UnknownToken, UsernameTaken
from regsys.model import NewAccount, NewDevice, NewJob, Outcome, Threepid
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.testing.contracts.case import NOW_MS, account, login, upgrade, user
from tests.support.interleaving import Interleaving, Meeting, Step
from tests.support.stores import Stores
from tests.support.values import (
    CLIENT,
    END_MS,
    LATER_MS,
    RECOVERY,
    TERMS,
    access_hash,
    account_of_session,
    session,
)

ALICE = user("alice")
EMAIL = Threepid("email", "a@example.org", NOW_MS)
PHONE = Threepid("msisdn", "4915112345678", NOW_MS)


def pair(name: str) -> NewDevice:
    return NewDevice(login=login(name, **TERMS), display_name="my device")


def create(new: NewAccount) -> Step:
    return lambda stores: stores.users.create_account(new)


async def nothing(stores: Stores) -> None:
    return


async def one_use(stores: Stores) -> None:
    """A registration token that is good for one account."""
    sql = (
        "INSERT INTO registration_tokens (token, uses_allowed, completed, revoked, created_ms)"
        " VALUES ('welcome', 1, 0, FALSE, 0)"
    )
    await stores.db.transaction("test", lambda txn: txn.run(sql))


class RaceCase(SynchronousTestCase):
    """``beside``: invariants that have nothing to say here. ``isolation``: see Interleaving."""

    beside: ClassVar[Sequence[str]] = ()
    isolation: ClassVar[Optional[str]] = None

    def setUp(self) -> None:
        self.races = Interleaving(self, self.isolation)

    def meetings(self, before: Step, first: Step, second: Step) -> Iterator[Meeting]:
        """After each the tables must be in order; nobody had to be run again for it."""
        for meeting in self.races.each(before, first, second):
            self.assertLessEqual(set(meeting.broken), set(self.beside), meeting)
            self.assertFalse(meeting.again, meeting)
            yield meeting

    def stored(self, sql: str) -> list[Any]:
        cursor = self.races.cursor()
        cursor.execute(sql)
        return sorted(value for (value,) in cursor.fetchall())

    def assertOneLoses(self, meeting: Meeting, error: type[Exception]) -> None:
        """One of the two makes an account, the other is refused for this reason."""
        kinds = sorted(type(ended).__name__ for ended in (meeting.first, meeting.second))
        self.assertEqual(kinds, sorted(["Outcome", error.__name__]), meeting)


class AccountRaces(RaceCase):
    def test_name(self) -> None:
        """Two that want one name: one gets it."""
        first, second = account("1", "alice"), account("2", "ALICE")
        for meeting in self.meetings(nothing, create(first), create(second)):
            self.assertOneLoses(meeting, UsernameTaken)

    def test_key(self) -> None:
        """Two calls with one key: one account, one answer."""
        first, second = (account("key", name, device=pair(name)) for name in ("alice", "bob"))
        for meeting in self.meetings(nothing, create(first), create(second)):
            outcomes = (meeting.first, meeting.second)
            self.assertEqual({type(outcome) for outcome in outcomes}, {Outcome}, meeting)
            self.assertEqual(len({outcome.user_id for outcome in outcomes}), 1, meeting)
            self.assertEqual(sum(outcome.replayed for outcome in outcomes), 1, meeting)

    def test_upgrade(self) -> None:
        """Two upgrades of one guest: one wins."""
        guest = create(account("guest", "1", is_guest=True))
        first, second = (upgrade(key, "1", password_hash="x", device=pair(key)) for key in "ab")
        for meeting in self.meetings(guest, create(first), create(second)):
            self.assertOneLoses(meeting, UnknownToken)

    def test_lastUse(self) -> None:
        """Two that want the last use of a registration token: one gets it."""
        first, second = (account(name, name, registration_token="welcome") for name in "ab")
        for meeting in self.meetings(one_use, create(first), create(second)):
            self.assertOneLoses(meeting, InvalidRegistrationToken)

    def test_lastUseReserved(self) -> None:
        """Two sessions that want to reserve it: one does, and can use it."""

        async def before(stores: Stores) -> None:
            await one_use(stores)
            for name in "ab":
                await stores.sessions.add(session(name), 10)

        def reserve(session_id: str) -> Step:
            return lambda stores: RegistrationTokenStore(stores.db).reserve(
                "welcome", session_id, NOW_MS
            )

        for meeting in self.meetings(before, reserve("a"), reserve("b")):
            self.assertEqual({meeting.first, meeting.second}, {True, False}, meeting)

    def test_threepids(self) -> None:
        """Two with the same addresses, in whatever order each brings them: one gets both."""
        first = account("1", "alice", threepids=(EMAIL, PHONE))
        second = account("2", "bob", threepids=(PHONE, EMAIL))
        for meeting in self.meetings(nothing, create(first), create(second)):
            self.assertOneLoses(meeting, ThreepidInUse)

    def test_firstRealUser(self) -> None:
        """Two first users: both are made, and one of them is the first."""
        first, second = account("1", "alice"), account("2", "bob")
        for meeting in self.meetings(nothing, create(first), create(second)):
            self.assertIsInstance(meeting.first, Outcome, meeting)
            self.assertIsInstance(meeting.second, Outcome, meeting)


class StricterAccountRaces(AccountRaces):
    """In a database whose transactions are at another level unless they say which they want."""

    isolation = "repeatable read"


class SessionRaces(RaceCase):
    async def before(self, stores: Stores) -> None:
        await stores.sessions.add(session("key"), 1)

    def finished(self) -> Step:
        new = account("key", session_id="key", session_until_ms=END_MS, device=pair("a"))
        return create(new)

    def test_finishedWhileSaved(self) -> None:
        """A session is finished, however somebody saves to it or keeps its hash meanwhile."""

        async def save(stores: Stores) -> None:
            await stores.sessions.save("key", CLIENT, {"a": 1}, {"stage": True})
            await stores.sessions.keep_hash("key", "mark", "hash")

        for meeting in self.meetings(self.before, self.finished(), save):
            self.assertIsNone(meeting.second, meeting)
            self.assertEqual(self.stored("SELECT finished FROM uia_sessions"), [True])

    def test_savedTwice(self) -> None:
        """Of two that save both find all that they have saved."""

        def save(stage: str) -> Step:
            return lambda stores: stores.sessions.save("key", CLIENT, None, {stage: True})

        for _ in self.meetings(self.before, save("one"), save("two")):
            (results,) = self.stored("SELECT results FROM uia_sessions")
            self.assertEqual(json.loads(results), {"one": True, "two": True})

    def test_finishedWhileItExpires(self) -> None:
        """The account is made though its session expires in the same moment."""

        async def expire(stores: Stores) -> int:
            return await stores.sessions.delete_expired(LATER_MS, 10)

        for meeting in self.meetings(self.before, self.finished(), expire):
            self.assertIsInstance(meeting.first, Outcome, meeting)
            self.assertIn(meeting.second, (0, 1), meeting)

    def test_savedWhileItExpires(self) -> None:
        """Who saves to a session as it expires is not waited for: while it is being saved to it
        stays, and what is saved afterwards goes with it."""

        async def save(stores: Stores) -> None:
            await stores.sessions.save("key", CLIENT, None, {"stage": True})

        async def expire(stores: Stores) -> int:
            return await stores.sessions.delete_expired(LATER_MS, 10)

        removed = []
        for meeting in self.meetings(self.before, save, expire):
            self.assertIsNone(meeting.first, meeting)
            kept = self.stored("SELECT results FROM uia_sessions")
            self.assertEqual(kept, ['{"stage": true}'] * (1 - meeting.second), meeting)
            removed.append(meeting.second)
        self.assertEqual(set(removed), {0, 1})


class TokenRaces(RaceCase):
    """One device, of which several things are asked at once; it may be logged out."""

    beside = ("an outcome with a login has its device and its tokens",)

    async def before(self, stores: Stores) -> None:
        await stores.users.create_account(account("key", device=pair("first")))
        await stores.devices.succeed(access_hash("first"), ALICE, login("second", **TERMS))

    def succeed(self, name: str) -> Step:
        new = login(name, **TERMS)
        return lambda stores: stores.devices.succeed(access_hash("first"), ALICE, new)

    async def confirm(self, stores: Stores) -> None:
        await stores.devices.confirm(access_hash("second"))

    async def log_in(self, stores: Stores) -> None:
        await stores.devices.register(ALICE, pair("anew"))

    async def log_out(self, stores: Stores) -> None:
        await stores.devices.log_out(ALICE, "PHONE")

    def logins(self) -> list[str]:
        """The names of the pairs that are there."""
        names = ("first", "second", "third", "fourth", "anew")
        known = {access_hash(name): name for name in names}
        return sorted(known[found] for found in self.stored("SELECT access_hash FROM logins"))

    def test_refreshedTwice(self) -> None:
        """Of two refreshes the later one counts."""
        for meeting in self.meetings(self.before, self.succeed("third"), self.succeed("fourth")):
            self.assertEqual((meeting.first, meeting.second), (True, True), meeting)
            self.assertIn(self.logins(), (["first", "third"], ["first", "fourth"]), meeting)

    def test_refreshedWhileUsed(self) -> None:
        """A pair that is used while it is being replaced is either in use, and then nothing
        replaces it, or gone, and then nothing is spent."""
        for first, second in (
            (self.succeed("third"), self.confirm),
            (self.confirm, self.succeed("third")),
        ):
            for meeting in self.meetings(self.before, first, second):
                spent = self.stored("SELECT COUNT(*) FROM logins WHERE spent_ms IS NOT NULL")
                expected = {
                    True: (["first", "third"], [0]),
                    False: (["first", "second"], [1]),
                }[True in (meeting.first, meeting.second)]
                self.assertEqual((self.logins(), spent), expected, meeting)

    def test_loggedInWhileRefreshed(self) -> None:
        """A device that logs in anew loses its earlier pairs, and those that they turn into."""
        for first, second in (
            (self.log_in, self.succeed("third")),
            (self.succeed("third"), self.log_in),
        ):
            for meeting in self.meetings(self.before, first, second):
                self.assertEqual(self.logins(), ["anew"], meeting)

    def test_loggedInTwice(self) -> None:
        """Of two logins of one device one is in force."""
        other: Step = lambda stores: stores.devices.register(ALICE, pair("third"))  # noqa: E731
        for meeting in self.meetings(self.before, self.log_in, other):
            self.assertIn(self.logins(), (["anew"], ["third"]), meeting)

    def test_loggedOut(self) -> None:
        """A device that is logged out stays so, unless it logs in; no token outlives it."""
        for other in (self.succeed("third"), self.confirm):
            for first, second in ((self.log_out, other), (other, self.log_out)):
                for meeting in self.meetings(self.before, first, second):
                    self.assertEqual(self.logins(), [], meeting)
        for first, second in ((self.log_out, self.log_in), (self.log_in, self.log_out)):
            for meeting in self.meetings(self.before, first, second):
                self.assertIn(self.logins(), ([], ["anew"]), meeting)


class ForeignRaces(RaceCase):
    """Our record of a key whose account is somebody else's."""

    beside = (
        "an outcome has its account",
        "an outcome is finished",
        "an outcome with a login has its device and its tokens",
        "a session is finished exactly if it has made an account",
    )

    async def before(self, stores: Stores) -> None:
        await stores.sessions.add(session(expires_ms=LATER_MS), 1)
        await stores.foreign.claim(account_of_session(), RECOVERY)

    async def settle(self, stores: Stores) -> bool:
        """Whether it was this one that settled."""
        return await stores.foreign.complete(account_of_session(), RECOVERY.job_id) is not None

    async def withdraw(self, stores: Stores) -> None:
        await stores.foreign.release(account_of_session(), RECOVERY.job_id)

    async def reserve(self, stores: Stores) -> Any:
        return await stores.foreign.claim(account_of_session(), RECOVERY)

    def state(self) -> tuple[list[bool], list[str], list[bool]]:
        """Whether the outcome is finished, if there is one; the jobs; the session."""
        return (
            self.stored("SELECT finished FROM outcomes"),
            self.stored("SELECT job_id FROM jobs"),
            self.stored("SELECT finished FROM uia_sessions"),
        )

    def test_settledTwice(self) -> None:
        """Two that settle: one does it, and its jobs are stored once."""
        for meeting in self.meetings(self.before, self.settle, self.settle):
            self.assertEqual({meeting.first, meeting.second}, {True, False}, meeting)
            self.assertEqual(self.state(), ([True], ["greeting"], [True]), meeting)

    def test_settledAndWithdrawn(self) -> None:
        """An account that was made is settled, whatever others have thought of it."""
        for first, second in ((self.settle, self.withdraw), (self.withdraw, self.settle)):
            for meeting in self.meetings(self.before, first, second):
                self.assertIn(True, (meeting.first, meeting.second), meeting)
                self.assertEqual(self.state(), ([True], ["greeting"], [True]), meeting)

    def test_reservedWhileWithdrawn(self) -> None:
        """A key that is asked for again while it is given up has its recovery job, or neither
        record nor job."""
        for first, second in ((self.reserve, self.withdraw), (self.withdraw, self.reserve)):
            for meeting in self.meetings(self.before, first, second):
                finished, jobs, _ = self.state()
                self.assertIn((finished, jobs), (([], []), ([False], ["recovery"])), meeting)


class JobRaces(RaceCase):
    async def before(self, stores: Stores) -> None:
        names = [f"job{number}" for number in range(6)]
        await stores.jobs.add([NewJob(kind="greet", job_id=name) for name in names], NOW_MS)

    def test_claimed(self) -> None:
        """Two that claim at once share what there is, and neither waits for the other."""

        async def claim(stores: Stores) -> list[str]:
            return [job.job_id for job in await stores.jobs.claim({"greet": 3}, NOW_MS, 1000)]

        for meeting in self.meetings(self.before, claim, claim):
            self.assertEqual(len({*meeting.first, *meeting.second}), 6, meeting)
