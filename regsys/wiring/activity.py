"""Limits on people: who is blocked, who is counted, and which guests come to an end."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import attr
from twisted.logger import Logger

from regsys.accounts.admission import NoBlocking
from regsys.accounts.blocking import Blocking
from regsys.accounts.guest_expiry import GuestExpiry
from regsys.accounts.monthly_active_users import (
    COUNT_USER,
    Activity,
    MonthlyActiveUsers,
    ReservedUsers,
    WatchingAuth,
)
from regsys.accounts.writer import OnCreated, OnLoggedIn
from regsys.interfaces import (
    IAccountData,
    IAccountStore,
    IAuth,
    IBlocking,
    IMonthlyActiveUsers,
    IThreepidStore,
)
from regsys.storage.guests import GuestStore
from regsys.storage.monthly_active_users import ActivityStore
from regsys.wiring.parts import Parts

log = Logger()


@attr.frozen(kw_only=True)
class Watch:
    """What looks who is here, where accounts are ours. If ``activity`` is None, nobody wants to
    know; if ``users`` is None, nobody counts them. ``traces`` and ``expiring`` are its rows."""

    activity: Optional[Activity] = None
    users: Optional[IMonthlyActiveUsers] = None
    traces: Sequence[IAccountData] = ()
    expiring: Sequence[Any] = ()

    @classmethod
    def of(cls, parts: Parts) -> Watch:
        config, expiry_ms = parts.config.blocking, parts.config.registration.guest_expiry_ms
        if not config.counts_users and expiry_ms is None:
            return cls()
        database, metrics = parts.process.database, parts.process.metrics
        store = ActivityStore(db=database, config=config, watches_guests=expiry_ms is not None)
        gauge = metrics.monthly_active_users() if config.counts_users else None
        activity = Activity(store, parts.clock, gauge)
        guests = []
        if expiry_ms is not None:
            guests.append(GuestExpiry(store=GuestStore(database), expiry_ms=expiry_ms))
        if not config.counts_users:
            return cls(activity=activity, expiring=guests)
        users = MonthlyActiveUsers(store, activity, parts.clock)
        return cls(activity=activity, users=users, traces=[store], expiring=[store, *guests])

    def auth(self, auth: IAuth) -> IAuth:
        """The same, watched if anything is."""
        return auth if self.activity is None else WatchingAuth(auth=auth, activity=self.activity)

    @property
    def on_created(self) -> Sequence[OnCreated]:
        return () if self.activity is None else (self.activity.account_created,)

    @property
    def on_logged_in(self) -> Sequence[OnLoggedIn]:
        return () if self.activity is None else (self.activity.logged_in,)


def blocking(
    parts: Parts,
    users: Optional[IMonthlyActiveUsers],
    accounts: IAccountStore,
    owners: Optional[IThreepidStore],
) -> IBlocking:
    """An embedder's own, or the configuration's; with that come the jobs for those who have a
    reserved address. ValueError for a limit on users whom nobody counts."""
    config = parts.config.blocking
    if config.reserved and users is not None:
        reserved = ReservedUsers(reserved=config.reserved, users=users)
        parts.planners.parts.append(reserved)
        parts.runner.add_handlers({COUNT_USER: reserved.run})
    if parts.hooks.blocking is not None:
        return parts.hooks.blocking
    if config.max_users is not None and users is None:
        raise ValueError("limit_usage_by_mau needs somebody who counts: bring active_users")
    if config.max_users is None and not config.disabled:
        return NoBlocking()
    return Blocking(
        config=config,
        notices_localpart=parts.config.registration.server_notices_localpart,
        users=users,
        accounts=accounts,
        threepids=owners,
        clock=parts.clock,
    )


def warn_embedder(parts: Parts) -> None:
    """Say what the configuration asks for in vain where a homeserver keeps the accounts."""
    if parts.config.registration.guest_expiry_ms is not None:
        log.warn(
            "regsys.guest_expiry has no effect: the homeserver keeps the guests, and ends them."
        )
