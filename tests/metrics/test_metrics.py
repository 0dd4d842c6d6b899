"""The metrics, as Prometheus reads them."""

from __future__ import annotations

from typing import Optional

import attr
from prometheus_client import CollectorRegistry, generate_latest
from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import Unavailable
from regsys.jobs import POLL_S
from regsys.metrics import Metrics
from regsys.model import LoginTerms, NewDevice
from regsys.model.jobs import Backlog, NewJob
from regsys.storage.jobs import JobStore
from regsys.testing import MemoryAccounts, MemoryAuth, MemoryDevices, config, memory_process
from regsys.testing.contracts.case import account, device, user
from regsys.wiring import embedded
from tests.contracts.writer import logins
from tests.support.accounts import AccountCase
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import V3, Client
from tests.support.due_jobs import run_due
from tests.support.homeserver import LATER_S, Watched, failing_at
from tests.threepids.test_phones import PhoneCase

ALICE = user("alice")
PLENTY = {"per_second": 1000, "burst_count": 1000}
PERSON = {"guest": "false", "shadow_banned": "false", "auth_provider": ""}
REQUESTS = "regsys_validation_requests_total"


def value(metrics: Metrics, sample: str, **labels: str) -> Optional[float]:
    return metrics.registry.get_sample_value(sample, labels)


class MetricsTests(SynchronousTestCase):
    def test_registrations(self) -> None:
        """Registrations count by guest, shadow-ban and provider; without a provider the label is
        empty."""
        metrics = Metrics()
        for guest, banned, provider in (
            (False, False, None),
            (False, False, None),
            (True, False, None),
            (False, True, "oidc"),
        ):
            metrics.registered(
                account("key", is_guest=guest, shadow_banned=banned, auth_provider_id=provider)
            )
        for guest, banned, provider, count in (
            ("false", "false", "", 2),
            ("true", "false", "", 1),
            ("false", "true", "oidc", 1),
        ):
            labels = {"guest": guest, "shadow_banned": banned, "auth_provider": provider}
            self.assertEqual(value(metrics, "regsys_registrations_total", **labels), count, labels)

    def test_logins(self) -> None:
        """Logins count by guest and provider, apart from registrations."""
        metrics = Metrics()
        metrics.logged_in(ALICE, attr.evolve(device("1"), auth_provider_id="oidc"))
        guest = logins().issue(ALICE, LoginTerms(device_id="d", is_guest=True), "2")
        metrics.logged_in(ALICE, NewDevice(login=guest))
        for guest, provider in (("false", "oidc"), ("true", "")):
            labels = {"guest": guest, "auth_provider": provider}
            self.assertEqual(value(metrics, "regsys_logins_total", **labels), 1, labels)
        self.assertNotIn(b"regsys_registrations_total{", generate_latest(metrics.registry))

    def test_databaseCalls(self) -> None:
        """Calls of the database count by name, with their duration."""
        metrics = Metrics()
        for seconds in (0.25, 0.5):
            metrics.database_call("find_user", seconds)
        self.assertEqual(value(metrics, "regsys_database_seconds_count", name="find_user"), 2)
        self.assertEqual(value(metrics, "regsys_database_seconds_sum", name="find_user"), 0.75)

    def test_jobs(self) -> None:
        """Waiting jobs are shown by kind, with the age of the oldest; a kind without jobs is
        zero."""
        metrics = Metrics()
        backlog = [
            Backlog(kind="greet", count=3, oldest_ms=1000),
            Backlog(kind="wave", count=1, oldest_ms=9000),
        ]
        for items, greet, wave in ((backlog, (3, 4.5), (1, 0)), (backlog[:1], (3, 4.5), (0, 0))):
            metrics.jobs_waiting(items, 5500)
            for kind, expected in (("greet", greet), ("wave", wave)):
                values = [
                    value(metrics, name, kind=kind)
                    for name in ("regsys_jobs_waiting", "regsys_oldest_job_age_seconds")
                ]
                self.assertEqual(tuple(values), expected, kind)

    def test_registries(self) -> None:
        """Several sets live in one process, each in a registry of its own or in one given."""
        registry = CollectorRegistry()
        first, second = Metrics(), Metrics(registry)
        first.logged_in(ALICE, device("1"))
        self.assertIs(second.registry, registry)
        labels = {"guest": "false", "auth_provider": ""}
        self.assertIsNone(value(second, "regsys_logins_total", **labels))


class CountedTests(SystemCase):
    def test_accountsAndLogins(self) -> None:
        """In a whole server, new accounts and logins of existing ones are counted."""
        self.register()
        self.guest()
        self.client.register(username="alice", password=PASSWORD)
        for password in (PASSWORD, "wrong"):
            body = {"type": "m.login.password", "user": "alice", "password": password}
            self.client.post(f"{V3}/login", body)
        metrics = self.subsystem.process.metrics
        for guest in ("false", "true"):
            labels = {"guest": guest, "shadow_banned": "false", "auth_provider": ""}
            self.assertEqual(value(metrics, "regsys_registrations_total", **labels), 1)
        labels = {"guest": "false", "auth_provider": ""}
        self.assertEqual(value(metrics, "regsys_logins_total", **labels), 1)

    def test_boundedLabels(self) -> None:
        """However many requests come, and with whatever content, there are no more series than
        after the first of them."""
        self.system(email={"notif_from": "a@test.example"}, rc_3pid_validation=PLENTY)
        scrapes = []
        for number in range(3):
            self.register_and_log_in(f"somebody{number}", number)
            samples = [sample for one in self.registry.collect() for sample in one.samples]
            scrapes.append({(sample.name, *sample.labels.items()) for sample in samples})
        self.assertEqual(scrapes[1:], scrapes[:1] * 2)
        self.assertNotIn("somebody", repr(scrapes))

    def register_and_log_in(self, name: str, number: int) -> None:
        """Register and log in, with everything that a client may choose."""
        self.register(name, device_id=name, initial_device_display_name=name)
        self.guest()
        self.client.register(f"?kind={name}", username=name)
        self.client.register(username=f"{name}2", password=PASSWORD, auth={"type": name})
        for password in (PASSWORD, name):
            identifier = {"type": "m.id.user", "user": name}
            login = {"type": "m.login.password", "identifier": identifier, "password": password}
            self.client.post(f"{V3}/login", {**login, "device_id": f"{name}3"})
        for attempt in (1, 6 + number, -number):
            wanted = {"email": f"{name}@mail.example", "client_secret": f"{name}{attempt}"}
            body = {**wanted, "send_attempt": attempt}
            answer = self.client.post(f"{V3}/register/email/requestToken", body)
            self.assertEqual(answer.status, 200, answer)
        self.client.get(f"/{name}")

    @property
    def registry(self) -> CollectorRegistry:
        return self.subsystem.process.metrics.registry

    def test_whatWaits(self) -> None:
        """While it runs, the gauges follow the waiting jobs, also those of unknown kinds."""
        store, new = JobStore(self.database), [NewJob(kind="fly"), NewJob(kind="fly")]
        self.wait(store.add(new, self.now_ms))
        self.clock.advance(10)
        self.subsystem.start()
        metrics = self.subsystem.process.metrics
        self.assertEqual(value(metrics, "regsys_jobs_waiting", kind="fly"), 2)
        self.assertEqual(value(metrics, "regsys_oldest_job_age_seconds", kind="fly"), 10)
        for job in new:
            self.wait(store.finish(job.job_id))
        self.clock.advance(POLL_S)
        self.assertEqual(value(metrics, "regsys_jobs_waiting", kind="fly"), 0)

    def test_shadowBanned(self) -> None:
        """A shadow-banned user counts as such at registration."""
        self.subsystem.hooks.spam.register("m", lambda *asked: "shadow_ban")
        self.register()
        labels = {"guest": "false", "shadow_banned": "true", "auth_provider": ""}
        metrics = self.subsystem.process.metrics
        self.assertEqual(value(metrics, "regsys_registrations_total", **labels), 1)


class RecoveredTests(SystemCase):
    def test_recovered(self) -> None:
        """An account in a homeserver's store, whose registration was interrupted, counts once a
        recovery has finished it; the client's retry adds nothing."""
        accounts, chosen = MemoryAccounts(), config()
        devices = MemoryDevices(accounts)
        process = memory_process(self, chosen, self.clock, self.database)
        self.subsystem = embedded(
            chosen,
            self.clock,
            store=accounts,
            devices=Watched(devices, failing_at("before register", Unavailable())),
            auth=MemoryAuth(devices),
            process=process,
        )
        self.client = Client(self, self.subsystem.resource())
        session = self.challenge(username="alice", password=PASSWORD)["session"]
        self.clock.advance(0)
        counts = []
        for status in (503, 200):
            answer = self.client.register(auth={**DUMMY, "session": session})
            self.assertEqual(answer.status, status, answer)
            self.clock.advance(LATER_S)
            self.wait(run_due(self.subsystem.jobs))
            counts.append(value(process.metrics, "regsys_registrations_total", **PERSON))
        self.assertEqual(counts, [1, 1])


class AddressesTests(AccountCase):
    def test_reasons(self) -> None:
        """Validations of email addresses count by their purpose."""
        self.start_validation("new@mail.example")
        self.validate_as(self.alice)
        for reason in ("register", "add_threepid"):
            labels = {"medium": "email", "reason": reason, "attempt": "1"}
            asked = value(self.subsystem.process.metrics, REQUESTS, **labels)
            self.assertEqual(asked, 1, reason)


class NumbersTests(PhoneCase):
    def test_medium(self) -> None:
        """So do those of phone numbers."""
        self.assertEqual(self.request_token(send_attempt=2).status, 200)
        labels = {"medium": "msisdn", "reason": "register", "attempt": "2"}
        self.assertEqual(value(self.subsystem.process.metrics, REQUESTS, **labels), 1)
