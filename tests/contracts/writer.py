"""The contract of IRegistrationWriter, whichever stores it writes to."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Sequence

from twisted.internet.task import Clock
from zope.interface import implementer

from regsys.config import TokensConfig
from regsys.credentials.access_tokens import GuestTokens, Logins
from regsys.errors import ThreepidInUse, UnknownToken, UsernameTaken, UserNotFound
from regsys.interfaces import IAuth
from regsys.interfaces.internal import IJobPlanner, IRegistrationWriter
from regsys.model import (
    Created,
    DeviceRequest,
    LoginTerms,
    NewAccount,
    NewDevice,
    Secret,
    Threepid,
    UserID,
)
from regsys.model.accounts import Outcome
from regsys.model.jobs import NewJob
from regsys.testing.contracts.case import NOW_MS, SERVER, Contract, account, together, user
from regsys.testing.provides import provides

CONTENDERS = 8
PHONE = DeviceRequest(device_id="PHONE", display_name="my phone", wants_refresh_token=True)
StartJobs = Callable[[Sequence[NewJob]], None]


def logins(clock: Optional[Clock] = None) -> Logins:
    """Makes the logins that the suite gives to the writer; two of them make the same."""
    if clock is None:
        clock = Clock()
        clock.advance(NOW_MS / 1000)
    guests = GuestTokens(server_name=SERVER, secret=b"a secret")
    return Logins(config=TokensConfig(), secret=b"a secret", guests=guests, clock=clock)


def new_account(
    key: str = "key", localpart: str = "alice", terms: Optional[LoginTerms] = None, **more: Any
) -> NewAccount:
    """An account with a job, and a login under these terms; those of PHONE if None."""
    made = logins()
    login = made.issue(user(localpart), terms or made.terms(PHONE), key)
    given: dict[str, Any] = {
        "device": NewDevice(login=login, display_name=PHONE.display_name),
        "jobs": (NewJob(kind="greet", payload={"user_id": str(user(localpart))}),),
        **more,
    }
    return account(key, localpart, **given)


@implementer(IJobPlanner)
class Aftercare:
    """An account brings a job with its device and addresses, a consent another one."""

    def jobs_for(self, new: NewAccount) -> Sequence[NewJob]:
        device_id = new.device.login.device_id if new.device else None
        payload = {"device": device_id, "has": [item.address for item in new.threepids]}
        return (NewJob(kind="welcome", payload=payload, dedup_key=f"welcome {new.user_id}"),)

    def jobs_after_consent(self, user_id: UserID) -> Sequence[NewJob]:
        return ()


def mail_of(name: str) -> tuple[Threepid, ...]:
    return (Threepid("email", f"{name}@mail.example", NOW_MS),)


class WriterContract(Contract):
    """An IRegistrationWriter over empty stores."""

    def make(
        self, logins: Logins, planners: IJobPlanner, start_jobs: StartJobs
    ) -> tuple[IRegistrationWriter, IAuth]:
        """A writer, and the IAuth that finds the owners of its tokens. It makes repeated logins by
        ``logins``, and gives the jobs that it has stored to ``start_jobs``: those of its accounts,
        and those that ``planners`` plan after registrations and consents."""
        raise NotImplementedError()

    def writer(self) -> IRegistrationWriter:
        """The writer of ``make``; the kinds of the jobs that it starts are in ``self.started``."""
        self.started: list[str] = []
        self.payloads: list[Mapping[str, Any]] = []

        def start_jobs(jobs: Sequence[NewJob]) -> None:
            self.started += [job.kind for job in jobs]
            self.payloads += [job.payload for job in jobs]

        writer, self.auth = self.make(logins(), Aftercare(), start_jobs)
        return writer

    async def assertOwner(self, token: Secret, user_id: UserID, device_id: str = "PHONE") -> None:
        """The token is valid, for this user and device."""
        requester = await self.auth.whose(token)
        assert requester is not None, "the token is nobody's"
        self.assertEqual((requester.user_id, requester.device_id), (user_id, device_id))

    def test_provides(self) -> None:
        """It has all methods, with the arguments that regsys calls them with."""
        provides(IRegistrationWriter, self.writer())

    async def test_created(self) -> None:
        """A new account has the login that was asked for, which is valid, and its jobs begin."""
        new = new_account()
        assert new.device is not None
        created = await self.writer().create_account(new)
        self.assertEqual(created, Created(user_id=user("alice"), login=new.device.login))
        assert created.login is not None
        await self.assertOwner(created.login.access_token, user("alice"))
        self.assertEqual(self.started, ["greet"])

    async def test_withoutLogin(self) -> None:
        """An account may be created without a login; the same key again returns none either."""
        writer = self.writer()
        for replayed in (False, True):
            created = await writer.create_account(new_account(device=None))
            self.assertEqual(created, Created(user_id=user("alice"), replayed=replayed))

    async def test_guest(self) -> None:
        """The same key again returns the same guest's token."""
        writer = self.writer()
        terms = logins().terms(DeviceRequest(is_guest=True))
        new = new_account("key", "1", terms, is_guest=True)
        first = await writer.create_account(new)
        again = await writer.create_account(new)
        assert first.login is not None
        self.assertEqual(again.login, first.login)
        await self.assertOwner(first.login.access_token, user("1"), terms.device_id)

    async def test_sameKeySameAnswer(self) -> None:
        """The same key again, even with another request, returns the same, tokens included; the
        jobs are not begun again."""
        writer = self.writer()
        first = await writer.create_account(new_account())
        other = logins().terms(DeviceRequest(device_id="LAPTOP"))
        for new in (new_account(), new_account("key", "bob", other, created_ms=NOW_MS + 1)):
            again = await writer.create_account(new)
            self.assertEqual((again.user_id, again.login), (first.user_id, first.login))
            self.assertTrue(again.replayed)
        assert first.login is not None
        await self.assertOwner(first.login.access_token, user("alice"))
        self.assertEqual(self.started, ["greet"])

    async def test_sameKeyAtOnce(self) -> None:
        """Of several concurrent calls with one key one creates the account; all return it."""
        writer = self.writer()
        ended = await together(writer.create_account(new_account()) for _ in range(CONTENDERS))
        created = [item for item in ended if isinstance(item, Created)]
        self.assertEqual(len(created), CONTENDERS, ended)
        self.assertEqual(len({(item.user_id, item.login) for item in created}), 1)
        self.assertEqual(sum(not item.replayed for item in created), 1)

    async def test_nameLost(self) -> None:
        """A taken name is refused; the key can create its account under another one."""
        writer = self.writer()
        await writer.create_account(new_account("first"))
        await self.refusal(UsernameTaken, writer.create_account(new_account("second", "ALICE")))
        created = await writer.create_account(new_account("second", "bob"))
        self.assertEqual((created.user_id, created.replayed), (user("bob"), False))
        assert created.login is not None
        await self.assertOwner(created.login.access_token, user("bob"))

    async def test_upgrade(self) -> None:
        """A guest becomes a user with a device of its own; a second upgrade is refused."""
        writer = self.writer()
        terms = logins().terms(DeviceRequest(is_guest=True))
        await writer.create_account(new_account("guest", "1", terms, is_guest=True))
        created = await writer.create_account(new_account("user", "1", upgrades_guest=True))
        assert created.login is not None
        await self.assertOwner(created.login.access_token, user("1"))
        late = writer.create_account(new_account("late", "1", upgrades_guest=True))
        await self.refusal(UnknownToken, late)

    async def test_jobsOnce(self) -> None:
        """Jobs that were begun for the guest are not begun again for the user: those with a known
        deduplication key are left out, the others start."""
        writer = self.writer()
        guest = (NewJob(kind="greet", dedup_key="greet 1"), NewJob(kind="count"))
        await writer.create_account(new_account("guest", "1", is_guest=True, jobs=guest))
        self.assertEqual(self.started, ["greet", "count"])
        jobs = [NewJob(kind="greet", dedup_key="greet 1") for _ in range(2)]
        jobs += [NewJob(kind="count"), NewJob(kind="rooms", dedup_key="rooms 1")]
        await writer.create_account(new_account("user", "1", upgrades_guest=True, jobs=tuple(jobs)))
        self.assertEqual(self.started[2:], ["count", "rooms"])

    async def test_repeat(self) -> None:
        """A finished outcome is repeated with its tokens, which stay valid."""
        writer = self.writer()
        new = new_account()
        assert new.device is not None
        created = await writer.create_account(new)
        outcome = Outcome(
            key=new.key,
            user_id=new.user_id,
            created_ms=new.created_ms,
            terms=new.device.login.terms,
            replayed=True,
        )
        again = await writer.repeat(outcome)
        self.assertEqual((again.user_id, again.login), (created.user_id, created.login))
        self.assertTrue(again.replayed)
        assert again.login is not None
        await self.assertOwner(again.login.access_token, user("alice"))

    async def test_registerDevice(self) -> None:
        """A device is added to an account that exists, and to no other."""
        writer, made = self.writer(), logins()
        await writer.create_account(new_account())
        terms = made.terms(DeviceRequest(device_id="LAPTOP"))
        device = NewDevice(login=made.issue(user("alice"), terms, "another key"))
        login = await writer.register_device(user("alice"), device)
        await self.assertOwner(login.access_token, user("alice"), "LAPTOP")
        await self.refusal(UserNotFound, writer.register_device(user("nobody"), device))

    async def test_postRegistration(self) -> None:
        """What a registration brings is begun for an account that is there already, once,
        with the device of its token and the addresses that it has proven."""
        writer = self.writer()
        login = (await writer.create_account(new_account(jobs=()))).login
        assert login is not None
        mail = {"medium": "email", "address": "Alice@mail.example", "validated_at": NOW_MS}
        for _ in range(2):
            await writer.post_registration_actions(
                user("alice"), {"m.login.email.identity": mail}, login.access_token
            )
        self.assertEqual(self.started, ["welcome"])
        self.assertEqual(self.payloads, [{"device": "PHONE", "has": ["alice@mail.example"]}])

    async def test_postRegistrationWithoutLogin(self) -> None:
        """Without a token, or with one that is nobody's or another's, there is no device."""
        writer = self.writer()
        for number, token in enumerate((None, "syt_none", "syt_bob")):
            name = f"user{number}"
            await writer.create_account(new_account(name, name, jobs=()))
            if token == "syt_bob":
                bob = (await writer.create_account(new_account("bob", "bob", jobs=()))).login
                assert bob is not None
                token = bob.access_token.reveal()
            given = None if token is None else Secret(token)
            await writer.post_registration_actions(user(name), {}, given)
        self.assertEqual(self.payloads, [{"device": None, "has": []}] * 3)

    async def test_postRegistrationOfNobody(self) -> None:
        """For a user who does not exist nothing is begun."""
        writer = self.writer()
        await self.refusal(UserNotFound, writer.post_registration_actions(user("nobody"), {}, None))
        self.assertEqual(self.started, [])

    async def test_deactivate(self) -> None:
        """The addresses of a deactivated account are free, and nobody else's are. Idempotent."""
        writer = self.writer()
        for name in ("alice", "carol"):
            await writer.create_account(new_account(name, name, jobs=(), threepids=mail_of(name)))
        late = new_account("late", "bob", threepids=mail_of("alice"))
        await self.refusal(ThreepidInUse, writer.create_account(late))
        for name in ("nobody", "alice", "alice"):
            await writer.deactivate(user(name))
        created = await writer.create_account(late)
        self.assertEqual((created.user_id, created.replayed), (user("bob"), False))
        other = new_account("other", "dora", threepids=mail_of("carol"))
        await self.refusal(ThreepidInUse, writer.create_account(other))
