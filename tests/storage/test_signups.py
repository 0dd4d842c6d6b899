"""Registrations that are not finished, in both databases."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import attr
from twisted.trial.unittest import TestCase

from regsys.model.jobs import NewJob
from regsys.model.signups import HalfFinished
from regsys.model.uia import StageFailure
from regsys.storage import signups
from regsys.storage.jobs import JobStore
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.storage.sessions import SessionStore
from regsys.storage.signups import SignupStore
from regsys.storage.users import UserStore
from regsys.storage.validation_messages import ValidationMessages
from regsys.storage.validations import ValidationStore
from regsys.testing.contracts.case import NOW_MS, account
from tests.support.databases import InMemory, OnPostgreSQL
from tests.support.tables import Tables
from tests.support.values import ALICE, CLIENT, LIFE_MS, PLENTY, session, token, wanted

EMAIL, CAPTCHA = "m.login.email.identity", "m.login.recaptcha"
KIND = "mail"


def failure(stage: str, number: int = 0, sid: Optional[str] = None) -> StageFailure:
    text = f"attempt {number} \x1b[31m"
    return StageFailure(stage=stage, failed_ms=number, errcode="M_X", text=text, sid=sid)


class Signups(Tables):
    @property
    def store(self) -> SignupStore:
        return SignupStore(self.db, [KIND])

    @property
    def sessions(self) -> SessionStore:
        return SessionStore(self.db)

    @property
    def validations(self) -> ValidationStore:
        return ValidationStore(self.db)

    async def found(self, now_ms: int = NOW_MS) -> Sequence[HalfFinished]:
        """Without the neighbour's."""
        every = [item async for page in self.store.pages(now_ms) for item in page]
        return [item for item in every if "neighbour" not in repr(attr.asdict(item))]

    async def begin(self, session_id: str, **more: Any) -> None:
        given = {"expires_ms": NOW_MS + LIFE_MS, "uri": "/_matrix/client/v3/register", **more}
        assert await self.sessions.add(session(session_id, **given), PLENTY)

    async def test_sessions(self: Any) -> None:
        """Each open session of a registration, the oldest first, whichever page it is on; none that
        is finished, has expired or is for something else."""
        self.patch(signups, "A_PAGE", 2)
        for number in range(5):
            created_ms = NOW_MS - number // 2
            await self.begin(f"{number}", created_ms=created_ms, params={"username": f"n{number}"})
        await self.begin("over", expires_ms=NOW_MS)
        await self.begin("reset", uri="/_matrix/client/v3/account/password")
        await self.begin("of a user", user_id=account("x").user_id)
        await self.begin("done")
        new = account("done", "done", session_id="done", session_until_ms=NOW_MS + LIFE_MS)
        await UserStore(self.db).create_account(new)
        found = await self.found()
        names = [item.session.params["username"] for item in found]
        self.assertEqual(names, ["n4", "n2", "n3", "n0", "n1"])
        self.assertEqual(len({item.id for item in found}), 5)

    async def test_failures(self: Any) -> None:
        """Of each stage that failed is known how often, and the last time; from the first request
        on."""
        first = session("one", uri="/register", expires_ms=NOW_MS + LIFE_MS)
        await self.sessions.add(first, PLENTY, failure(CAPTCHA, 1))
        for number in (2, 3):
            await self.sessions.save("one", CLIENT, None, {}, failure=failure(CAPTCHA, number))
        await self.sessions.save("one", CLIENT, None, {"m.login.terms": True, "undone": None})
        await self.sessions.save("one", CLIENT, None, {}, failure=failure(EMAIL, 4, "sid"))
        await self.sessions.save("one", CLIENT, None, {}, failure=failure(EMAIL, 5))
        (found,) = await self.found()
        failures = found.session.failures
        self.assertEqual(
            {name: item.count for name, item in failures.items()}, {CAPTCHA: 3, EMAIL: 2}
        )
        self.assertEqual(failures[CAPTCHA].last, failure(CAPTCHA, 3))
        self.assertEqual(failures[EMAIL].last, failure(EMAIL, 5, "sid"))
        self.assertEqual(found.session.passed, {"m.login.terms": True})

    async def test_messages(self: Any) -> None:
        """A message belongs to the session that has shown it, claimed or not; others are listed by
        themselves. Why it is late, and why it was given up, is known."""
        for name in ("one", "two"):
            await self.begin(name)
        for number, sid in enumerate(("shown", "claimed", "alone", "over", "an account's")):
            more = {"user_id": account("x").user_id} if sid == "an account's" else {}
            job = NewJob(kind=KIND, job_id=sid)
            asked = wanted(sid, client_secret=sid, now_ms=NOW_MS + number, job=job, **more)
            await self.validations.begin(asked)
        await self.change("UPDATE validations SET expires_ms = ? WHERE sid = 'over'", NOW_MS)
        await self.sessions.save("one", CLIENT, None, {}, failure=failure(EMAIL, 1, "shown"))
        await self.validations.confirm("claimed", NOW_MS)
        await self.validations.claim("claimed", "two", NOW_MS)
        await JobStore(self.db).postpone("shown", NOW_MS + 5, "MailDeferred: 451")
        await JobStore(self.db).finish("alone")
        await ValidationMessages(self.db).given_up("alone", "550 nobody\0 here " + "x" * 600)
        found = await self.found()
        shown, claimed, alone = (item.messages[0] for item in found)
        self.assertEqual([len(item.messages) for item in found], [1, 1, 1])
        self.assertEqual([item.session is None for item in found], [False, False, True])
        self.assertEqual([m.sid for m in (shown, claimed, alone)], ["shown", "claimed", "alone"])
        self.assertEqual(
            (shown.delivery.error, shown.delivery.due_ms), ("MailDeferred: 451", NOW_MS + 5)
        )
        self.assertEqual((claimed.validated_ms, claimed.delivery), (NOW_MS, None))
        self.assertTrue(alone.refusal.startswith("550 nobody\N{REPLACEMENT CHARACTER} here"))
        self.assertLessEqual(len(alone.refusal), 500)
        self.assertEqual((alone.address, alone.asked_ms, alone.delivery), (ALICE, NOW_MS + 2, None))
        # The next one that its client asks for may arrive.
        job = NewJob(kind=KIND, job_id="next")
        await self.validations.begin(wanted("new", 2, client_secret="alone", job=job))
        (*_, alone) = await self.found()
        self.assertEqual((alone.messages[0].refusal, alone.messages[0].send_attempt), (None, 2))

    async def test_sendAgain(self: Any) -> None:
        """The last message goes out once more, by whichever process takes the job, and its link is
        good as long as that of a new one. A validated or expired session gets none."""
        for sid in ("open", "validated", "over"):
            job = NewJob(kind=KIND, job_id=sid)
            await self.validations.begin(wanted(sid, client_secret=sid, job=job))
            await JobStore(self.db).finish(sid)
        await self.validations.confirm("validated", NOW_MS)
        messages, later_ms = ValidationMessages(self.db), NOW_MS + LIFE_MS - 1
        await messages.given_up("open", "550")
        job = NewJob(kind=KIND, payload={"sid": "open"}, job_id="again")
        args = (job, later_ms, later_ms + LIFE_MS)
        self.assertTrue(await messages.send_again("open", *args))
        self.assertFalse(await messages.send_again("validated", *args))
        self.assertFalse(await messages.send_again("over", job, later_ms + 1, later_ms + 2))
        (claimed,) = await JobStore(self.db).claim({KIND: 9}, later_ms, 1)
        self.assertEqual((claimed.job_id, claimed.payload), ("again", {"sid": "open"}))
        found = await self.validations.get("open", later_ms + LIFE_MS - 1)
        self.assertEqual(found.tokens, {1: later_ms})
        (one,) = [item for item in await self.found(later_ms) if item.messages[0].sid == "open"]
        self.assertEqual((one.messages[0].refusal, one.messages[0].asked_ms), (None, later_ms))

    async def test_end(self: Any) -> None:
        """With the session end what it has reserved and what was sent for it; another's stays. One
        that has made its account, or is making it, is left."""
        tokens = RegistrationTokenStore(self.db)
        await tokens.create(token(uses_allowed=2))
        for name in ("one", "two", "making"):
            await self.begin(name, created_ms=NOW_MS + len(name))
            await self.validations.begin(wanted(name, client_secret=name))
            await self.validations.confirm(name, NOW_MS)
            await self.validations.claim(name, name, NOW_MS)
        for name in ("one", "two"):
            await tokens.reserve("welcome", name, NOW_MS)
        await self.validations.begin(wanted("alone", client_secret="alone"))
        await self.change(
            "INSERT INTO outcomes (key, user_id, finished, created_ms) VALUES ('making',"
            " '@a:contract.example', FALSE, ?)",
            NOW_MS,
        )
        one, two, making, alone = await self.found()
        self.assertEqual([await self.store.end(item) for item in (one, alone)], [True, True])
        self.assertEqual(await self.store.end(making), False)
        self.assertEqual(await self.found(), [two, making])
        kept = await self.rows("SELECT session_id FROM registration_token_reservations")
        self.assertEqual(kept, [("two",)])
        left = await self.rows("SELECT sid FROM validation_tokens ORDER BY sid")
        self.assertEqual(left, [("making",), ("two",)])
        self.assertTrue(await self.store.end(one))


class MemoryTests(InMemory, Signups, TestCase):
    pass


class PostgresTests(OnPostgreSQL, Signups, TestCase):
    pass
