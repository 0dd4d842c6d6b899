"""A client's first day, against ``regsys serve`` as a real process, on both databases.

The client is matrix-nio if it has a call for it, plain HTTP otherwise. Everything blocks: the
service is another process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

import nio
from twisted.trial.unittest import SynchronousTestCase

from tests.support import asynchronous, postgres
from tests.support.log_canaries import leaked
from tests.support.service_process import (
    MACAROON_SECRET,
    SERVER_NAME,
    ServiceProcess,
    psycopg2,
    sqlite,
    write_config,
)

V3 = "/_matrix/client/v3"
PASSWORD = "correct horse battery staple"
DUMMY = {"type": "m.login.dummy"}
SECRETS = {"the password": PASSWORD, "the macaroon secret": MACAROON_SECRET}


class BlackBox:
    """For every database; ``database(folder)`` gives its section of the file."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.config = write_config(folder.resolve(), self.database(folder.resolve()))
        self.service = ServiceProcess(self, self.config)

    def tearDown(self) -> None:
        self.assertDiscreet(self.service.output)

    def assertDiscreet(self, output: str) -> None:
        """The service has logged neither a traceback nor a secret."""
        self.assertNotIn("Traceback", output)
        self.assertEqual(leaked(output, SECRETS), [])

    def register(self, name: str, **more: Any) -> Mapping[str, Any]:
        body = {"username": name, "password": PASSWORD, "auth": DUMMY, **more}
        answer = self.service.ask("POST", f"{V3}/register", body)
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    def whoami(self, token: str) -> Any:
        return self.service.ask("GET", f"{V3}/account/whoami", token=token)

    def assertRefused(self, answer: Any, status: int, errcode: str) -> None:
        self.assertEqual((answer.status, answer.json.get("errcode")), (status, errcode), answer)

    def test_matrixNio(self) -> None:
        """matrix-nio registers, calls whoami, logs out, logs in again: one user, two devices."""
        first, second = asynchronous.run(self._nio_session())
        user_id = f"@alice:{SERVER_NAME}"
        self.assertEqual((first.user_id, second.user_id), (user_id, user_id))
        self.assertNotEqual(first.access_token, second.access_token)
        self.assertRefused(self.whoami(first.access_token), 401, "M_UNKNOWN_TOKEN")
        self.assertEqual(
            self.whoami(second.access_token).json,
            {"user_id": user_id, "device_id": second.device_id, "is_guest": False},
        )

    async def _nio_session(self) -> tuple[nio.RegisterResponse, nio.LoginResponse]:
        client = nio.AsyncClient(self.service.base_url, "alice")
        try:
            registered = await client.register("alice", PASSWORD, "laptop")
            self.assertIsInstance(registered, nio.RegisterResponse, repr(registered))
            me = await client.whoami()
            self.assertIsInstance(me, nio.WhoamiResponse, repr(me))
            self.assertEqual(me.user_id, registered.user_id)
            self.assertEqual(me.device_id, registered.device_id)
            left = await client.logout()
            self.assertIsInstance(left, nio.LogoutResponse, repr(left))
            client.device_id = ""  # as from another machine
            back = await client.login(PASSWORD, "phone")
            self.assertIsInstance(back, nio.LoginResponse, repr(back))
        finally:
            await client.close()
        return registered, back

    def test_twoSteps(self) -> None:
        """Without auth the server lists its flows; the session then completes them."""
        body = {"username": "bob", "password": PASSWORD}
        challenge = self.service.ask("POST", f"{V3}/register", body)
        self.assertEqual(challenge.status, 401)
        self.assertEqual(challenge.json["flows"], [{"stages": ["m.login.dummy"]}])
        auth = {**DUMMY, "session": challenge.json["session"]}
        registered = self.service.ask("POST", f"{V3}/register", {**body, "auth": auth})
        self.assertEqual(registered.json["user_id"], f"@bob:{SERVER_NAME}")
        again = self.service.ask("POST", f"{V3}/register", {**body, "auth": auth})
        self.assertEqual(again.json, registered.json)

    def test_refresh(self) -> None:
        """A refresh token gives a new pair; once that is used the old pair is invalid."""
        old = self.register("carol", refresh_token=True)
        answer = self.service.ask("POST", f"{V3}/refresh", {"refresh_token": old["refresh_token"]})
        self.assertEqual(answer.status, 200, answer)
        new = answer.json
        self.assertGreater(new["expires_in_ms"], 0)
        self.assertEqual(self.whoami(new["access_token"]).json["device_id"], old["device_id"])
        self.assertRefused(self.whoami(old["access_token"]), 401, "M_UNKNOWN_TOKEN")
        spent = self.service.ask("POST", f"{V3}/refresh", {"refresh_token": old["refresh_token"]})
        self.assertRefused(spent, 401, "M_UNKNOWN_TOKEN")

    def test_logoutAll(self) -> None:
        """Logging out everywhere ends the tokens of every device."""
        tokens = [self.register("dave")["access_token"]]
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "dave"},
            "password": PASSWORD,
        }
        tokens.append(self.service.ask("POST", f"{V3}/login", login).json["access_token"])
        self.assertEqual(
            self.service.ask("POST", f"{V3}/logout/all", {}, token=tokens[0]).status, 200
        )
        for token in tokens:
            self.assertRefused(self.whoami(token), 401, "M_UNKNOWN_TOKEN")

    def test_guest(self) -> None:
        """A guest has a number and counts as a guest; after the upgrade it keeps its name, not its
        token."""
        guest = self.service.ask("POST", f"{V3}/register?kind=guest", {}).json
        self.assertEqual(guest["device_id"], "guest_device")
        self.assertTrue(self.whoami(guest["access_token"]).json["is_guest"])
        name = guest["user_id"][1:].partition(":")[0]
        self.assertTrue(name.isdigit(), name)
        upgraded = self.register(name, guest_access_token=guest["access_token"])
        self.assertEqual(upgraded["user_id"], guest["user_id"])
        self.assertRefused(self.whoami(guest["access_token"]), 401, "M_UNKNOWN_TOKEN")
        self.assertFalse(self.whoami(upgraded["access_token"]).json["is_guest"])

    def test_available(self) -> None:
        """A free name is available until a user has it, in any case."""
        path = f"{V3}/register/available?username=erin"
        self.assertEqual(self.service.ask("GET", path).json, {"available": True})
        self.register("Erin")
        self.assertRefused(self.service.ask("GET", path), 400, "M_USER_IN_USE")
        missing = self.service.ask("GET", f"{V3}/register/available")
        self.assertRefused(missing, 400, "M_MISSING_PARAM")

    def test_versions(self) -> None:
        """It lists the versions of the specification that it supports, and allows browsers to
        ask."""
        answer = self.service.ask("GET", "/_matrix/client/versions")
        self.assertIn("v1.1", answer.json["versions"])
        self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "*")

    def test_restart(self) -> None:
        """SIGTERM ends it orderly, and the next process knows the account and its token."""
        token = self.register("frank")["access_token"]
        self.assertDiscreet(self.service.stop())
        self.service = ServiceProcess(self, self.config)
        self.assertEqual(self.whoami(token).json["user_id"], f"@frank:{SERVER_NAME}")


class SQLiteBlackBoxTests(BlackBox, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return sqlite(folder)


class PostgreSQLBlackBoxTests(BlackBox, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return psycopg2(postgres.dsn(self))
