"""A whole worker and its whole master: the suites of registration twice more, with the calls
between the two in memory and over sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

import attr
from treq.testing import StubTreq
from twisted.web.resource import IResource

from regsys import http, wiring
from regsys.config import Config, MasterConfig, WorkerConfig
from regsys.metrics import Metrics
from regsys.model import Secret
from regsys.outbound.http import HTTPClient
from regsys.outbound.master import Master
from regsys.replication.wire import RUN_JOBS_PATH
from regsys.testing import config, memory_process
from regsys.wiring.process import Process
from regsys.wiring.subsystem import Subsystem
from tests.accounts import (
    test_administration,
    test_approvals,
    test_contradictions,
    test_deactivation,
    test_delegation,
    test_followers,
)
from tests.appservices import test_logins, test_requests
from tests.client_api import (
    test_account_password,
    test_signup,
    test_signup_admission,
    test_signup_dialogue,
    test_signup_email,
    test_signup_guests,
    test_signup_replay,
    test_signup_terms,
    test_signup_tokens,
)
from tests.replication.fixtures import SECRET
from tests.replication.master import over_sockets
from tests.support.case import SystemCase
from tests.support.due_jobs import run_due
from tests.threepids import test_password_reset
from tests.web import (
    test_account_deactivation,
    test_admin,
    test_admin_users,
    test_devices,
    test_login,
    test_register,
)

if TYPE_CHECKING:
    _SystemCase = SystemCase
else:
    _SystemCase = object

WORKER = WorkerConfig(
    name="worker1",
    master=MasterConfig(host="master.example", port=9093),
    secret=Secret(SECRET),
)


class RemoteSystem(_SystemCase):
    """``subsystem`` is a worker, ``master`` its master, both over one database. ``asked`` counts
    the worker's calls, but for what it tells the master of jobs."""

    asked = 0

    @property
    def main(self) -> Subsystem:
        return self.master

    def connection(self) -> Master:
        """What the worker has of its master."""
        http_client = HTTPClient(StubTreq(self.resource_for_workers()), self.clock)  # type: ignore[arg-type]
        return Master.over(http_client, WORKER)

    def resource_for_workers(self) -> IResource:
        return http.resource(self.master.for_workers)

    def built(self, chosen: Config, process: Process, **given: Any) -> Subsystem:
        main = attr.evolve(chosen, replication_secret=WORKER.secret)
        self.master = super().built(main, process, **given)
        ask = self.connection().ask

        async def counted(path: str, *args: Any) -> Any:
            self.asked += path != RUN_JOBS_PATH
            return await ask(path, *args)

        worker = attr.evolve(process, master=_Asked(counted), metrics=Metrics())
        chosen = attr.evolve(chosen, worker=WORKER)
        made = wiring.worker(chosen, self.clock, process=worker, **given)
        release = made.jobs._release

        async def release_and_run(jobs: Any) -> None:
            await release(jobs)
            # The master looks for jobs by itself, every few seconds.
            await run_due(self.master.jobs)

        self.patch(made.jobs, "_release", release_and_run)
        return made


class OverSockets(RemoteSystem):
    """The same over loopback: a reactor beside trial's turns while the worker waits for an answer.
    So these tests, too, have their own clock and wait for nothing else."""

    def connection(self) -> Master:
        ask, self.site = over_sockets(self, self.resource_for_workers())
        return _Asked(ask)  # type: ignore[return-value]


@attr.frozen
class _Asked:
    """For Master."""

    ask: Any

    async def close(self) -> None:
        pass


class WorkerTests(RemoteSystem, SystemCase):
    def test_itAsks(self) -> None:
        """A registration is one call, a login another, and no more; the rest is the worker's."""
        token = self.register()["access_token"]
        self.assertEqual(self.asked, 1)
        self.assertEqual(self.whoami(token).status, 200)
        login = {"type": "m.login.password", "user": "alice", "password": "correct horse"}
        answer = self.client.post("/_matrix/client/v3/login", login)
        self.assertEqual((answer.status, self.asked), (200, 2))
        self.assertEqual(self.whoami(answer.json["access_token"]).status, 200)

    def test_changes(self) -> None:
        """A worker changes passwords and deletes devices itself, and asks for deactivations."""
        token = self.register()["access_token"]
        self.asked = 0
        user = {"type": "m.id.user", "user": "alice"}
        auth = {"type": "m.login.password", "identifier": user, "password": "correct horse"}
        v3 = "/_matrix/client/v3"
        for path, body in (
            (f"{v3}/delete_devices", {"devices": ["none"]}),
            (f"{v3}/account/password", {"new_password": "correct horse"}),
        ):
            answer = self.client.post(path, {**body, "auth": auth}, token=token)
            self.assertEqual((answer.status, self.asked), (200, 0), answer)
        answer = self.client.post(f"{v3}/account/deactivate", {"auth": auth}, token=token)
        self.assertEqual((answer.status, self.asked), (200, 1), answer)

    def test_jobs(self) -> None:
        """A worker runs no jobs, its account's begin at its master at once."""
        self.system(auto_join_rooms=["#hall:test.example"])
        self.register()
        ((attempts, kind),) = self.rows("SELECT attempts, kind FROM jobs")
        self.assertEqual((attempts, kind), (1, "auto_join"))
        self.wait(run_due(self.subsystem.jobs))
        ((attempts,),) = self.rows("SELECT attempts FROM jobs")
        self.assertEqual(attempts, 1)

    def test_names(self) -> None:
        """Names that the worker draws, and a clash at the master."""
        first = self.client.register(auth={"type": "m.login.dummy"}, password="correct horse")
        self.assertEqual(first.json["user_id"], "@1:test.example")
        self.register("alice")
        answer = self.client.register(
            username="ALICE", password="correct horse", auth={"type": "m.login.dummy"}
        )
        self.assertRefused(answer, 400, "M_USER_IN_USE")

    def test_limitOnce(self) -> None:
        """A registration is counted by the worker, not by the master again."""
        self.system(rc_registration={"per_second": 0.001, "burst_count": 2})
        for name in ("alice", "bob"):
            self.register(name)
        answer = self.client.register(
            username="carol", password="correct horse", auth={"type": "m.login.dummy"}
        )
        self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED")

    def test_decidesNothing(self) -> None:
        """The master alone decides about accounts that wait."""
        for subsystem, decides in ((self.master, True), (self.subsystem, False)):
            self.assertEqual(subsystem.approvals is not None, decides)
            self.assertEqual("approvals" in subsystem.endpoints, decides)

    def test_noDoorForClients(self) -> None:
        """No endpoint for workers is among those that are mounted for clients."""
        for subsystem in (self.master, self.subsystem):
            self.assertNotIn("replication", subsystem.endpoints)
        self.assertEqual(len(self.master.for_workers), 1)
        self.assertEqual(len(self.subsystem.for_workers), 0)


class SocketTests(OverSockets, WorkerTests):
    def test_persistent(self) -> None:
        """The calls of a worker share a connection to its master."""
        opened: list[Any] = []
        build = self.site.buildProtocol

        def counted(address: Any) -> Any:
            opened.append(address)
            return build(address)

        self.patch(self.site, "buildProtocol", counted)
        for name in ("alice", "bob"):
            self.register(name)
        self.assertEqual((self.asked, len(opened)), (2, 1))


class DelegationTests(RemoteSystem, test_delegation.DelegatedCase):
    def test_repeated(self) -> None:
        """A worker's call that its master could not finish is sent again, and goes on where it
        stood."""
        self.register()
        self.double.faults = {"upsert_device": ["hang-up", "hang-up"]}
        login = {"type": "m.login.password", "user": "alice", "password": "correct horse"}
        body = {**login, "device_id": "DESK", "initial_device_display_name": "desk"}
        answering = self.client.start("POST", "/_matrix/client/v3/login", body)
        self.settle()
        self.assertNoResult(answering)
        self.failed_jobs.flush()
        self.clock.advance(1)
        answer = self.client.answer(answering)
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(self.devices()["DESK"], "desk")
        self.assertTrue(self.is_active(answer.json["access_token"]))
        self.assertNothingWaits()


class WiringTests(SystemCase):
    def test_wrongConfiguration(self) -> None:
        """A worker's configuration makes no main process, and the other way round."""
        chosen = config()
        process = memory_process(self, chosen, self.clock)
        self.assertRaisesRegex(
            ValueError, "worker_app", wiring.worker, chosen, self.clock, process=process
        )
        chosen = attr.evolve(chosen, worker=WORKER)
        self.assertRaisesRegex(
            ValueError, "regsys.worker", wiring.standalone, chosen, self.clock, process=process
        )


# The suites of registration over a subsystem, and of what is written beside it.
SUITES: Sequence[type[SystemCase]] = (
    test_approvals.ReasonTests,
    test_signup.OrderTests,
    test_signup.KindTests,
    test_signup.AccountTests,
    test_signup_admission.LimitTests,
    test_signup_admission.VerdictTests,
    test_signup_admission.ApprovalTests,
    test_signup_dialogue.ChallengeTests,
    test_signup_dialogue.StageTests,
    test_signup_dialogue.ParameterTests,
    test_signup_email.UIASessionTests,
    test_signup_email.OwnershipTests,
    test_signup_email.EndTests,
    test_signup_guests.GuestTests,
    test_signup_guests.UpgradeTests,
    test_signup_guests.RefusedUpgradeTests,
    test_signup_replay.ReplayTests,
    test_signup_terms.UIASessionTests,
    test_signup_tokens.FlowTests,
    test_signup_tokens.StageTests,
    test_signup_tokens.CompletionTests,
    test_register.AnswerTests,
    test_register.RequestTests,
    test_login.LogoutTests,
    test_login.RefreshTests,
    test_admin.SharedSecretTests,
    test_admin_users.PutTests,
    test_admin_users.ActionTests,
    test_administration.DelegatedTests,
    test_requests.RegisterTests,
    test_logins.LoginTests,
    test_deactivation.OwnTests,
    test_contradictions.OwnTests,
    test_followers.EveryAccountTests,
    test_account_password.ChangeTests,
    test_account_password.LoginUnderWayTests,
    test_password_reset.ResetTests,
    test_devices.DeleteTests,
    test_account_deactivation.DeactivationTests,
    test_delegation.AccountTests,
    test_delegation.LoginTests,
    test_delegation.IntrospectionTests,
)
# What they ask of the master, other suites ask as well, so sockets would add nothing.
IN_MEMORY_ONLY = {
    test_approvals.ReasonTests,
    test_signup_admission.LimitTests,
    test_signup_admission.VerdictTests,
    test_signup_dialogue.ChallengeTests,
    test_signup_dialogue.StageTests,
    test_signup_dialogue.ParameterTests,
    test_signup_email.UIASessionTests,
    test_signup_email.OwnershipTests,
    test_signup_email.EndTests,
    test_signup_guests.RefusedUpgradeTests,
    test_signup_terms.UIASessionTests,
    test_signup_tokens.FlowTests,
    test_signup_tokens.StageTests,
    test_register.AnswerTests,
    test_register.RequestTests,
    test_contradictions.OwnTests,
    test_admin_users.PutTests,
    test_administration.DelegatedTests,
    test_account_password.ChangeTests,
    test_password_reset.ResetTests,
    test_devices.DeleteTests,
    test_delegation.IntrospectionTests,
}
for way, kind in (("Remote", RemoteSystem), ("Sockets", OverSockets)):
    for suite in SUITES:
        if kind is OverSockets and suite in IN_MEMORY_ONLY:
            continue
        name = f"{way}_{suite.__module__.rpartition('.')[2]}_{suite.__name__}"
        globals()[name] = type(name, (kind, suite), {"__module__": __name__})
del suite, kind
