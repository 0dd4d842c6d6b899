"""Blocking, the counting of active users, and the expiry of guests."""

from __future__ import annotations

from typing import Optional, Sequence

import attr
from twisted.logger import Logger

from regsys.accounts.admission import NoBlocking
from regsys.accounts.blocking import Blocking
from regsys.accounts.guest_expiry import GuestExpiry
from regsys.accounts.monthly_active_users import (
    Activity,
    ActivityAuth,
    MonthlyActiveUsers,
)
from regsys.accounts.writer import OnCreated, OnLoggedIn
from regsys.interfaces import IAuth, IBlocking, IMonthlyActiveUsers
from regsys.interfaces.internal import IAccountData, IExpiring
from regsys.storage.guests import GuestStore
from regsys.storage.monthly_active_users import ActivityStore
from regsys.wiring.parts import Parts
from regsys.wiring.stores import AccountStores

log = Logger()


@attr.frozen(kw_only=True)
class ActivityParts:
    """What records and counts active users, where the accounts are ours.

    If ``activity`` is None, nothing is recorded. If ``users`` is None, active users are not
    counted. ``account_data`` and ``expiring`` keep their rows.
    """

    activity: Optional[Activity] = None
    users: Optional[IMonthlyActiveUsers] = None
    account_data: Sequence[IAccountData] = ()
    expiring: Sequence[IExpiring] = ()

    @classmethod
    def of_own_accounts(cls, parts: Parts) -> ActivityParts:
        config, expiry_ms = parts.config.blocking, parts.config.registration.guest_expiry_ms
        if not config.counts_users and expiry_ms is None:
            return cls()
        database, metrics = parts.process.database, parts.process.metrics
        store = ActivityStore(db=database, config=config, tracks_guests=expiry_ms is not None)
        gauge = metrics.monthly_active_users() if config.counts_users else None
        activity = Activity(store, parts.clock, gauge)
        guests = []
        if expiry_ms is not None:
            guests.append(GuestExpiry(store=GuestStore(database), expiry_ms=expiry_ms))
        if not config.counts_users:
            return cls(activity=activity, expiring=guests)
        users = MonthlyActiveUsers(store, activity, parts.clock)
        return cls(activity=activity, users=users, account_data=[store], expiring=[store, *guests])

    def auth(self, auth: IAuth) -> IAuth:
        """``auth``, by which users become active if activity is recorded."""
        return auth if self.activity is None else ActivityAuth(auth=auth, activity=self.activity)

    @property
    def on_created(self) -> Sequence[OnCreated]:
        return () if self.activity is None else (self.activity.account_created,)

    @property
    def on_logged_in(self) -> Sequence[OnLoggedIn]:
        return () if self.activity is None else (self.activity.logged_in,)


def blocking(parts: Parts, stores: AccountStores) -> IBlocking:
    """The embedder's own, else as the configuration says. ValueError for a limit on active users
    that are not counted."""
    config = parts.config.blocking
    if stores.blocking is not None:
        return stores.blocking
    if config.max_users is not None and stores.active_users is None:
        raise ValueError("limit_usage_by_mau needs a count of active users: bring active_users")
    if config.max_users is None and not config.disabled:
        return NoBlocking()
    return Blocking(
        config=config,
        notices_localpart=parts.config.registration.server_notices_localpart,
        users=stores.active_users,
        accounts=stores.accounts,
        threepids=stores.owners,
        clock=parts.clock,
    )


def warn_embedder(parts: Parts) -> None:
    """Log what the configuration asks for and a homeserver that keeps the accounts does itself."""
    if parts.config.registration.guest_expiry_ms is not None:
        log.warn(
            "regsys.guest_expiry has no effect: the homeserver keeps the guests, and ends them."
        )
