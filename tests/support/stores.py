"""All our stores over one database."""

from __future__ import annotations

from twisted.internet.task import Clock

from regsys.config import BlockingConfig
from regsys.storage.approvals import ApprovalStore
from regsys.storage.database import Database
from regsys.storage.devices import DeviceStore
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.storage.guests import GuestStore
from regsys.storage.idempotency_keys import IdempotencyKeyStore
from regsys.storage.jobs import JobStore
from regsys.storage.monthly_active_users import ActivityStore
from regsys.storage.replication_calls import ReplicationCallStore
from regsys.storage.sessions import SessionStore
from regsys.storage.users import UserStore


class Stores:
    def __init__(self, db: Database, clock: Clock) -> None:
        self.db = db
        self.users = UserStore(db)
        self.guests = GuestStore(db)
        self.approvals = ApprovalStore(db)
        self.activity = ActivityStore(
            db=db, config=BlockingConfig(counts_users=True), tracks_guests=True
        )
        self.devices = DeviceStore(db, clock)
        self.sessions = SessionStore(db)
        self.jobs = JobStore(db)
        self.embedded_accounts = EmbeddedAccountStore(db)
        self.idempotency_keys = IdempotencyKeyStore(db)
        self.calls = ReplicationCallStore(db)
