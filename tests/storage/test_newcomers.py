"""Suspended newcomers, in our own tables."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from regsys.model import UserID
from regsys.model.jobs import NewJob
from regsys.model.newcomers import SuspendedNewcomer
from regsys.storage.jobs import JobStore
from regsys.storage.newcomers import RELEASE_NEWCOMER, NewcomerStore, release_job
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import NOW_MS, account, user
from tests.support.databases import InFile, InMemory, OnPostgreSQL
from tests.support.tables import Tables

ALICE, BOB, CAROL = user("alice"), user("bob"), user("carol")


class Newcomers(Tables):
    async def suspended(self: Any, user_id: UserID, at_ms: int = NOW_MS) -> NewcomerStore:
        name = user_id.localpart
        new = account(name, name, suspended=True, created_ms=at_ms)
        await UserStore(self.db).create_account(new)
        return NewcomerStore(self.db)

    async def test_account(self: Any) -> None:
        """That an account is suspended is written with it; most are not."""
        store = await self.suspended(ALICE)
        await UserStore(self.db).create_account(account("bob", "bob"))
        self.assertTrue(await store.is_suspended(ALICE))
        self.assertFalse(await store.is_suspended(BOB))
        self.assertFalse(await store.is_suspended(user("nobody")))

    async def test_list(self: Any) -> None:
        """The oldest come first."""
        await self.suspended(BOB, NOW_MS + 1)
        await self.suspended(ALICE, NOW_MS + 2)
        store = await self.suspended(CAROL, NOW_MS)
        found = await store.suspended(2)
        expected = [SuspendedNewcomer(CAROL, NOW_MS), SuspendedNewcomer(BOB, NOW_MS + 1)]
        self.assertEqual(found, expected)

    async def test_release(self: Any) -> None:
        """A release is one job, however often somebody asks for it; none for others."""
        store = await self.suspended(ALICE)
        for _ in range(2):
            self.assertEqual(await store.begin_release(ALICE, NOW_MS), (release_job(ALICE),))
        self.assertEqual(await store.begin_release(BOB, NOW_MS), ())
        found = await self.rows("SELECT kind, due_ms FROM jobs")
        self.assertEqual([row[0] for row in found], [RELEASE_NEWCOMER])
        self.assertGreater(found[0][1], NOW_MS)
        self.assertTrue(await store.is_suspended(ALICE))

    async def test_released(self: Any) -> None:
        """Who is released is forgotten, and then the jobs begin that have waited: once."""
        store, job = await self.suspended(ALICE), NewJob(kind="join", job_id="join")
        await self.suspended(BOB)
        self.assertEqual(await store.released(ALICE, (job,), NOW_MS), (job,))
        self.assertEqual(await store.released(ALICE, (NewJob(kind="join"),), NOW_MS), ())
        self.assertEqual(await self.rows("SELECT job_id FROM jobs"), [("join",)])
        self.assertEqual(await self.rows("SELECT user_id FROM newcomers"), [(str(BOB),)])

    async def test_older(self: Any) -> None:
        """Those who were suspended before a time are released, some at a time, each once."""
        for index, user_id in enumerate((ALICE, BOB, CAROL)):
            store = await self.suspended(user_id, NOW_MS + index)
        self.assertEqual(await store.release_older(NOW_MS - 1, 9, NOW_MS), 0)
        self.assertEqual(await store.release_older(NOW_MS + 1, 1, NOW_MS), 1)
        self.assertEqual(await store.release_older(NOW_MS + 1, 9, NOW_MS), 1)
        self.assertEqual(await store.release_older(NOW_MS + 1, 9, NOW_MS), 0)
        jobs = await JobStore(self.db).claim({RELEASE_NEWCOMER: 9}, NOW_MS, 1000)
        self.assertEqual({job.payload["user_id"] for job in jobs}, {str(ALICE), str(BOB)})

    async def test_removed(self: Any) -> None:
        """An account that is undone leaves nothing here."""
        await self.suspended(ALICE)
        await self.change("DELETE FROM users WHERE user_id = ?", str(ALICE))
        self.assertEqual(await self.rows("SELECT * FROM newcomers"), [])


class MemoryTests(InMemory, Newcomers, TestCase):
    pass


class FileTests(InFile, Newcomers, TestCase):
    pass


class PostgresTests(OnPostgreSQL, Newcomers, TestCase):
    pass
