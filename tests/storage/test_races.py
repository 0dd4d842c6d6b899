"""Two calls on the same rows, on PostgreSQL, in every order of their statements."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Iterator, Optional, Sequence

from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import InvalidRegistrationToken, ThreepidInUse, UnknownToken, UsernameTaken
from regsys.model import NewAccount, NewDevice, Threepid
from regsys.model.accounts import NewPassword, Outcome, password_fingerprint
from regsys.model.jobs import NewJob
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.testing.contracts.case import NOW_MS, account, login, upgrade, user
from tests.support.interleaving import Interleaving, PairResult, Step
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
    return lambda stores: stores.users.write(new)


async def nothing(stores: Stores) -> None:
    return


async def one_use(stores: Stores) -> None:
    """A registration token that is valid for one account."""
    sql = (
        "INSERT INTO registration_tokens (token, uses_allowed, completed, revoked, created_ms)"
        " VALUES ('welcome', 1, 0, FALSE, 0)"
    )
    await stores.db.transaction("test", lambda txn: txn.run(sql))


class RaceCase(SynchronousTestCase):
    """``beside``: invariants that do not apply here. ``isolation``: see Interleaving."""

    beside: ClassVar[Sequence[str]] = ()
    isolation: ClassVar[Optional[str]] = None

    def setUp(self) -> None:
        self.races = Interleaving(self, self.isolation)

    def pair_results(self, before: Step, first: Step, second: Step) -> Iterator[PairResult]:
        """After each pair the tables must be consistent, and neither call was retried."""
        for pair_result in self.races.each(before, first, second):
            self.assertLessEqual(set(pair_result.broken), set(self.beside), pair_result)
            self.assertFalse(pair_result.retried, pair_result)
            yield pair_result

    def stored(self, sql: str) -> list[Any]:
        cursor = self.races.cursor()
        cursor.execute(sql)
        return sorted(value for (value,) in cursor.fetchall())

    def assertOneLoses(self, pair_result: PairResult, error: type[Exception]) -> None:
        """One of the two makes an account, the other is refused with this error."""
        kinds = sorted(type(ended).__name__ for ended in (pair_result.first, pair_result.second))
        self.assertEqual(kinds, sorted(["Outcome", error.__name__]), pair_result)


class AccountRaces(RaceCase):
    def test_name(self) -> None:
        """Of two registrations for one name one gets it."""
        first, second = account("1", "alice"), account("2", "ALICE")
        for pair_result in self.pair_results(nothing, create(first), create(second)):
            self.assertOneLoses(pair_result, UsernameTaken)

    def test_key(self) -> None:
        """Two calls with one key make one account and have one answer."""
        first, second = (account("key", name, device=pair(name)) for name in ("alice", "bob"))
        for pair_result in self.pair_results(nothing, create(first), create(second)):
            outcomes = (pair_result.first, pair_result.second)
            self.assertEqual({type(outcome) for outcome in outcomes}, {Outcome}, pair_result)
            self.assertEqual(len({outcome.user_id for outcome in outcomes}), 1, pair_result)
            self.assertEqual(sum(outcome.replayed for outcome in outcomes), 1, pair_result)

    def test_upgrade(self) -> None:
        """Of two upgrades of one guest one succeeds."""
        guest = create(account("guest", "1", is_guest=True))
        first, second = (upgrade(key, "1", password_hash="x", device=pair(key)) for key in "ab")
        for pair_result in self.pair_results(guest, create(first), create(second)):
            self.assertOneLoses(pair_result, UnknownToken)

    def test_lastUse(self) -> None:
        """Of two registrations for the last use of a registration token one gets it."""
        first, second = (account(name, name, registration_token="welcome") for name in "ab")
        for pair_result in self.pair_results(one_use, create(first), create(second)):
            self.assertOneLoses(pair_result, InvalidRegistrationToken)

    def test_lastUseReserved(self) -> None:
        """Of two sessions that reserve the last use one does, and can use it."""

        async def before(stores: Stores) -> None:
            await one_use(stores)
            for name in "ab":
                await stores.sessions.add(session(name), 10)

        def reserve(session_id: str) -> Step:
            return lambda stores: RegistrationTokenStore(stores.db).reserve(
                "welcome", session_id, NOW_MS
            )

        for pair_result in self.pair_results(before, reserve("a"), reserve("b")):
            self.assertEqual({pair_result.first, pair_result.second}, {True, False}, pair_result)

    def test_threepids(self) -> None:
        """Of two registrations with the same addresses, in either order, one gets both."""
        first = account("1", "alice", threepids=(EMAIL, PHONE))
        second = account("2", "bob", threepids=(PHONE, EMAIL))
        for pair_result in self.pair_results(nothing, create(first), create(second)):
            self.assertOneLoses(pair_result, ThreepidInUse)

    def test_firstRealUser(self) -> None:
        """Of two first users both are made, and one of them is the first."""
        first, second = account("1", "alice"), account("2", "bob")
        for pair_result in self.pair_results(nothing, create(first), create(second)):
            self.assertIsInstance(pair_result.first, Outcome, pair_result)
            self.assertIsInstance(pair_result.second, Outcome, pair_result)


class StricterAccountRaces(AccountRaces):
    """In a database whose transactions have another default isolation level."""

    isolation = "repeatable read"


class SessionRaces(RaceCase):
    async def before(self, stores: Stores) -> None:
        await stores.sessions.add(session("key"), 1)

    def finished(self) -> Step:
        new = account("key", session_id="key", session_until_ms=END_MS, device=pair("a"))
        return create(new)

    def test_finishedWhileSaved(self) -> None:
        """A session is finished, whatever is saved to it or hashed for it meanwhile."""

        async def save(stores: Stores) -> None:
            await stores.sessions.save("key", CLIENT, {"a": 1}, {"stage": True})
            await stores.sessions.keep_hash("key", "mark", "hash")

        for pair_result in self.pair_results(self.before, self.finished(), save):
            self.assertIsNone(pair_result.second, pair_result)
            self.assertEqual(self.stored("SELECT finished FROM uia_sessions"), [True])

    def test_savedTwice(self) -> None:
        """After two concurrent saves the session has both results."""

        def save(stage: str) -> Step:
            return lambda stores: stores.sessions.save("key", CLIENT, None, {stage: True})

        for _ in self.pair_results(self.before, save("one"), save("two")):
            (results,) = self.stored("SELECT results FROM uia_sessions")
            self.assertEqual(json.loads(results), {"one": True, "two": True})

    def test_finishedWhileItExpires(self) -> None:
        """The account is made although its session expires at the same moment."""

        async def expire(stores: Stores) -> int:
            return await stores.sessions.delete_expired(LATER_MS, 10)

        for pair_result in self.pair_results(self.before, self.finished(), expire):
            self.assertIsInstance(pair_result.first, Outcome, pair_result)
            self.assertIn(pair_result.second, (0, 1), pair_result)

    def test_savedWhileItExpires(self) -> None:
        """A save to a session as it expires is not waited for: the session stays while it is being
        saved, and a later save is lost with it."""

        async def save(stores: Stores) -> None:
            await stores.sessions.save("key", CLIENT, None, {"stage": True})

        async def expire(stores: Stores) -> int:
            return await stores.sessions.delete_expired(LATER_MS, 10)

        removed = []
        for pair_result in self.pair_results(self.before, save, expire):
            self.assertIsNone(pair_result.first, pair_result)
            kept = self.stored("SELECT results FROM uia_sessions")
            self.assertEqual(kept, ['{"stage": true}'] * (1 - pair_result.second), pair_result)
            removed.append(pair_result.second)
        self.assertEqual(set(removed), {0, 1})


class PasswordRaces(RaceCase):
    """A password is changed while something else happens to its account."""

    OLD, NEW, OTHER = "$old", "$new", "$other"
    beside = ("an outcome with a login has its device and its tokens",)

    async def before(self, stores: Stores) -> None:
        await stores.users.write(account("key", password_hash=self.OLD, device=pair("first")))

    def change(self, password_hash: str, **more: Any) -> Step:
        confirmed = password_fingerprint(self.OLD)
        new = NewPassword(
            user_id=ALICE, password_hash=password_hash, confirmed_by=confirmed, **more
        )
        return lambda stores: stores.users.change_password(new)

    async def log_in(self, stores: Stores) -> None:
        """With the old password, at another device."""
        new = NewDevice(
            login=login("late", **{**TERMS, "device_id": "LATE"}),
            password_fingerprint=password_fingerprint(self.OLD),
        )
        await stores.devices.register(ALICE, new)

    async def deactivate(self, stores: Stores) -> None:
        await stores.users.deactivate(ALICE, False, (), NOW_MS)

    async def refresh(self, stores: Stores) -> bool:
        new = login("second", **TERMS)
        return await stores.devices.succeed(access_hash("first"), ALICE, new)

    def devices(self) -> list[Any]:
        return self.stored("SELECT device_id FROM devices")

    def test_login(self) -> None:
        """A login with the old password is refused, or ended by the change: it never survives."""
        ended = set()
        for first, second in (
            (self.change(self.NEW), self.log_in),
            (self.log_in, self.change(self.NEW)),
        ):
            for pair_result in self.pair_results(self.before, first, second):
                self.assertEqual(self.devices(), [], pair_result)
                ended.add(type(pair_result.second if first is not self.log_in else None).__name__)
        self.assertIn("LoginFailed", ended)

    def test_refresh(self) -> None:
        """No token of a device that is logged out survives, not even one just refreshed."""
        for pair_result in self.pair_results(self.before, self.change(self.NEW), self.refresh):
            self.assertEqual(self.stored("SELECT access_hash FROM logins"), [], pair_result)

    def test_twice(self) -> None:
        """Of two changes that the same password confirmed one counts."""
        for pair_result in self.pair_results(
            self.before, self.change(self.NEW), self.change(self.OTHER)
        ):
            kinds = sorted(
                type(ended).__name__ for ended in (pair_result.first, pair_result.second)
            )
            self.assertEqual(kinds, ["LoginFailed", "bool"], pair_result)
            expected = self.NEW if pair_result.first is True else self.OTHER
            self.assertEqual(self.stored("SELECT password_hash FROM users"), [expected])

    def test_oneSession(self) -> None:
        """Of two completions of one session one changes the password."""

        async def before(stores: Stores) -> None:
            await self.before(stores)
            await stores.sessions.add(session("s", user_id=ALICE), 10)

        more = {"session_id": "s", "session_until_ms": END_MS}
        for pair_result in self.pair_results(
            before, self.change(self.NEW, **more), self.change(self.OTHER, **more)
        ):
            ended = [pair_result.first, pair_result.second]
            self.assertEqual(sorted(ended), [False, True], pair_result)

    def test_deactivated(self) -> None:
        """A deactivated account has no password and no device, whatever comes first."""
        for first, second in (
            (self.change(self.NEW), self.deactivate),
            (self.deactivate, self.change(self.NEW)),
            (self.deactivate, self.log_in),
            (self.log_in, self.deactivate),
        ):
            for pair_result in self.pair_results(self.before, first, second):
                self.assertEqual(self.stored("SELECT password_hash FROM users"), [None])
                self.assertEqual(self.devices(), [], pair_result)


class TokenRaces(RaceCase):
    """Concurrent calls on one device; it may be logged out."""

    beside = ("an outcome with a login has its device and its tokens",)

    async def before(self, stores: Stores) -> None:
        await stores.users.write(account("key", device=pair("first")))
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
        for pair_result in self.pair_results(
            self.before, self.succeed("third"), self.succeed("fourth")
        ):
            self.assertEqual((pair_result.first, pair_result.second), (True, True), pair_result)
            self.assertIn(self.logins(), (["first", "third"], ["first", "fourth"]), pair_result)

    def test_refreshedWhileUsed(self) -> None:
        """A pair that is used while it is being replaced is either in use, and then nothing
        replaces it, or gone, and then nothing is spent."""
        for first, second in (
            (self.succeed("third"), self.confirm),
            (self.confirm, self.succeed("third")),
        ):
            for pair_result in self.pair_results(self.before, first, second):
                spent = self.stored("SELECT COUNT(*) FROM logins WHERE spent_ms IS NOT NULL")
                expected = {
                    True: (["first", "third"], [0]),
                    False: (["first", "second"], [1]),
                }[True in (pair_result.first, pair_result.second)]
                self.assertEqual((self.logins(), spent), expected, pair_result)

    def test_loggedInWhileRefreshed(self) -> None:
        """A device that logs in again loses its earlier pairs, and those that they turn into."""
        for first, second in (
            (self.log_in, self.succeed("third")),
            (self.succeed("third"), self.log_in),
        ):
            for pair_result in self.pair_results(self.before, first, second):
                self.assertEqual(self.logins(), ["anew"], pair_result)

    def test_loggedInTwice(self) -> None:
        """Of two logins of one device one is in force."""
        other: Step = lambda stores: stores.devices.register(ALICE, pair("third"))  # noqa: E731
        for pair_result in self.pair_results(self.before, self.log_in, other):
            self.assertIn(self.logins(), (["anew"], ["third"]), pair_result)

    def test_loggedOut(self) -> None:
        """A device that is logged out stays so, unless it logs in; no token outlives it."""
        for other in (self.succeed("third"), self.confirm):
            for first, second in ((self.log_out, other), (other, self.log_out)):
                for pair_result in self.pair_results(self.before, first, second):
                    self.assertEqual(self.logins(), [], pair_result)
        for first, second in ((self.log_out, self.log_in), (self.log_in, self.log_out)):
            for pair_result in self.pair_results(self.before, first, second):
                self.assertIn(self.logins(), ([], ["anew"]), pair_result)


class EmbeddedAccountRaces(RaceCase):
    """Our record of a key whose account a homeserver keeps."""

    beside = (
        "an outcome has its account",
        "an outcome is finished",
        "an outcome with a login has its device and its tokens",
        "a registration's session is finished exactly if it has made an account",
    )

    async def before(self, stores: Stores) -> None:
        await stores.sessions.add(session(expires_ms=LATER_MS), 1)
        await stores.embedded_accounts.claim(account_of_session(), RECOVERY)

    async def complete(self, stores: Stores) -> bool:
        """Whether this call was the one that completed the key."""
        return (
            await stores.embedded_accounts.complete(account_of_session(), RECOVERY.job_id)
            is not None
        )

    async def release(self, stores: Stores) -> None:
        await stores.embedded_accounts.release(account_of_session(), RECOVERY.job_id)

    async def reserve(self, stores: Stores) -> Any:
        return await stores.embedded_accounts.claim(account_of_session(), RECOVERY)

    def state(self) -> tuple[list[bool], list[str], list[bool]]:
        """Whether the outcome is finished, if there is one; the jobs; the session."""
        return (
            self.stored("SELECT finished FROM outcomes"),
            self.stored("SELECT job_id FROM jobs"),
            self.stored("SELECT finished FROM uia_sessions"),
        )

    def test_completedTwice(self) -> None:
        """Of two calls that complete a key one does it, and its jobs are stored once."""
        for pair_result in self.pair_results(self.before, self.complete, self.complete):
            self.assertEqual({pair_result.first, pair_result.second}, {True, False}, pair_result)
            self.assertEqual(self.state(), ([True], ["greeting"], [True]), pair_result)

    def test_completedAndReleased(self) -> None:
        """A key whose account was made is completed, although another call releases it."""
        for first, second in ((self.complete, self.release), (self.release, self.complete)):
            for pair_result in self.pair_results(self.before, first, second):
                self.assertIn(True, (pair_result.first, pair_result.second), pair_result)
                self.assertEqual(self.state(), ([True], ["greeting"], [True]), pair_result)

    def test_reservedWhileReleased(self) -> None:
        """A key that is claimed again while it is released has its recovery job, or neither record
        nor job."""
        for first, second in ((self.reserve, self.release), (self.release, self.reserve)):
            for pair_result in self.pair_results(self.before, first, second):
                finished, jobs, _ = self.state()
                self.assertIn((finished, jobs), (([], []), ([False], ["recovery"])), pair_result)


class JobRaces(RaceCase):
    async def before(self, stores: Stores) -> None:
        names = [f"job{number}" for number in range(6)]
        await stores.jobs.add([NewJob(kind="greet", job_id=name) for name in names], NOW_MS)

    def test_claimed(self) -> None:
        """Two concurrent claims share the jobs, and neither waits for the other."""

        async def claim(stores: Stores) -> list[str]:
            return [job.job_id for job in await stores.jobs.claim({"greet": 3}, NOW_MS, 1000)]

        for pair_result in self.pair_results(self.before, claim, claim):
            self.assertEqual(len({*pair_result.first, *pair_result.second}), 6, pair_result)
