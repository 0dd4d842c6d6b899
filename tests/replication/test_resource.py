"""What a master answers to workers of every shape, and to those that are none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

import attr
from treq.testing import StubTreq
from twisted.trial.unittest import TestCase

from regsys.errors import CallReused
from regsys.interfaces.internal import IExpiring
from regsys.model import Secret
from regsys.model.replication import ReplicationCall
from regsys.replication import wire
from regsys.storage.idempotency_keys import KEPT_MS
from regsys.storage.replication_calls import ReplicationCallStore
from regsys.testing.contracts.case import NOW_MS, together, user
from tests.accounts.test_writer import OwnWriter
from tests.contracts.expiring import ExpiringContract
from tests.contracts.writer import Aftercare, logins
from tests.replication import fixtures
from tests.replication.master import URL, InProcessMaster
from tests.support.databases import InFile, InMemory, OnPostgreSQL
from tests.support.tables import Tables, rows

if TYPE_CHECKING:
    _TestCase = TestCase
else:
    _TestCase = object

RIGHT = (f"Bearer {fixtures.SECRET}",)


class MasterCase(_TestCase):
    db: Any

    def setUp(self: Any) -> None:
        self.started: list[str] = []

        def start_jobs(jobs: Sequence[Any]) -> None:
            self.started += [job.kind for job in jobs]

        made = logins()
        self.writer, self.auth = OwnWriter.make(self, made, Aftercare(), start_jobs)
        self.master = InProcessMaster(self.writer, made, self.db)
        self.treq = StubTreq(self.master.resource())

    async def post(
        self: Any,
        name: str,
        body: Any,
        call_id: str = "abcdefghij",
        user_id: str = fixtures.ALICE_PATH,
        authorization: Sequence[str] = RIGHT,
        method: str = "POST",
        query: str = "",
    ) -> tuple[int, Any]:
        response = await self.treq.request(
            method,
            f"{URL}/_synapse/replication/{name}/{user_id}/{call_id}{query}",
            headers={"Authorization": list(authorization)},
            data=body if isinstance(body, bytes) else json.dumps(body).encode(),
        )
        return response.code, json.loads(await response.content() or b"{}")

    async def counts(self: Any, *tables: str) -> Mapping[str, int]:
        return {name: len(await rows(self.db, f"SELECT 1 FROM {name}")) for name in tables}


class Shapes(MasterCase):
    async def test_jobs(self) -> None:
        """A worker that has left jobs says of which kinds, with the secret."""

        async def told(body: Any, *authorization: str) -> int:
            response = await self.treq.request(
                "POST",
                f"{URL}{wire.RUN_JOBS_PATH}",
                headers={"Authorization": list(authorization)},
                data=json.dumps(body).encode(),
            )
            return int(response.code)

        self.assertEqual(await told({"kinds": ["mail", "sms"]}, *RIGHT), 200)
        self.assertEqual(await told({"kinds": ["mail"]}, "Bearer x"), 401)
        for wrong in ({}, {"kinds": "mail"}, {"kinds": [1]}, {"kinds": None}):
            self.assertEqual(await told(wrong, *RIGHT), 400, wrong)
        self.assertEqual(self.master.looked_for, [{"mail", "sms"}])

    async def test_newest(self) -> None:
        """The three calls of a homeserver's worker make an account, log it in, and begin what its
        registration brings. The limit is the master's to count."""
        status, answer = await self.post("register_user", fixtures.NEWEST_ACCOUNT)
        self.assertEqual((status, answer["user_id"]), (200, str(fixtures.ALICE)))
        self.assertEqual(self.master.counted, ["198.51.100.7"])
        status, login = await self.post("device_check_registered", fixtures.NEWEST_DEVICE)
        self.assertEqual(status, 200)
        self.assertEqual(set(fixtures.NEWEST_DEVICE_ANSWER) - set(login), {"_INT_STREAM_POS"})
        requester = await self.auth.whose(Secret(login["access_token"]))
        self.assertEqual((requester.user_id, requester.device_id), (fixtures.ALICE, "PHONE"))
        body = {**fixtures.POST_REGISTER, "access_token": login["access_token"]}
        self.assertEqual(await self.post("post_register", body), (200, {}))
        self.assertEqual(self.started, ["welcome"])
        found = await rows(self.db, "SELECT address FROM threepids")
        self.assertEqual(found, [("alice@mail.example",)])

    async def test_first(self) -> None:
        """So do those of the first workers; a device without an id is given one."""
        self.assertEqual((await self.post("register_user", fixtures.FIRST_ACCOUNT))[0], 200)
        status, login = await self.post("device_check_registered", fixtures.FIRST_DEVICE)
        self.assertEqual((status, len(login["device_id"])), (200, 10))
        assert await self.auth.whose(Secret(login["access_token"])) is not None
        again = await self.post("device_check_registered", fixtures.FIRST_DEVICE)
        self.assertEqual(again, (200, login))

    async def test_ours(self) -> None:
        """One call of ours makes all of it. Its jobs begin here at once."""
        body = {**fixtures.OUR_ACCOUNT}
        body["account"] = {
            **body["account"],
            "registration_token": None,
            "session_id": None,
            "threepids": [],
        }
        status, answer = await self.post("register_user", body)
        self.assertEqual(
            (status, answer), (200, {**fixtures.OUR_ACCOUNT_ANSWER, "replayed": False})
        )
        self.assertEqual((self.started, self.master.counted), (["greet"], []))
        # Nothing that the calls keep is a secret.
        kept = json.dumps(await rows(self.db, "SELECT * FROM replication_calls"))
        assert fixtures.OURS.device is not None
        for secret in ("$2b$12$hash", fixtures.OURS.device.login.access_token.reveal()):
            self.assertNotIn(secret, kept)

    async def test_deactivate(self) -> None:
        """An older worker does not say whether to erase. A call that is sent again is not told of
        the identity servers."""
        await self.post("register_user", fixtures.FIRST_ACCOUNT)
        for expected in ({"unbound": False}, {}):
            self.assertEqual(await self.post("deactivate", {}), (200, expected))
        self.assertEqual(await rows(self.db, "SELECT erased FROM users"), [(False,)])
        erasing = await self.post("deactivate", {"erase": True}, "another")
        self.assertEqual(erasing, (200, {"unbound": False}))
        self.assertEqual(await rows(self.db, "SELECT erased FROM users"), [(True,)])
        status, answer = await self.post("device_check_registered", fixtures.NEWEST_DEVICE)
        self.assertEqual((status, answer["errcode"]), (404, "M_NOT_FOUND"))

    async def test_deviceOfNobody(self) -> None:
        """There is no device without an account (threat B3); the refusal is not kept."""
        status, answer = await self.post("device_check_registered", fixtures.NEWEST_DEVICE)
        self.assertEqual((status, answer["errcode"]), (404, "M_NOT_FOUND"))
        counts = await self.counts("devices", "logins", "replication_calls")
        self.assertEqual(set(counts.values()), {0})
        await self.post("register_user", fixtures.FIRST_ACCOUNT)
        status, _ = await self.post("device_check_registered", fixtures.NEWEST_DEVICE)
        self.assertEqual(status, 200)


class OnceTests(InMemory, Shapes, TestCase):
    async def test_sameCall(self) -> None:
        """A call that is sent again gets the first answer, and does nothing."""
        for name, body in (
            ("register_user", fixtures.NEWEST_ACCOUNT),
            ("device_check_registered", fixtures.NEWEST_DEVICE),
            ("post_register", fixtures.POST_REGISTER),
        ):
            first = await self.post(name, body)
            position = {"_INT_STREAM_POS": {"streams": {"caches": 99}}}
            again = await self.post(name, {**body, **position})
            self.assertEqual(first[0], 200)
            self.assertEqual(again, first)
        counts = await self.counts("users", "devices", "logins", "replication_calls")
        self.assertEqual([*counts.values()], [1, 1, 1, 3])
        self.assertEqual(self.started, ["welcome"])

    async def test_loggedInOnce(self: Any) -> None:
        """A login that is asked for again is counted once."""
        counted: list[Any] = []
        writer = attr.evolve(
            self.writer, on_logged_in=[lambda user_id, device: counted.append(user_id)]
        )
        self.treq = StubTreq(InProcessMaster(writer, logins(), self.db).resource())
        await self.post("register_user", fixtures.FIRST_ACCOUNT)
        for _ in range(2):
            await self.post("device_check_registered", fixtures.NEWEST_DEVICE)
        self.assertEqual(counted, [fixtures.ALICE])

    async def test_restarted(self: Any) -> None:
        """Also by a master that was restarted in between: the outcome is in the database."""
        await self.post("register_user", fixtures.NEWEST_ACCOUNT)
        first = await self.post("device_check_registered", fixtures.FIRST_DEVICE)
        self.treq = StubTreq(InProcessMaster(self.writer, logins(), self.db).resource())
        again = await self.post("register_user", fixtures.NEWEST_ACCOUNT)
        self.assertEqual((again[0], again[1]["replayed"]), (200, False))
        self.assertEqual(await self.post("device_check_registered", fixtures.FIRST_DEVICE), first)

    async def test_otherBodyOrUser(self) -> None:
        """The id of a call for another user, or with another body, is refused (threat B2)."""
        bodies = {
            "register_user": fixtures.FIRST_ACCOUNT,
            "device_check_registered": fixtures.NEWEST_DEVICE,
            "post_register": fixtures.POST_REGISTER,
            "deactivate": {},
        }
        other = "%40bob%3Acontract.example"
        await self.post("register_user", fixtures.FIRST_ACCOUNT, "another", other)
        for name, body in bodies.items():
            self.assertEqual((await self.post(name, body))[0], 200)
        for name, body in bodies.items():
            for changed, user_id in (({**body, "more": 1}, fixtures.ALICE_PATH), (body, other)):
                status, answer = await self.post(name, changed, user_id=user_id)
                self.assertEqual((status, answer["errcode"]), (409, "M_INVALID_PARAM"), name)
        ours = {"account": {"key": "k", "user_id": str(user("carol")), "created_ms": NOW_MS}}
        path = "%40carol%3Acontract.example"
        self.assertEqual((await self.post("register_user", ours, "third", path))[0], 200)
        ours["account"]["key"] = "another key"
        self.assertEqual((await self.post("register_user", ours, "third", path))[0], 409)

    async def test_refusalsAreNotKept(self) -> None:
        """A call that was refused may succeed later."""
        other = "%40ALICE%3Acontract.example"
        await self.post("register_user", fixtures.FIRST_ACCOUNT, "first", other)
        status, answer = await self.post("register_user", fixtures.FIRST_ACCOUNT)
        self.assertEqual((status, answer["errcode"]), (400, "M_USER_IN_USE"))
        self.assertEqual((await self.counts("replication_calls"))["replication_calls"], 1)


class OncePostgresTests(OnPostgreSQL, Shapes, TestCase):
    async def test_sameCallAtOnce(self) -> None:
        """Of the same call many times at once one does the work; all get its answer."""
        for name, body in (
            ("register_user", fixtures.NEWEST_ACCOUNT),
            ("device_check_registered", fixtures.FIRST_DEVICE),
        ):
            answers = await together(self.post(name, body) for _ in range(8))
            self.assertEqual([answer for answer in answers if answer != answers[0]], [])
        counts = await self.counts("users", "devices", "logins")
        self.assertEqual([*counts.values()], [1, 1, 1])


class DoorTests(InMemory, MasterCase, TestCase):
    async def refused(self, expected: int, errcode: str, *args: Any, **kw: Any) -> None:
        status, answer = await self.post(*args, **kw)
        self.assertEqual((status, answer.get("errcode")), (expected, errcode))
        counts = await self.counts("users", "replication_calls")
        self.assertEqual(set(counts.values()), {0})

    async def test_secret(self) -> None:
        """Only the secret in one header opens the door (threat B1)."""
        for authorization in (
            (),
            ("Bearer wrong",),
            ("Bearer",),
            (f"Basic {fixtures.SECRET}",),
            (f"Bearer {fixtures.SECRET}x",),
            (f"Bearer {fixtures.SECRET}", f"Bearer {fixtures.SECRET}"),
            ("Bearer gehé",),
        ):
            await self.refused(401, "M_FORBIDDEN", "register_user", {}, authorization=authorization)
        query = f"?access_token={fixtures.SECRET.replace(' ', '%20')}"
        for authorization in ((), RIGHT):
            await self.refused(
                401, "M_FORBIDDEN", "register_user", {}, authorization=authorization, query=query
            )

    async def test_badRequests(self) -> None:
        """Bad input is refused with its reason, and writes nothing."""
        await self.refused(404, "M_UNRECOGNIZED", "send_events", {})
        await self.refused(405, "M_UNRECOGNIZED", "register_user", {}, method="GET")
        await self.refused(400, "M_NOT_JSON", "register_user", b"{")
        await self.refused(400, "M_BAD_JSON", "register_user", [])
        await self.refused(400, "M_BAD_JSON", "register_user", {"admin": "yes"})
        await self.refused(413, "M_TOO_LARGE", "register_user", b"x" * 70_000)
        await self.refused(400, "M_INVALID_PARAM", "register_user", {"user_type": "\0"})
        await self.refused(400, "M_INVALID_PARAM", "register_user", {}, user_id="alice")
        elsewhere = "%40alice%3Aelsewhere.example"
        await self.refused(400, "M_INVALID_PARAM", "register_user", {}, user_id=elsewhere)
        await self.refused(400, "M_INVALID_PARAM", "register_user", {}, call_id="x" * 257)

    async def test_noEmptyIds(self) -> None:
        await self.refused(404, "M_UNRECOGNIZED", "register_user", {}, call_id="")
        await self.refused(404, "M_UNRECOGNIZED", "register_user", {}, user_id="")


class Expiry(Tables, ExpiringContract):
    db: Any

    def make(self) -> IExpiring:
        return ReplicationCallStore(self.db)

    async def add(self, number: int, ends_ms: int) -> None:
        await ReplicationCallStore(self.db).keep(call(str(number)), ends_ms - KEPT_MS)

    async def test_keptOnce(self) -> None:
        """A call is kept once, and found until it has expired; never for another user."""
        store = ReplicationCallStore(self.db)
        self.assertIsNone(await store.find(call("1")))
        for _ in range(2):
            await store.keep(call("1"), NOW_MS)
        self.assertIsNotNone(await store.find(call("1")))
        for other in (call("1", "@bob:x"), call("1", fingerprint="another")):
            for refused in (store.find(other), store.keep(other, NOW_MS)):
                await self.refusal(CallReused, refused)
        self.assertIsNone(await store.find(call("1", name="deactivate")))


def call(
    call_id: str, user_id: str = "@alice:x", fingerprint: str = "digest", name: Optional[str] = None
) -> ReplicationCall:
    return ReplicationCall(
        name=name or wire.POST_REGISTER, user_id=user_id, call_id=call_id, fingerprint=fingerprint
    )


class FileExpiryTests(InFile, Expiry, TestCase):
    pass


class PostgresExpiryTests(OnPostgreSQL, Expiry, TestCase):
    pass
