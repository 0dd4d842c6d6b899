"""A neighbour: a row in every table that no test is about.

A condition that is always true passes a test whose table holds one row. So each store test has a
neighbour in each table, made by our own stores before it begins; ``tests.support.tables`` compares
its rows afterwards, and leaves them out where a test looks into the tables.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from regsys.model import NewAccount, Threepid
from regsys.model.accounts import ACTIVE_MS
from regsys.model.audit import AuditEntry
from regsys.model.jobs import NewJob
from regsys.model.replication import ReplicationCall
from regsys.model.threepids import CODE_TRIES, NewValidation
from regsys.storage import audit
from regsys.storage.database import Database, Transaction
from regsys.storage.encryption import Encryptor
from regsys.storage.identity_server_bindings import BindingStore
from regsys.storage.nonces import NonceStore
from regsys.storage.pushers import PusherStore
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.storage.validations import ValidationStore
from regsys.testing.contracts.case import account, device, login, user
from regsys.testing.contracts.post_registration import pusher
from tests.support.stores import Stores
from tests.support.values import NEIGHBOUR, TERMS, access_hash, binding, session, token

# No test's clock comes here, so none of its rows is ever due, idle, counted or expired.
FAR_MS = 2**52
LASTING = {**TERMS, **{key: FAR_MS for key in TERMS if key.endswith("_ms")}}
USER = user(NEIGHBOUR)
GUEST = user(f"{NEIGHBOUR}-guest")
MAIL = f"{NEIGHBOUR}@mail.example"

# The column that has NEIGHBOUR in it, for tables where that is not ``user_id``.
_COLUMN = {
    "jobs": "job_id",
    "uia_sessions": "session_id",
    "registration_tokens": "token",
    "registration_token_reservations": "session_id",
    "adopted_registration_tokens": "token",
    "used_nonces": "nonce",
    "validations": "sid",
    "validation_tokens": "sid",
    "watches": "name",
    "rate_limits": "key",
    "adoption_progress": "name",
}
# Their rows hold nothing but a digest, or a time.
UNNAMED = frozenset({"first_times", "hand_backs"})


async def insert_rows(db: Database) -> None:
    """Put a row of the neighbour into every table."""
    stores = Stores(db, Clock())
    await _sessions(stores)
    await _accounts(stores)
    await _devices(stores)
    # After the accounts, which use up claimed validations: these must stay unused.
    await _addresses(stores)
    await stores.jobs.add([_job("waiting")], FAR_MS)
    await NonceStore(db).use(NEIGHBOUR, FAR_MS)
    await stores.calls.keep(
        ReplicationCall(
            name="post_register", user_id=str(USER), call_id=NEIGHBOUR, fingerprint="a digest"
        ),
        FAR_MS,
    )
    await db.transaction("test", _rows_with_fixed_names)


def delete_rows(txn: Transaction, tables: list[str]) -> None:
    """Remove its rows from these tables, until the transaction is rolled back."""
    for table in tables:
        if table not in UNNAMED:
            column = _COLUMN.get(table, "user_id")
            txn.run(f"DELETE FROM {table} WHERE {column} LIKE ?", (f"%{NEIGHBOUR}%",))


def _job(name: str, **more: Any) -> NewJob:
    return NewJob(kind=NEIGHBOUR, job_id=f"{NEIGHBOUR}-{name}", **more)


async def _sessions(stores: Stores) -> None:
    """Sessions, one of which holds a name and keeps a hash, and a reserved registration token."""
    for name in ("open", "ending"):
        session_id = f"{NEIGHBOUR}-{name}"
        made = session(
            session_id,
            user_id=USER,
            address="198.51.100.1",
            params={"username": NEIGHBOUR},
            results={"m.login.dummy": True},
            password_id=NEIGHBOUR,
            created_ms=FAR_MS - 1,
            expires_ms=FAR_MS,
        )
        await stores.sessions.add(made, 9)
        await stores.sessions.keep_hash(session_id, NEIGHBOUR, "hash")
    tokens = RegistrationTokenStore(stores.db)
    await tokens.create(token(NEIGHBOUR, uses_allowed=9, note="note", created_ms=FAR_MS))
    await tokens.reserve(NEIGHBOUR, f"{NEIGHBOUR}-open", FAR_MS)


async def _addresses(stores: Stores) -> None:
    """Validation sessions: open, with its tries used up, claimed by a UIA session, and of an
    account."""
    validations = ValidationStore(stores.db)
    for name, owner in (("open", None), ("tried", None), ("claimed", None), ("own", USER)):
        sid = f"{NEIGHBOUR}-{name}"
        new = NewValidation(
            sid=sid,
            medium="email",
            address=MAIL,
            client_secret=sid,
            send_attempt=1,
            next_link=f"https://{NEIGHBOUR}.example/",
            user_id=owner,
            now_ms=FAR_MS - 1,
            until_ms=FAR_MS,
            job=_job(f"mail-{name}"),
        )
        await validations.begin(new)
    for _ in range(CODE_TRIES):
        await validations.count_try(f"{NEIGHBOUR}-tried")
    for name in ("claimed", "own"):
        await validations.confirm(f"{NEIGHBOUR}-{name}", FAR_MS - 1)
    await validations.claim(f"{NEIGHBOUR}-claimed", f"{NEIGHBOUR}-open", FAR_MS)
    await BindingStore(stores.db, Encryptor(b"of the neighbour")).add(
        binding("id.example", NEIGHBOUR, address=MAIL, asked_until_ms=FAR_MS), FAR_MS
    )


async def _accounts(stores: Stores) -> None:
    """A user with everything that an account may have, a guest, and one that is being made in a
    homeserver's store."""
    await stores.users.create_account(
        _account(
            "ending",
            password_hash="hash",
            # A bot is never the first real user.
            user_type="bot",
            threepids=(Threepid("email", MAIL, FAR_MS),),
            registration_token=NEIGHBOUR,
            consents={"terms": "1"},
            session_id=f"{NEIGHBOUR}-ending",
            session_until_ms=FAR_MS,
            device=device(NEIGHBOUR, **LASTING),
            jobs=(_job("greet", dedup_key=NEIGHBOUR),),
        )
    )
    guest = device(NEIGHBOUR, "guest_device", is_guest=True)
    await stores.users.create_account(
        _account("guest", GUEST.localpart, is_guest=True, device=guest)
    )
    elsewhere = _account("elsewhere", f"{NEIGHBOUR}-elsewhere", registration_token=NEIGHBOUR)
    await stores.embedded_accounts.claim(elsewhere, _job("recover"))
    await stores.activity.add(USER, FAR_MS + ACTIVE_MS)


def _account(key: str, localpart: str = NEIGHBOUR, **more: Any) -> NewAccount:
    return account(f"{NEIGHBOUR}-{key}", localpart, created_ms=FAR_MS, **more)


async def _devices(stores: Stores) -> None:
    """Three pairs of tokens, of which one is spent and one not used yet, and a pusher."""
    for old, new in ((NEIGHBOUR, f"{NEIGHBOUR}-2"), (f"{NEIGHBOUR}-2", f"{NEIGHBOUR}-3")):
        await stores.devices.succeed(access_hash(old), USER, login(new, **LASTING))
        if not new.endswith("3"):
            await stores.devices.confirm(access_hash(new))
    await stores.db.transaction(
        "test",
        lambda txn: txn.run("UPDATE logins SET spent_ms = ? WHERE spent_ms = 0", (FAR_MS,)),
    )
    await PusherStore(stores.db).add(pusher(NEIGHBOUR, pushkey=MAIL))


def _rows_with_fixed_names(txn: Transaction) -> None:
    """Rows whose names our stores choose themselves."""
    txn.insert("milestones", name=NEIGHBOUR, user_id=str(USER), reached_ms=FAR_MS)
    txn.insert("rate_limits", key=NEIGHBOUR, empty_us=FAR_MS, refused=False)
    txn.insert("provisioning", user_id=str(USER), device_id="TABLET", job_id=NEIGHBOUR)
    txn.insert("external_ids", auth_provider_id="ldap", external_id=NEIGHBOUR, user_id=str(USER))
    txn.insert("newcomers", user_id=str(USER), suspended_ms=FAR_MS)
    txn.insert("watches", name=NEIGHBOUR, since_ms=FAR_MS, last_ms=FAR_MS)
    txn.insert(
        "adopted_users", user_id=str(USER), mark=NEIGHBOUR, last_token=FAR_MS, adopted_ms=FAR_MS
    )
    txn.insert("adopted_registration_tokens", token=NEIGHBOUR, completed=0)
    txn.insert("hand_backs", written_ms=FAR_MS)
    txn.insert(
        "approvals",
        user_id=str(USER),
        reason=NEIGHBOUR,
        languages="[]",
        requested_ms=FAR_MS,
        told_ms=FAR_MS,
        decision="approved",
        decided_ms=FAR_MS,
        decided_by=NEIGHBOUR,
    )
    txn.insert(
        "administrator_sessions",
        session_hash=NEIGHBOUR,
        user_id=str(USER),
        password_fingerprint=NEIGHBOUR,
        expires_ms=FAR_MS,
    )
    txn.insert("adoption_progress", name=NEIGHBOUR, after_user=NEIGHBOUR)
    entry = AuditEntry(
        when_ms=FAR_MS, what="changed", user_id=str(USER), by=str(GUEST), address="198.51.100.0/24"
    )
    audit.record(txn, [entry])
