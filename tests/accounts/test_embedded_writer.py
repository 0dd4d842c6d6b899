"""Accounts in a homeserver's own store: complete or absent, wherever a process dies."""

from __future__ import annotations

from typing import Any, Optional

import attr
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from regsys.accounts.embedded_writer import RECOVERY
from regsys.credentials.access_tokens import Logins
from regsys.errors import Unavailable, UsernameTaken
from regsys.interfaces import IAuth
from regsys.interfaces.internal import IJobPlanner, IRegistrationWriter
from regsys.model import JOB_LEASE_MS, Created, NewAccount, Threepid
from regsys.model.registration_tokens import RESERVED_MS
from regsys.storage.jobs import JobStore
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.testing.contracts.case import NOW_MS, user
from tests.contracts.writer import StartJobs, WriterContract, new_account
from tests.support.callbacks import CallbackTests
from tests.support.due_jobs import run_due
from tests.support.homeserver import LATER_S, POINTS, Died, Homeserver, failing_at, waiting_at
from tests.support.values import TOKEN, token

# From here on the homeserver has the account.
MADE = POINTS.index("after create_account")
# The kinds of registration: what differs from one that asks for a name and a login.
KINDS: dict[str, dict[str, Any]] = {
    "user": {},
    "without login": {"device": None},
    "guest": {"localpart": "1", "is_guest": True},
    "upgrade": {"localpart": "1", "upgrades_guest": True, "display_name": None},
    "token": {"registration_token": TOKEN},
    "threepids": {"threepids": (Threepid("email", "a@mail.example", NOW_MS),)},
    "consents": {"consents": {"privacy_policy": "1"}},
    "address": {"threepids": (Threepid("email", "alice@mail.example", NOW_MS),)},
}


class EmbeddedWriterTests(CallbackTests, WriterContract, TestCase):
    with_devices = False

    def make(
        self, logins: Logins, planners: IJobPlanner, start_jobs: StartJobs
    ) -> tuple[IRegistrationWriter, IAuth]:
        server = Homeserver(self, self.with_devices)
        writer, _ = server.process()
        writer = attr.evolve(
            writer,
            logins=logins,
            post_registration=server.post_registration(planners, start_jobs),
            deactivation=server.deactivation(start_jobs),
            start_jobs=start_jobs,
        )
        return writer, server.auth


class WithDevicesTests(EmbeddedWriterTests):
    """Over a store that makes the devices with the accounts."""

    with_devices = True


class RecoveryTests(TestCase):
    async def test_whoTheFirstUserIs(self) -> None:
        """An account that a recovery finds is the first user exactly if the request would have made
        it so; the waiting job does not contain a session id."""
        for more, first in (
            ({}, ["alice"]),
            ({"is_guest": True}, []),
            ({"user_type": "bot"}, []),
            ({"appservice_id": "irc"}, []),
            ({"is_ghost": True}, []),
        ):
            server = Homeserver(self)
            await server.begin()
            writer, _ = server.process(failing_at("before complete", Died()))
            with self.assertRaises(Died):
                await writer.create_account(server.new_account(**more))
            ((job_id,),) = await server.rows("SELECT job_id FROM jobs")
            self.assertNotIn("session", job_id)
            await server.recover()
            found = await server.rows("SELECT user_id FROM milestones")
            self.assertEqual(found, [(str(user(name)),) for name in first], more)

    async def test_countedOnce(self) -> None:
        """A recovery that finds the key completed by another process counts no account."""
        server = Homeserver(self)
        await server.begin()
        writer, _ = server.process(failing_at("before complete", Died()))
        with self.assertRaises(Died):
            await writer.create_account(server.new_account())
        server.clock.advance(LATER_S)
        (job,) = await JobStore(server.db).claim(
            {RECOVERY: 1}, int(server.clock.seconds() * 1000), JOB_LEASE_MS
        )
        writer, _ = server.process()
        self.assertFalse((await writer.create_account(server.new_account())).replayed)
        await writer.recover(job)
        self.assertEqual(len(server.counted), 1)

    async def test_counted(self) -> None:
        """Each account is counted once: by the recovery or by the request that finished it,
        wherever the first process died."""
        more = {"shadow_banned": True, "auth_provider_id": "oidc"}
        for point in POINTS:
            for asks in (False, True):
                server = Homeserver(self)
                await server.begin()
                writer, _ = server.process(failing_at(point, Died()))
                with self.assertRaises(Died):
                    await writer.create_account(server.new_account(**more))
                for _ in range(2):
                    if asks:
                        await server.process()[0].create_account(server.new_account(**more))
                    await server.recover()
                has_account = bool(server.accounts.by_name)
                # A process that died after the commit could count nothing.
                expected = int(has_account and point != "after complete")
                self.assertEqual(len(server.counted), expected, f"{point} {asks}")
                for new in server.counted:
                    self.assertEqual((new.shadow_banned, new.auth_provider_id), (True, "oidc"))


class Registering:
    """One registration with a homeserver of its own, and its state."""

    def __init__(self, case: TestCase, kind: str = "user", *, with_devices: bool = False) -> None:
        self.case = case
        self.server = Homeserver(case, with_devices)
        self.more = KINDS[kind]
        self.tokens = RegistrationTokenStore(self.server.db)

    async def begin(self) -> NewAccount:
        """What the first request asks for."""
        await self.server.begin()
        await self.tokens.create(token(uses_allowed=1))
        if "registration_token" in self.more:
            await self.tokens.reserve(TOKEN, "session", NOW_MS)
        if "upgrades_guest" in self.more:
            guest = new_account("guest", "1", is_guest=True, device=None, session_id=None)
            await self.server.accounts.create_account(guest)
        return self.new_account()

    def new_account(self) -> NewAccount:
        return self.server.new_account(**self.more)

    async def die(self, new: NewAccount, point: str) -> None:
        writer, _ = self.server.process(failing_at(point, Died()))
        try:
            await writer.create_account(new)
        except Died:
            return
        # A registration without a login does not reach this point, nor does one whose device the
        # account store has written.
        is_made = self.server.with_devices or new.device is None
        self.case.assertTrue(is_made and "register" in point, f"{point} was not reached")

    async def ask(self) -> Created:
        """The client retries, and another process answers."""
        return await self.server.process()[0].create_account(self.new_account())

    async def assertUses(self, pending: int, completed: int) -> None:
        """How its registration token stands, if it has one."""
        expected = (pending, completed) if "registration_token" in self.more else (0, 0)
        found = await self.tokens.get(TOKEN, NOW_MS)
        assert found is not None
        self.case.assertEqual((found.pending, found.completed), expected)
        self.case.assertEqual(len(await self.tokens.uses(TOKEN)), expected[1])

    async def assertAbsent(self) -> None:
        """Nothing is left of it, and its session goes on."""
        server, name = self.server, self.new_account().user_id.name_key
        account = server.accounts.by_name.get(name)
        self.case.assertTrue(account is None or (name == "1" and account.is_guest))
        self.case.assertEqual(server.devices.by_id, {})
        for table in ("outcomes", "jobs", "consents"):
            self.case.assertEqual(await server.rows(f"SELECT * FROM {table}"), [])
        ((finished,),) = await server.rows("SELECT finished FROM uia_sessions")
        self.case.assertFalse(finished)
        await self.assertUses(1, 0)

    async def assertWhole(self, first: NewAccount, created: Optional[Created] = None) -> None:
        """The account is there with all that belongs to it, once. ``created`` is the answer."""
        server, who = self.server, first.user_id
        await server.recover()
        self.case.assertEqual(set(server.accounts.by_name), {who.name_key})
        self.case.assertEqual(
            await server.rows("SELECT key, user_id, finished FROM outcomes"),
            [("session", str(who), True)],
        )
        self.case.assertEqual(await server.rows("SELECT finished FROM uia_sessions"), [(True,)])
        self.case.assertEqual(await server.rows("SELECT * FROM jobs"), [])
        self.case.assertEqual(server.greeted, [str(who)])
        await self.assertUses(0, 1)
        consents = await server.rows("SELECT user_id, policy, version FROM consents")
        given = self.more.get("consents", {}).items()
        self.case.assertEqual(consents, [(str(who), *consent) for consent in given])
        answers = [await self.ask(), *([created] if created else [])]
        for answer in answers:
            self.case.assertEqual(answer.user_id, who)
            if first.device is None:
                self.case.assertIsNone(answer.login)
            else:
                await self.assertDevice(first, answer)

    async def assertDevice(self, first: NewAccount, answer: Created) -> None:
        """One device, as the first request asked for, with its login in force."""
        assert answer.login is not None and first.device is not None
        self.case.assertEqual(answer.login, first.device.login)
        ((place, device),) = self.server.devices.by_id.items()
        self.case.assertEqual(place, (first.user_id, first.device.login.device_id))
        self.case.assertEqual(device.display_name, first.device.display_name)
        requester = await self.server.auth.whose(answer.login.access_token)
        assert requester is not None
        self.case.assertEqual((requester.user_id, requester.device_id), place)


class CrashTests(TestCase):
    """Each test dies at each point of each kind of registration."""

    with_devices = False

    async def each(self, check: Any) -> None:
        for kind in KINDS:
            for number, point in enumerate(POINTS):
                registering = Registering(self, kind, with_devices=self.with_devices)
                try:
                    await check(registering, await registering.begin(), number, point)
                except self.failureException as failure:
                    raise self.failureException(f"{kind}, died {point}: {failure}") from failure

    async def test_askedAgain(self) -> None:
        """A client that retries gets its account, with the login that was begun."""

        async def check(registering: Registering, new: NewAccount, number: int, point: str) -> None:
            await registering.die(new, point)
            registering.server.clock.advance(5)
            again = registering.new_account()
            created = await registering.server.process()[0].create_account(again)
            await registering.assertWhole(new if number else again, created)

        await self.each(check)

    async def test_nobodyAsksAgain(self) -> None:
        """If no client retries, an account that was made is completed, and a registration that made
        none is forgotten; a client that retries late gets its account either way."""

        async def check(registering: Registering, new: NewAccount, number: int, point: str) -> None:
            await registering.die(new, point)
            await registering.server.recover()
            if number >= MADE:
                await registering.assertWhole(new)
            else:
                await registering.assertAbsent()
                again = registering.new_account()
                created = await registering.server.process()[0].create_account(again)
                await registering.assertWhole(again, created)

        await self.each(check)


class WithDevicesCrashTests(CrashTests):
    """A store that makes account and device at once is never asked to register that device."""

    with_devices = True

    async def test_registered(self) -> None:
        registering = Registering(self, with_devices=True)
        new = await registering.begin()
        passed: list[str] = []

        async def note(point: str) -> None:
            passed.append(point)

        writer, _ = registering.server.process(note)
        for _ in range(2):
            await registering.assertWhole(new, await writer.create_account(new))
        self.assertEqual([point for point in passed if "register" in point], [])


class ConcurrentProcessTests(TestCase):
    """Other processes work on the same registration."""

    async def test_twoAtOnce(self) -> None:
        """Two processes that work on one session give one answer, wherever the first pauses."""
        for point in POINTS:
            registering, until = Registering(self), Deferred[None]()
            new = await registering.begin()
            writer, _ = registering.server.process(waiting_at(point, until))
            first = Deferred.fromCoroutine(writer.create_account(new))
            second = await registering.ask()
            until.callback(None)
            created = await first
            self.assertEqual((second.user_id, second.login), (created.user_id, created.login))
            self.assertEqual([created.replayed, second.replayed].count(False), 1, point)
            self.assertEqual(registering.server.greeted, ["@alice:contract.example"], point)

    async def test_recoveredTooEarly(self) -> None:
        """A slow process ends well, although a recovery took it for dead."""
        for point in POINTS:
            registering, until = Registering(self), Deferred[None]()
            new = await registering.begin()
            writer, _ = registering.server.process(waiting_at(point, until))
            first = Deferred.fromCoroutine(writer.create_account(new))
            await registering.server.recover()
            until.callback(None)
            created = await first
            # A job that it was about to begin belongs to another process by now, and is done twice.
            del registering.server.greeted[1:]
            await registering.assertWhole(new, created)


class AddressTests(TestCase):
    async def test_recovered(self) -> None:
        """The jobs of an account know its addresses, whichever process completes the
        registration."""
        registering = Registering(self, "threepids")
        new = await registering.begin()
        await registering.die(new, "after create_account")
        await registering.assertWhole(new)
        self.assertEqual(registering.server.addresses, ["a@mail.example"])


class DeviceTests(TestCase):
    async def test_recovered(self) -> None:
        """A recovery registers the device with all its fields."""
        registering = Registering(self)
        new = await registering.begin()
        assert new.device is not None
        provider = {"auth_provider_id": "oidc", "auth_provider_session_id": "sid"}
        device = attr.evolve(new.device, is_appservice_ghost=True, **provider)
        await registering.die(attr.evolve(new, device=device), "after create_account")
        await registering.server.recover()
        self.assertEqual(list(registering.server.devices.by_id.values()), [device])


class RefusalTests(TestCase):
    async def test_refused(self) -> None:
        """A registration that the store refuses leaves nothing; the session may go on under another
        name."""
        registering = Registering(self)
        new = await registering.begin()
        registering.server.accounts.by_name["alice"] = new_account("other")
        with self.assertRaises(UsernameTaken):
            await registering.ask()
        for table in ("outcomes", "jobs"):
            self.assertEqual(await registering.server.rows(f"SELECT * FROM {table}"), [])
        created = await registering.server.process()[0].create_account(
            registering.server.new_account("bob")
        )
        self.assertEqual((created.user_id, created.replayed), (user("bob"), False))
        self.assertNotEqual(created.login, new.device)

    async def test_storeIsDown(self) -> None:
        """If the store cannot say whether it made the account, a recovery finds out later."""
        for point, made in (("before create_account", False), ("after create_account", True)):
            registering = Registering(self)
            new = await registering.begin()
            writer, _ = registering.server.process(failing_at(point, Unavailable()))
            with self.assertRaises(Unavailable):
                await writer.create_account(new)
            await registering.server.recover()
            await (registering.assertWhole(new) if made else registering.assertAbsent())

    async def test_triedAgain(self) -> None:
        """A recovery leaves a store that is asked again its time: the account may be made yet."""
        registering = Registering(self)
        await registering.die(await registering.begin(), "before create_account")
        server = registering.server
        server.clock.advance(LATER_S - 2)
        writer, _ = server.process(failing_at("before create_account", Unavailable()))
        with self.assertRaises(Unavailable):
            await writer.create_account(server.new_account())
        server.clock.advance(LATER_S - 3)
        await run_due(server.process()[1])
        self.assertEqual(len(await server.rows("SELECT * FROM outcomes")), 1)
        await server.recover()
        await registering.assertAbsent()

    async def test_anotherNameAfterACrash(self) -> None:
        """An account that was made before a crash is what the session gets, whatever its client
        asks for now."""
        for point in POINTS[MADE:]:
            registering = Registering(self)
            new = await registering.begin()
            await registering.die(new, point)
            writer, _ = registering.server.process()
            created = await writer.create_account(registering.server.new_account("bob"))
            await registering.assertWhole(new, created)
            if point != "after complete":  # in that case the dead process had written the job
                self.assertEqual(registering.server.named, ["alice"], point)

    async def test_anotherNameBeforeACrash(self) -> None:
        """A recovery finds the account under the name that was asked for last, and reports that
        name, unless the account has a display name of its own."""
        cases: list[tuple[dict[str, Any], str]] = [
            ({"display_name": "alice"}, "bob"),
            ({"display_name": "Alice L."}, "Alice L."),
            ({"display_name": "alice", "device": None}, "bob"),
        ]
        for more, display_name in cases:
            registering = Registering(self)
            await registering.begin()
            registering.more = more
            await registering.die(registering.new_account(), "before create_account")
            renamed = registering.server.new_account(
                "bob", **({"device": None} if "device" in more else {})
            )
            await registering.die(renamed, "after create_account")
            await registering.server.recover()
            self.assertEqual(registering.server.greeted, [str(user("bob"))])
            self.assertEqual(registering.server.named, [display_name])
            self.assertEqual(
                await registering.server.rows("SELECT user_id, finished FROM outcomes"),
                [(str(user("bob")), True)],
            )

    async def test_deactivatedMeanwhile(self) -> None:
        """If an account is deactivated before its recovery, the recovery adds no device and is not
        retried; the key is released, and its use of a token given back."""
        registering = Registering(self, "token")
        await registering.die(await registering.begin(), "after create_account")
        await registering.assertUses(1, 0)
        registering.server.accounts.deactivated.add(user("alice"))
        await registering.server.recover()
        self.assertEqual(registering.server.devices.by_id, {})
        for table in ("jobs", "outcomes", "registration_token_uses"):
            self.assertEqual(await registering.server.rows(f"SELECT * FROM {table}"), [], table)
        # The session holds the use for an hour, as it did before it registered.
        ((until_ms,),) = await registering.server.rows(
            "SELECT expires_ms FROM registration_token_reservations"
        )
        self.assertEqual(until_ms, NOW_MS + RESERVED_MS)
        self.assertEqual(registering.server.counted, [])
