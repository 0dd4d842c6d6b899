"""A process killed at any statement boundary after the commit, of its jobs too, leaves nothing
undone: what follows a registration or a consent happens in the next process, once in effect
(B6.4)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Mapping, Sequence

import attr
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from regsys.accounts.post_registration_jobs import ADD_PUSHER, EmailPusher
from regsys.interfaces.internal import IJobPlanner
from regsys.model import DeviceRequest, NewAccount, Registration, Secret, Threepid, UserID
from regsys.model.jobs import Job, NewJob
from regsys.testing import MemoryPushers
from regsys.testing.contracts.case import NOW_MS, user
from regsys.testing.system import SERVER_NAME
from tests.support.crash import LATER_S, CrashCase, OnPostgreSQL, OnSQLite, Process
from tests.support.due_jobs import run_due
from tests.support.homeserver import POINTS, Died, Homeserver, failing_at
from tests.support.job_kinds import plan_also

RULES = {"version": "1", "en": {"name": "Rules", "url": "https://rules.example/"}}


@implementer(IJobPlanner)
class Door:
    """Opens for users who have accepted the rules. A file records which job opened it, beyond the
    end of a process: a job may open the door twice, but there is one job."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def jobs_for(self, new: NewAccount) -> Sequence[NewJob]:
        return self.jobs_after_consent(new.user_id) if "rules" in new.consents else ()

    def jobs_after_consent(self, user_id: UserID) -> Sequence[NewJob]:
        payload = {"user_id": str(user_id)}
        return (NewJob(kind="open_door", payload=payload, dedup_key=f"open_door {user_id}"),)

    async def run(self, job: Job) -> None:
        with self.path.open("a") as file:
            print(job.payload["user_id"], job.job_id, file=file)

    def opened(self) -> Mapping[str, int]:
        """How many jobs there were for each user."""
        return Counter(line.split()[0] for line in set(self.path.read_text().splitlines()))


class PostRegistrationCrashTests(CrashCase):
    options: ClassVar[Mapping[str, Any]] = {
        "email": {"notif_from": "a@test.example", "enable_notifs": True},
        "regsys": {"rc_availability": False, "policies": {"rules": RULES}},
    }

    def setUp(self) -> None:
        super().setUp()
        self.door = Door(Path(self.mktemp()))  # type: ignore[attr-defined]
        plan_also(self, self.door, "open_door", self.door.run)

    def assertFollowed(self: Any, process: Process) -> None:
        """Each address has its pusher, and each consent has opened the door by one job."""
        super().assertFollowed(process)
        mailed = process.rows("SELECT user_id FROM threepids")
        self.assertEqual(process.rows("SELECT user_id FROM pushers"), mailed)
        accepted = process.rows("SELECT user_id FROM consents")
        self.assertEqual(self.door.opened(), dict.fromkeys(accepted, 1))

    def register(self, process: Process, name: str, whole: bool, dies: bool = False) -> str:
        """An account with a login, its ``whole`` address and consent, or neither; its token.
        ``dies``: with the commit, so that its jobs are left behind."""
        handler = process.subsystem.handler
        if dies:
            writer = attr.evolve(handler._writer, start_jobs=lambda jobs: None)
            handler = attr.evolve(handler, writer=writer)
        registration = Registration(
            key=f"call of {name}",
            localpart=name,
            password=Secret("correct horse battery staple"),
            device=DeviceRequest(),
            threepids=(Threepid("email", f"{name}@mail.example", NOW_MS),) if whole else (),
            consents={"rules": "1"} if whole else {},
        )
        created = process.result(handler.register_user(registration))
        return str(created.login.access_token.reveal())

    def test_nobodyComesBack(self) -> None:
        """What was committed is completed without any client."""
        self.crash_everywhere(
            lambda process, name: self.register(process, name, whole=True),
            lambda process, name, issued: None,
        )

    def test_takenOver(self) -> None:
        """The same holds if the process that takes over the jobs of the first dies, too."""

        def before(process: Process, name: str) -> str:
            self.register(process, name, whole=True, dies=True)
            return name

        def request(process: Process, name: str) -> None:
            process.clock.advance(LATER_S)
            process.result(run_due(process.subsystem.jobs))

        def retry(process: Process, name: str, issued: set[str]) -> None:
            process.clock.advance(LATER_S)

        self.crash_everywhere(request, retry, before)

    def test_afterwards(self) -> None:
        """post_registration_actions are called again by a caller that does not know whether they
        ended."""

        def before(process: Process, name: str) -> tuple[str, str]:
            return name, self.register(process, name, whole=False)

        def request(process: Process, given: tuple[str, str]) -> None:
            name, token = given
            mail = {"medium": "email", "address": f"{name}@mail.example", "validated_at": NOW_MS}
            result = {"m.login.email.identity": mail, "m.login.terms": True}
            process.result(
                process.subsystem.handler.post_registration_actions(
                    UserID(name, SERVER_NAME), result, Secret(token)
                )
            )

        def retry(process: Process, given: tuple[str, str], issued: set[str]) -> None:
            request(process, given)

        self.crash_everywhere(request, retry, before)

    def test_lateConsent(self) -> None:
        """A consent that was committed opens the door, although its client never returns."""

        def before(process: Process, name: str) -> UserID:
            self.register(process, name, whole=False)
            return UserID(name, SERVER_NAME)

        def request(process: Process, user_id: UserID) -> None:
            process.result(process.subsystem.consents.accept(user_id, "rules", "1"))

        self.crash_everywhere(request, lambda process, user_id, issued: None, before)


class SQLiteTests(OnSQLite, PostRegistrationCrashTests, SynchronousTestCase):
    """In a file."""


class PostgreSQLTests(OnPostgreSQL, PostRegistrationCrashTests, SynchronousTestCase):
    """On a real server."""


class EmbeddedTests(TestCase):
    """A homeserver keeps the accounts."""

    async def test_recovered(self) -> None:
        """An account that its recovery completes gets the pusher of its address."""
        for point in POINTS[POINTS.index("after create_account") :]:
            server = Homeserver(self)
            await server.begin()
            kept = MemoryPushers(server.devices)
            pushers = EmailPusher(kept)
            new_account = server.new_account(
                threepids=(Threepid("email", "alice@mail.example", NOW_MS),)
            )
            writer, _ = server.process(failing_at(point, Died()), pushers)
            with self.assertRaises(Died):
                await writer.create_account(
                    attr.evolve(new_account, jobs=tuple(pushers.jobs_for(new_account)))
                )
            await self.recover(server, pushers)
            (pusher,) = kept.by_key.values()
            self.assertEqual(
                (pusher.user_id, pusher.pushkey), (user("alice"), "alice@mail.example")
            )

    async def recover(self, server: Homeserver, pushers: EmailPusher) -> None:
        """A later process, with our part; what it begins runs at once."""
        server.clock.advance(LATER_S)
        _, runner = server.process(planners=pushers, handlers={ADD_PUSHER: pushers.run})
        await run_due(runner)
