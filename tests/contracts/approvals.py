"""The contract of ApprovalStore: who waits, what is decided about them, and who is told."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import attr

from regsys.errors import UserDeactivated, UserNotFound
from regsys.model import NewAccount, Threepid
from regsys.model.approvals import ApprovalRequest, Decided, Decision, Queue, WaitingAccount
from regsys.model.audit import AuditEntry
from regsys.model.jobs import NewJob
from regsys.storage.approval_decisions import DECISION_MAIL, NewDecision
from regsys.storage.approvals import WAITING_MAIL, ApprovalStore
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import NOW_MS, Contract, account, user

ROOT, OTHER = "@root:contract.example", "@other:contract.example"
REQUEST = ApprovalRequest(reason="why not", address="192.0.2.7", languages=("de-at", "de"))
HOUR_MS, DAY_MS = 3600 * 1000, 24 * 3600 * 1000
ADMINS = ("a@admins.example", "b@admins.example")
FINISH = NewJob(kind="finish", job_id="finishing")


def waiting(name: str, ago_ms: int = 0, **more: Any) -> NewAccount:
    """An account that waits, made ``ago_ms`` before NOW_MS."""
    given = {"approved": False, "approval_request": REQUEST, "created_ms": NOW_MS - ago_ms, **more}
    return account(f"key of {name}", name, **given)


def decision(
    name: str, what: Decision = Decision.APPROVED, by: str = ROOT, **more: Any
) -> NewDecision:
    given = {"decided_ms": NOW_MS, "mails": True, **more}
    return NewDecision(user_id=user(name), decision=what, by=by, **given)


class ApprovalStoreContract(Contract):
    """An ApprovalStore, and the UserStore beside it."""

    def make(self) -> tuple[ApprovalStore, UserStore]:
        raise NotImplementedError()

    async def job_rows(self) -> Sequence[tuple[str, str]]:
        """The kind and the payload of each job, in the order of the kinds and payloads."""
        raise NotImplementedError()

    async def forget_requests(self) -> None:
        """Leave the accounts as an older version would have made them."""
        raise NotImplementedError()

    async def names(self, store: ApprovalStore, at_most: int = 100, **more: Any) -> Sequence[str]:
        found = await store.waiting(at_most, more.get("after"))
        return [item.user_id.localpart for item in found]

    async def test_waiting(self) -> None:
        """Those who wait are listed with what is known of them, the oldest first; nobody who is
        approved, deactivated or a guest."""
        store, users = self.make()
        email, phone = Threepid("email", "a@mail.example", 0), Threepid("msisdn", "4915112345", 0)
        await users.create_account(waiting("later", 1000))
        await users.create_account(waiting("sooner", 2000, threepids=(email, phone)))
        await users.create_account(account("key", "approved"))
        await users.create_account(account("guest", "guest", is_guest=True))
        await users.create_account(waiting("ended", 3000))
        await users.deactivate(user("ended"), False, (), NOW_MS)
        first, second = await store.waiting(100, None)
        self.assertEqual(
            first,
            WaitingAccount(
                user_id=user("sooner"),
                requested_ms=NOW_MS - 2000,
                created_ms=NOW_MS - 2000,
                display_name=first.display_name,
                reason="why not",
                address="192.0.2.7",
                emails=("a@mail.example",),
                phones=("4915112345",),
            ),
        )
        self.assertEqual((second.user_id, second.emails), (user("later"), ()))
        self.assertEqual(await store.queue(), Queue(count=2, oldest_ms=NOW_MS - 2000))

    async def test_nobody(self) -> None:
        store, _ = self.make()
        self.assertEqual(list(await store.waiting(9, None)), [])
        self.assertEqual(await store.queue(), Queue(count=0, oldest_ms=None))

    async def test_pages(self) -> None:
        """Page after page lists each once, also those that were made at the same moment, and also
        after one that has been decided about meanwhile."""
        store, users = self.make()
        for name in ("c", "a", "e", "b", "d"):
            await users.create_account(waiting(name))
        seen, after = [], None
        while found := await store.waiting(2, after):
            seen += [item.user_id.localpart for item in found]
            after = found[-1].place
            await store.decide(decision(found[-1].user_id.localpart))
        self.assertEqual(seen, ["a", "b", "c", "d", "e"])

    async def test_upgradedGuest(self) -> None:
        """A guest who becomes a user waits since then."""
        store, users = self.make()
        await users.create_account(account("guest", "guest", is_guest=True, created_ms=1))
        await users.create_account(waiting("guest", upgrades_guest=True))
        (found,) = await store.waiting(9, None)
        self.assertEqual((found.created_ms, found.requested_ms), (1, NOW_MS))

    async def test_nothingKnown(self) -> None:
        """An account of which only the row is known waits, and is decided about, like others."""
        store, users = self.make()
        for name in ("alice", "bob"):
            await users.create_account(waiting(name, threepids=(Threepid("email", name, 0),)))
        await self.forget_requests()
        for found in await store.waiting(9, None):
            self.assertEqual((found.reason, found.address), (None, None))
            self.assertEqual(found.requested_ms, NOW_MS)
        await store.decide(decision("alice"))
        await store.decide(decision("bob", Decision.REFUSED, finish=FINISH))
        self.assertEqual(await self.names(store), [])
        for name, what in (("alice", Decision.APPROVED), ("bob", Decision.REFUSED)):
            found = await store.decided(user(name))
            assert found is not None
            self.assertEqual(found.decision, what)

    async def test_approved(self) -> None:
        """The account is approved, who and when is kept, and there is a mail to each email address
        in the languages of the registration."""
        store, users = self.make()
        held = (
            Threepid("email", "a@mail.example", 0),
            Threepid("email", "b@mail.example", 0),
            Threepid("msisdn", "4915112345", 0),
        )
        await users.create_account(waiting("alice", threepids=held))
        await users.create_account(waiting("bob"))
        self.assertIs(await store.decided(user("alice")), None)
        decided, jobs = await store.decide(decision("alice"))
        expected = Decided(
            user_id=user("alice"), decision=Decision.APPROVED, by=ROOT, decided_ms=NOW_MS
        )
        self.assertEqual(decided, _new(expected))
        self.assertEqual(await store.decided(user("alice")), expected)
        self.assertEqual(await self.names(store), ["bob"])
        found = await users.find("alice")
        assert found is not None
        self.assertEqual((found.approved, found.deactivated), (True, False))
        self.assertEqual([job.kind for job in jobs], [DECISION_MAIL] * 2)
        self.assertEqual([job.payload["address"] for job in jobs], [it.address for it in held[:2]])
        for job in jobs:
            self.assertEqual(job.payload["languages"], ["de-at", "de"])
            self.assertEqual(job.payload["decision"], "approved")
        self.assertEqual(len(await self.job_rows()), 2)

    async def test_refused(self) -> None:
        """The account is deactivated, the job that finishes this is written with it, and the mail
        has the reason."""
        store, users = self.make()
        mail = Threepid("email", "a@mail.example", 0)
        new = waiting("alice", threepids=(mail,), password_hash="hash")
        await users.create_account(new)
        await users.create_account(waiting("bob"))
        asked = decision("alice", Decision.REFUSED, reason="no", finish=FINISH)
        decided, jobs = await store.decide(asked)
        self.assertEqual((decided.decision, decided.reason), (Decision.REFUSED, "no"))
        found = await users.find("alice")
        assert found is not None
        self.assertEqual(
            (found.approved, found.deactivated, found.password_hash), (False, True, None)
        )
        self.assertEqual([job.payload["reason"] for job in jobs], ["no"])
        self.assertEqual([kind for kind, _ in await self.job_rows()], [DECISION_MAIL, FINISH.kind])
        self.assertEqual(await self.names(store), ["bob"])

    async def test_withoutMails(self) -> None:
        """Where there is no mail server no mail is written."""
        store, users = self.make()
        mail = Threepid("email", "a@mail.example", 0)
        await users.create_account(waiting("alice", threepids=(mail,)))
        await store.decide(decision("alice", mails=False))
        self.assertEqual(list(await self.job_rows()), [])

    async def test_firstWins(self) -> None:
        """A second decision changes nothing and writes nothing, and is told the first."""
        for number, (first, second) in enumerate((a, b) for a in Decision for b in Decision):
            name = f"user{number}"
            store, users = self.make()
            await users.create_account(waiting(name))
            await store.decide(decision(name, first, reason="one"))
            before = await self.job_rows()
            asked = decision(name, second, OTHER, reason="two", decided_ms=NOW_MS + 1)
            decided, jobs = await store.decide(asked)
            self.assertEqual(
                (decided.decision, decided.by, decided.decided_ms, decided.reason),
                (first, ROOT, NOW_MS, "one"),
            )
            self.assertFalse(decided.is_new)
            self.assertEqual((list(jobs), list(await self.job_rows())), ([], list(before)))

    async def test_lostReply(self) -> None:
        """A decision that is sent again, since the database's reply was lost, is new."""
        store, users = self.make()
        await users.create_account(waiting("alice"))
        for _ in range(2):
            decided, _ = await store.decide(decision("alice"))
            self.assertTrue(decided.is_new)

    async def test_nothingToDecide(self) -> None:
        """An account that never waited is approved, by nobody known; one that has ended is
        deactivated, and one that is not there unknown."""
        store, users = self.make()
        await users.create_account(account("key", "alice"))
        for what in Decision:
            decided, jobs = await store.decide(decision("alice", what))
            expected = Decided(user_id=user("alice"), decision=Decision.APPROVED)
            self.assertEqual((decided, list(jobs)), (expected, []))
        await users.deactivate(user("alice"), False, (), NOW_MS)
        for name, error in (("alice", UserDeactivated), ("nobody", UserNotFound)):
            await self.refused(store.decide(decision(name)), error)

    async def refused(self, deciding: Any, error: type[Exception]) -> None:
        raised: Optional[Exception] = None
        try:
            await deciding
        except error as found:
            raised = found
        self.assertIsInstance(raised, error)

    async def test_notices(self) -> None:
        """Administrators are told once of who waits, each by a mail, and of those who come later at
        the end of the interval."""
        store, users = self.make()

        async def told(ago_ms: int) -> Sequence[str]:
            jobs = await store.plan_notices(ADMINS, HOUR_MS, NOW_MS - ago_ms)
            self.assertEqual({job.kind for job in jobs} - {WAITING_MAIL}, set())
            return [job.payload["address"] for job in jobs]

        self.assertEqual(await told(DAY_MS), [])
        for name in ("alice", "bob"):
            await users.create_account(waiting(name))
        self.assertEqual(await told(5 * HOUR_MS), list(ADMINS))
        self.assertEqual(await told(2 * HOUR_MS), [])
        await users.create_account(waiting("carol"))
        self.assertEqual(await told(4 * HOUR_MS + 1), [])
        self.assertEqual(await told(4 * HOUR_MS), list(ADMINS))
        self.assertEqual(len(await self.job_rows()), 2 * len(ADMINS))

    async def test_noNotices(self) -> None:
        """Nobody is told of an account that was decided about, that has ended, or whose time lies
        in a future that a wrong clock has written."""
        store, users = self.make()
        for name in ("alice", "bob", "carol"):
            await users.create_account(waiting(name))
        await store.decide(decision("alice"))
        await store.decide(decision("bob", Decision.REFUSED))
        await users.deactivate(user("carol"), False, (), NOW_MS)
        self.assertEqual(list(await store.plan_notices(ADMINS, HOUR_MS, NOW_MS)), [])
        await users.create_account(waiting("dora"))
        self.assertEqual(len(await store.plan_notices(ADMINS, HOUR_MS, NOW_MS + DAY_MS)), 2)
        await users.create_account(waiting("emil"))
        self.assertEqual(len(await store.plan_notices(ADMINS, HOUR_MS, NOW_MS)), 2)

    async def test_expiry(self) -> None:
        """Decisions are deleted when they have been kept long enough, at most so many at a time;
        who waits is not."""
        store, users = self.make()
        for number in range(3):
            await users.create_account(waiting(f"user{number}"))
            await store.decide(decision(f"user{number}", decided_ms=NOW_MS + number))
        await users.create_account(waiting("alice", DAY_MS * 365))
        later_ms = NOW_MS + store.kept_ms + 2
        self.assertEqual(await store.delete_expired(later_ms, 1), 1)
        self.assertEqual(await store.delete_expired(later_ms, 9), 1)
        self.assertEqual(await store.delete_expired(later_ms, 9), 0)
        self.assertNotEqual(await store.decided(user("user2")), None)
        (found,) = await store.waiting(9, None)
        self.assertEqual(found.reason, "why not")

    async def test_withdraw(self) -> None:
        """An account that was approved, or never waited, waits again, with what is known of its
        request, and is decided about anew; its entry is written once. Nobody else does."""
        store, users = self.make()
        await users.create_account(waiting("alice"))
        await users.create_account(account("key of bob", "bob"))
        await users.create_account(waiting("ended"))
        entry = AuditEntry(when_ms=NOW_MS, what="withdrawn", user_id=str(user("alice")))
        for _ in range(2):
            await store.decide(decision("alice"))
            self.assertTrue(await store.withdraw(user("alice"), [entry]))
            self.assertFalse(await store.withdraw(user("alice"), [entry]))
            self.assertIsNone(await store.decided(user("alice")))
        self.assertTrue(await store.withdraw(user("bob"), ()))
        found = {item.user_id.localpart: item.reason for item in await store.waiting(9, None)}
        self.assertEqual(found, {"alice": REQUEST.reason, "bob": None, "ended": REQUEST.reason})
        await store.decide(decision("ended"))
        await users.delete_for(user("ended"))
        with self.assertRaises(UserDeactivated):
            await store.withdraw(user("ended"), ())
        with self.assertRaises(UserNotFound):
            await store.withdraw(user("nobody"), ())

    async def test_deactivated(self) -> None:
        """What is known of an account is deleted with it, but not why it was refused; an erasure
        deletes that, too. Others' stays."""
        store, users = self.make()
        for name in ("alice", "bob", "carol", "dora"):
            await users.create_account(waiting(name))
        await store.decide(decision("alice"))
        await store.decide(decision("bob", Decision.REFUSED))
        await store.decide(decision("dora"))
        for name in ("alice", "bob", "carol"):
            await store.delete_for(user(name))
        self.assertIs(await store.decided(user("alice")), None)
        self.assertNotEqual(await store.decided(user("bob")), None)
        (found,) = await store.waiting(9, None)
        self.assertEqual((found.user_id, found.reason), (user("carol"), None))
        await store.forget(user("bob"))
        self.assertIs(await store.decided(user("bob")), None)
        self.assertNotEqual(await store.decided(user("dora")), None)


def _new(decided: Decided) -> Decided:
    return attr.evolve(decided, is_new=True)
