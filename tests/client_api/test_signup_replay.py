"""A finished session replays its answer, however often it is asked, until its window closes."""

from __future__ import annotations

import functools
from typing import Any, Callable, Optional

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from regsys.model import UserID
from tests.support.case import DUMMY, PASSWORD, UIASessionCase
from tests.support.client import V3, Answer

MINUTE_S = 60


class ReplayTests(UIASessionCase):
    def finish(self, session: str, **body: Any) -> Any:
        answer = self.go_on(session, **body)
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    def test_sameAnswer(self) -> None:
        """A repeated request gets the same user, device and token, and makes nothing."""
        session = self.begin()
        body = {"username": "alice", "password": PASSWORD, "refresh_token": True}
        first = self.finish(session, **body)
        made = self.counts()
        self.assertEqual(self.finish(session, **body), first)
        self.assertEqual(self.finish(session), first)
        self.assertEqual(self.finish(session, username="ALICE"), first)
        self.assertEqual(self.finish(session, inhibit_login=True), first)
        self.assertEqual(self.go_on(session, {}).json, first)
        self.assertEqual(self.counts(), made)
        self.assertEqual(self.whoami(first["access_token"]).status, 200)

    def test_drawnName(self) -> None:
        """The same holds if no name was asked for: no second number is drawn."""
        session = self.challenge(password=PASSWORD)["session"]
        first = self.finish(session)
        self.assertEqual(self.finish(session), first)
        self.assertEqual(self.counts()["users"], 1)

    def test_withoutLogin(self) -> None:
        """A registration without a login gets none by a replay."""
        session = self.begin(inhibit_login=True)
        first = self.finish(session)
        self.assertEqual(first, {"user_id": "@alice:test.example", "home_server": "test.example"})
        self.assertEqual(self.finish(session, username="alice", password=PASSWORD), first)
        self.assertEqual(self.counts()["devices"], 0)

    def test_anotherName(self) -> None:
        """A finished session registers no other name."""
        session = self.begin()
        self.finish(session)
        answer = self.go_on(session, username="bob", password=PASSWORD)
        self.assertRefused(answer, 400, "M_UNKNOWN")
        self.assertEqual(self.counts()["users"], 1)

    def test_window(self) -> None:
        """Ten minutes after its end, or the configured time, a session is gone."""
        for options, minutes in (({}, 10), ({"regsys": {"replay_window": "3m"}}, 3)):
            self.system(**options)
            session = self.begin()
            self.clock.advance(47 * 60 * MINUTE_S)
            self.finish(session)
            self.clock.advance(minutes * MINUTE_S - 0.001)
            self.finish(session)
            self.clock.advance(0.001)
            self.assertRefused(self.go_on(session), 400, "M_UNKNOWN", options)

    def test_restart(self) -> None:
        """The answer is replayed after a restart too, token included."""
        session = self.begin()
        first = self.finish(session)
        self.system(database=self.database)
        self.assertEqual(self.finish(session), first)

    def test_laterLogin(self) -> None:
        """A replay does not affect a later login of the device."""
        session = self.begin(device_id="PHONE")
        first = self.finish(session)
        login = self.client.post(
            f"{V3}/login",
            {
                "type": "m.login.password",
                "user": "alice",
                "password": PASSWORD,
                "device_id": "PHONE",
            },
        )
        self.assertEqual(self.finish(session), first)
        self.assertRefused(self.whoami(first["access_token"]), 401, "M_UNKNOWN_TOKEN")
        self.assertEqual(self.whoami(login.json["access_token"]).status, 200)

    def test_loggedOut(self) -> None:
        """With the device that it has made a session is gone, however the device was logged out,
        and whoever logs in as this device afterwards; other devices and users are not affected."""
        for name, ways_out in (
            ("alice", lambda token: self.client.post(f"{V3}/logout", token=token)),
            ("bob", lambda token: self.client.post(f"{V3}/logout/all", token=token)),
            ("carl", lambda token: self.wait(self.deactivate("carl"))),
        ):
            sessions = {who: self.begin(who, device_id="PHONE") for who in (name, f"not.{name}")}
            first = {who: self.finish(session) for who, session in sessions.items()}
            other = self.log_in(name, "LAPTOP")
            self.client.post(f"{V3}/logout", token=other)
            self.assertEqual(self.finish(sessions[name]), first[name])
            ways_out(first[name]["access_token"])
            self.assertRefused(self.go_on(sessions[name]), 400, "M_UNKNOWN", name)
            if name != "carl":
                self.log_in(name, "PHONE")
            again = self.go_on(sessions[name], username=name, password=PASSWORD)
            self.assertRefused(again, 400, "M_UNKNOWN", name)
            other = f"not.{name}"
            self.assertEqual(self.finish(sessions[other]), first[other])

    def log_in(self, user: str, device_id: str) -> str:
        body = {"type": "m.login.password", "user": user, "password": PASSWORD}
        answer = self.client.post(f"{V3}/login", {**body, "device_id": device_id})
        token: str = answer.json["access_token"]
        return token

    async def deactivate(self, user: str) -> None:
        await self.subsystem.handler.deactivated(UserID(user, "test.example"))

    def test_lifetimeFromNowOn(self) -> None:
        """``expires_in_ms`` counts from each answer, and is never negative, whichever way the clock
        jumps."""
        year_s = 365 * 24 * 60 * MINUTE_S
        self.system(
            seconds=Clock().seconds,
            nonrefreshable_access_token_lifetime="5m",
            regsys={"replay_window": "100y"},
        )
        session = self.begin()
        self.assertEqual(self.finish(session)["expires_in_ms"], 5 * MINUTE_S * 1000)
        for jump_s, expected_s in (
            (MINUTE_S, 4 * MINUTE_S),
            (-60 * MINUTE_S, 64 * MINUTE_S),
            (60 * MINUTE_S, 4 * MINUTE_S),
            (10 * year_s, 0),
        ):
            self.clock.advance(jump_s)
            self.assertEqual(self.finish(session)["expires_in_ms"], expected_s * 1000)

    def test_limit(self) -> None:
        """A session counts once against the limit, however often it is replayed."""
        self.system(rc_registration={"per_second": 0.001, "burst_count": 2})
        session = self.begin()
        for _ in range(5):
            self.finish(session)
        self.register("bob")
        self.assertRefused(self.client.register(), 429, "M_LIMIT_EXCEEDED")

    def test_sixteenAtOnce(self) -> None:
        """Sixteen completions of one session make one account and get one answer, with a name and
        without."""
        for name in ({"username": "alice"}, {}):
            waiting: list[Any] = []

            def slowly(function: Any, *args: Any, waiting: list[Any] = waiting) -> Deferred[Any]:
                done: Deferred[Any] = Deferred()
                waiting.append(lambda: done.callback(function(*args)))
                return done

            self.system(run=slowly)
            session = self.challenge(**name)["session"]
            body = {"auth": {"session": session, **DUMMY}, "password": PASSWORD, **name}
            answers: list[Deferred[Answer]] = [
                self.client.start("POST", f"{V3}/register", body) for _ in range(16)
            ]
            self.assertEqual(len(waiting), 1)
            waiting.pop()()
            got = [self.client.answer(answer) for answer in answers]
            self.assertEqual({answer.status for answer in got}, {200}, got)
            self.assertEqual(len({repr(answer.json) for answer in got}), 1)
            self.assertEqual(self.counts()["users"], 1)

    def race(self, names: Any, other_names: Any) -> tuple[Answer, Answer]:
        """Finish a session in this process, which read it just before another one finished it; both
        answers. The names are those of the two requests."""
        self.system()
        session = self.challenge(password=PASSWORD)["session"]
        body = {"auth": {"session": session, **DUMMY}, "password": PASSWORD}
        other = functools.partial(self.client.register, **body, **other_names)
        database = Slow(self.database, other)
        self.system(database=database)
        answer = self.client.register(**body, **names)
        self.assertEqual(self.counts()["users"], 1)
        return answer, database.answer

    def test_otherProcess(self) -> None:
        """A process that read the session just before another one finished it gives the other
        process's answer."""
        for names in ({"username": "alice"}, {}):
            answer, other = self.race(names, names)
            self.assertEqual((answer.status, other.status), (200, 200), answer)
            self.assertEqual(answer.json, other.json)

    def test_otherProcessWithAnotherName(self) -> None:
        """But a request for another name than the session's does not get that account."""
        for other_names in ({"username": "bob"}, {}):
            answer, other = self.race({"username": "alice"}, other_names)
            self.assertEqual(other.status, 200)
            self.assertRefused(answer, 400, "M_UNKNOWN")


class Slow:
    """A database that is so slow with a session that ``meanwhile`` happens; its ``answer``."""

    def __init__(self, database: Any, meanwhile: Callable[[], Answer]) -> None:
        self._database = database
        self._meanwhile: Optional[Callable[[], Answer]] = meanwhile
        self.answer: Any = None

    async def autocommit(self, name: str, *args: Any) -> Any:
        found = await self._database.autocommit(name, *args)
        if name == "get_session" and self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            self.answer = meanwhile()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)
