"""Registration tokens in front of a homeserver's own accounts, over HTTP."""

from __future__ import annotations

from typing import Any, Optional

import attr
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys import wiring
from regsys.errors import Unavailable
from regsys.model import JOB_LEASE_MS, NewAccount, Requester, Secret, UserID
from regsys.testing import MemoryAccounts, MemoryAuth, MemoryDevices, config, memory_process
from regsys.testing.contracts.case import NOW_MS
from tests.support.client import Answer, Client
from tests.support.due_jobs import run_due

STAGE = "m.login.registration_token"
ADMIN = "/_synapse/admin/v1/registration_tokens"
PASSWORD = "correct horse battery staple"
MINUTE_S = 60


@attr.define(eq=False)
class Accounts(MemoryAccounts):
    """``taken``: another registration takes the next name first; ``lost``: the store makes the next
    account, and its answer is lost."""

    taken: bool = False
    lost: bool = False

    async def create_account(self, new: NewAccount) -> UserID:
        if self.taken:
            self.taken = False
            await super().create_account(attr.evolve(new, key="somebody else's"))
        user_id = await super().create_account(new)
        if self.lost:
            self.lost = False
            raise Unavailable()
        return user_id


class Auth(MemoryAuth):
    """The administrator has the token ``root``."""

    async def whose(self, token: Secret) -> Optional[Requester]:
        if token.reveal() == "root":
            return Requester(user_id=UserID("root", "test.example"), is_admin=True)
        return await super().whose(token)


class EmbeddedTokensTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW_MS / 1000)
        chosen = config(registration_requires_token=True)
        self.accounts = Accounts()
        devices = MemoryDevices(self.accounts)
        self.subsystem = wiring.embedded(
            chosen,
            self.clock,
            store=self.accounts,
            devices=devices,
            auth=Auth(devices),
            process=memory_process(self, chosen, self.clock),
        )
        self.client = Client(self, self.subsystem.resource())
        made = self.ask("POST", "/new", {"token": "good", "uses_allowed": 1})
        self.assertEqual(made.status, 200, made)

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        return self.client.ask(method, ADMIN + path, body, token="root")

    def passed(self, name: str) -> str:
        """A session that has reserved the use."""
        session = self.client.register(username=name, password=PASSWORD).json["session"]
        self.clock.advance(0)  # the hash is made after the answer
        auth = {"type": STAGE, "session": session, "token": "good"}
        answer = self.client.register(auth=auth)
        self.assertEqual(answer.json.get("completed"), [STAGE], answer)
        return str(session)

    def complete(self, session: str, **more: Any) -> Answer:
        return self.client.register(auth={"type": "m.login.dummy", "session": session}, **more)

    def assertUses(self, pending: int, completed: int, *names: str) -> None:
        found = self.ask("GET", "/good?details=true").json
        self.assertEqual((found["pending"], found["completed"]), (pending, completed))
        self.assertEqual([use["user_id"] for use in found["uses"]], list(names))

    def test_used(self) -> None:
        """The use is reserved, then counted with the account, once."""
        session = self.passed("alice")
        self.assertUses(1, 0)
        for _ in range(2):
            self.assertEqual(self.complete(session).status, 200)
            self.assertUses(0, 1, "@alice:test.example")

    def test_nameLost(self) -> None:
        """A registration that loses its name at the last moment keeps the reservation, and finishes
        with another name."""
        session = self.passed("alice")
        self.accounts.taken = True
        self.assertEqual(self.complete(session).errcode, "M_USER_IN_USE")
        self.assertUses(1, 0)
        answer = self.complete(session, username="bob", password=PASSWORD)
        self.assertEqual(answer.status, 200, answer)
        self.assertUses(0, 1, "@bob:test.example")

    def test_storeIsLost(self) -> None:
        """If the store makes an account and its answer is lost, the use is counted, by the recovery
        if the client does not retry; until then it stays reserved, however long that takes."""
        for again in (True, False):
            self.setUp()
            self.accounts.lost = True
            session = self.passed("alice")
            self.assertEqual(self.complete(session).status, 503)
            self.assertUses(1, 0)
            self.clock.advance(100 * MINUTE_S)
            self.assertUses(1, 0)
            if again:
                self.assertEqual(self.complete(session).status, 200)
            else:
                self.clock.advance(JOB_LEASE_MS / 1000)
                self.successResultOf(Deferred.fromCoroutine(run_due(self.subsystem.jobs)))
            self.assertUses(0, 1, "@alice:test.example")
