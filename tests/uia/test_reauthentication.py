"""Reauthentication before an account endpoint acts; the endpoint is that of
docs/examples/confirming.py."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping, Optional

from twisted.internet.defer import Deferred

from regsys import http, wiring
from regsys.errors import UserDeactivated
from regsys.interfaces import IUserLookup
from regsys.model import Client as Caller
from regsys.model import Secret, UserID
from regsys.storage.users import UserStore
from regsys.testing import MemoryAccounts, MemoryAuth, MemoryDevices, config, memory_process
from regsys.uia.reauthentication import ReauthenticationRequest
from tests.support.case import PASSWORD, SystemCase
from tests.support.client import V3, Answer, Client
from tests.support.examples import confirming
from tests.support.question_stage import ANSWERED, QUESTION, QuestionStage

STAGE = "m.login.password"
DEACTIVATE = f"{V3}/account/deactivate"
R0 = "/_matrix/client/r0/account/deactivate"
HOUR_S = 3600
ALICE = {
    "type": STAGE,
    "identifier": {"type": "m.id.user", "user": "alice"},
    "password": PASSWORD,
}


class ConfirmationCase(SystemCase):
    """Alice and Mallory are logged in. ``done``: the users for whom the endpoint has acted."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.register("alice", device_id="PHONE")["access_token"]
        self.mallory = self.register("mallory", password="another one")["access_token"]

    def system(self, **options: Any) -> None:
        super().system(**options)
        self.done: list[str] = []
        self.client = self.serve()

    def serve(self) -> Client:
        endpoint = confirming.deactivation(self.subsystem, self.act)
        own = self.subsystem.resource(client_address=http.first_forwarded)
        return Client(self, http.resource([endpoint], otherwise=own))

    async def act(self, user_id: UserID) -> None:
        self.done.append(str(user_id))

    def ask(self, auth: Any = None, token: Optional[str] = None, path: str = DEACTIVATE) -> Answer:
        body = {} if auth is None else {"auth": auth}
        return self.client.post(path, body, token=token or self.alice)

    def begin(self, **more: Any) -> str:
        answer = self.ask(**more)
        self.assertEqual(answer.status, 401, answer)
        session = answer.json["session"]
        assert isinstance(session, str)
        return session

    def sessions(self) -> int:
        return self.counts()["uia_sessions"]


class UIASessionTests(ConfirmationCase):
    def test_confirmed(self) -> None:
        """A request is challenged, its password verified, and then it is carried out, once."""
        first = self.ask()
        self.assertEqual(first.status, 401)
        expected = {"flows": [{"stages": [STAGE]}], "params": {}}
        self.assertEqual({**expected, "session": first.json["session"]}, first.json)
        auth = {**ALICE, "session": first.json["session"]}
        self.assertEqual(self.ask(auth).status, 200)
        self.assertEqual(self.done, ["@alice:test.example"])
        self.assertRefused(self.ask(auth), 400, "M_UNKNOWN")
        self.assertEqual(self.sessions(), 0)
        self.assertEqual(self.ask().status, 401)
        self.assertEqual(len(self.done), 1)

    def test_inOneRequest(self) -> None:
        """A request with the password needs no session, and leaves none."""
        self.assertEqual(self.ask(ALICE).status, 200)
        self.assertEqual((len(self.done), self.sessions()), (1, 0))

    def test_waysToNameOneself(self) -> None:
        """The user is named as for /login: by localpart or full user ID, in any case, in the
        identifier or the old key."""
        for user in ("alice", "@alice:test.example", "ALICE", "@Alice:test.example"):
            for named in ({"identifier": {"type": "m.id.user", "user": user}}, {"user": user}):
                auth = {"type": STAGE, "password": PASSWORD, "session": self.begin(), **named}
                self.assertEqual(self.ask(auth).status, 200, named)

    def test_refused(self) -> None:
        """A mistake in the stage is reported with the flows; the session lives on."""
        session = self.begin()
        for change, errcode in (
            ({"password": "wrong"}, "M_FORBIDDEN"),
            ({"identifier": {"type": "m.id.user", "user": "bob"}}, "M_FORBIDDEN"),
            ({"identifier": {"type": "m.id.user", "user": "@alice:else"}}, "M_FORBIDDEN"),
            ({"identifier": {"type": "m.id.sign"}}, "M_INVALID_PARAM"),
            ({"identifier": {}}, "M_MISSING_PARAM"),
            ({"identifier": "alice"}, "M_INVALID_PARAM"),
            ({"password": 1}, "M_INVALID_PARAM"),
            ({"password": "x" * 513}, "M_INVALID_PARAM"),
        ):
            answer = self.ask({**ALICE, **change, "session": session})
            self.assertRefused(answer, 401, errcode, change)
            self.assertEqual((answer.json["session"], answer.json["completed"]), (session, []))
        answer = self.ask({"type": STAGE, "user": "alice", "session": session})
        self.assertRefused(answer, 401, "M_MISSING_PARAM")
        self.assertRefused(
            self.ask({"type": "m.login.dummy", "session": session}), 400, "M_UNRECOGNIZED"
        )
        self.assertEqual(self.done, [])
        self.assertEqual(self.ask({**ALICE, "session": session}).status, 200)

    def test_passwordIsKeptNowhere(self) -> None:
        """Neither a wrong password nor the right one gets into the session's row."""
        session = self.begin()
        self.ask({**ALICE, "password": "hunter2", "session": session})
        row = repr(self.rows("SELECT * FROM uia_sessions"))
        self.assertIn(session, row)
        self.assertNotIn("hunter2", row)

    def test_expired(self) -> None:
        """After 48 hours the session is unknown."""
        session = self.begin()
        self.clock.advance(48 * HOUR_S)
        self.assertRefused(self.ask({**ALICE, "session": session}), 400, "M_UNKNOWN")

    def test_deactivated(self) -> None:
        """The right password of a deactivated account is refused."""
        requester = self.wait(self.subsystem.auth.whose(Secret(self.alice)))
        self.change("UPDATE users SET deactivated = TRUE")
        request = ReauthenticationRequest(
            requester=requester,
            method="POST",
            uri=DEACTIVATE,
            body={"auth": ALICE},
            client=Caller("192.0.2.1"),
        )
        confirmation = self.subsystem.reauthentication
        assert confirmation is not None
        confirming_it = Deferred.fromCoroutine(confirmation.confirm(request))
        self.failureResultOf(confirming_it, UserDeactivated)


class AttackTests(ConfirmationCase):
    def test_anothersSession(self) -> None:
        """A session is valid for its user alone, even if another user knows its id or its user's
        password."""
        hers, his = self.begin(), self.begin(token=self.mallory)
        for session, token in ((hers, self.mallory), (his, self.alice)):
            self.assertRefused(self.ask({**ALICE, "session": session}, token), 403, "M_FORBIDDEN")
        answer = self.ask({**ALICE, "session": his}, self.mallory)
        self.assertRefused(answer, 401, "M_FORBIDDEN")
        self.assertEqual(self.done, [])

    def test_anotherRequest(self) -> None:
        """Nor is it valid for another URI, or for registering; nor a registration's session
        here."""
        session = self.begin()
        auth = {**ALICE, "session": session}
        for path in (R0, f"{DEACTIVATE}?x=1"):
            self.assertRefused(self.ask(auth, path=path), 403, "M_FORBIDDEN", path)
        answer = self.client.register(auth={"type": "m.login.dummy", "session": session})
        self.assertRefused(answer, 403, "M_FORBIDDEN")
        other = self.challenge(username="bob")["session"]
        self.assertRefused(self.ask({**ALICE, "session": other}), 403, "M_FORBIDDEN")

    def test_notForRegistering(self) -> None:
        """A session with the password stage cannot register."""
        answer = self.client.register(username="bob", password=PASSWORD, auth=ALICE)
        self.assertRefused(answer, 400, "M_UNRECOGNIZED")

    def test_guessing(self) -> None:
        """Guesses of passwords count against the limit of /login, one for both."""
        few = {"per_second": 0.01, "burst_count": 3}
        plenty = {"per_second": 1000, "burst_count": 1000}
        self.system(
            database=self.database,
            rc_login={"address": plenty, "account": plenty, "failed_attempts": few},
        )
        wrong = {**ALICE, "password": "wrong"}
        for _ in range(2):
            self.assertRefused(self.ask(wrong), 401, "M_FORBIDDEN")
        self.assertRefused(self.client.post(f"{V3}/login", wrong), 403, "M_FORBIDDEN")
        self.assertRefused(self.ask(ALICE), 429, "M_LIMIT_EXCEEDED")
        self.assertRefused(self.client.post(f"{V3}/login", ALICE), 429, "M_LIMIT_EXCEEDED")

    def test_onceAmongProcesses(self) -> None:
        """Of two processes that find the session complete at once, one acts."""
        session = self.begin()
        auth = {**ALICE, "session": session}
        other = self.client
        answers: list[Answer] = []
        self.system(database=Meanwhile(self.database, lambda: answers.append(self.post(other))))
        self.again = auth
        answers.append(self.ask(auth))
        self.assertEqual(sorted(answer.status for answer in answers), [200, 400])

    def post(self, client: Client) -> Answer:
        return client.post(DEACTIVATE, {"auth": self.again}, token=self.alice)


class Meanwhile:
    """A database on which something else happens between reading a session and removing it."""

    def __init__(self, database: Any, meanwhile: Any) -> None:
        self._database = database
        self._meanwhile = meanwhile

    async def autocommit(self, name: str, *args: Any) -> Any:
        if name == "remove_session" and self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return await self._database.autocommit(name, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


class TimeoutTests(ConfirmationCase):
    options: ClassVar[Mapping[str, Any]] = {"ui_auth": {"session_timeout": "10m"}}

    def test_notAskedAgain(self) -> None:
        """With ``ui_auth.session_timeout`` a device that has reauthenticated need not do so again
        for that time; every other device must, the user's own too."""
        self.assertEqual(self.ask(ALICE).status, 200)
        other = self.client.post(f"{V3}/login", {**ALICE, "device_id": "LAPTOP"}).json
        for _ in range(2):
            self.assertEqual(self.ask().status, 200)
            self.assertEqual(self.ask(path=R0).status, 200)
        for token in (self.mallory, other["access_token"]):
            self.assertEqual(self.ask(token=token).status, 401)
        self.clock.advance(599.999)
        self.assertEqual(self.ask().status, 200)
        self.clock.advance(0.001)
        self.assertEqual(self.ask().status, 401)

    def test_clockPutBack(self) -> None:
        """A reauthentication while the clock was wrong does not count until the time that it
        showed."""
        self.ask(ALICE)
        self.clock.rightNow -= 3600
        self.assertEqual(self.ask().status, 401)

    def test_forgotten(self) -> None:
        """An expired reauthentication is not kept in memory."""
        self.ask(ALICE)
        self.clock.advance(600)
        confirmation = self.subsystem.reauthentication
        assert confirmation is not None
        self.ask({"type": STAGE, "user": "mallory", "password": "another one"}, self.mallory)
        self.assertEqual(
            [str(user) for user, _ in confirmation._until_ms], ["@mallory:test.example"]
        )


class EmbeddedTests(SystemCase):
    def confirmation(
        self, options: Any = None, users: Optional[IUserLookup] = None, **hooks: Any
    ) -> Any:
        chosen = config(**(options or {}))
        accounts = MemoryAccounts()
        devices = MemoryDevices(accounts)
        subsystem = wiring.embedded(
            chosen,
            self.clock,
            store=accounts,
            devices=devices,
            auth=MemoryAuth(devices),
            users=users,
            process=memory_process(self, chosen, self.clock),
            hooks=self.hooks(**hooks),
        )
        return subsystem.reauthentication

    def test_stages(self) -> None:
        """An embedded subsystem has the stages for which there is a part: passwords, stages of its
        own, or nothing at all; ``password_config`` may forbid passwords."""
        users = UserStore(self.database)
        self.assertIsNone(self.confirmation())
        self.assertEqual(self.confirmation(users=users).flows, ((STAGE,),))
        question = {"stages": [QuestionStage()], "confirmation_flows": [(QUESTION,)]}
        self.assertEqual(self.confirmation(**question).flows, [(QUESTION,)])
        self.assertRaises(ValueError, self.confirmation, confirmation_flows=[(STAGE,)])
        for enabled, offered in ((False, False), ("only_for_reauth", True), (True, True)):
            options = {"password_config": {"enabled": enabled}}
            found = self.confirmation(options, users=users)
            self.assertIs(found is not None, offered, enabled)

    def test_ownStage(self) -> None:
        """A stage of the embedder's is passed like any other, beside the password."""
        flows = [(STAGE, QUESTION)]
        self.system(
            hooks=self.hooks(
                stages=[QuestionStage()], flows=[(QUESTION,)], confirmation_flows=flows
            )
        )
        token = self.register("alice", auth=ANSWERED)["access_token"]
        endpoint = confirming.deactivation(self.subsystem, self.nothing)
        client = Client(self, http.resource([endpoint]))
        answer = client.post(DEACTIVATE, {"auth": ALICE}, token=token)
        self.assertEqual((answer.status, answer.json["completed"]), (401, [STAGE]))
        auth = {**ANSWERED, "session": answer.json["session"]}
        self.assertEqual(client.post(DEACTIVATE, {"auth": auth}, token=token).status, 200)

    async def nothing(self, user_id: UserID) -> None:
        return
