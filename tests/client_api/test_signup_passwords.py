"""When the password of a registration is hashed, which one counts, and which are refused."""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.defer import Deferred, fail

from regsys.client_api import session_passwords
from regsys.errors import PasswordNeededAgain, Unavailable
from regsys.storage.sessions import SessionStore
from tests.support.case import DUMMY, PASSWORD, UIASessionCase
from tests.support.client import V3, Answer

FIRST, SECOND = "first password", "second password"


class HashingCase(UIASessionCase):
    """Hashes are made when the test says so. ``started`` counts those begun."""

    def setUp(self) -> None:
        self.started = 0
        self.waiting: list[Callable[[], None]] = []
        super().setUp()

    def system(self, **options: Any) -> None:
        super().system(**{"run": self.run_later, **options})

    def run_later(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.started += 1
        self.waiting.append(lambda: done.callback(function(*args)))
        return done

    def hash_all(self) -> None:
        """Let all waiting hashes be made, and the requests that wait for them go on."""
        self.clock.advance(0)
        while self.waiting:
            self.waiting.pop(0)()

    def look(self) -> None:
        """Let enough time pass for a process to look once for the hash of another."""
        self.clock.advance(session_passwords.POLL_S)

    def complete(self, session: str, **body: Any) -> Deferred[Answer]:
        """Start the last request of a session."""
        return self.client.start(
            "POST", f"{V3}/register", {"auth": {"session": session, **DUMMY}, **body}
        )

    def take(self, name: str) -> None:
        """Let another user register this name."""
        body = {"username": name, "password": PASSWORD, "auth": DUMMY}
        answer = self.client.start("POST", f"{V3}/register", body)
        self.hash_all()
        self.assertRegistered(self.client.answer(answer), name)

    def logs_in(self, password: str, name: str = "alice") -> bool:
        answer = self.client.start(
            "POST",
            f"{V3}/login",
            {"type": "m.login.password", "user": name, "password": password},
        )
        self.hash_all()
        return self.client.answer(answer).status == 200

    def fill_queue(self, waiting: int) -> None:
        """Let this many hashes wait, behind the one that is being made."""
        for number in range(waiting + 1):
            self.client.start(
                "POST",
                f"{V3}/register",
                {"username": f"crowd{number}", "password": PASSWORD, "auth": DUMMY},
            )


class OneHashTests(HashingCase):
    def test_afterTheAnswer(self) -> None:
        """A challenge is answered first; then the password is hashed and kept."""
        session = self.begin()
        self.assertEqual(self.started, 0)
        self.hash_all()
        self.assertEqual(self.started, 1)
        answer = self.client.answer(self.complete(session))
        self.assertRegistered(answer, "alice")
        self.assertEqual(self.started, 1)
        self.assertTrue(self.logs_in(PASSWORD))

    def test_samePasswordAgain(self) -> None:
        """A password that is sent again in its session is not hashed again, neither while the first
        hash runs nor later."""
        session = self.begin()
        self.clock.advance(0)
        again = {"username": "alice", "password": PASSWORD}
        follow_up = self.client.start(
            "POST", f"{V3}/register", {"auth": {"session": session}, **again}
        )
        self.hash_all()
        self.assertEqual(self.client.answer(follow_up).status, 401)
        self.assertRegistered(self.go_on(session, **again), "alice")
        self.assertEqual(self.started, 1)

    def test_lastRequestWaits(self) -> None:
        """A completion without a password waits for the hash that is being made."""
        session = self.begin()
        self.clock.advance(0)
        last = self.complete(session)
        self.assertNoResult(last)
        self.hash_all()
        self.assertRegistered(self.client.answer(last), "alice")
        self.assertTrue(self.logs_in(PASSWORD))

    def test_restart(self) -> None:
        """The hash is kept with the session, so a completion after a restart makes none."""
        session = self.begin()
        self.hash_all()
        self.system(database=self.database)
        self.assertRegistered(self.go_on(session), "alice")
        self.assertEqual(self.started, 1)

    def test_refusedAtTheEnd(self) -> None:
        """If the last request is refused, its password is kept all the same."""
        self.system(inhibit_user_in_use_error=True)
        self.take("bob")
        session = self.challenge(username="bob")["session"]
        answer = self.complete(session, username="bob", password=SECOND)
        self.hash_all()
        self.assertRefused(self.client.answer(answer), 400, "M_USER_IN_USE")
        self.hash_all()
        self.assertRegistered(self.go_on(session, username="carol"), "carol")
        self.assertTrue(self.logs_in(SECOND, "carol"))


class LaterPasswordTests(HashingCase):
    def begin_with(self, password: str) -> str:
        session = self.challenge(username="alice", password=password)["session"]
        assert isinstance(session, str)
        return session

    def assertPassword(self, last: Deferred[Answer], password: str) -> None:
        self.hash_all()
        self.assertRegistered(self.client.answer(last), "alice")
        self.assertTrue(self.logs_in(password))
        for other in {FIRST, SECOND} - {password}:
            self.assertFalse(self.logs_in(other))

    def test_inTheLastRequest(self) -> None:
        """The password of the last request counts, not an earlier one."""
        session = self.begin_with(FIRST)
        self.hash_all()
        last = self.complete(session, username="alice", password=SECOND)
        self.assertPassword(last, SECOND)

    def test_onTheWay(self) -> None:
        """The password of a later request counts, also if it is still being hashed when the last
        request comes."""
        for ready in (True, False):
            self.system()
            session = self.begin_with(FIRST)
            self.hash_all()
            self.go_on(session, {}, username="alice", password=SECOND)
            if ready:
                self.hash_all()
            self.clock.advance(0)
            self.assertPassword(self.complete(session), SECOND)

    def test_onTheWayWithoutRoom(self) -> None:
        """If there is no room to hash the later password ahead, it waits for room, and the earlier
        one is forgotten already."""
        session = self.begin_with(FIRST)
        self.hash_all()
        self.fill_queue(16)
        self.go_on(session, {}, username="alice", password=SECOND)
        last = self.complete(session)
        self.assertNoResult(last)
        self.assertPassword(last, SECOND)

    def test_onTheWayInAnotherProcess(self) -> None:
        """A process that gets the last request waits for the hash that another process makes of the
        later password."""
        session = self.begin_with(FIRST)
        self.hash_all()
        self.go_on(session, {}, username="alice", password=SECOND)
        self.system(database=self.database)
        last = self.complete(session)
        self.look()
        self.assertNoResult(last)
        self.hash_all()
        self.look()
        self.assertPassword(last, SECOND)

    def test_slowerProcess(self) -> None:
        """Of two processes that hash, the later password counts, not the slower process."""
        session = self.begin_with(FIRST)
        self.clock.advance(0)
        (of_first,) = self.waiting
        self.waiting.clear()
        self.system(database=self.database)
        self.go_on(session, {}, username="alice", password=SECOND)
        self.hash_all()
        of_first()
        self.assertPassword(self.complete(session), SECOND)

    def test_emptyPassword(self) -> None:
        """An empty password counts as none: it is asked for, or the earlier one is used."""
        session = self.challenge(username="alice", password="")["session"]
        self.assertRefused(self.go_on(session), 400, "M_MISSING_PARAM")
        session = self.begin_with(FIRST)
        self.hash_all()
        last = self.complete(session, username="alice", password="")
        self.assertPassword(last, FIRST)


class QueueTests(HashingCase):
    def test_halfFull(self) -> None:
        """While the queue is half full, challenges leave hashing for later: their passwords wait,
        and so do the last requests, in the order of their arrival."""
        self.fill_queue(16)
        sessions = [self.begin(f"user{number}") for number in range(20)]
        self.clock.advance(0)
        self.assertEqual(self.started, 1)
        last = [self.complete(session) for session in sessions]
        self.hash_all()
        for number, answer in enumerate(last):
            self.assertRegistered(self.client.answer(answer), f"user{number}")
        self.assertEqual(self.started, 17 + 20)

    def test_lessThanHalfFull(self) -> None:
        """Below that they hash ahead."""
        self.fill_queue(15)
        session = self.begin()
        self.hash_all()
        self.assertRegistered(self.go_on(session), "alice")

    def test_full(self) -> None:
        """A full queue answers 429 at once; the session lives, with its passed stages."""
        session = self.begin()
        self.fill_queue(32)
        answer = self.go_on(session, username="alice", password=PASSWORD)
        self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED")
        self.assertGreater(answer.json["retry_after_ms"], 0)
        self.hash_all()
        last = self.complete(session, username="alice", password=PASSWORD)
        self.hash_all()
        self.assertRegistered(self.client.answer(last), "alice")

    def test_refusedBeforeHashing(self) -> None:
        """A request that is refused for another reason costs no hash."""
        self.system(
            rc_registration={"per_second": 0.001, "burst_count": 2},
            server_notices={"system_mxid_localpart": "notices"},
            inhibit_user_in_use_error=True,
        )
        self.take("taken")
        self.assertEqual(self.started, 1)
        for name in ("taken", "notices", "ä", "123"):
            self.client.register(username=name, password=PASSWORD, auth=DUMMY)
        self.client.register(username="alice", password=PASSWORD, auth={"type": "none"})
        denying = self.hooks()
        denying.spam.register("test", lambda *args: "deny")
        self.system(hooks=denying, database=self.database)
        answer = self.client.register(username="alice", password=PASSWORD, auth=DUMMY)
        self.assertEqual(answer.status, 429)
        self.hash_all()
        self.assertEqual(self.started, 1)


class WaitingTests(HashingCase):
    """What the last request waits for, and when it gives up."""

    def assertAsked(self, answer: Answer) -> None:
        """The password is asked for once more; the answer does not say that it was missing."""
        self.assertRefused(answer, 400, "M_MISSING_PARAM")
        self.assertEqual(answer.json["error"], PasswordNeededAgain.sentence)

    def assertLives(self, session: str) -> None:
        """The session goes on once the password is sent again."""
        last = self.complete(session, username="alice", password=PASSWORD)
        self.hash_all()
        self.assertRegistered(self.client.answer(last), "alice")

    def test_neverSent(self) -> None:
        """A password that was never sent is missing, and not waited for."""
        session = self.challenge(username="alice")["session"]
        answer = self.go_on(session)
        self.assertRefused(answer, 400, "M_MISSING_PARAM")
        self.assertIn("missing", answer.json["error"])

    def test_deadProcess(self) -> None:
        """A process that died before it hashed is waited for for ten seconds, and not at all once
        its lease has ended."""
        session = self.begin()
        self.waiting.clear()
        self.system(database=self.database)
        last = self.complete(session)
        self.clock.pump([session_passwords.POLL_S] * int(9.5 / session_passwords.POLL_S))
        self.assertNoResult(last)
        self.clock.pump([session_passwords.POLL_S] * 5)
        self.assertAsked(self.client.answer(last))
        self.clock.advance(session_passwords.LEASE_MS / 1000)
        self.assertAsked(self.client.answer(self.complete(session)))
        self.assertLives(session)

    def test_failingThread(self) -> None:
        """A hash that fails is not waited for; the failure is logged."""
        self.system(run=lambda *args: fail(MemoryError()))
        session = self.begin()
        self.clock.advance(0)
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)
        self.assertAsked(self.go_on(session))
        self.system(database=self.database)
        self.assertLives(session)

    def test_slowHash(self) -> None:
        """A slow hash of this process is waited for for ten seconds as well; it is kept when it is
        made."""
        session = self.begin()
        self.clock.advance(0)
        last = self.complete(session)
        self.clock.advance(session_passwords.MOST_WAIT_S)
        self.assertAsked(self.client.answer(last))
        self.hash_all()
        self.assertRegistered(self.go_on(session), "alice")

    def test_followUpsDoNotWait(self) -> None:
        """A request that does not complete the session is answered while the hash is made."""
        session = self.begin()
        self.clock.advance(0)
        self.assertEqual(self.go_on(session, {}).status, 401)
        self.assertEqual(self.started, 1)

    def test_finishedMeanwhile(self) -> None:
        """If another process finishes the session meanwhile, its answer is the answer."""
        session = self.begin()
        here, clock = self.client, self.clock
        self.system(database=self.database)
        last = self.complete(session)
        ours, self.client = self.client, here
        with_password = self.complete(session, username="alice", password=SECOND)
        self.hash_all()
        made = self.client.answer(with_password)
        self.client = ours
        clock.advance(session_passwords.POLL_S)
        self.assertEqual(self.client.answer(last).json, made.json)

    def test_lineIsFull(self) -> None:
        """Passwords beyond the bound of the queue are not kept: their clients are told at once."""
        self.patch(session_passwords, "MOST_QUEUED", 2)
        self.fill_queue(16)
        kept = [self.begin("user1"), self.begin("user2")]
        session = self.begin()
        self.assertAsked(self.go_on(session))
        self.hash_all()
        for number, other in enumerate(kept, 1):
            self.assertRegistered(self.go_on(other), f"user{number}")
        self.assertLives(session)

    def test_longLine(self) -> None:
        """A password that has waited for longer than its lease is hashed all the same, unless
        others need its place."""
        self.patch(session_passwords, "MOST_QUEUED", 2)
        for others in (1, 2):
            self.system()
            self.fill_queue(16)
            session = self.begin()
            self.clock.advance(session_passwords.LEASE_MS / 1000)
            for number in range(others):
                self.begin(f"user{number}")
            self.hash_all()
            answer = self.go_on(session)
            if others == 1:
                self.assertRegistered(answer, "alice")
            else:
                self.assertAsked(answer)

    def test_databaseAway(self) -> None:
        """A hash that can't be kept yet is kept when the database is back; meanwhile this process
        remembers it."""
        for here in (False, True):
            self.system()
            self.keep_late(here)

    def keep_late(self, here: bool) -> None:
        session = self.begin()
        self.clock.advance(0)
        keep, tries = SessionStore.keep_hash, []

        async def away(self: Any, *args: Any) -> None:
            tries.append(args)
            if len(tries) < 3:
                raise Unavailable()
            await keep(self, *args)

        patched = self.patch(SessionStore, "keep_hash", away)
        self.hash_all()
        if here:
            self.assertRegistered(self.go_on(session), "alice")
        self.clock.pump([session_passwords.RETRY_S] * 2)
        self.assertEqual(len(tries), 3)
        patched.restore()
        self.system(database=self.database)
        self.assertRegistered(self.go_on(session), "alice")


class StopTests(HashingCase):
    def test_stopWaits(self) -> None:
        """A stop waits for all promised hashes, including those in the queue."""
        self.fill_queue(16)
        session = self.begin()
        stopped = Deferred.fromCoroutine(self.subsystem.stop())
        self.clock.advance(0)
        self.assertNoResult(stopped)
        self.hash_all()
        self.successResultOf(stopped)
        self.system(database=self.database)
        self.assertRegistered(self.go_on(session), "alice")

    def test_givenUp(self) -> None:
        """If a process can't wait any longer, it gives its hashes up, so that no other process
        waits for them, and clients that wait here are told to retry."""
        self.fill_queue(16)
        session, other = self.begin(), self.begin("bob")
        self.clock.advance(0)
        last = self.complete(session)
        stopped = Deferred.fromCoroutine(self.subsystem.stop())
        self.subsystem.hurry()
        self.assertRefused(self.client.answer(last), 400, "M_MISSING_PARAM")
        self.successResultOf(stopped)
        self.system(database=self.database)
        for given_up in (session, other):
            self.assertRefused(self.go_on(given_up), 400, "M_MISSING_PARAM")

    def test_anotherProcessIsWaitedFor(self) -> None:
        """A client that waits here for a hash of another process is told to retry: it may go on at
        that process."""
        session = self.begin()
        self.system(database=self.database)
        last = self.complete(session)
        self.subsystem.hurry()
        self.look()
        answer = self.client.answer(last)
        self.assertRefused(answer, 503, "M_UNKNOWN")
        self.assertIn("retry-after", answer.headers)

    def test_everybodyIsAnswered(self) -> None:
        """If a stop can't wait any longer, clients that wait for a hash are told to retry, and
        nothing is made; the session lives."""
        begun = self.begin()
        self.hash_all()
        body = {"username": "alice", "password": SECOND}
        waiting = [self.complete(begun, **body)]
        for number in range(3):
            one = {"username": f"user{number}", "password": PASSWORD, "auth": DUMMY}
            waiting.append(self.client.start("POST", f"{V3}/register", one))
        login = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
        waiting.append(self.client.start("POST", f"{V3}/login", login))
        self.subsystem.hurry()
        for started in waiting:
            answer = self.client.answer(started)
            self.assertRefused(answer, 503, "M_UNKNOWN")
            self.assertIn("retry-after", answer.headers)
        self.hash_all()
        self.assertEqual(self.counts()["users"], 0)
        self.system(database=self.database)
        last = self.complete(begun, **body)
        self.hash_all()
        self.assertRegistered(self.client.answer(last), "alice")


class PolicyTests(UIASessionCase):
    def test_order(self) -> None:
        """Length, digit, symbol, capital, small letter: the first that is missing is reported, in
        each request with a password, and before any stage."""
        flags = ("require_digit", "require_symbol", "require_uppercase", "require_lowercase")
        policy = {"enabled": True, "minimum_length": 5, **dict.fromkeys(flags, True)}
        self.system(password_config={"policy": policy})
        session = self.challenge(username="alice")["session"]
        for password, errcode in (
            ("    ", "M_PASSWORD_TOO_SHORT"),
            ("abcde", "M_PASSWORD_NO_DIGIT"),
            ("abcd1", "M_PASSWORD_NO_SYMBOL"),
            ("abc1!", "M_PASSWORD_NO_UPPERCASE"),
            ("ABC1!", "M_PASSWORD_NO_LOWERCASE"),
        ):
            for body in (
                {},
                {"auth": DUMMY},
                {"auth": {"session": session, **DUMMY}},
                {"auth": {"session": session}},
            ):
                answer = self.client.register(username="alice", password=password, **body)
                self.assertRefused(answer, 400, errcode, (password, body))
        self.assertRegistered(self.go_on(session, username="alice", password="aBc1!"), "alice")
