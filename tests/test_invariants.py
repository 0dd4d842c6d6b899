"""Tests for tests.support.invariants: each rule finds its fault."""

from __future__ import annotations

import sqlite3
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys.storage.sqlite import SQLite
from regsys.storage.users import UserStore
from regsys.testing import standalone
from regsys.testing.contracts.case import account
from regsys.testing.database import inline_database
from tests.support import invariants
from tests.support.client import V3, Client
from tests.support.databases import OnPostgreSQL

DUMMY = {"type": "m.login.dummy"}
PASSWORD = "correct horse"

# A rule, and the statement that breaks it in the database below.
DAMAGE = (
    (
        "a name belongs to one account",
        "UPDATE users SET user_id = '@ALICE:test.example' WHERE name_key = 'b'",
    ),
    (
        "a decision is carried out",
        "INSERT INTO approvals (user_id, languages, requested_ms, decision, decided_ms)"
        " SELECT user_id, '[]', 1, 'refused', 2 FROM users WHERE name_key = 'alice'",
    ),
    ("an account has a profile", "DELETE FROM profiles WHERE user_id LIKE '@alice:%'"),
    ("an account has an outcome", "DELETE FROM outcomes WHERE user_id LIKE '@alice:%'"),
    (
        "an account is made under one key, and upgraded under another",
        "INSERT INTO outcomes SELECT 'another', user_id, terms, finished, created_ms FROM outcomes"
        " WHERE user_id LIKE '@alice:%'",
    ),
    ("an outcome has its account", "DELETE FROM users WHERE name_key = 'alice'"),
    ("an outcome is finished", "UPDATE outcomes SET finished = FALSE WHERE user_id LIKE '@al%'"),
    (
        "an outcome with a login has its device and its tokens",
        "DELETE FROM logins WHERE user_id LIKE '@alice:%'",
    ),
    (
        "a guest has its device and no password",
        "DELETE FROM devices WHERE user_id IN (SELECT user_id FROM users WHERE is_guest)",
    ),
    (
        "a guest has its device and no password",
        "UPDATE users SET password_hash = 'x' WHERE is_guest",
    ),
    ("a deactivated guest has no device", "UPDATE users SET deactivated = TRUE WHERE is_guest"),
    (
        "a guest is no active user",
        "INSERT INTO active_users SELECT user_id, 1 FROM users WHERE is_guest",
    ),
    (
        "an upgraded guest is a user with a password and without a guest's device",
        "UPDATE users SET password_hash = NULL WHERE upgraded_ms IS NOT NULL",
    ),
    (
        "an upgraded guest is a user with a password and without a guest's device",
        "INSERT INTO devices (user_id, device_id) SELECT user_id, 'guest_device' FROM users"
        " WHERE upgraded_ms IS NOT NULL",
    ),
    (
        "a used validation belongs to an account or a finished session, and was confirmed",
        "INSERT INTO validations (sid, medium, address, client_secret, send_attempt, user_id,"
        " tries, validated_ms, claimed_by, used, expires_ms)"
        " VALUES ('sid', 'email', 'a@x.example', 's', 1, '', 0, 5, 'nobody', TRUE, 9)",
    ),
    (
        "an open validation has a token that was sent",
        "INSERT INTO validations (sid, medium, address, client_secret, send_attempt, user_id,"
        " tries, used, expires_ms) VALUES ('sid', 'email', 'a@x.example', 's', 1, '', 0, FALSE, 9)",
    ),
    ("a profile has its account", "DELETE FROM users WHERE name_key = 'alice'"),
    ("a device has its account", "DELETE FROM users WHERE name_key = 'alice'"),
    ("a user's device has tokens", "DELETE FROM logins WHERE user_id LIKE '@alice:%'"),
    ("a login has its device", "DELETE FROM devices WHERE user_id LIKE '@alice:%'"),
    (
        "a login that replaces another has it beside it, unspent",
        "UPDATE logins SET spent_ms = 1 WHERE replaces IS NULL",
    ),
    ("a device has one login in force", "UPDATE logins SET replaces = NULL"),
    (
        "a third-party identifier has its account",
        "INSERT INTO threepids VALUES ('email', 'a@b.example', '@nobody:x', 1, 1)",
    ),
    (
        "a registration's session is finished exactly if it has made an account",
        "UPDATE uia_sessions SET finished = FALSE",
    ),
    (
        "a registration's session is finished exactly if it has made an account",
        "DELETE FROM outcomes WHERE key IN (SELECT session_id FROM uia_sessions)",
    ),
    ("a finished session holds no name", "UPDATE uia_sessions SET held_name = 'b'"),
    (
        "a reserved use of a token has an unfinished session",
        "INSERT INTO registration_token_reservations VALUES ('no session', 'a token', 1)",
    ),
    (
        "a registration token is not used more often than it may be",
        "INSERT INTO registration_tokens "
        " (token, uses_allowed, completed, revoked, created_ms) VALUES ('a token', 1, 2, FALSE, 1)",
    ),
    (
        "a registration token has as many uses as it has counted",
        "INSERT INTO registration_tokens"
        " (token, completed, revoked, created_ms) VALUES ('a token', 1, FALSE, 1)",
    ),
    (
        "a use of a registration token has its account",
        "INSERT INTO registration_token_uses VALUES ('@nobody:x', 'a token', 1)",
    ),
    ("the first real user is known once there is a user", "DELETE FROM milestones"),
)


def populate(case: SynchronousTestCase, database: Any) -> None:
    """An account of every kind: one-shot, by a session, a guest, an upgraded guest; a refresh."""
    clock = Clock()
    client = Client(case, standalone(case, clock, database=database).resource())
    alice = client.register(username="alice", password=PASSWORD, auth=DUMMY, refresh_token=True)
    client.post(f"{V3}/refresh", {"refresh_token": alice.json["refresh_token"]})
    session = client.register(username="b", password=PASSWORD).json["session"]
    clock.advance(0)  # the hash is made after the answer
    case.assertEqual(client.register(auth={**DUMMY, "session": session}).status, 200)
    client.register("?kind=guest")
    guest = client.register("?kind=guest").json
    upgraded = client.register(
        username=guest["user_id"][1:].partition(":")[0],
        guest_access_token=guest["access_token"],
        password=PASSWORD,
        auth=DUMMY,
    )
    case.assertEqual(upgraded.json.get("user_id"), guest["user_id"], upgraded)


class InvariantsTests(OnPostgreSQL, SynchronousTestCase):
    def test_aSoundDatabaseBreaksNone(self) -> None:
        """Accounts made in every way, on PostgreSQL too, break no rule."""
        database = self.database()
        populate(self, database)
        self.assertEqual(invariants.broken(database.pool.connection), {})

    def test_ghosts(self) -> None:
        """A server with ghosts alone, of whatever namespace, breaks none: it has no first real
        user."""
        database = inline_database(SQLite(self.mktemp()), sqlite3.connect)
        self.addCleanup(database.pool.close)
        for name, exclusive in ("open", None), ("exclusive", "irc"):
            new = account(name, name, is_ghost=True, appservice_id=exclusive)
            made = Deferred.fromCoroutine(UserStore(database).create_account(new))
            self.assertEqual(self.successResultOf(made), new.user_id)
        self.assertEqual(invariants.broken(database.pool.connection), {})

    def test_eachRuleFindsItsFault(self) -> None:
        """A manipulated database breaks the rule for that fault."""
        self.assertEqual({sentence for sentence, _ in DAMAGE}, set(invariants.RULES))
        path = self.mktemp()
        database = inline_database(SQLite(path), sqlite3.connect)
        populate(self, database)
        database.pool.close()
        for sentence, damage in DAMAGE:
            connection = sqlite3.connect(path)  # without foreign keys, which would mend much
            self.assertEqual(invariants.broken(connection), {})
            connection.execute(damage)
            self.assertIn(sentence, invariants.broken(connection), damage)
            connection.rollback()
            connection.close()
