"""The parts of a RegistrationHandler, as fakes that record the order of their calls."""

from __future__ import annotations

from typing import Any, Callable, Coroutine, Mapping, Optional, Sequence, cast

import attr
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from regsys.accounts.appservice_account import Ghosts
from regsys.accounts.handler import RegistrationHandler
from regsys.accounts.new_account import AccountPlanner
from regsys.config import RegistrationConfig, TokensConfig
from regsys.credentials.access_tokens import GuestTokens, Logins
from regsys.interfaces import IUserLookup, Verdict
from regsys.interfaces.internal import IJobPlanner, IRegistrationWriter
from regsys.model import (
    Created,
    DeviceRequest,
    Login,
    NewAccount,
    NewDevice,
    Registration,
    Secret,
    Threepid,
    UserID,
)
from regsys.model.accounts import Outcome
from regsys.model.jobs import NewJob
from regsys.testing import MemoryAppservices

SERVER = "s.example"
NOW_MS = 5000
ALICE = UserID("alice", SERVER)
PHONE = DeviceRequest(device_id="PHONE", display_name="my phone")


@attr.define
class Script:
    """The ``steps`` taken; ``events`` maps a step to a function that is called when it is reached,
    such as one that raises."""

    steps: list[str] = attr.field(factory=list)
    events: dict[str, Callable[[], Any]] = attr.field(factory=dict)

    def step(self, name: str) -> Any:
        self.steps.append(name)
        return self.events.get(name, lambda: None)()

    def refuse(self, name: str, error: Exception) -> None:
        """Raise ``error`` at this step."""

        def raising() -> None:
            raise error

        self.events[name] = raising


@attr.define
class Names:
    script: Script
    guest: Optional[UserID] = None
    number: int = 0
    asked: list[tuple[Any, ...]] = attr.field(factory=list)
    made: set[tuple[Optional[str], UserID]] = attr.field(factory=set)
    server_name = SERVER

    async def check(
        self,
        localpart: str,
        *,
        guest_access_token: Optional[Secret] = None,
        assigned_user_id: Optional[UserID] = None,
        early: bool = False,
        key: Optional[str] = None,
        takes_over: bool = False,
        guest_id: Optional[UserID] = None,
        asked_before: bool = False,
        by_admin: bool = False,
    ) -> Optional[UserID]:
        self.script.step("names")
        self.asked.append((localpart, guest_access_token, assigned_user_id, early, key))
        return self.guest

    async def has_made(self, key: Optional[str], user_id: UserID) -> bool:
        return (key, user_id) in self.made

    def check_not_reserved(self, user_id: UserID, allowed_appservice: Optional[str] = None) -> None:
        self.asked.append((user_id, allowed_appservice))

    async def check_elsewhere(self, user_id: UserID) -> None:
        self.script.step("elsewhere")

    async def draw(self) -> UserID:
        self.script.step("draw")
        self.number += 1
        return UserID(str(self.number), SERVER)


@attr.define
class Admission:
    script: Script
    verdict: Verdict = Verdict.ALLOW
    peeked: list[Optional[str]] = attr.field(factory=list)
    taken: list[Optional[str]] = attr.field(factory=list)
    judged: list[Registration] = attr.field(factory=list)

    async def peek(self, address: Optional[str]) -> None:
        self.peeked.append(address)

    async def take(self, address: Optional[str]) -> None:
        self.taken.append(address)
        self.script.step("take")

    async def give_back(self, address: Optional[str]) -> None:
        self.script.step("give back")

    async def check_spam(self, registration: Registration) -> Verdict:
        self.judged.append(registration)
        self.script.step("spam")
        return self.verdict

    async def check_threepids_and_blocking(self, registration: Registration) -> None:
        self.script.step("blocking")

    async def check_additions(self, user_id: UserID, threepids: Sequence[Threepid]) -> None:
        for threepid in threepids:
            self.script.step(f"may {user_id.localpart} have {threepid.address}")


@attr.define
class Hasher:
    """A hash is the password backwards. A Deferred at the step ``hash`` is awaited."""

    script: Script
    dialogues: list[Optional[str]] = attr.field(factory=list)

    async def hash(self, password: Secret, session_id: Optional[str] = None) -> str:
        self.dialogues.append(session_id)
        waiting = self.script.step("hash")
        if isinstance(waiting, Deferred):
            await waiting
        return password.reveal()[::-1]

    async def verify(self, password: Secret, stored: Optional[str]) -> bool:
        return stored == password.reveal()[::-1]

    async def wait_for_room(self) -> None:
        return


@implementer(IJobPlanner)
class JobPlanners:
    """Every account brings one job that names it."""

    def jobs_for(self, new: NewAccount) -> Sequence[NewJob]:
        return (NewJob(kind="greet", payload={"name": new.display_name}, job_id="job"),)

    def jobs_after_consent(self, user_id: UserID) -> Sequence[NewJob]:
        return (NewJob(kind="thank", payload={"user_id": str(user_id)}, job_id="thanks"),)


@implementer(IRegistrationWriter)
@attr.define
class Writer:
    script: Script
    replays: bool = False
    accounts: list[NewAccount] = attr.field(factory=list)
    devices: list[tuple[UserID, NewDevice]] = attr.field(factory=list)
    followed: list[tuple[Any, ...]] = attr.field(factory=list)
    deactivated: list[UserID] = attr.field(factory=list)

    async def create_account(self, new: NewAccount) -> Created:
        self.accounts.append(new)
        self.script.step("write")
        login = new.device.login if new.device else None
        return Created(user_id=new.user_id, login=login, replayed=self.replays)

    async def repeat(self, outcome: Outcome) -> Created:
        return Created(user_id=outcome.user_id, replayed=True)

    async def register_device(self, user_id: UserID, device: NewDevice) -> Login:
        self.script.step("device")
        self.devices.append((user_id, device))
        return device.login

    async def post_registration_actions(
        self, user_id: UserID, auth_result: Mapping[str, Any], access_token: Optional[Secret]
    ) -> None:
        self.followed.append((user_id, auth_result, access_token))

    async def deactivate(self, user_id: UserID, erase: bool = False) -> bool:
        self.deactivated.append(user_id)
        return False


@attr.define(kw_only=True)
class HandlerParts:
    """A handler, and all its parts."""

    config: RegistrationConfig = attr.field(factory=RegistrationConfig)
    script: Script = attr.field(factory=Script)
    clock: Clock = attr.field(factory=Clock)
    names: Names = attr.field(init=False)
    admission: Admission = attr.field(init=False)
    hasher: Hasher = attr.field(init=False)
    logins: Logins = attr.field(init=False)
    writer: Writer = attr.field(init=False)
    users: Optional[IUserLookup] = None
    services: MemoryAppservices = attr.field(factory=MemoryAppservices)
    handler: RegistrationHandler = attr.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(NOW_MS / 1000)
        self.names = Names(self.script)
        self.admission = Admission(self.script)
        self.hasher = Hasher(self.script)
        self.writer = Writer(self.script)
        self.logins = Logins(
            config=TokensConfig(),
            secret=b"key",
            guests=GuestTokens(server_name=SERVER, secret=b"key"),
            clock=self.clock,
        )
        self.handler = RegistrationHandler(
            names=self.names,
            admission=self.admission,
            hasher=self.hasher,
            planner=AccountPlanner(
                config=self.config,
                logins=self.logins,
                jobs=JobPlanners(),
                users=self.users,
                clock=self.clock,
                replay_window_ms=1000,
            ),
            writer=self.writer,
            ghosts=Ghosts(
                services=self.services,
                names=self.names,
                logins=self.logins,
                hasher=self.hasher,
                clock=self.clock,
            ),
            post_consent=cast(Any, None),  # need a database
            sessions=cast(Any, None),
        )


def alice(**more: Any) -> Registration:
    return Registration(
        **{"key": "key", "localpart": "alice", "password": Secret("pass"), "device": PHONE, **more}
    )


def without_username(**more: Any) -> Registration:
    """A registration whose name is to be drawn."""
    return alice(localpart=None, **more)


class HandlerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.make()

    def make(self, **config: Any) -> None:
        self.parts = HandlerParts(config=RegistrationConfig(**config))
        self.script = self.parts.script

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def register(self, registration: Registration) -> NewAccount:
        """The account that was handed to the writer."""
        self.created: Created = self.wait(self.parts.handler.register_user(registration))
        return self.parts.writer.accounts[-1]

    def refused(self, registration: Registration, error: type[Exception]) -> None:
        registering = self.parts.handler.register_user(registration)
        self.failureResultOf(Deferred.fromCoroutine(registering), error)
