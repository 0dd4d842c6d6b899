"""Each callback of a module with each fault: bounded, nothing written, the module named, and the
same request works once the module does (contract B10.3, threat B8)."""

from __future__ import annotations

from typing import Any, Callable, ClassVar, Mapping, Optional

import attr
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.logger import capturedLogs

from regsys.callbacks.logins import NOT_SPAM
from regsys.interfaces import Verdict
from regsys.testing.database import memory_database
from tests.doubles.identity_v2 import TOKEN
from tests.support.accounts import THREEPIDS
from tests.support.bindings import SECRET, SERVER, BindingCase
from tests.support.case import DUMMY
from tests.support.client import V3, Answer
from tests.support.databases import OnPostgreSQL
from tests.support.modules import PASSWORD, ModuleCase
from tests.support.validations import ALICE

DEADLINE_S = 10


class Broken(Exception):
    pass


def _raise(*args: object) -> object:
    raise Broken("broken")


async def _cancel(*args: object) -> object:
    raise CancelledError()


@attr.frozen
class Fault:
    """``call`` is the callback; ``said`` is in the log line, or the failure's class."""

    call: Callable[..., Any]
    said: str
    hangs: bool = False


FAULTS = {
    "raise": Fault(_raise, "failed"),
    "raise later": Fault(lambda *args: fail(Broken("broken")), "failed"),
    "hang": Fault(lambda *args: Deferred(), "did not answer within 10000 ms", hangs=True),
    "wrong type": Fault(lambda *args: object(), "answered with a object"),
    "cancelled": Fault(_cancel, "failed"),
}


class FaultCase(ModuleCase):
    """``callbacks``: each that decides, with an answer that lets the request through, and with the
    method of the test that makes the request; it returns a request that can be sent again."""

    ALL: ClassVar[Mapping[str, tuple[Any, str]]] = {
        "check_registration_for_spam": (Verdict.ALLOW, "registering"),
        "get_username_for_registration": ("alice", "registering"),
        "get_displayname_for_registration": ("Alice", "registering"),
        "is_3pid_allowed": (True, "with_address"),
        "check_user_third_party_identifier": (None, "with_address"),
        "check_login_for_spam": (NOT_SPAM, "logging_in"),
        "is_user_expired": (None, "authenticated"),
    }

    def registering(self) -> Callable[[], Deferred[Answer]]:
        body = {"username": "alice", "password": PASSWORD, "auth": DUMMY}
        return lambda: self.client.start("POST", f"{V3}/register", body)

    def with_address(self) -> Callable[[], Deferred[Answer]]:
        session, sid = self.validated()
        creds = {"sid": sid, "client_secret": "client.secret"}
        stage = {"type": "m.login.email.identity", "threepid_creds": creds, "session": session}
        return lambda: self.client.start("POST", f"{V3}/register", {"auth": stage})

    def logging_in(self) -> Callable[[], Deferred[Answer]]:
        self.register("bob")
        identifier = {"type": "m.id.user", "user": "bob"}
        body = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        return lambda: self.client.start("POST", f"{V3}/login", body)

    def authenticated(self) -> Callable[[], Deferred[Answer]]:
        token = self.register("carol")["access_token"]
        return lambda: self.client.start("GET", f"{V3}/account/whoami", token=token)

    def fresh(self) -> Any:
        """A database for one callback."""
        raise NotImplementedError

    def written(self) -> Mapping[str, int]:
        """Rows, but of the session, which goes on."""
        counts = {**self.counts()}
        del counts["uia_sessions"]
        counts["threepids"] = self.rows("SELECT COUNT(*) FROM threepids")[0][0]
        return counts

    def answer_to(self, started: Deferred[Answer], hangs: bool) -> Answer:
        if hangs:
            self.client._flush(started)
            self.clock.advance(DEADLINE_S - 0.1)
            self.assertNoResult(started)
            self.clock.advance(0.1)
        return self.client.answer(started)

    def faulty(self, name: str) -> None:
        """One callback with all faults, then without."""
        passes, request = self.ALL[name]
        self.fault: Optional[Fault] = None
        path = self.module(**{name: lambda *args: self.fault.call(*args) if self.fault else passes})
        self.load(path, database=self.fresh())
        send = getattr(self, request)()
        self.clock.advance(0)
        before = self.written()
        for what, fault in FAULTS.items():
            self.fault = fault
            with capturedLogs() as events:
                answer = self.answer_to(send(), fault.hangs)
            case = f"{name}, {what}: {answer}"
            self.assertEqual(answer.status, 503, case)
            self.assertIn("errcode", answer.json, case)
            lines = [event for event in events if event.get("moment") == name]
            self.assertEqual([event["module"] for event in lines], [path], case)
            self.assertIn(fault.said, lines[0].get("trouble", lines[0]["log_format"]), case)
            self.assertEqual(self.written(), before, case)
            self.flushLoggedErrors(Broken, CancelledError)
        self.fault = None
        self.assertEqual(self.client.answer(send()).status, 200, name)
        failures = self.subsystem.process.metrics.registry
        sample = "regsys_module_failures_total"
        for reason, count in (("raised", 3), ("timeout", 1), ("wrong_type", 1)):
            labels = {"callback": name, "module": path, "reason": reason}
            self.assertEqual(failures.get_sample_value(sample, labels), count, name)


class DecisionTests(FaultCase):
    def fresh(self) -> Any:
        return memory_database(self, self.clock)

    def test_all(self) -> None:
        """Every callback that decides about a request."""
        for name in self.ALL:
            self.faulty(name)


class PostgreSQLTests(FaultCase):
    def fresh(self) -> Any:
        return OnPostgreSQL.database(self, self.clock)

    def test_registration(self) -> None:
        """The callbacks after which rows would be written, over PostgreSQL."""
        self.faulty("check_user_third_party_identifier")

    def test_login(self) -> None:
        self.faulty("check_login_for_spam")


class NoticeTests(ModuleCase):
    """A notice neither fails nor delays the request, and the other modules are still told."""

    def cause(self, name: str, user: str) -> None:
        """Do what this callback is called after."""
        session, sid = self.validated(f"{user}@mail.example", user)
        answer = self.present(session, sid)
        self.assertEqual(answer.status, 200, answer)
        token = answer.json["access_token"]
        if name == "on_logged_out":
            self.assertEqual(self.client.post(f"{V3}/logout", token=token).status, 200)
        if name == "on_remove_user_third_party_identifier":
            identifier = {"type": "m.id.user", "user": user}
            auth = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
            answer = self.client.post(f"{V3}/account/deactivate", {"auth": auth}, token=token)
            self.assertEqual(answer.status, 200, answer)

    def faulty(self, name: str) -> None:
        faults = iter(FAULTS.values())
        path = self.module(**{name: lambda *args: next(faults).call(*args)})
        self.system(modules=[{"module": it} for it in (path, self.told_by(name))])
        for number, what in enumerate(FAULTS):
            self.calls.clear()
            with capturedLogs() as events:
                self.cause(name, f"user{number}")
                self.assertEqual(len(self.calls), 1, (name, what))
                self.clock.advance(DEADLINE_S)
            lines = [event for event in events if event.get("moment") == name]
            named = [event["module"] for event in lines if "newer" not in event]
            # What a notice returns does not matter.
            self.assertEqual(named, [] if what == "wrong type" else [path], (name, what))
            self.flushLoggedErrors(Broken, CancelledError)
            self.assertEqual(self.rows("SELECT COUNT(*) FROM jobs"), [(0,)])

    def told_by(self, name: str) -> str:
        return self.module(**{name: self.recording("told")})

    def test_accounts(self) -> None:
        for name in ("on_user_registration", "on_user_login", "on_logged_out"):
            self.faulty(name)

    def test_addresses(self) -> None:
        for change in ("add_user_third_party_identifier", "threepid_bind"):
            self.faulty(f"on_{change}")
        self.faulty("on_remove_user_third_party_identifier")


class BindingTests(BindingCase):
    """The callbacks around an identity server's bindings."""

    def request(self, path: str) -> Deferred[Answer]:
        bodies = {
            "bind": {"sid": f"ok..{ALICE}", "client_secret": SECRET, "id_access_token": TOKEN},
            "unbind": {"medium": "email", "address": ALICE},
        }
        body = {**bodies[path], "id_server": SERVER}
        return self.client.start("POST", f"{THREEPIDS}/{path}", body, token=self.alice)

    def answer_to(self, path: str, hangs: bool) -> Answer:
        started = self.request(path)
        if hangs:
            self.client._flush(started)
            self.assertNoResult(started)
            self.clock.advance(DEADLINE_S)
        return self.client.answer(started)

    def test_check(self) -> None:
        """Neither the identity server nor our tables are changed, and a repeated request works."""
        self.fault: Optional[Fault] = None
        self.changes.checks.register(
            "module", lambda *args: self.fault.call(*args) if self.fault else None
        )
        for path, bound_before, bound_after in (("bind", 0, 1), ("unbind", 1, 0)):
            for what, self.fault in FAULTS.items():
                with capturedLogs() as events:
                    answer = self.answer_to(path, self.fault.hangs)
                self.assertEqual(answer.status, 503, (path, what, answer))
                named = [event["module"] for event in events if "moment" in event]
                self.assertEqual(named, ["module"], (path, what))
                self.assertNotIn(path, self.identity_server_steps)
                self.assertEqual(len(self.stored_bindings), bound_before)
                self.flushLoggedErrors(Broken, CancelledError)
            self.fault = None
            self.assertEqual(self.client.answer(self.request(path)).status, 200)
            self.assertEqual(len(self.stored_bindings), bound_after)

    def test_update(self) -> None:
        """The identity server has done it: the request succeeds, and the others are told."""
        faults = iter(FAULTS.values())
        self.changes.updates.register("broken", lambda *args: next(faults).call(*args))
        self.register_callbacks()
        for what in FAULTS:
            self.module_calls.clear()
            with capturedLogs() as events:
                self.bind_address()
                self.assertEqual(self.module_calls[-1][0], "update")
                self.clock.advance(DEADLINE_S)
            named = [event["module"] for event in events if "moment" in event]
            self.assertEqual(named, [] if what == "wrong type" else ["broken"], what)
            self.flushLoggedErrors(Broken, CancelledError)
