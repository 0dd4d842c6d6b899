"""A server that accepts no users: switched off, or with as many active users as it may have
(B9)."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping, Optional

from regsys.errors import Unavailable
from regsys.model import Registration, Threepid, User, UserID
from regsys.storage.threepids import ThreepidStore
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import V3, Answer

DAY_S = 24 * 3600
LIMITED = {"limit_usage_by_mau": True, "max_mau_value": 2}
RESERVED = [{"medium": "email", "address": "boss@mail.example"}]
BOSS = Threepid("email", "boss@mail.example", 1)


class BlockingCase(SystemCase):
    def ask(self, username: str, **more: Any) -> Answer:
        return self.client.register(username=username, password=PASSWORD, auth=DUMMY, **more)

    def log_in(self, user: str) -> Answer:
        body = {"type": "m.login.password", "user": user, "password": PASSWORD}
        return self.client.post(f"{V3}/login", body)

    def restart(self, **options: Any) -> None:
        """The same server with these options, after an orderly end."""
        self.wait(self.subsystem.stop())
        self.system(database=self.database, **options)

    def begin(self, username: str) -> str:
        """A session that keeps the hash of its password."""
        session = self.challenge(username=username, password=PASSWORD)["session"]
        self.clock.advance(0)
        return str(session)

    def register_with(self, localpart: str, **more: Any) -> Any:
        """Register through the handler, as a homeserver's own endpoint might."""
        registration = Registration(key=localpart, localpart=localpart, **more)
        return self.subsystem.handler.register_user(registration)

    def assertBlocked(
        self, answer: Answer, limit_type: str, admin_contact: Optional[str] = None
    ) -> None:
        self.assertRefused(answer, 403, "M_RESOURCE_LIMIT_EXCEEDED")
        self.assertEqual(answer.json["limit_type"], limit_type)
        self.assertIn("admin_contact", answer.json)
        self.assertEqual(answer.json["admin_contact"], admin_contact)


class DisabledTests(BlockingCase):
    def disable(self, **options: Any) -> None:
        self.restart(hs_disabled=True, **options)

    def test_nobody(self) -> None:
        """Neither new users nor guests nor logins are accepted: nothing is made, the session lives
        on, and nothing counts against the limit. The answer has the admin contact, or null without
        one."""
        self.register("alice")
        self.disable(
            hs_disabled_message="We are moving house.",
            admin_contact="mailto:admin@test.example",
            rc_registration={"per_second": 0.001, "burst_count": 1},
        )
        session = self.begin("bob")
        for _ in range(2):
            answer = self.client.register(auth={"session": session, **DUMMY})
            self.assertBlocked(answer, "hs_disabled", "mailto:admin@test.example")
            self.assertEqual(answer.json["error"], "We are moving house.")
        for answer in (self.client.register("?kind=guest"), self.log_in("alice")):
            self.assertBlocked(answer, "hs_disabled", "mailto:admin@test.example")
        self.assertEqual(self.counts()["users"], 1)
        self.restart()
        self.assertEqual(self.client.register(auth={"session": session, **DUMMY}).status, 200)
        self.disable()
        answer = self.ask("carol")
        self.assertBlocked(answer, "hs_disabled")
        self.assertIn("closed", answer.json["error"])

    def test_afterTheStages(self) -> None:
        """The block is reported at the end only: a first request still gets its flows."""
        self.disable()
        self.assertEqual(self.ask("alice", inhibit_login=True).status, 403)
        self.challenge(username="alice", password=PASSWORD)

    def test_wrongPassword(self) -> None:
        """A login with a wrong password is told that, and nothing about the server's state."""
        self.register("alice")
        self.disable()
        body = {"type": "m.login.password", "user": "alice", "password": "wrong"}
        self.assertRefused(self.client.post(f"{V3}/login", body), 403, "M_FORBIDDEN")

    def test_administrators(self) -> None:
        """An account that an administrator registers is not blocked, and neither is the server's
        own user."""
        self.system(hs_disabled=True, server_notices={"system_mxid_localpart": "notices"})
        self.wait(self.register_with("alice", by_admin=True))
        answer = self.ask("notices")
        self.assertRefused(answer, 400, "M_EXCLUSIVE")
        notices = UserID("Notices", "test.example")
        self.wait(self.subsystem.blocking.check_login(User(user_id=notices)))

    def test_logins(self) -> None:
        """Existing access tokens stay valid: to refuse them is the homeserver's task."""
        token = self.register("alice")["access_token"]
        self.disable()
        self.assertEqual(self.whoami(token).status, 200)


class LimitCase(BlockingCase):
    options: ClassVar[Mapping[str, Any]] = {**LIMITED, "mau_limit_reserved_threepids": RESERVED}

    def setUp(self) -> None:
        super().setUp()
        for name in ("alice", "bob"):
            self.register(name)


class LimitTests(LimitCase):
    def test_newcomers(self) -> None:
        """The last place is given; the next registration is refused and its session lives on. Once
        a user has been inactive for a month, there is a place again."""
        session = self.begin("carol")
        answer = self.client.register(auth={"session": session, **DUMMY})
        self.assertBlocked(answer, "monthly_active_user")
        self.change("UPDATE active_users SET seen_ms = seen_ms - ?", 31 * DAY_S * 1000)
        self.clock.advance(10)
        self.assertEqual(self.client.register(auth={"session": session, **DUMMY}).status, 200)

    def test_guests(self) -> None:
        """Guests register all the same, but a guest who upgrades needs a place."""
        guest = self.guest()
        answer = self.ask("1", guest_access_token=guest["access_token"])
        self.assertBlocked(answer, "monthly_active_user")
        self.assertTrue(self.whoami(guest["access_token"]).json["is_guest"])

    def test_whoPasses(self) -> None:
        """Support users, whom an administrator registers, and reserved addresses need no place."""
        self.wait(self.register_with("support", user_type="support"))
        self.wait(self.register_with("admins", by_admin=True))
        self.wait(self.register_with("boss", threepids=(BOSS,)))
        self.assertBlocked(self.ask("carol"), "monthly_active_user")

    def test_supportByDefault(self) -> None:
        """If new users are support users by default, they need no place either."""
        types = {"default_user_type": "support"}
        self.restart(user_types=types, **self.options)
        self.assertEqual(self.ask("carol").status, 200)

    def test_theSameAgain(self) -> None:
        """A user who took the last place and retries, having lost the answer, gets the same
        answer."""
        registration = Registration(key="k", localpart="carol", password_hash="x")
        self.restart(**{**LIMITED, "max_mau_value": 3})
        first = self.wait(self.subsystem.handler.register_user(registration))
        self.assertBlocked(self.ask("dora"), "monthly_active_user")
        again = self.wait(self.subsystem.handler.register_user(registration))
        self.assertEqual((again.user_id, again.replayed), (first.user_id, True))

    def test_reservedCountFromBirth(self) -> None:
        """A reserved address makes an active user at once, during a trial too; by a job, so that a
        crash loses nothing."""
        self.system(mau_trial_days=7, **self.options)
        self.wait(self.register_with("boss", threepids=(BOSS,)))
        self.register("alice")
        self.clock.advance(60)
        found = self.rows("SELECT user_id FROM active_users")
        self.assertEqual([row[0] for row in found], ["@boss:test.example"])
        self.assertEqual(self.counts()["jobs"], 0)

    def test_onlyCounted(self) -> None:
        """With mau_stats_only no registration is refused."""
        self.restart(mau_stats_only=True, max_mau_value=2)
        self.register("carol")

    def test_databaseAway(self) -> None:
        """If the users cannot be counted, the answer is a 503, and no account is made."""

        async def away(at_most: int) -> int:
            raise Unavailable()

        self.patch(self.subsystem.blocking.users, "count", away)
        self.assertEqual(self.ask("carol").status, 503)
        self.assertEqual(self.counts()["users"], 2)


class LoginLimitTests(LimitCase):
    def setUp(self) -> None:
        super().setUp()
        self.wait(self.register_with("carol", by_admin=True, password_hash=self.hash()))
        self.forget("carol")

    def hash(self) -> str:
        found = self.rows("SELECT password_hash FROM users WHERE name_key = 'alice'")
        return str(found[0][0])

    def forget(self, name: str) -> None:
        """Pretend that this user has been inactive for a month."""
        self.wait(self.subsystem.stop())
        self.change("DELETE FROM active_users WHERE user_id = ?", f"@{name}:test.example")
        self.restart(**self.options)

    def test_activeUsers(self) -> None:
        """An active user logs in although the server is full; no other user does, until there is a
        place."""
        self.assertEqual(self.log_in("alice").status, 200)
        self.assertBlocked(self.log_in("carol"), "monthly_active_user")
        self.assertEqual(self.rows("SELECT COUNT(*) FROM devices")[0][0], 3)
        self.forget("bob")
        self.assertEqual(self.log_in("carol").status, 200)
        self.clock.advance(10)
        self.assertBlocked(self.log_in("bob"), "monthly_active_user")

    def test_reserved(self) -> None:
        """A user who has a reserved address by now logs in."""
        carol = UserID("carol", "test.example")
        self.wait(ThreepidStore(self.database).add(carol, BOSS, 1))
        self.assertEqual(self.log_in("carol").status, 200)

    def test_others(self) -> None:
        """Support users log in too, and services' users unless they are counted, and users on trial
        for as long as the trial lasts."""
        for column, options, status in (
            ("user_type = 'bot'", {}, 403),
            ("user_type = 'support'", {}, 200),
            ("user_type = NULL, appservice_id = 'bridge'", {}, 200),
            ("appservice_id = 'bridge'", {"track_appservice_user_ips": True}, 403),
            ("appservice_id = NULL", {"mau_trial_days": 2}, 200),
        ):
            self.change(f"UPDATE users SET {column} WHERE name_key = 'carol'")
            self.restart(**self.options, **options)
            self.assertEqual(self.log_in("carol").status, status, (column, options))

    def test_trial(self) -> None:
        """A trial ends after the configured number of days."""
        self.restart(mau_trial_days=2, **self.options)
        self.clock.advance(2 * DAY_S - 1)
        self.assertEqual(self.log_in("carol").status, 200)
        self.restart(mau_trial_days=2, **self.options)
        self.clock.advance(1)
        self.assertBlocked(self.log_in("carol"), "monthly_active_user")
