"""The contract of ValidationStore: validation sessions, and what they are used for."""

from __future__ import annotations

from typing import Any, Optional, Sequence

from regsys.model import MailPurpose, NewAccount, Threepid
from regsys.model.threepids import CODE_TRIES, VALIDATED_MS, Validation
from regsys.storage.validations import ValidationStore
from regsys.testing.contracts.case import NOW_MS, Contract, account, together, user
from tests.support.values import ALICE, LIFE_MS, wanted

CONTENDERS = 8


class ValidationStoreContract(Contract):
    """A ValidationStore."""

    def make(self) -> ValidationStore:
        """An empty store."""
        raise NotImplementedError()

    async def job_ids(self) -> set[str]:
        """The ids of all stored jobs."""
        raise NotImplementedError()

    async def create_account(self, new: NewAccount) -> None:
        """Create this account, which uses up what its session has claimed."""
        raise NotImplementedError()

    async def validated(self, sid: str = "sid", **more: Any) -> ValidationStore:
        """A store with a session that was validated at NOW_MS."""
        store = self.make()
        await store.begin(wanted(sid, **more))
        self.assertTrue(await store.confirm(sid, NOW_MS))
        return store

    # --- Beginning -----------------------------------------------------------------------

    async def test_begun(self) -> None:
        """A session is found as it was begun, with one token and the job that sends it."""
        store = self.make()
        new = wanted("sid", 5, next_link="https://next.example/")
        begun = await store.begin(new)
        self.assertEqual(begun.sid, "sid")
        assert begun.job is not None
        self.assertEqual(begun.job.payload, {"attempt": 5, "sid": "sid"})
        self.assertEqual(await self.job_ids(), {new.job.job_id})
        expected = Validation(
            sid="sid",
            medium="email",
            address=ALICE,
            client_secret="secret",
            next_link="https://next.example/",
            tokens={5: NOW_MS},
            expires_ms=NOW_MS + LIFE_MS,
        )
        self.assertEqual(await store.get("sid", NOW_MS + LIFE_MS - 1), expected)
        self.assertIsNone(await store.get("sid", NOW_MS + LIFE_MS))
        self.assertIsNone(await store.get("SID", NOW_MS))

    async def test_onlyAHigherAttemptSends(self) -> None:
        """An attempt not above the last one finds its session and sends nothing; a higher one
        adds a token, and the session lives as long as that."""
        store = self.make()
        for step, (attempt, sends) in enumerate(
            ((2, True), (2, False), (1, False), (-(2**63), False), (3, True), (2**63 - 1, True))
        ):
            begun = await store.begin(wanted(f"sid{step}", attempt, now_ms=NOW_MS + step))
            self.assertEqual((begun.sid, begun.job is not None), ("sid0", sends), attempt)
        found = await store.get("sid0", NOW_MS)
        assert found is not None
        self.assertEqual(found.tokens, {2: NOW_MS, 3: NOW_MS + 4, 2**63 - 1: NOW_MS + 5})
        self.assertEqual(found.expires_ms, NOW_MS + 5 + LIFE_MS)
        self.assertEqual(len(await self.job_ids()), 3)

    async def test_oneForEachTriple(self) -> None:
        """Another medium, address, client secret or asker is another session."""
        store = self.make()
        others: Sequence[dict[str, Any]] = (
            {},
            {"medium": "msisdn"},
            {"address": "bob@mail.example"},
            {"client_secret": "Secret"},
            {"user_id": user("alice")},
            {"user_id": user("bob")},
        )
        for number, other in enumerate(others):
            begun = await store.begin(wanted(f"sid{number}", **other))
            self.assertEqual((begun.sid, begun.job is not None), (f"sid{number}", True), other)

    async def test_newOnceValidated(self) -> None:
        """A validated session is not continued: the triple begins a new one."""
        store = await self.validated("old")
        begun = await store.begin(wanted("new"))
        self.assertEqual((begun.sid, begun.job is not None), ("new", True))
        for sid, validated_ms in (("old", NOW_MS), ("new", None)):
            found = await store.get(sid, NOW_MS)
            assert found is not None
            self.assertEqual(found.validated_ms, validated_ms, sid)

    async def test_newOnceExpired(self) -> None:
        """An expired session is not continued either, whatever the attempt."""
        store = self.make()
        await store.begin(wanted("old", 9))
        begun = await store.begin(wanted("new", 1, now_ms=NOW_MS + LIFE_MS))
        self.assertEqual((begun.sid, begun.job is not None), ("new", True))
        self.assertIsNone(await store.get("old", NOW_MS))

    async def test_newOnceTried(self) -> None:
        """A phone's session whose tries are used up ends with a higher attempt; an email's
        continues, for its links."""
        for medium, second in (("msisdn", "second"), ("email", "first")):
            store = self.make()
            await store.begin(wanted("first", medium=medium))
            for attempt in range(2, 2 + CODE_TRIES):
                begun = await store.begin(wanted("second", attempt, medium=medium))
                self.assertEqual(begun.sid, "first")
                await store.count_try("first")
            same = await store.begin(wanted("second", attempt, medium=medium))
            self.assertEqual((same.sid, same.job), ("first", None), medium)
            begun = await store.begin(wanted("second", attempt + 1, medium=medium))
            self.assertEqual(begun.sid, second, medium)
            self.assertIsNotNone(begun.job, medium)

    async def test_begunAtOnce(self) -> None:
        """Concurrent calls with one triple get one session, and one of them sends."""
        store = self.make()
        ended = await together(store.begin(wanted(f"sid{i}")) for i in range(CONTENDERS))
        self.assertEqual(len({begun.sid for begun in ended}), 1, ended)  # type: ignore[union-attr]
        sent = [begun for begun in ended if begun.job]  # type: ignore[union-attr]
        self.assertEqual((len(sent), len(await self.job_ids())), (1, 1), ended)

    # --- Proving -------------------------------------------------------------------------

    async def test_confirmed(self) -> None:
        """A session is validated once, at the first time, and lives long enough to be used."""
        store = self.make()
        await store.begin(wanted("sid"))
        self.assertTrue(await store.confirm("sid", NOW_MS + 5))
        self.assertTrue(await store.confirm("sid", NOW_MS + 9))
        found = await store.get("sid", NOW_MS)
        assert found is not None
        self.assertEqual(found.validated_ms, NOW_MS + 5)
        self.assertEqual(found.expires_ms, NOW_MS + 5 + VALIDATED_MS)

    async def test_notConfirmed(self) -> None:
        """An expired or unknown session cannot be validated."""
        store = self.make()
        await store.begin(wanted("sid"))
        self.assertFalse(await store.confirm("sid", NOW_MS + LIFE_MS))
        self.assertFalse(await store.confirm("other", NOW_MS))

    async def test_tries(self) -> None:
        """A session's code can be tried CODE_TRIES times in all; another session's as often."""
        store = self.make()
        await store.begin(wanted("sid"))
        await store.begin(wanted("other", client_secret="other"))
        tried = await together(store.count_try("sid") for _ in range(CODE_TRIES + 3))
        self.assertEqual((tried.count(True), tried.count(False)), (CODE_TRIES, 3), tried)
        await store.begin(wanted("sid", 2))
        self.assertFalse(await store.count_try("sid"))
        self.assertTrue(await store.count_try("other"))

    # --- Whose it is ---------------------------------------------------------------------

    async def claimed_by(self, store: ValidationStore, sid: str) -> Optional[str]:
        found = await store.get(sid, NOW_MS)
        assert found is not None
        return found.claimed_by

    async def test_claimed(self) -> None:
        """The first UIA session that claims it has it, may claim it again, and keeps it alive."""
        store = await self.validated()
        until_ms = NOW_MS + VALIDATED_MS
        for session, end_ms, claimed in (
            ("mine", until_ms + 7, True),
            ("yours", until_ms + 9, False),
            ("mine", until_ms, True),
        ):
            self.assertIs(await store.claim("sid", session, end_ms), claimed, session)
        found = await store.get("sid", NOW_MS)
        assert found is not None
        self.assertEqual((found.claimed_by, found.expires_ms), ("mine", until_ms + 7))

    async def test_claimedTooEarly(self) -> None:
        """A session that is not validated, or unknown, cannot be claimed."""
        store = self.make()
        await store.begin(wanted("sid"))
        for sid in ("sid", "other"):
            self.assertFalse(await store.claim(sid, "mine", NOW_MS), sid)
        self.assertIsNone(await self.claimed_by(store, "sid"))

    async def test_claimedAtOnce(self) -> None:
        """Of several concurrent claims one succeeds."""
        store = await self.validated()
        ended = await together(store.claim("sid", f"{i}", NOW_MS) for i in range(CONTENDERS))
        self.assertEqual((ended.count(True), ended.count(False)), (1, CONTENDERS - 1), ended)
        self.assertEqual(await self.claimed_by(store, "sid"), f"{ended.index(True)}")

    async def test_adopted(self) -> None:
        """The first UIA session that presents another server's validation has it, and may present
        it again. It cannot be confirmed here, and is free again once it has expired."""
        store = self.make()
        proof = Threepid("msisdn", "4915112345678", NOW_MS)
        for session, adopted in (("mine", True), ("yours", False), ("mine", True)):
            self.assertIs(await store.adopt(proof, session, NOW_MS + 7), adopted, session)
        later = Threepid("msisdn", "4915112345678", NOW_MS + 1)
        self.assertTrue(await store.adopt(later, "yours", NOW_MS + 7))
        self.assertFalse(await store.adopt(later, "mine", NOW_MS + 7))

    async def test_adoptedAtOnce(self) -> None:
        """Of several concurrent UIA sessions one gets it."""
        store, proof = self.make(), Threepid("msisdn", "4915112345678", NOW_MS)
        ended = await together(store.adopt(proof, f"{i}", NOW_MS + 7) for i in range(CONTENDERS))
        self.assertEqual((ended.count(True), ended.count(False)), (1, CONTENDERS - 1), ended)

    async def test_adoptedForAnAccount(self) -> None:
        """An account may present it too: the first one has it, no registration does, and it is used
        once."""
        store, proof = self.make(), Threepid("msisdn", "4915112345678", NOW_MS)
        alice, until_ms = user("alice"), NOW_MS + 7
        for used in (False, True):
            found = await store.adopt_for(alice, proof, until_ms)
            assert found is not None
            self.assertEqual((found.user_id, found.used, found.expires_ms), (alice, used, until_ms))
            self.assertEqual((found.address, found.validated_ms), (proof.address, NOW_MS))
            self.assertIs(await store.use(found.sid), not used)
        self.assertIsNone(await store.adopt_for(user("bob"), proof, until_ms))
        self.assertFalse(await store.adopt(proof, "session", until_ms))
        newcomers = Threepid("msisdn", "4915112345678", NOW_MS + 1)
        self.assertTrue(await store.adopt(newcomers, "session", until_ms))
        self.assertIsNone(await store.adopt_for(alice, newcomers, until_ms))

    async def test_adoptedByAccountsAtOnce(self) -> None:
        """Of several concurrent accounts one gets it."""
        store, proof = self.make(), Threepid("msisdn", "4915112345678", NOW_MS)
        users = [user(f"user{number}") for number in range(CONTENDERS)]
        ended = await together(store.adopt_for(who, proof, NOW_MS + 7) for who in users)
        self.assertEqual(ended.count(None), CONTENDERS - 1, ended)
        for who, found in zip(users, ended, strict=True):
            if found is not None:
                assert isinstance(found, Validation), found
                self.assertEqual(found.user_id, who)

    async def test_claimedForAnAccount(self) -> None:
        """A session for any account belongs to the first one that presents it, and to no UIA
        session; one for a registration, for another account, or not validated belongs to none."""
        store = await self.validated("first", purpose=MailPurpose.ADD_THREEPID)
        open_address = {"address": "open@mail.example", "purpose": MailPurpose.ADD_THREEPID}
        await store.begin(wanted("open", **open_address))
        others: dict[str, Any] = {"user_id": user("carl")}
        for sid, more in (("newcomer", {}), ("others", others)):
            await store.begin(wanted(sid, **more))
            await store.confirm(sid, NOW_MS)
        self.assertFalse(await store.claim("first", "session", NOW_MS))
        users = [user(f"user{number}") for number in range(CONTENDERS)]
        ended = await together(store.claim_for(who, "first") for who in users)
        self.assertEqual((ended.count(True), ended.count(False)), (1, CONTENDERS - 1), ended)
        winner = users[ended.index(True)]
        self.assertTrue(await store.claim_for(winner, "first"))
        for sid in ("newcomer", "others", "open", "nobodys"):
            self.assertFalse(await store.claim_for(winner, sid), sid)
        owners = {"first": winner, "others": user("carl"), "open": None, "newcomer": None}
        for sid, owner in owners.items():
            found = await store.get(sid, NOW_MS)
            assert found is not None
            told = (found.user_id, found.purpose is MailPurpose.ADD_THREEPID)
            self.assertEqual(told, (owner, sid != "newcomer"), sid)

    async def test_forAReset(self) -> None:
        """A session for a reset belongs to the user whose password it is, or to nobody, and no UIA
        session and no account can claim it; what another server has validated is adopted for one
        purpose only."""
        reset: dict[str, Any] = {"purpose": MailPurpose.PASSWORD_RESET}
        store = await self.validated("alices", user_id=user("alice"), **reset)
        await store.begin(wanted("nobodys", address="nobody@mail.example", **reset))
        for sid, owner in (("alices", user("alice")), ("nobodys", None)):
            found = await store.get(sid, NOW_MS)
            assert found is not None
            self.assertEqual((found.purpose, found.user_id), (reset["purpose"], owner))
            self.assertEqual(found.is_of_nobody, owner is None)
        self.assertFalse(await store.claim("alices", "session", NOW_MS))
        self.assertFalse(await store.claim_for(user("alice"), "alices"))
        phone = Threepid("msisdn", "4915112345678", NOW_MS)
        await store.adopt_for_reset(user("alice"), phone, NOW_MS + LIFE_MS)
        self.assertFalse(await store.adopt(phone, "session", NOW_MS + LIFE_MS))
        self.assertIsNone(await store.adopt_for(user("alice"), phone, NOW_MS + LIFE_MS))

    async def test_used(self) -> None:
        """The account uses up what its session has claimed, and nothing else."""
        store = await self.validated("mine")
        await store.begin(wanted("yours"))
        await store.confirm("yours", NOW_MS)
        await store.claim("mine", "session", NOW_MS)
        proven = (Threepid("email", ALICE, NOW_MS),)
        await self.create_account(
            account("session", "alice", session_id="session", threepids=proven)
        )
        for sid, used in (("mine", True), ("yours", False)):
            found = await store.get(sid, NOW_MS)
            assert found is not None
            self.assertIs(found.used, used, sid)

    async def test_usedByItsAccount(self) -> None:
        """A session of an account belongs to it: no UIA session claims it, and it is used once."""
        store = await self.validated("mine", user_id=user("alice"))
        await store.begin(wanted("newcomer"))
        await store.confirm("newcomer", NOW_MS)
        found = await store.get("mine", NOW_MS)
        assert found is not None
        self.assertEqual((found.user_id, found.used), (user("alice"), False))
        self.assertFalse(await store.claim("mine", "session", NOW_MS))
        ended = await together(store.use("mine") for _ in range(CONTENDERS))
        self.assertEqual((ended.count(True), ended.count(False)), (1, CONTENDERS - 1), ended)
        found = await store.get("mine", NOW_MS)
        assert found is not None
        self.assertTrue(found.used)
        for sid in ("newcomer", "other"):
            self.assertFalse(await store.use(sid), sid)
