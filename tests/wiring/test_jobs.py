"""The kinds of jobs as they are wired: what runs them, and in which order they are planned."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from regsys.accounts.auto_join import AutoJoinPlanner
from regsys.accounts.deactivation import FINISH_DEACTIVATION
from regsys.accounts.embedded_writer import RECOVERY
from regsys.accounts.followers import FollowerNotice
from regsys.accounts.monthly_active_users import ReservedUsers
from regsys.accounts.post_registration_jobs import DirectoryNotice, EmailPusher, JobPlanners
from regsys.accounts.registration_notice import RegistrationNotice
from regsys.accounts.shadow_server import ShadowServer
from regsys.interfaces import ISmsSender
from regsys.testing import (
    MemoryAccounts,
    MemoryActiveUsers,
    MemoryAuth,
    MemoryDevices,
    MemoryDirectory,
    MemoryMails,
    MemoryPushers,
    MemoryRooms,
    config,
    memory_process,
)
from regsys.threepids.changes import AddressNotice
from regsys.wiring import embedded
from regsys.wiring.subsystem import Subsystem
from tests.support.case import SystemCase
from tests.support.followers import Ledger

# What no regsys runs that is no homeserver's auth service.
DELEGATED = {
    "provision_account",
    "provision_device",
    "provision_earlier_account",
    "find_earlier_accounts",
    "end_logins",
    "send_emails",
    "release_newcomer",
}
# The mails of our own accounts alone.
APPROVAL = {"approval_decision_mail", "approvals_waiting_mail"}
# What is planned only where there is a shadow server.
SHADOW = "shadow_register"
# What the tests' server has no mail server, gateway, homeserver or directory for, and what it
# never writes.
ELSEWHERE = {
    "finish_registration",
    "tell_user_directory",
    "count_active_user",
    "auto_join",
    "validation_mail",
    "validation_sms",
    *APPROVAL,
    SHADOW,
    *DELEGATED,
}


@implementer(ISmsSender)
class Texts:
    async def send(self, number: str, text: str) -> None:
        return


class JobKindTests(SystemCase):
    def test_standalone(self) -> None:
        """Kinds that this process cannot run are left to others."""
        runner = self.subsystem.jobs
        self.assertEqual(runner.kinds - set(runner._handlers), ELSEWHERE)

    def whole(self, **options: Any) -> Subsystem:
        """One that has been given all that jobs may need."""
        options.setdefault("shadow_server", {"hs_url": "http://shadow.example", "as_token": "t"})
        chosen, accounts = config(**options), MemoryAccounts()
        devices = MemoryDevices(accounts)
        return embedded(
            chosen,
            self.clock,
            store=accounts,
            devices=devices,
            auth=MemoryAuth(devices),
            rooms=MemoryRooms("test.example"),
            pushers=MemoryPushers(devices),
            active_users=MemoryActiveUsers(self.clock),
            process=memory_process(self, chosen, self.clock, self.database),
            directory=MemoryDirectory(),
            hooks=self.hooks(mails=MemoryMails(), sms=Texts()),
        )

    def test_everyKind(self) -> None:
        """Where all parts are there, every kind is run but those for an auth service. Only where we
        keep the accounts is a deactivation finished by a job, and only where we do not is a
        registration."""
        reserved = [{"medium": "email", "address": "a@mail.example"}]
        runner = self.whole(mau_limit_reserved_threepids=reserved).jobs
        self.assertEqual(
            runner.kinds - set(runner._handlers), {FINISH_DEACTIVATION} | APPROVAL | DELEGATED
        )
        ours = self.subsystem.jobs
        self.assertIn(FINISH_DEACTIVATION, ours._handlers)
        self.assertNotIn(RECOVERY, ours._handlers)

    def test_order(self) -> None:
        """Jobs are planned in this order; the last four are not planned for ghosts."""
        planners = self.whole(
            auto_join_rooms=["#lobby:test.example"],
            mau_limit_reserved_threepids=[{"medium": "email", "address": "a@mail.example"}],
            email={"notif_from": "a@test.example", "enable_notifs": True},
        ).handler._planner.jobs
        assert isinstance(planners, JobPlanners)
        for asked, expected in (
            (planners.for_all, [DirectoryNotice, RegistrationNotice, AddressNotice]),
            (planners.for_people, [ReservedUsers, AutoJoinPlanner, EmailPusher, ShadowServer]),
        ):
            self.assertEqual([type(planner) for planner in asked], expected)

    def test_followers(self) -> None:
        """Each follower is a planner for all accounts, and a kind of job."""
        plain = self.subsystem.jobs.kinds
        self.system(hooks=self.hooks(followers=[Ledger(), Ledger("mail")]))
        planners = self.subsystem.handler._planner.jobs
        assert isinstance(planners, JobPlanners)
        kinds = [item.kind for item in planners.for_all if isinstance(item, FollowerNotice)]
        self.assertEqual(kinds, ["tell_follower:ledger", "tell_follower:mail"])
        self.assertEqual(self.subsystem.jobs.kinds - plain, set(kinds))
