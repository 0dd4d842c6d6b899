"""What must hold in regsys's tables at any moment, whatever happened to a process.

Each rule is a sentence and the SQL that finds the rows which break it. The rules hold as long as
nothing has expired (``regsys.storage`` removes outcomes and spent logins after a day) and no device
has logged out.
"""

from __future__ import annotations

import sqlite3
from itertools import groupby
from operator import itemgetter
from typing import Any, Mapping, Optional, Sequence

import attr

from regsys.model.token_text import token_hash
from tests.support.checker import Account

RULES: Mapping[str, str] = {
    "a decision is carried out": """
        SELECT a.user_id FROM approvals a JOIN users u ON u.user_id = a.user_id
        WHERE (a.decision = 'refused' AND NOT u.deactivated)
        OR (a.decision = 'approved' AND NOT u.approved)""",
    "a name belongs to one account": """
        SELECT LOWER(user_id) FROM users GROUP BY LOWER(user_id) HAVING COUNT(*) > 1""",
    "an account has a profile": """
        SELECT user_id FROM users WHERE user_id NOT IN (SELECT user_id FROM profiles)""",
    "an account has an outcome": """
        SELECT user_id FROM users WHERE user_id NOT IN (SELECT user_id FROM outcomes)""",
    "an account is made under one key, and upgraded under another": """
        SELECT o.user_id FROM outcomes o LEFT JOIN users u ON u.user_id = o.user_id
        GROUP BY o.user_id, u.upgraded_ms
        HAVING COUNT(*) > CASE WHEN u.upgraded_ms IS NULL THEN 1 ELSE 2 END""",
    "an outcome has its account": """
        SELECT key FROM outcomes WHERE finished AND user_id NOT IN (SELECT user_id FROM users)""",
    "an outcome is finished": """
        SELECT key FROM outcomes WHERE NOT finished""",
    "an outcome with a login has its device and its tokens": """
        SELECT key FROM outcomes WHERE terms NOT LIKE '%"is_guest": true%' AND user_id NOT IN
        (SELECT user_id FROM users WHERE deactivated) AND NOT EXISTS
        (SELECT 1 FROM logins WHERE logins.user_id = outcomes.user_id
         AND outcomes.terms LIKE '%"device_id": "' || logins.device_id || '"%')""",
    "a guest has its device and no password": """
        SELECT user_id FROM users WHERE is_guest AND NOT deactivated AND (password_hash IS NOT NULL
        OR upgraded_ms IS NOT NULL OR NOT EXISTS (SELECT 1 FROM devices
        WHERE devices.user_id = users.user_id AND device_id = 'guest_device'))""",
    "a deactivated guest has no device": """
        SELECT user_id FROM users WHERE is_guest AND deactivated AND user_id IN
        (SELECT user_id FROM devices)""",
    "a guest is no active user": """
        SELECT user_id FROM users WHERE is_guest AND user_id IN
        (SELECT user_id FROM active_users)""",
    "an upgraded guest is a user with a password and without a guest's device": """
        SELECT user_id FROM users WHERE upgraded_ms IS NOT NULL AND (is_guest
        OR password_hash IS NULL OR EXISTS (SELECT 1 FROM devices
        WHERE devices.user_id = users.user_id AND device_id = 'guest_device'))""",
    "a profile has its account": """
        SELECT user_id FROM profiles WHERE user_id NOT IN (SELECT user_id FROM users)""",
    "a device has its account": """
        SELECT user_id FROM devices WHERE user_id NOT IN (SELECT user_id FROM users)""",
    "a user's device has tokens": """
        SELECT user_id, device_id FROM devices WHERE device_id <> 'guest_device' AND NOT EXISTS
        (SELECT 1 FROM logins WHERE logins.user_id = devices.user_id
         AND logins.device_id = devices.device_id)""",
    "a login has its device": """
        SELECT access_hash FROM logins WHERE NOT EXISTS (SELECT 1 FROM devices
        WHERE devices.user_id = logins.user_id AND devices.device_id = logins.device_id)""",
    "a login that replaces another has it beside it, unspent": """
        SELECT l.access_hash FROM logins l LEFT JOIN logins r ON r.access_hash = l.replaces
        WHERE l.replaces IS NOT NULL AND (r.access_hash IS NULL OR r.spent_ms IS NOT NULL)""",
    "a device has one login in force": """
        SELECT user_id, device_id FROM logins WHERE spent_ms IS NULL AND replaces IS NULL
        GROUP BY user_id, device_id HAVING COUNT(*) > 1""",
    "a third-party identifier has its account": """
        SELECT address FROM threepids WHERE user_id NOT IN (SELECT user_id FROM users)""",
    "a used validation belongs to an account or a finished session, and was confirmed": """
        SELECT sid FROM validations WHERE used AND (validated_ms IS NULL OR user_id = ''
        AND (claimed_by IS NULL
        OR claimed_by NOT IN (SELECT key FROM outcomes WHERE finished)))""",
    # A phone number's session at an identity server has no client secret here, and is claimed from
    # the beginning.
    "an open validation has a token that was sent": """
        SELECT sid FROM validations WHERE CASE WHEN client_secret = '' THEN claimed_by IS NULL
        ELSE sid NOT IN (SELECT sid FROM validation_tokens) END""",
    # The others confirm a request of a user, or one whose password is forgotten.
    "a registration's session is finished exactly if it has made an account": """
        SELECT s.session_id FROM uia_sessions s LEFT JOIN outcomes o ON o.key = s.session_id
        WHERE s.user_id IS NULL AND s.uri NOT LIKE '%/account/password%'
        AND s.finished <> (o.key IS NOT NULL)""",
    "a finished session holds no name": """
        SELECT session_id FROM uia_sessions WHERE finished AND held_name IS NOT NULL""",
    "a reserved use of a token has an unfinished session": """
        SELECT session_id FROM registration_token_reservations WHERE session_id NOT IN
        (SELECT session_id FROM uia_sessions WHERE NOT finished)""",
    "a registration token is not used more often than it may be": """
        SELECT token FROM registration_tokens WHERE completed > uses_allowed""",
    "a registration token has as many uses as it has counted": """
        SELECT token FROM registration_tokens t WHERE completed <> (SELECT COUNT(*)
        FROM registration_token_uses u WHERE u.token = t.token)""",
    "a use of a registration token has its account": """
        SELECT user_id FROM registration_token_uses WHERE user_id NOT IN
        (SELECT user_id FROM users)""",
    # A ghost whose namespace is not exclusive looks like a user, but has no password.
    "the first real user is known once there is a user": """
        SELECT user_id FROM users WHERE NOT is_guest AND appservice_id IS NULL
        AND user_type IS NULL AND password_hash IS NOT NULL AND NOT EXISTS
        (SELECT 1 FROM milestones WHERE name = 'first_real_user'
         AND user_id IN (SELECT user_id FROM users))""",
}


def broken(connection: Any) -> dict[str, list[Any]]:
    """The rules that don't hold, each with the rows that break it; empty if all is well.

    ``connection`` is a DB-API connection that finds our tables (on PostgreSQL: with the
    search_path set to our schema).
    """
    cursor = connection.cursor()
    found = {}
    for sentence, sql in RULES.items():
        cursor.execute(sql)
        rows = cursor.fetchall()
        if rows:
            found[sentence] = list(rows)
    cursor.close()
    return found


@attr.frozen
class Tables:
    """How ``tests.support.checker`` reads our tables."""

    connection: Any

    def accounts(self) -> list[Account]:
        cursor = self.connection.cursor()
        cursor.execute(
            "SELECT users.user_id, device_id FROM users"
            " LEFT JOIN devices ON devices.user_id = users.user_id ORDER BY 1"
        )
        return [
            Account(user_id, [device_id for _, device_id in rows if device_id is not None])
            for user_id, rows in groupby(cursor.fetchall(), key=itemgetter(0))
        ]

    def whose(self, token: str) -> Optional[str]:
        cursor = self.connection.cursor()
        mark = "?" if isinstance(self.connection, sqlite3.Connection) else "%s"
        cursor.execute(
            f"SELECT user_id FROM logins WHERE spent_ms IS NULL AND access_hash = {mark}",
            (token_hash(token),),
        )
        row = cursor.fetchone()
        return None if row is None else str(row[0])

    def half_made(self) -> Mapping[str, Sequence[object]]:
        return broken(self.connection)
