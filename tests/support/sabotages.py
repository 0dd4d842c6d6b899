"""Slips that a homeserver's author could make in docs/examples, one line each.

The example's suites must catch each of them. A pair is the text of the line, which is found
exactly once in the file, and what the author wrote instead.
"""

from __future__ import annotations

# Names.
_NAMES = [
    ("runQuery(query, (localpart.lower(),))", "runQuery(query, (localpart,))"),
    ('"SELECT 1 FROM accounts WHERE name = ?"', '"SELECT 1 FROM accounts WHERE name LIKE ?"'),
    (
        '"SELECT 1 FROM accounts WHERE name = ?"',
        '"SELECT 1 FROM accounts WHERE name = ? AND NOT deactivated"',
    ),
    (
        '"SELECT 1 FROM accounts WHERE name = ?"',
        '"SELECT 1 FROM accounts WHERE name = ? AND NOT is_guest"',
    ),
    ('"name": new.user_id.name_key', '"name": new.user_id.localpart'),
    ('"user_id": str(new.user_id)', '"user_id": str(new.user_id).lower()'),
    ("name TEXT PRIMARY KEY,", "name TEXT NOT NULL,"),
    ("raise UsernameTaken()", "pass"),
    ("raise UsernameTaken()", "txn.connection.commit(); raise UsernameTaken()"),
    ('" ON CONFLICT DO NOTHING",', '"",'),
    (
        '" ON CONFLICT DO NOTHING",',
        '" ON CONFLICT (name) DO UPDATE SET password_hash = excluded.password_hash",',
    ),
    (
        "    return int(txn.lastrowid)",
        '    return int(txn.execute("SELECT COUNT(*) FROM accounts").fetchone()[0])',
    ),
    ("    return int(txn.lastrowid)", "    return txn.lastrowid % 10"),
]

# Keys.
_KEYS = [
    (
        "INSERT INTO registrations VALUES (?, ?) ON CONFLICT DO NOTHING",
        "REPLACE INTO registrations VALUES (?, ?)",
    ),
    ("(new.key, user_id)", "(user_id, new.key)"),
    ("(new.key, user_id)", "(new.key, user_id.lower())"),
    ("        return made\n", "        return new.user_id\n"),
    ("        return made\n", "        raise UsernameTaken()\n"),
    ("    return new.user_id\n", "    return UserID(new.user_id.name_key, new.user_id.server)\n"),
    ("FROM registrations WHERE key = ?", "FROM registrations WHERE key LIKE ?"),
    ("FROM registrations WHERE key = ?", "FROM registrations WHERE lower(key) = lower(?)"),
    (
        "FROM registrations WHERE key = ?",
        "FROM registrations JOIN accounts USING (user_id) WHERE NOT deactivated AND key = ?",
    ),
]

# What an account has.
_FIELDS = [
    ('"created_ms": new.created_ms', '"created_ms": 0'),
    ('"password_hash": new.password_hash', '"password_hash": None'),
    ('"display_name": new.display_name', '"display_name": new.user_id.localpart'),
    ('"is_guest": new.is_guest', '"is_guest": False'),
    ('"admin": new.admin', '"admin": False'),
    ('"user_type": new.user_type', '"user_type": None'),
    ('"approved": new.approved', '"approved": True'),
    ('"shadow_banned": new.shadow_banned', '"shadow_banned": False'),
    ('"shadow_banned": new.shadow_banned', '"shadow_banned": not new.approved'),
    ('"appservice_id": new.appservice_id', '"appservice_id": None'),
    ('"extra": json.dumps(new.extra)', '"extra": "{}"'),
    (" :is_guest, :admin, :user_type", " :admin, :is_guest, :user_type"),
    ("        _give(txn, new.user_id, threepid, new.created_ms)", "        pass"),
    ("_give(txn, new.user_id, threepid, new.created_ms)", "_give(txn, new.user_id, threepid, 0)"),
    ("        _put_device(txn, new.user_id, new.device)", "        pass"),
]

# Guests.
_UPGRADES = [
    ("if new.upgrades_guest:", "if new.upgrades_guest and new.password_hash:"),
    ("SET password_hash = :password_hash, is_guest = FALSE,", "SET is_guest = FALSE,"),
    ("is_guest = FALSE, admin = :admin,", "admin = :admin,"),
    ("is_guest = FALSE, admin = :admin,", "is_guest = FALSE,"),
    (" extra = :extra WHERE", " WHERE"),
    ('" user_type = :user_type, approved', '" approved'),
    ("approved = :approved, shadow_banned =", "shadow_banned ="),
    ("approved = :approved, shadow_banned = :shadow_banned,", "approved = :approved,"),
    ("approved = :approved, shadow_banned", "display_name = :display_name, shadow_banned"),
    ("= :user_id AND is_guest AND NOT deactivated", "= :user_id AND NOT deactivated"),
    ("= :user_id AND is_guest AND NOT deactivated", "= :user_id AND is_guest"),
    ("WHERE user_id = :user_id AND is_guest AND", "WHERE is_guest AND"),
    ("raise UnknownToken()", "return"),
    ("raise UnknownToken()", "raise UsernameTaken()"),
    (
        '    txn.execute("DELETE FROM devices WHERE user_id = ?", (str(new.user_id),))',
        "    pass",
    ),
    (
        '"DELETE FROM devices WHERE user_id = ?", (str(new.user_id),)',
        "\"DELETE FROM devices WHERE device_id = 'guest_device'\"",
    ),
]

# Devices and tokens.
_DEVICES = [
    ("token.reveal().encode", "token.reveal()[:8].encode"),
    ("token.reveal().encode", "token.reveal().lower().encode"),
    ("token.reveal().encode", "token.reveal().strip().encode"),
    (
        "        return device.login\n",
        "        return attr.evolve(device.login, access_token=Secret('x'))\n",
    ),
    ("raise UnknownToken(soft_logout=True)", "return None"),
    ("raise UnknownToken(soft_logout=True)", "raise UnknownToken()"),
    ("raise UnknownToken(soft_logout=True)", "pass"),
    ("is_guest=bool(is_guest)", "is_guest=False"),
    ("is_guest=bool(is_guest)", 'is_guest=device_id == "guest"'),
    ("is_admin=bool(admin)", "is_admin=True"),
    ("is_admin=bool(admin)", "is_admin=False"),
    ("            device_id=device_id,", "            device_id=None,"),
    ("            login.device_id,", "            login.device_id.lower(),"),
    ("            device.display_name,", "            login.device_id,"),
    ("            login.terms.valid_until_ms,", "            None,"),
    ("SET token_hash = excluded.token_hash, valid", "SET valid"),
    ("SET token_hash", "SET display_name = excluded.display_name, token_hash"),
    ("excluded.token_hash, valid_until_ms = excluded.valid_until_ms", "excluded.token_hash"),
    ("if _lock(txn, user_id) != login.terms.is_guest:", "if False:"),
    (
        "if _lock(txn, user_id) != login.terms.is_guest:",
        'if _lock(txn, UserID(user_id.localpart, "contract.example")) != login.terms.is_guest:',
    ),
    ("if _lock(txn, user_id) != login.terms.is_guest:", "if _lock(txn, user_id) is None:"),
    (
        "SET deactivated = FALSE WHERE user_id = ? AND NOT deactivated",
        "SET deactivated = FALSE WHERE user_id = ?",
    ),
    ("raise UserNotFound()", "pass"),
]

# Looking accounts up, and deactivating them.
_ACCOUNTS = [
    ("            (localpart.lower(),),", "            (localpart,),"),
    ("deactivated FROM accounts WHERE name = ?", "deactivated FROM accounts WHERE name LIKE ?"),
    (
        "deactivated FROM accounts WHERE name = ?",
        "deactivated FROM accounts WHERE name = ? AND NOT deactivated",
    ),
    (
        "            user_id=UserID.parse(user_id),\n            created_ms",
        "            user_id=UserID.parse(user_id.lower()),\n            created_ms",
    ),
    ("password_hash=password_hash,", 'password_hash=password_hash or "",'),
    ("            is_guest=is_guest,", "            is_guest=False,"),
    ("            deactivated=deactivated,", "            deactivated=False,"),
    (
        "is_guest, admin, approved, shadow_banned, deactivated = map",
        "admin, is_guest, approved, shadow_banned, deactivated = map",
    ),
    ("SET deactivated = TRUE, password_hash = NULL", "SET password_hash = NULL"),
    ("password_hash = NULL WHERE user_id = ?", "password_hash = NULL WHERE ? <> ''"),
    ('    txn.execute("DELETE FROM devices WHERE user_id = ?", (str(user_id),))', "    pass"),
    ('"DELETE FROM devices WHERE user_id = ?", (str(user_id),)', '"DELETE FROM devices"'),
]

# Addresses.
_THREEPIDS = [
    (
        'query = "SELECT user_id FROM threepids WHERE medium = ?',
        "query = \"SELECT user_id FROM threepids WHERE ? <> ''",
    ),
    (
        'threepids WHERE medium = ? AND address = ?"\n        rows',
        'threepids WHERE medium = ? AND address = lower(?)"\n        rows',
    ),
    ("ORDER BY added_ms", "ORDER BY added_ms DESC"),
    ("ORDER BY added_ms", "ORDER BY validated_ms"),
    (
        "SELECT medium, address, validated_ms, added_ms",
        "SELECT medium, address, added_ms, added_ms",
    ),
    ("    _lock(txn, user_id)\n    return _give", "    return _give"),
    (
        "return _give(txn, user_id, threepid, now_ms)",
        "_give(txn, user_id, threepid, now_ms); return True",
    ),
    (
        "INSERT INTO threepids VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        "REPLACE INTO threepids VALUES (?, ?, ?, ?, ?)",
    ),
    ("PRIMARY KEY (medium, address)", "PRIMARY KEY (medium, address, user_id)"),
    ("PRIMARY KEY (medium, address)", "PRIMARY KEY (medium, user_id)"),
    ("raise ThreepidInUse()", "return False"),
    ("raise ThreepidInUse()", "txn.connection.commit(); raise ThreepidInUse()"),
    ("raise ThreepidInUse()", "raise UsernameTaken()"),
    ("if txn.fetchone() != (str(user_id),):", "if True:"),
    ("DELETE FROM threepids WHERE user_id = ?", "DELETE FROM threepids WHERE ? <> ''"),
    ("user_id = ? AND medium = ? AND address = ?", "user_id = ? AND ? <> '' AND address = ?"),
    ("user_id = ? AND medium = ? AND address = ?", "user_id = ? AND medium = ? AND ? <> ''"),
    ("    return bool(txn.rowcount)", "    return True"),
]

STORE = [*_NAMES, *_KEYS, *_FIELDS, *_UPGRADES, *_DEVICES, *_ACCOUNTS, *_THREEPIDS]

# In the stage of embedding.py.
STAGE = [
    ('given = auth.get("code")', 'given = auth["code"]'),
    ("if not isinstance(given, str):", 'if given == "":'),
    (
        "compare_digest(given.encode(), self.code.reveal().encode())",
        "compare_digest(given, self.code.reveal())",
    ),
    (
        "if not hmac.compare_digest(given.encode(), self.code.reveal().encode()):",
        "if given not in self.code.reveal():",
    ),
    ('raise StageFailed("M_UNAUTHORIZED", ', "return not ("),
    ('raise StageFailed("M_UNAUTHORIZED", ', "return None and ("),
    ('raise StageFailed("M_UNAUTHORIZED", ', "raise InvalidParam("),
    ('raise StageFailed("M_MISSING_PARAM", ', "raise MissingParam("),
    ("        return True\n\n\n# --- The", "        return None\n\n\n# --- The"),
    ("        return True\n\n\n# --- The", "        return False\n\n\n# --- The"),
    ("        return True\n\n\n# --- The", "        return self.code\n\n\n# --- The"),
    ('return {"hint": "It', 'return {"hint": object(), "": "It'),
    (
        'given = auth.get("code")',
        'given = context.session.params.pop("username", auth.get("code"))',
    ),
]
