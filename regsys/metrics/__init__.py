"""Metrics for Prometheus. Label children are resolved once and cached."""

from __future__ import annotations

from typing import Callable, Optional, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Summary

from regsys.model import NewAccount, NewDevice, UserID
from regsys.model.approvals import Queue
from regsys.model.jobs import Backlog

# send_attempt up to this value has a label of its own.
MOST_ATTEMPTS = 5
# Gauges of what one process holds: several processes hold the sum. The others show what the
# database holds, and each process shows the same.
HELD_BY_PROCESS = frozenset({"regsys_hashes_waiting"})


class Metrics:
    """A set of metrics with a registry of its own, so that a process may have several."""

    def __init__(self, registry: Optional[CollectorRegistry] = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._registrations = Counter(
            "regsys_registrations",
            "Accounts made",
            ["guest", "shadow_banned", "auth_provider"],
            registry=self.registry,
        )
        self._logins = Counter(
            "regsys_logins",
            "Devices logged in, other than by registering",
            ["guest", "auth_provider"],
            registry=self.registry,
        )
        self._caps = Counter(
            "regsys_registration_caps",
            "Registrations over 80 % of a cap on all of them, and those that it has refused",
            ["period", "state"],
            registry=self.registry,
        )
        self._validations = Counter(
            "regsys_validation_requests",
            "Validation sessions that were requested",
            ["medium", "reason", "attempt"],
            registry=self.registry,
        )
        self._transactions = Summary(
            "regsys_database_seconds",
            "Time of database calls, waiting for a thread included",
            ["name"],
            registry=self.registry,
        )
        self._callbacks = Summary(
            "regsys_module_seconds",
            "Time of calls of modules' and embedders' callbacks",
            ["callback", "module"],
            registry=self.registry,
        )
        self._callbacks_failed = Counter(
            "regsys_module_failures",
            "Calls of callbacks that failed",
            ["callback", "module", "reason"],
            registry=self.registry,
        )
        self.jobs_failed = Counter(
            "regsys_job_failures", "Attempts of jobs that failed", ["kind"], registry=self.registry
        )
        self._jobs_waiting = Gauge(
            "regsys_jobs_waiting",
            "Jobs waiting or under way; of very many only the first thousand of a kind",
            ["kind"],
            registry=self.registry,
        )
        self._oldest_job = Gauge(
            "regsys_oldest_job_age_seconds",
            "Seconds since the oldest of them was written",
            ["kind"],
            registry=self.registry,
        )
        self.hashes_waiting = Gauge(
            "regsys_hashes_waiting", "Passwords that wait to be hashed", registry=self.registry
        )
        self._approvals_waiting = Gauge(
            "regsys_approvals_waiting",
            "Accounts that wait for an administrator's approval",
            registry=self.registry,
        )
        self._oldest_approval = Gauge(
            "regsys_oldest_approval_age_seconds",
            "Seconds since the first of them was asked for",
            registry=self.registry,
        )
        self._limits_shared = Gauge(
            "regsys_rate_limits_counted",
            "1 if rate limits are counted there, 0 while this process counts by itself instead",
            ["place"],
            registry=self.registry,
        )
        self._kinds: set[str] = set()
        self._children: dict[tuple[object, ...], Counter] = {}
        self._timers: dict[str, Summary] = {}

    def monthly_active_users(self) -> Gauge:
        """Create the gauge, which exists only if active users are counted; call it once."""
        return Gauge(
            "regsys_monthly_active_users",
            "Users seen in the last thirty days",
            registry=self.registry,
        )

    def limits_counted_in(self, place: str) -> Callable[[bool], None]:
        """Rate limits are counted in this place. Returns what is called with whether it answers."""
        gauge = self._limits_shared.labels(place)
        gauge.set(1)
        return gauge.set

    def registered(self, new: NewAccount) -> None:
        """Count a new account."""
        labels = new.is_guest, new.shadow_banned, new.auth_provider_id or ""
        self._child(self._registrations, *labels).inc()

    def registration_cap(self, period: str, state: str) -> None:
        """A registration was ``near`` the cap of this period or refused as it is ``reached``."""
        self._child(self._caps, period, state).inc()

    def logged_in(self, user_id: UserID, device: NewDevice) -> None:
        """This device has been logged in to an account that existed before."""
        labels = device.login.terms.is_guest, device.auth_provider_id or ""
        self._child(self._logins, *labels).inc()

    def validation_requested(self, medium: str, reason: str, send_attempt: int) -> None:
        """Count a requestToken. Clients choose ``send_attempt``, so high values share a label."""
        attempt = str(send_attempt) if 1 <= send_attempt <= MOST_ATTEMPTS else "other"
        self._child(self._validations, medium, reason, attempt).inc()

    def database_call(self, name: str, seconds: float) -> None:
        timer = self._timers.get(name)
        if timer is None:
            timer = self._timers[name] = self._transactions.labels(name)
        timer.observe(seconds)

    def callback_called(
        self, callback: str, module: str, seconds: float, trouble: Optional[str]
    ) -> None:
        """A callback has answered, or failed: ``trouble`` says how, and is None if it did not."""
        self._callbacks.labels(callback, module).observe(seconds)
        if trouble is not None:
            self._child(self._callbacks_failed, callback, module, trouble).inc()

    def jobs_waiting(self, backlog: Sequence[Backlog], now_ms: int) -> None:
        """Set the gauges of waiting jobs; a kind without any goes to zero."""
        for kind in self._kinds.difference(item.kind for item in backlog):
            self._jobs_waiting.labels(kind).set(0)
            self._oldest_job.labels(kind).set(0)
        for item in backlog:
            self._kinds.add(item.kind)
            self._jobs_waiting.labels(item.kind).set(item.count)
            self._oldest_job.labels(item.kind).set(max(0, now_ms - item.oldest_ms) / 1000)

    def approvals_waiting(self, queue: Queue, now_ms: int) -> None:
        """Set the gauges of accounts that wait for approval."""
        self._approvals_waiting.set(queue.count)
        age_ms = 0 if queue.oldest_ms is None else max(0, now_ms - queue.oldest_ms)
        self._oldest_approval.set(age_ms / 1000)

    def _child(self, counter: Counter, *labels: object) -> Counter:
        key = (counter, *labels)
        child = self._children.get(key)
        if child is None:
            texts = [str(label).lower() if isinstance(label, bool) else label for label in labels]
            child = self._children[key] = counter.labels(*texts)
        return child
