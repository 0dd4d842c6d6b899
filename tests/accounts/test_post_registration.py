"""What follows a registration that an embedder has made, and a consent that comes later."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from regsys.accounts.post_registration import threepids_in
from regsys.config import TermsConfig
from regsys.config.terms import Policy, PolicyText
from regsys.consent import AFTER_CONSENT
from regsys.errors import UserNotFound
from regsys.jobs import HeldJobs, JobRunner
from regsys.model import GUEST_DEVICE_ID, NewAccount, Secret, Threepid, UserID
from regsys.model.jobs import NewJob
from regsys.storage.jobs import JobStore
from regsys.testing import MemoryAccounts, MemoryAuth, MemoryDevices, MemoryThreepids
from regsys.testing.contracts.case import NOW_MS, account, device, user
from regsys.testing.database import memory_database
from regsys.threepids.changes import EmbeddedThreepids, ThreepidWriter
from tests.support.due_jobs import run_due
from tests.support.failed_jobs import FailedJobs
from tests.support.post_registration import post_consent, post_registration

EMAIL, MSISDN, TERMS = "m.login.email.identity", "m.login.msisdn", "m.login.terms"
MAIL = {"medium": "email", "address": "Alice@Mail.example", "validated_at": 5}
PHONE = {"medium": "msisdn", "address": "4915112345678", "validated_at": 6}
HERS = [Threepid("email", "alice@mail.example", 5), Threepid("msisdn", "4915112345678", 6)]


def policy(version: str, at_registration: bool = True) -> Policy:
    text = PolicyText(name="Text", url="https://policy.example/")
    return Policy(version=version, texts={"en": text}, at_registration=at_registration)


POLICIES = {"privacy": policy("1"), "rules": policy("b"), "cake": policy("3", False)}


class RecordingPlanner:
    """Records what it plans jobs for, and plans a job that must happen once."""

    def __init__(self) -> None:
        self.seen: list[NewAccount] = []

    def jobs_for(self, new: NewAccount) -> list[NewJob]:
        self.seen.append(new)
        return [NewJob(kind="welcome", dedup_key=f"welcome {new.user_id}")]

    def jobs_after_consent(self, user_id: UserID) -> list[NewJob]:
        return [NewJob(kind="admit", payload={"who": str(user_id)}, dedup_key=f"admit {user_id}")]


class PostRegistrationCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW_MS / 1000)
        self.accounts = MemoryAccounts()
        self.devices = MemoryDevices(self.accounts)
        self.owners = MemoryThreepids(self.accounts)
        self.database = memory_database(self, self.clock)
        self.parts = RecordingPlanner()
        self.admitted: list[str] = []
        self.held = HeldJobs()
        self.failed_jobs = FailedJobs(self)
        self.started: list[str] = []
        self.after = post_registration(
            self.database,
            self.clock,
            accounts=self.accounts,
            auth=MemoryAuth(self.devices),
            planners=self.parts,
            start_jobs=self.start_jobs,
            owners=self.owners,
            terms=TermsConfig(policies=POLICIES),
        )
        self.post_consent = post_consent(self.after)
        self.runner = JobRunner(
            JobStore(self.database),
            self.clock,
            handlers={
                "welcome": None,
                "admit": self.admit,
                AFTER_CONSENT: self.post_consent.run,
            },
            held=self.held,
        )
        self.wait(self.accounts.create_account(account("1", "alice")))
        self.wait(self.accounts.create_account(account("2", "bob")))

    def start_jobs(self, jobs: Any) -> None:
        self.started += [job.kind for job in jobs]
        self.held.put(jobs)

    async def admit(self, job: Any) -> None:
        self.admitted.append(job.payload["who"])

    def wait(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def register(self, token: Optional[Secret] = None, **result: Any) -> NewAccount:
        """The actions after Alice has registered, with these results of stages."""
        names = {"email": EMAIL, "msisdn": MSISDN, "terms": TERMS}
        auth_result = {names[name]: value for name, value in result.items()}
        self.wait(self.after.post_registration_actions(user("alice"), auth_result, token))
        return self.parts.seen[-1]


class RegistrationTests(PostRegistrationCase):
    def test_twice(self) -> None:
        """Addresses are added to the account and jobs begun once, however often it is called."""
        for _ in range(2):
            self.assertEqual(list(self.register(email=MAIL, msisdn=PHONE).threepids), HERS)
            self.clock.advance(60)
        held = self.wait(self.owners.of_user(user("alice")))
        self.assertEqual([item.added_ms for item in held], [NOW_MS, NOW_MS])
        self.assertEqual(self.started, ["welcome"])

    def test_removedSince(self) -> None:
        """An address that the user has removed meanwhile is not added again, whoever removed it,
        and whether or not these actions had added it; nothing that depends on it happens either."""
        alice, mail, phone = user("alice"), *HERS
        self.register(email=MAIL)
        self.wait(self.owners.remove(alice, mail.medium, mail.address))
        jobs = JobStore(self.database)
        writer = ThreepidWriter(
            store=EmbeddedThreepids(store=self.owners, jobs=jobs),
            dedup_keys=jobs,
            start_jobs=self.start_jobs,
            clock=self.clock,
        )
        self.wait(self.owners.add(alice, phone, NOW_MS))
        self.wait(writer.remove(alice, phone.medium, phone.address))
        self.assertEqual(list(self.register(email=MAIL, msisdn=PHONE).threepids), [])
        self.assertEqual(self.wait(self.owners.of_user(alice)), [])
        self.wait(self.owners.add(alice, mail, NOW_MS))
        self.assertEqual(list(self.register(email=MAIL, msisdn=PHONE).threepids), [mail])

    def test_notMoved(self) -> None:
        """An address of another account stays there, and nothing follows from it; a log line says
        so without naming it, and the rest goes on."""
        self.wait(self.owners.add(user("bob"), HERS[0], NOW_MS))
        with capturedLogs() as logs:
            self.assertEqual(list(self.register(email=MAIL, msisdn=PHONE).threepids), HERS[1:])
        self.assertEqual(self.wait(self.owners.owner_of("email", HERS[0].address)), user("bob"))
        (line,) = [
            event for event in logs if event["log_namespace"] == "regsys.accounts.post_registration"
        ]
        self.assertEqual(line["address"], "a…@mail.example")

    def test_nobodyTells(self) -> None:
        """If no store says who has which address, a validated address is taken for the user's."""
        self.after = post_registration(
            self.database,
            self.clock,
            accounts=self.accounts,
            auth=MemoryAuth(self.devices),
            planners=self.parts,
            start_jobs=self.start_jobs,
        )
        self.assertEqual(list(self.register(email=MAIL).threepids), HERS[:1])
        self.assertEqual(self.accounts.threepids, {})

    def test_device(self) -> None:
        """The device is the token's; a guest's is the guest device."""
        self.wait(self.devices.register(user("alice"), device("of alice")))
        new = self.register(Secret("syt_of alice"))
        assert new.device is not None
        self.assertEqual((new.device.login.device_id, new.is_guest), ("PHONE", False))
        self.accounts.by_name["alice"] = account("1", "alice", is_guest=True)
        self.wait(
            self.devices.register(user("alice"), device("guest", GUEST_DEVICE_ID, is_guest=True))
        )
        self.assertTrue(self.register(Secret("syt_guest")).is_guest)

    def test_nobody(self) -> None:
        """Nothing is written for a user who does not exist."""
        asked = self.after.post_registration_actions(
            user("carol"), {EMAIL: MAIL, TERMS: True}, None
        )
        self.failureResultOf(Deferred.fromCoroutine(asked), UserNotFound)
        self.assertEqual((self.accounts.threepids, self.started), ({}, []))


class StageResultTests(SynchronousTestCase):
    def test_skipped(self) -> None:
        """A result that lacks a key, has a wrong one, or is no address is skipped with a log line
        each."""
        for result in (
            None,
            True,
            {},
            {**MAIL, "medium": "msisdn"},
            {**MAIL, "address": None},
            {**MAIL, "address": "nobody"},
            {**MAIL, "validated_at": None},
            {**MAIL, "validated_at": True},
            {**MAIL, "validated_at": "5"},
            *({key: MAIL[key] for key in MAIL if key != absent} for absent in MAIL),
        ):
            with capturedLogs() as logs:
                self.assertEqual(threepids_in({EMAIL: result, MSISDN: PHONE}), HERS[1:], result)
            self.assertEqual([event["stage"] for event in logs], [EMAIL], result)
            self.assertNotIn("Mail.example", str(logs))

    def test_ofOurStages(self) -> None:
        """What our own stages have found, as ``NewAccount.stages`` has it, is understood too."""
        found = {"sid": "1", "medium": "email", "address": HERS[0].address, "validated_at_ms": 5}
        self.assertEqual(threepids_in({EMAIL: found}), HERS[:1])

    def test_absent(self) -> None:
        """Stages that were not passed are not missed."""
        with capturedLogs() as logs:
            self.assertEqual(threepids_in({"m.login.dummy": True}), [])
        self.assertEqual(list(logs), [])


class ConsentTests(PostRegistrationCase):
    def test_actions(self) -> None:
        """What has waited for a consent begins at once, and once, for each user."""
        for name in ("alice", "alice", "bob"):
            self.wait(self.post_consent.post_consent_actions(user(name)))
        self.assertEqual(self.admitted, [str(user("alice")), str(user("bob"))])

    def given(self) -> dict[str, str]:
        given = self.wait(self.after.consents.store.given_by(user("alice")))
        return {item.policy: item.version for item in given}

    def test_terms(self) -> None:
        """Passing the terms stage accepts all required policies; the stage's result has the
        versions."""
        required = {"privacy": "1", "rules": "b"}
        self.assertEqual(self.register(terms=True).consents, required)
        self.assertEqual(self.given(), required)
        self.assertEqual(self.admitted, [str(user("alice"))])
        self.assertEqual(self.register(terms={"cake": "2"}).consents, {"cake": "2"})
        self.assertEqual(self.given(), {**required, "cake": "2"})

    def test_withoutTerms(self) -> None:
        """A user who passed no terms stage has accepted nothing."""
        for result in ({}, {"terms": None}, {"terms": False}):
            self.assertEqual(self.register(**result).consents, {})
        self.assertEqual((self.given(), self.admitted), ({}, []))

    def test_lastOne(self) -> None:
        """What has waited happens when the last current version that is required is accepted, in
        any order, once."""
        consents, alice = self.after.consents, user("alice")
        for policy_name, version, admitted in (
            ("rules", "b", 0),
            ("privacy", "0", 0),
            ("cake", "3", 0),
            ("privacy", "1", 1),
            ("privacy", "1", 1),
            ("rules", "b", 1),
        ):
            self.wait(consents.accept(alice, policy_name, version))
            self.assertEqual(len(self.admitted), admitted, (policy_name, version))
        self.assertEqual(self.wait(self.database.autocommit("t", _jobs)), [])

    def test_atOnce(self) -> None:
        """Of two concurrent consents, neither of which sees the other, the second check after both
        finds the user's consent complete."""
        consents, alice = self.after.consents, user("alice")
        for policy_name, version in (("rules", "b"), ("privacy", "1")):
            decide = NewJob(kind=AFTER_CONSENT, payload={"user_id": str(alice)})
            self.wait(consents.store.record(alice, {policy_name: version}, NOW_MS, [decide]))
        self.clock.advance(61)
        self.wait(run_due(self.runner))
        self.assertEqual(self.admitted, [str(alice)])


def _jobs(txn: Any) -> Any:
    return list(txn.all("SELECT * FROM jobs"))
