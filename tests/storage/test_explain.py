"""With a million users each look-up of a request is served by an index (PERFORMANCE.md)."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest

from regsys.accounts.monthly_active_users import COUNT_KEPT_S
from regsys.config import BlockingConfig
from regsys.model import UserID
from regsys.model.identity_server_bindings import Binding
from regsys.storage.encryption import Encryptor
from regsys.storage.guests import GuestStore
from regsys.storage.identity_server_bindings import BindingStore
from regsys.storage.jobs import JobStore
from regsys.storage.monthly_active_users import ActivityStore
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.testing import MemoryMails
from tests.support import postgres
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import V3
from tests.support.databases import postgres_database
from tests.support.due_jobs import run_due
from tests.support.validations import MAILS, REQUEST, STAGE, SUBMIT

NOTIFIED = {**MAILS, "email": {**MAILS["email"], "enable_notifs": True}}
USERS = 1_000_000
SOME = 20_000
# Statements that fill the tables, one each: {n} rows, numbered i. Foreign keys are not checked,
# which would take a minute.
ROWS: Mapping[str, tuple[int, str]] = {
    "users": (
        USERS,
        "'@u' || i || ':test.example', 'u' || i, 'hash', i % 9 = 0, FALSE, NULL, TRUE, FALSE,"
        " FALSE, NULL, i + 1700000000000, NULL, NULL",
    ),
    "profiles": (SOME, "'@u' || i || ':test.example', 'u' || i"),
    "devices": (SOME, "'@u' || i || ':test.example', 'D' || i, NULL, NULL, NULL"),
    "logins": (
        SOME,
        "md5('a' || i), md5('r' || i), '@u' || i || ':test.example', 'D' || i, NULL, NULL, NULL,"
        " CASE WHEN i % 9 = 0 THEN md5('a' || i - 1) END, CASE WHEN i % 7 = 0 THEN i END",
    ),
    "outcomes": (
        SOME,
        "md5('o' || i), '@u' || i || ':test.example', NULL, TRUE, 2000000000000 + i",
    ),
    "replication_calls": (
        SOME,
        "'post_register ' || i, '@u' || i || ':test.example', md5('f' || i), NULL,"
        " 2000000000000 + i",
    ),
    "uia_sessions": (
        SOME,
        "md5('s' || i), 'POST', '/register', NULL, '192.0.' || i % 256 || '.' || i % 199, '{}',"
        " NULL, '{}', '[]', NULL, i, 2000000000000 + i, i % 2 = 0, NULL,"
        " NULL, NULL, CASE WHEN i % 2 = 0 THEN '@u' || i || ':test.example' END, NULL,"
        " CASE WHEN i % 3 = 0 THEN '2001:db8:' || i || '::/48' END",
    ),
    "threepids": (SOME, "'email', 'u' || i || '@a.example', '@u' || i || ':test.example', i, i"),
    "validations": (
        SOME,
        "md5('v' || i), 'email', 'v' || i || '@a.example', md5('c' || i), 1,"
        " CASE WHEN i % 4 = 1 THEN '@u' || i || ':test.example' ELSE '' END, NULL, 0,"
        " CASE WHEN i % 2 = 0 THEN i END, CASE WHEN i % 4 = 0 THEN md5('s' || i) END, i % 8 = 0,"
        " 2000000000000 + i",
    ),
    "validation_tokens": (SOME, "md5('v' || i), 1, i"),
    "consents": (SOME, "'@u' || i || ':test.example', 'privacy_policy', '1', i"),
    "active_users": (SOME, "'@u' || i || ':test.example', i"),
    "pushers": (
        SOME,
        "'@u' || i || ':test.example', 'm.email', 'u' || i, 'D' || i, 'email', 'a', 'd', NULL,"
        " '{}'",
    ),
    "first_times": (SOME, "'add_email_pusher @u' || i"),
    "bindings": (
        SOME,
        "'@u' || i || ':test.example', 'email', 'u' || i || '@a.example', 'id.example',"
        " md5('b' || i), NULL, i",
    ),
    # Due, of several kinds.
    "jobs": (
        SOME,
        "md5('j' || i), (ARRAY['auto_join', 'greet', 'wave', 'unbind'])[i % 4 + 1],"
        """ '{"user_id": "@u' || i || ':test.example", "room": "#a:test.example"}', 1, i, i,"""
        " CASE WHEN i % 3 = 0 THEN 'no luck' END",
    ),
    "registration_tokens": (SOME, "'t' || i, NULLIF(i % 3, 0), 0, NULL, FALSE, NULL, NULL, i / 2"),
    "registration_token_uses": (SOME, "'@u' || i || ':test.example', 't' || i % 1000, i"),
    "registration_token_reservations": (SOME, "md5('s' || i), 't' || i % 500, 2000000000000 + i"),
    "used_nonces": (SOME, "md5('n' || i), 2000000000000 + i"),
    # Most are decided, and kept for a while.
    "approvals": (
        SOME,
        "'@u' || i || ':test.example', 'Why', '192.0.2.1', '[]', i, i,"
        " CASE WHEN i % 9 > 0 THEN 'approved' END,"
        " CASE WHEN i % 9 > 0 THEN 1699000000000 + i END, NULL, NULL",
    ),
    "administrator_sessions": (
        SOME,
        "md5('c' || i), '@u' || i || ':test.example', NULL, 2000000000000 + i",
    ),
    "audit": (
        SOME,
        "md5('e' || i), 1600000000000 + i, 'registered', '@u' || i || ':test.example', NULL,"
        " '192.0.2.0/24', 'flow', 1, '{}'",
    ),
}
# The kinds of due jobs, and how many of each are claimed.
PLACES = {"auto_join": 20, "greet": 20, "wave": 5, "fly": 20}
# So many rows may be sorted for one answer.
SORTED = 4000
# Read completely by those who clean up: each decision would have to write an index.
SCANNED = {"rate_limits"}


PEOPLE = {
    "limit_usage_by_mau": True,
    "max_mau_value": 1000,
    "mau_appservice_trial_days": {"bridge": 1},
    "regsys": {"guest_expiry": "30d"},
}


class ExplainTests(SystemCase):
    def setUp(self) -> None:
        super().setUp()
        self.args = postgres.dsn(self, log_statements=True)
        if postgres.shared().log is None:
            raise SkipTest("The log of REGSYS_TEST_POSTGRES cannot be read.")
        database = postgres_database(self, self.clock, self.args)
        self.mails = MemoryMails()
        self.system(database=database, hooks=self.hooks(mails=self.mails), **NOTIFIED, **PEOPLE)
        self.cursor = database.pool.connection.cursor()

    def fill(self) -> None:
        self.cursor.execute("SET session_replication_role = replica")
        for table, (number, row) in ROWS.items():
            self.cursor.execute(
                f"INSERT INTO {table} SELECT {row} FROM generate_series(1, {number}) AS i"
            )
            self.cursor.execute(f"ANALYZE {table}")
        self.cursor.execute("SET session_replication_role = DEFAULT")

    def requests(self) -> None:
        """One of every client request, and the work that follows from it."""
        registered = self.register("alice", refresh_token=True)
        self.whoami(registered["access_token"])
        session = self.challenge(username="bob", password=PASSWORD)["session"]
        self.client.post(f"{V3}/register", {}, X_Forwarded_For="2001:db8:7::1")
        self.clock.advance(0)
        self.challenge(auth={"session": session}, username="bob")
        auth = {**DUMMY, "session": session}
        for _ in range(2):  # the second is replayed from its outcome
            answer = self.client.register(auth=auth)
            self.assertEqual(answer.status, 200, answer)
        answer = self.client.register(password=PASSWORD, auth=DUMMY)
        self.assertEqual(answer.status, 200, answer)
        self.client.get(f"{V3}/register/available?username=carol")
        guest = self.guest()
        self.whoami(guest["access_token"])
        name = UserID.parse(guest["user_id"]).localpart
        self.register(name, guest_access_token=guest["access_token"])
        body = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
        for device_id in ("PHONE", "PHONE", "LAPTOP"):
            answer = self.client.post(f"{V3}/login", {**body, "device_id": device_id})
            self.assertEqual(answer.status, 200, answer)
        answer = self.client.post(f"{V3}/refresh", {"refresh_token": registered["refresh_token"]})
        self.assertEqual(self.whoami(answer.json["access_token"]).status, 200)
        self.client.post(f"{V3}/logout", token=answer.json["access_token"])
        self.validate_and_register()
        self.change_addresses(self.register("emma")["access_token"])
        self.wait(self.subsystem.handler.deactivated(UserID("emma", "test.example")))
        self.wait(self.subsystem.consents.accept(UserID("u1", "test.example"), "rules", "1"))
        self.wait(self.subsystem.consents.has_accepted(UserID("u2", "test.example"), "rules", "1"))
        self.bind_and_unbind(UserID("u3", "test.example"))
        self.wait(run_due(self.subsystem.jobs))
        self.see_and_count_users()
        self.process_backlogs()

    def process_backlogs(self) -> None:
        """Jobs are claimed, counted and retried, expired rows are removed, and tokens are
        listed."""
        jobs = JobStore(self.database)
        claimed = self.wait(jobs.claim(PLACES, self.now_ms, 60_000))
        self.assertEqual(len(claimed), 45)
        self.wait(jobs.release([claimed[0].job_id], self.now_ms))
        # Not jobs.waiting: an index for the operator's list would cost each registration.
        self.assertGreaterEqual(len(self.wait(jobs.backlog())), 4)
        self.wait(jobs.retry(claimed[0].job_id, self.now_ms))
        retrying = Deferred.fromCoroutine(jobs.retry(None, 0))
        while not retrying.called:
            self.clock.advance(1)
        for store in self.subsystem._housekeeping._stores:
            self.wait(store.delete_expired(self.now_ms, 10))
        tokens = RegistrationTokenStore(self.database)
        (*_, last) = page = self.wait(tokens.list(self.now_ms))
        self.wait(tokens.list(self.now_ms, last))
        self.wait(tokens.first_uses([token.token for token in page], 20))
        (first, *_) = self.wait(tokens.uses("t7"))
        self.wait(tokens.uses("t7", first))
        self.assertTrue(self.wait(tokens.reserve("t3", "session", self.now_ms)))
        self.assertFalse(self.wait(tokens.reserve("t1", "session", self.now_ms)))

    def see_and_count_users(self) -> None:
        """Users and guests are seen and counted, and some have ended."""
        users, guests = self.subsystem.blocking.users, GuestStore(self.database)
        alice = UserID("alice", "test.example")
        self.assertTrue(self.wait(users.is_active(alice)))
        self.wait(users.add(alice))
        self.clock.advance(COUNT_KEPT_S)
        self.assertGreater(self.wait(users.count(1000)), 1)
        store = ActivityStore(db=self.database, config=BlockingConfig(), tracks_guests=False)
        self.assertEqual(self.wait(store.delete_expired(self.now_ms, 10)), 10)
        self.wait(guests.tracked_since(self.now_ms, 1))
        self.assertEqual(self.wait(guests.deactivate_idle(self.now_ms, 10)), 10)

    def bind_and_unbind(self, user_id: UserID) -> None:
        """Requests to an identity server are stored and removed."""
        store = BindingStore(self.database, Encryptor(b"secret"))
        address = {"medium": "email", "address": "b@a.example"}
        binding = Binding(user_id=user_id, id_server="id.example", **address)
        self.wait(store.add(binding, self.now_ms))
        self.assertEqual(self.wait(store.get(binding.binding_id)), binding)
        self.assertEqual(len(self.wait(store.of_user(user_id))), 2)
        self.assertTrue(self.wait(store.remove(binding.binding_id)))

    def validate_and_register(self) -> None:
        """A client validates an address, at the second mail, and registers with it."""
        creds = {"client_secret": "secret"}
        for attempt in (1, 2):
            ask = {"email": "dora@a.example", "send_attempt": attempt, **creds}
            creds["sid"] = self.client.post(REQUEST, ask).json["sid"]
        answer = self.client.post(SUBMIT, {**creds, "token": self.mails.sent[-1].code})
        self.assertEqual(answer.status, 200, answer)
        begun = self.client.register(username="dora", password=PASSWORD)
        auth = {"type": STAGE, "threepid_creds": creds, "session": begun.json["session"]}
        answer = self.client.register(username="dora", password=PASSWORD, auth=auth)
        self.assertEqual(answer.status, 200, answer)
        answer = self.client.get(f"{V3}/pushers", token=answer.json["access_token"])
        self.assertEqual(len(answer.json["pushers"]), 1)

    def change_addresses(self, token: str) -> None:
        """A user adds an address and removes it again."""
        path, creds = f"{V3}/account/3pid", {"client_secret": "secret"}
        ask = {"email": "emma@a.example", "send_attempt": 1, **creds}
        creds["sid"] = self.client.post(f"{path}/email/requestToken", ask, token=token).json["sid"]
        self.client.post(SUBMIT, {**creds, "token": self.mails.sent[-1].code})
        auth = {"type": "m.login.password", "user": "emma", "password": PASSWORD}
        for body in ({**creds}, {**creds, "auth": auth}):
            answer = self.client.post(f"{path}/add", body, token=token)
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(len(self.client.get(path, token=token).json["threepids"]), 1)
        gone = {"medium": "email", "address": "emma@a.example"}
        self.client.post(f"{path}/delete", gone, token=token)

    def statements(self) -> list[str]:
        """The statements of the requests, without those that end transactions."""
        with postgres.statement_log(self.args) as logged:
            self.requests()
        texts = dict.fromkeys(statement.text for statement in logged)
        return [text for text in texts if text.split()[0] not in ("BEGIN", "COMMIT")]

    def nodes(self, plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        yield plan
        for part in plan.get("Plans", ()):
            yield from self.nodes(part)

    def test_indexes(self) -> None:
        """No table is read completely, and no backlog is sorted."""
        self.fill()
        statements = self.statements()
        kinds = {text.split()[0] for text in statements}
        self.assertEqual(kinds, {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"})
        for text in statements:
            self.cursor.execute(f"EXPLAIN (FORMAT JSON) {text}")
            ((plans,),) = self.cursor.fetchall()
            for node in self.nodes(plans[0]["Plan"]):
                if node.get("Relation Name") not in SCANNED:
                    self.assertNotEqual(node["Node Type"], "Seq Scan", f"{text}\n{plans}")
                if node["Node Type"] == "Sort":
                    self.assertLess(node["Plan Rows"], SORTED, f"{text}\n{plans}")

    def test_keysBetweenTables(self) -> None:
        """A deleted row does not scan the tables that refer to it: every foreign key has its
        index."""
        self.cursor.execute(
            """
            SELECT conrelid::regclass::text, conname FROM pg_constraint c
            WHERE contype = 'f' AND connamespace = 'regsys'::regnamespace AND NOT EXISTS
            (SELECT 1 FROM pg_index WHERE indrelid = c.conrelid
             AND (indkey::int2[])[0 : array_length(c.conkey, 1) - 1] = c.conkey)
            """
        )
        self.assertEqual(self.cursor.fetchall(), [])
