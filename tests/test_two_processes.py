"""What one process knows in memory must not be needed by another (contract B11.7): two subsystems
over one database."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys import model
from regsys.accounts.monthly_active_users import WRITE_EVERY_S, WRITE_SOON_S
from regsys.model import Challenge, Requester, UserID
from regsys.testing import standalone
from regsys.testing.database import memory_database
from regsys.uia.reauthentication import Reauthenticated, ReauthenticationRequest
from regsys.wiring.subsystem import Subsystem
from tests.support.client import V3, Answer, Client

PASSWORD = "correct horse battery staple"
LATELY = {"ui_auth": {"session_timeout": "1h"}}
DUMMY = {"type": "m.login.dummy"}


class TwoProcessesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.database = memory_database(self, self.clock)

    def process(self, **options: Any) -> tuple[Subsystem, Client]:
        made = standalone(self, self.clock, database=self.database, **options)
        made.start()
        self.addCleanup(made.process.stop)
        return made, Client(self, made.resource())

    def register(self, client: Client, name: str) -> Answer:
        return client.register(username=name, password=PASSWORD, auth=DUMMY)

    def test_activeUsers(self) -> None:
        """The limit of active users counts what any process has made a second ago, however rarely
        activity is written; a user of whom another process knows is not kept out."""
        limit = {"limit_usage_by_mau": True, "max_mau_value": 1}
        (_, one), (_, other) = self.process(**limit), self.process(**limit)
        self.clock.advance(WRITE_EVERY_S / 2)
        self.assertEqual(self.register(one, "alice").status, 200)
        self.clock.advance(WRITE_SOON_S)
        refused = self.register(other, "bob")
        self.assertEqual((refused.status, refused.errcode), (403, "M_RESOURCE_LIMIT_EXCEEDED"))
        login = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
        self.assertEqual(other.post(f"{V3}/login", login).status, 200)

    def test_writtenOnce(self) -> None:
        """Accounts of the same second are written together."""
        limit = {"limit_usage_by_mau": True, "max_mau_value": 100}
        _, client = self.process(**limit)
        self.clock.advance(WRITE_EVERY_S / 2)
        calls: list[str] = []
        run = self.database.transaction

        def counted(name: str, *arguments: Any) -> Any:
            calls.append(name)
            return run(name, *arguments)

        self.patch(self.database, "transaction", counted)
        for number in range(5):
            self.assertEqual(self.register(client, f"user{number}").status, 200)
        before = len(calls)
        self.clock.advance(WRITE_SOON_S)
        self.assertEqual(len(calls) - before, 1, calls)

    def test_reauthenticated(self) -> None:
        """A device that has reauthenticated lately is asked again by another process, where a
        session that the first one has begun can be completed: nothing is refused."""
        (one, client), (other, _) = self.process(**LATELY), self.process(**LATELY)
        made = self.register(client, "alice").json
        who = Requester(user_id=UserID.parse(made["user_id"]), device_id=made["device_id"])

        def confirm(process: Subsystem, **auth: str) -> Any:
            assert process.reauthentication is not None
            request = ReauthenticationRequest(
                requester=who,
                method="POST",
                uri="/example",
                body={"auth": auth} if auth else {},
                client=model.Client("192.0.2.1"),
            )
            confirming = process.reauthentication.confirm(request)
            return self.successResultOf(Deferred.fromCoroutine(confirming))

        challenge = confirm(one)
        login = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
        confirmed = confirm(other, **login, session=challenge.session_id)
        self.assertIsInstance(confirmed, Reauthenticated)
        self.assertIsInstance(confirm(other), Reauthenticated)
        self.assertIsInstance(confirm(one), Challenge)
