"""Users deactivate their accounts: what Complement's TestDeactivateAccount watches, and what can go
wrong in between (contract B17.5)."""

from __future__ import annotations

from typing import Any, Optional

from regsys.accounts.deactivation import FINISH_DEACTIVATION
from regsys.errors import Unavailable
from regsys.storage.validations import ValidationStore
from tests.appservices.bridges import TOKEN, BridgeCase
from tests.support.case import PASSWORD
from tests.support.client import V3, Answer
from tests.support.due_jobs import run_due
from tests.support.passwords import ALICE_AUTH, NEW, PasswordCase
from tests.support.validations import ALICE

DEACTIVATE = f"{V3}/account/deactivate"


class DeactivationTests(PasswordCase):
    def deactivate(
        self, auth: Any = ALICE_AUTH, token: Optional[str] = None, **more: Any
    ) -> Answer:
        body = {**({} if auth is None else {"auth": auth}), **more}
        return self.client.post(DEACTIVATE, body, token=token or self.phone)

    def test_deactivated(self) -> None:
        """Once it is confirmed no token works and nobody can log in; the name stays taken, and the
        address is free."""
        challenge = self.deactivate(auth=None)
        self.assertEqual(challenge.status, 401, challenge)
        self.assertTrue(self.is_alive(self.phone))
        answer = self.deactivate({**ALICE_AUTH, "session": challenge.json["session"]})
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.json, {"id_server_unbind_result": "no-support"})
        for token in (self.alice, self.phone, self.laptop):
            self.assertRefused(self.whoami(token), 401, "M_UNKNOWN_TOKEN")
        self.assertRefused(self.log_in(), 403, "M_FORBIDDEN")
        self.assertRefused(self.deactivate(), 401, "M_UNKNOWN_TOKEN")
        available = self.client.get(f"{V3}/register/available?username=alice")
        self.assertRefused(available, 400, "M_USER_IN_USE")
        self.add_address(self.bob, ALICE, "bob")
        self.assertEqual(self.rows("SELECT * FROM jobs"), [])

    def test_wrongPassword(self) -> None:
        """A wrong password deactivates nobody."""
        answer = self.deactivate({**ALICE_AUTH, "password": "wrong"})
        self.assertRefused(answer, 401, "M_FORBIDDEN")
        self.assertTrue(self.is_alive(self.phone))

    def test_erase(self) -> None:
        """Whether to erase is remembered; it must be true or false."""
        self.assertRefused(self.deactivate(erase="yes"), 400, "M_BAD_JSON")
        self.assertEqual(self.deactivate(erase=True).status, 200)
        bob = {**ALICE_AUTH, "identifier": {"type": "m.id.user", "user": "bob"}}
        self.assertEqual(self.deactivate(bob, self.bob).status, 200)
        found = self.rows("SELECT name_key FROM users WHERE deactivated AND erased")
        self.assertEqual(found, [("alice",)])

    def test_guest(self) -> None:
        guest = self.guest()["access_token"]
        self.assertRefused(self.deactivate(token=guest), 403, "M_GUEST_ACCESS_FORBIDDEN")

    def test_resets(self) -> None:
        """No password can be set for a deactivated account, not even by a reset that was begun."""
        sid = self.validated_reset()
        session = self.client.post(f"{V3}/account/password", {}).json["session"]
        self.assertRefused(self.reset(sid, None, session=session), 400, "M_MISSING_PARAM")
        self.assertEqual(self.deactivate().status, 200)
        self.assertRefused(self.reset(sid), 401, "M_UNAUTHORIZED")
        body = {"auth": {"session": session}, "new_password": NEW}
        answer = self.client.post(f"{V3}/account/password", body)
        self.assertRefused(answer, 403, "M_USER_DEACTIVATED")
        self.assertEqual(self.log_in(NEW).status, 403)
        self.assertRefused(self.request_reset(), 400, "M_THREEPID_NOT_FOUND")

    def test_finishedByAJob(self) -> None:
        """If a later part cannot be done now, the user is deactivated all the same, and a job does
        the rest: the user could not ask again."""

        async def away(*args: Any) -> None:
            raise Unavailable("The database is away.")

        # Both tries of this moment fail.
        patch = self.patch(ValidationStore, "delete_for", away)
        self.validate_as(self.alice, "third@mail.example")
        self.assertEqual(self.deactivate().status, 200)
        self.assertFalse(self.is_alive(self.phone))
        kinds = [row[0] for row in self.rows("SELECT kind FROM jobs")]
        self.assertEqual(kinds, [FINISH_DEACTIVATION])
        self.assertEqual(len(self.failed_jobs.flush()), 1)
        patch.restore()
        # A worker leaves its jobs to its master.
        runner = getattr(self, "master", self.subsystem).jobs
        self.clock.advance(10)
        self.wait(run_due(runner))
        self.assertEqual(self.rows("SELECT * FROM jobs"), [])
        left = self.rows("SELECT * FROM validations WHERE user_id = '@alice:test.example'")
        self.assertEqual(left, [])


class AppserviceTests(BridgeCase):
    def test_ghost(self) -> None:
        """An application service deactivates its own users, and nobody else, unconfirmed."""
        self.made()
        self.register("alice", password=PASSWORD)
        other = self.client.post(f"{DEACTIVATE}?user_id=@alice:test.example", {}, token=TOKEN)
        self.assertRefused(other, 403, "M_FORBIDDEN")
        path = f"{DEACTIVATE}?user_id=@_irc_alice:test.example"
        answer = self.client.post(path, {}, token=TOKEN)
        self.assertEqual(answer.json, {"id_server_unbind_result": "no-support"})
        self.assertRefused(self.log_in(), 403, "M_FORBIDDEN")
