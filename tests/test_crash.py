"""A process killed at any statement boundary leaves complete accounts or none, and the client that
retries gets its account (threat C1, C2)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from regsys.model import Created, DeviceRequest, Registration, Secret
from regsys.model.token_text import token_hash
from regsys.storage.guests import GuestStore
from tests.support.client import Answer
from tests.support.crash import PASSWORD, CrashCase, OnPostgreSQL, OnSQLite, Process


class CrashTests(CrashCase):
    def test_oneShot(self) -> None:
        """A client that registers in one request finds the name free, or taken and can log in."""

        def retry(process: Process, name: str, issued: set[str]) -> None:
            answer = process.register(name)
            if issued:
                self.assertEqual(answer.errcode, "M_USER_IN_USE")
                answer = process.login(name)
            self.assertLoggedIn(process, answer, set(), name)

        self.crash_everywhere(lambda process, name: process.register(name), retry)

    def test_oneShotWithoutName(self) -> None:
        """Without a name the same request makes another account."""

        def retry(process: Process, name: str, issued: set[str]) -> None:
            self.assertLoggedIn(process, process.register(), set())

        self.crash_everywhere(lambda process, name: process.register(), retry)

    def test_twoSteps(self) -> None:
        """The whole registration can be begun again; the name is free, or belongs to this
        client."""

        def request(process: Process, name: str) -> None:
            process.complete(process.challenge(username=name))

        def retry(process: Process, name: str, issued: set[str]) -> None:
            if issued:
                self.assertLoggedIn(process, process.login(name), set(), name)
            else:
                session = process.challenge(username=name)
                self.assertLoggedIn(process, process.complete(session), set(), name)

        self.crash_everywhere(request, retry)

    def test_completion(self) -> None:
        """The same session gets the account, and the very same token if that was committed."""

        def before(process: Process, name: str) -> tuple[str, str]:
            return name, process.challenge(username=name)

        def request(process: Process, given: tuple[str, str]) -> Answer:
            return process.complete(given[1], username=given[0], refresh_token=True)

        def retry(process: Process, given: tuple[str, str], issued: set[str]) -> None:
            answer = request(process, given)
            self.assertLoggedIn(process, answer, issued, given[0])
            self.assertEqual(process.refresh(answer.json["refresh_token"]).status, 200)

        self.crash_everywhere(request, retry, before)

    def test_completionWithoutName(self) -> None:
        """So does a session that asked for no name, with its password in the last request."""

        def before(process: Process, name: str) -> str:
            return str(process.client.register().json["session"])

        def request(process: Process, session: str) -> Answer:
            return process.complete(session, password=PASSWORD)

        def retry(process: Process, session: str, issued: set[str]) -> None:
            self.assertLoggedIn(process, request(process, session), issued)

        self.crash_everywhere(request, retry, before)

    # --- guests --------------------------------------------------------------------------

    def test_guest(self) -> None:
        """Guests are numbered anew each time, and each is complete."""

        def retry(process: Process, name: str, issued: set[str]) -> None:
            token = process.guest()[1]
            self.assertTrue(process.whoami(token).json["is_guest"])

        self.crash_everywhere(lambda process, name: process.guest(), retry)

    def test_guestUpgrade(self) -> None:
        """A guest is still one, or has become a user who can log in."""

        def before(process: Process, name: str) -> tuple[str, str]:
            return process.guest()

        def request(process: Process, given: tuple[str, str]) -> Answer:
            return process.register(given[0], guest_access_token=given[1])

        def retry(process: Process, given: tuple[str, str], issued: set[str]) -> None:
            answer = request(process, given)
            if issued:
                self.assertEqual(answer.errcode, "M_UNKNOWN_TOKEN")
                answer = process.login(given[0])
            self.assertLoggedIn(process, answer, set(), given[0])
            self.assertEqual(process.whoami(given[1]).errcode, "M_UNKNOWN_TOKEN")

        self.crash_everywhere(request, retry, before)

    def test_guestUpgradeBySession(self) -> None:
        """In a session the upgrade has the same answer again, although the guest is gone."""

        def before(process: Process, name: str) -> tuple[str, str, str]:
            localpart, token = process.guest()
            session = process.challenge(username=localpart, guest_access_token=token)
            return localpart, token, session

        def request(process: Process, given: tuple[str, str, str]) -> Answer:
            localpart, token, session = given
            return process.complete(session, username=localpart, guest_access_token=token)

        def retry(process: Process, given: tuple[str, str, str], issued: set[str]) -> None:
            self.assertLoggedIn(process, request(process, given), issued, given[0])

        self.crash_everywhere(request, retry, before)

    def test_idleGuest(self) -> None:
        """An idle guest is still complete, or has ended with its device."""

        def before(process: Process, name: str) -> str:
            return process.guest()[1]

        def request(process: Process, token: str) -> int:
            later_ms = int(process.clock.seconds() * 1000) + 1
            ended: int = process.result(GuestStore(process.database).deactivate_idle(later_ms, 1))
            return ended

        def retry(process: Process, token: str, issued: set[str]) -> None:
            dead = process.whoami(token).errcode == "M_UNKNOWN_TOKEN"
            self.assertEqual(request(process, token), 0 if dead else 1)
            self.assertEqual(process.whoami(token).errcode, "M_UNKNOWN_TOKEN")

        self.crash_everywhere(request, retry, before)

    # --- the handler ---------------------------------------------------------------------

    def test_adminByHandler(self) -> None:
        """A second call of the handler with the same key gets the same account and token."""

        def request(process: Process, name: str) -> Created:
            registration = Registration(
                key=f"call of {name}",
                localpart=name,
                password=Secret(PASSWORD),
                admin=True,
                by_admin=True,
                device=DeviceRequest(),
            )
            return process.result(process.subsystem.handler.register_user(registration))

        def retry(process: Process, name: str, issued: set[str]) -> None:
            created = request(process, name)
            self.assertEqual(created.replayed, bool(issued))
            token = created.login.access_token.reveal()
            self.assertIn(token_hash(token), issued or {token_hash(token)})
            self.assertEqual(process.whoami(token).json["user_id"], str(created.user_id))
            admins = process.rows("SELECT user_id FROM users WHERE admin")
            self.assertIn(str(created.user_id), admins)

        self.crash_everywhere(request, retry)

    # --- tokens --------------------------------------------------------------------------

    def test_login(self) -> None:
        """A device has its token or isn't there; logging in again works."""

        def before(process: Process, name: str) -> str:
            process.register(name)
            return name

        def retry(process: Process, name: str, issued: set[str]) -> None:
            self.assertLoggedIn(process, process.login(name), set(), name)

        self.crash_everywhere(lambda process, name: process.login(name), retry, before)

    def test_refresh(self) -> None:
        """A refresh whose answer is lost can be repeated."""

        def before(process: Process, name: str) -> dict[str, str]:
            return process.register(name, refresh_token=True).json

        def request(process: Process, old: dict[str, str]) -> Answer:
            return process.refresh(old["refresh_token"])

        def retry(process: Process, old: dict[str, str], issued: set[str]) -> None:
            self.assertEqual(process.whoami(old["access_token"]).status, 200)
            new = request(process, old)
            self.assertEqual(process.whoami(new.json["access_token"]).status, 200)
            self.assertEqual(process.whoami(old["access_token"]).errcode, "M_UNKNOWN_TOKEN")

        self.crash_everywhere(request, retry, before)

    def test_firstUseOfARefreshedToken(self) -> None:
        """A new pair whose first use is interrupted is still valid, and its use ends the old
        one."""

        def before(process: Process, name: str) -> tuple[str, str]:
            old = process.register(name, refresh_token=True).json
            new = process.refresh(old["refresh_token"]).json
            return old["access_token"], new["access_token"]

        def request(process: Process, given: tuple[str, str]) -> Answer:
            return process.whoami(given[1])

        def retry(process: Process, given: tuple[str, str], issued: set[str]) -> None:
            self.assertEqual(request(process, given).status, 200)
            self.assertEqual(process.whoami(given[0]).errcode, "M_UNKNOWN_TOKEN")

        self.crash_everywhere(request, retry, before)


class SQLiteCrashTests(OnSQLite, CrashTests, SynchronousTestCase):
    """In a file."""


class PostgreSQLCrashTests(OnPostgreSQL, CrashTests, SynchronousTestCase):
    """On a real server."""
