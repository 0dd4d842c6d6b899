"""The order of a registration, what is written at its end, and what is given back on failure."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from regsys.accounts.admission import Admission
from regsys.accounts.usernames import Usernames
from regsys.credentials.access_tokens import MAX_DEVICE_ID
from regsys.credentials.hashing import HashingPool
from regsys.errors import (
    InvalidParam,
    NoFreeName,
    RegistrationError,
    ThreepidInUse,
    UsernameTaken,
)
from regsys.interfaces import Verdict
from regsys.interfaces.internal import IJobPlanner, IRegistrationWriter
from regsys.model import Created, DeviceRequest, NewAccount, Secret, Threepid, UserID
from regsys.model.jobs import NewJob
from regsys.testing import provides
from tests.support.fakes import stands_for
from tests.support.handler import (
    ALICE,
    NOW_MS,
    PHONE,
    SERVER,
    HandlerCase,
    JobPlanners,
    alice,
    without_username,
)

ADDRESS = Threepid("email", "alice@mail.example", 1)
MAY_HAVE_IT = f"may alice have {ADDRESS.address}"
STEPS = ["take", "spam", "blocking", "names", "hash", MAY_HAVE_IT, "write"]


class OrderTests(HandlerCase):
    def test_fakes(self) -> None:
        """The fakes of these tests have the methods of the real classes."""
        parts = self.parts
        stands_for(Usernames, parts.names)
        stands_for(Admission, parts.admission)
        stands_for(HashingPool, parts.hasher)
        provides(IJobPlanner, JobPlanners())
        provides(IRegistrationWriter, parts.writer)

    def test_order(self) -> None:
        """Limit, spam checkers, blocking, name, hash, write: the most expensive step comes last."""
        self.register(alice(threepids=(ADDRESS,)))
        self.assertEqual(self.script.steps, STEPS)

    def test_refusalEndsIt(self) -> None:
        """After a refusal no later step is run, and the limit gets back what was taken."""
        for number, step in enumerate(STEPS):
            self.make()
            self.script.refuse(step, RegistrationError())
            self.refused(alice(threepids=(ADDRESS,)), RegistrationError)
            given_back = [] if step == "take" else ["give back"]
            self.assertEqual(self.script.steps, [*STEPS[: number + 1], *given_back])

    def test_abandoned(self) -> None:
        """A registration that is cancelled before it is written gives back what it took."""
        self.script.events["hash"] = Deferred
        waiting = Deferred.fromCoroutine(self.parts.handler.register_user(alice()))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.script.steps[-2:], ["hash", "give back"])
        self.assertEqual(self.parts.writer.accounts, [])

    def test_replay(self) -> None:
        """A key that has made its account counts once against the limit, however often it is
        repeated."""
        self.parts.writer.replays = True
        self.register(alice())
        self.assertTrue(self.created.replayed)
        self.assertEqual(self.script.steps[-1], "give back")

    def test_whatIsWrongInTheRequestComesFirst(self) -> None:
        """An unknown user type or an invalid device is refused before any part is asked."""
        for registration in (
            alice(user_type="robot"),
            alice(device=DeviceRequest(device_id="a" * (MAX_DEVICE_ID + 1))),
        ):
            self.make()
            self.refused(registration, InvalidParam)
            self.assertEqual(self.script.steps, ["take", "give back"])

    def test_nameCheckedAlready(self) -> None:
        """A name that this very request has checked is not looked up a second time."""
        self.register(alice(name_checked=True))
        self.assertNotIn("names", self.script.steps)

    def test_nameIsCheckedForGood(self) -> None:
        """The final check reports taken names, and gets the guest's token and the registration's
        key."""
        token = Secret("guest's")
        self.register(alice(guest_access_token=token))
        self.assertEqual(self.parts.names.asked, [("alice", token, None, False, "key")])


class HashTests(HandlerCase):
    def test_oneHashASession(self) -> None:
        """A password is hashed under the id of its session, so that it is hashed only once."""
        self.assertEqual(self.register(alice(session_id="S")).password_hash, "ssap")
        self.assertEqual(self.parts.hasher.dialogues, ["S"])

    def test_readyMadeHash(self) -> None:
        """A hash that is given is written unchanged; with neither hash nor password the account has
        none."""
        account = self.register(alice(password=None, password_hash="ready"))
        self.assertEqual(account.password_hash, "ready")
        self.assertIsNone(self.register(alice(password=None)).password_hash)
        self.assertNotIn("hash", self.script.steps)


class AccountTests(HandlerCase):
    def test_vouchedAddresses(self) -> None:
        """Addresses that an embedder vouches for belong to the account like validated ones, but are
        marked as vouched; an address that was also validated counts as validated."""
        proven = Threepid("email", "a@b.example", 1)
        account = self.register(
            alice(threepids=(proven,), bind_emails=("a@b.example", "c@d.example"))
        )
        vouched = Threepid("email", "c@d.example", NOW_MS)
        self.assertEqual(account.threepids, (proven, vouched))
        self.assertEqual(account.vouched_emails, ("c@d.example",))

    def test_everythingInOneValue(self) -> None:
        """All that a registration brings is handed over in one value, for one transaction."""
        address = Threepid("email", "a@b.example", 1)
        account = self.register(
            alice(
                admin=True,
                threepids=(address,),
                auth_provider_id="oidc",
                registration_token="invitation",
                consents={"privacy_policy": "2"},
                session_id="S",
                display_name="Alice",
            )
        )
        terms = self.parts.logins.terms(PHONE)
        login = self.parts.logins.issue(ALICE, terms, "key")
        assert account.device is not None
        self.assertEqual(account.device.login, login)
        self.assertEqual(account.device.display_name, "my phone")
        self.assertEqual(
            account,
            NewAccount(
                key="key",
                user_id=ALICE,
                created_ms=NOW_MS,
                password_hash="ssap",
                admin=True,
                threepids=(address,),
                auth_provider_id="oidc",
                registration_token="invitation",
                consents={"privacy_policy": "2"},
                session_id="S",
                session_until_ms=NOW_MS + 1000,
                display_name="Alice",
                device=account.device,
                jobs=(NewJob(kind="greet", payload={"name": "Alice"}, job_id="job"),),
            ),
        )
        self.assertEqual(self.created, Created(user_id=ALICE, login=login))

    def test_withoutLogin(self) -> None:
        """A registration that asks for no device gets neither device nor token."""
        self.assertIsNone(self.register(alice(device=None)).device)

    def test_displayName(self) -> None:
        """The display name is the localpart, also if users may not set it themselves."""
        for allowed in (True, False):
            self.make(enable_set_displayname=allowed)
            self.assertEqual(self.register(alice()).display_name, "alice")

    def test_shadowBan(self) -> None:
        """A user whom the spam checkers shadow-ban gets an account that is marked so."""
        self.assertFalse(self.register(alice()).shadow_banned)
        self.parts.admission.verdict = Verdict.SHADOW_BAN
        self.assertTrue(self.register(alice()).shadow_banned)

    def test_guestUpgrade(self) -> None:
        """A guest's account is upgraded under its own name; its profile is unchanged."""
        self.parts.names.guest = ALICE
        account = self.register(alice(guest_access_token=Secret("t"), display_name="Alice"))
        self.assertTrue(account.upgrades_guest)
        self.assertFalse(account.is_guest)
        self.assertIsNone(account.display_name)

    def test_userTypes(self) -> None:
        """The user type must be one that the server knows; without one it is the default, or
        none."""
        self.assertIsNone(self.register(alice()).user_type)
        self.assertEqual(self.register(alice(user_type="support")).user_type, "support")
        self.make(default_user_type="member", user_types=frozenset({"member", "bot"}))
        self.assertEqual(self.register(alice()).user_type, "member")
        self.assertEqual(self.register(alice(user_type="bot")).user_type, "bot")
        self.refused(alice(user_type="support"), InvalidParam)

    def test_approval(self) -> None:
        """If approval is required, new users wait for it, without a login. Admins, accounts that an
        admin registers, and guests do not wait; the caller may decide otherwise."""
        cases: list[tuple[bool, dict[str, Any], bool]] = [
            (False, {}, True),
            (True, {}, False),
            (True, {"user_type": "bot"}, False),
            (True, {"admin": True}, True),
            (True, {"by_admin": True}, True),
            (True, {"make_guest": True}, True),
            (True, {"approved": True}, True),
            (False, {"approved": False}, False),
            (True, {"admin": True, "approved": False}, False),
        ]
        for required, more, approved in cases:
            for make in (alice, without_username):
                self.make(requires_approval=required)
                account = self.register(make(**more))
                case = (required, more, make.__name__)
                self.assertEqual(account.approved, approved, case)
                self.assertEqual(account.device is not None, approved, case)


class DrawnNameTests(HandlerCase):
    def lose(self, races: int) -> None:
        """Lose this many names to other registrations."""
        left = iter(range(races))

        def race() -> None:
            if next(left, None) is not None:
                raise UsernameTaken()

        self.script.events["write"] = race

    def test_drawn(self) -> None:
        """Without a localpart the name is drawn, and no name is checked."""
        account = self.register(without_username())
        self.assertEqual((account.user_id, account.display_name), (UserID("1", SERVER), "1"))
        self.assertNotIn("names", self.script.steps)

    def test_lostRaces(self) -> None:
        """A number that is lost costs a new draw; display name, jobs and tokens are those of the
        final number, everything else is as on the first try."""
        self.lose(9)
        account = self.register(without_username(admin=True, user_type="bot", make_guest=True))
        user_id = UserID("10", SERVER)
        self.assertEqual((account.user_id, account.display_name), (user_id, "10"))
        self.assertEqual(account.jobs[0].payload, {"name": "10"})
        self.assertTrue(account.admin and account.is_guest)
        self.assertEqual(account.user_type, "bot")
        assert account.device is not None
        terms = account.device.login.terms
        self.assertEqual(account.device.login, self.parts.logins.issue(user_id, terms, "key"))
        self.assertEqual(self.script.steps.count("hash"), 1)
        self.assertNotIn("give back", self.script.steps)

    def test_tenLostRaces(self) -> None:
        """After ten lost races the registration fails, and the limit gets back what was taken."""
        self.lose(10)
        self.refused(without_username(), NoFreeName)
        self.assertEqual(self.script.steps.count("draw"), 10)
        self.assertEqual(self.script.steps[-1], "give back")

    def test_onlyANameClashIsTriedAgain(self) -> None:
        """Any other refusal is final."""
        self.script.refuse("write", ThreepidInUse())
        self.refused(without_username(), ThreepidInUse)
        self.assertEqual(self.script.steps.count("draw"), 1)

    def test_chosenNameIsNotTriedAgain(self) -> None:
        """A name that was asked for and is taken is refused, not replaced."""
        self.script.refuse("write", UsernameTaken())
        self.refused(alice(), UsernameTaken)
        self.assertNotIn("draw", self.script.steps)
