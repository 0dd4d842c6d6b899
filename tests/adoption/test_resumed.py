"""An adoption that is killed, anywhere, goes on where it has stopped."""

from __future__ import annotations

import sqlite3
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from regsys.adoption.decisions import Rules
from regsys.adoption.report import Report
from regsys.adoption.run import Adoption
from regsys.adoption.synapse import Synapse
from regsys.storage.server_state import ServerStateStore
from regsys.storage.sqlite import SQLite
from tests.adoption.case import NOW_S, AdoptionCase
from tests.support.databases import OnPostgreSQL, sqlite_file
from tests.support.faultpoints import DIED, FaultPoints, WatchedDatabase, die_at, in_child
from tests.support.synapse_tables import SERVER, user_id

# What differs from run to run.
OF_THE_TIME = "SELECT user_id, mark, last_token FROM adopted_users ORDER BY user_id"


class Resumed(AdoptionCase):
    """Batches of three of seven users: a child dies at each statement of its run."""

    def place(self: Any) -> tuple[Any, Any]:
        """The dialect, and the driver's connect, for a connection of a child's own."""
        import psycopg2

        dialect = self.db.dialect
        return dialect, sqlite3.connect if isinstance(dialect, SQLite) else psycopg2.connect

    def child(self: Any, points: FaultPoints) -> int:
        """Adopt in a process of its own, with these points; its exit status."""

        def work() -> None:
            db: Any = WatchedDatabase(*self.place(), Clock(), points)
            source = self.there.source()
            Adoption(
                synapse=Synapse(source),
                connection=db.pool.connection,
                dialect=db.dialect,
                rules=Rules(server_name=SERVER, requires_approval=False),
                report=Report(),
                now_s=lambda: NOW_S,
                size=3,
            ).run()

        return in_child(work)

    async def copied(self: Any) -> list[Any]:
        tables = ["users", "devices", "logins", "threepids", "consents"]
        tables += ["registration_tokens", "adopted_registration_tokens"]
        found = [await self.rows(f"SELECT * FROM {table}") for table in tables]
        found.append(await self.rows(OF_THE_TIME))
        found.append(await self.rows("SELECT * FROM adoption_progress"))
        found.append([(await ServerStateStore(self.db).first_real_user(),)])
        return [sorted(rows, key=repr) for rows in found]

    async def cleared(self: Any) -> None:
        await self.change("DELETE FROM users WHERE user_id LIKE ?", f"%:{SERVER}")
        await self.change("DELETE FROM consents WHERE user_id LIKE ?", f"%:{SERVER}")
        for table in ("registration_tokens", "adopted_registration_tokens"):
            await self.change(f"DELETE FROM {table} WHERE token = 'invitation'")
        await self.change("DELETE FROM adoption_progress WHERE name = 'users'")
        await self.change("DELETE FROM milestones WHERE name = 'first_real_user'")

    def points(self: Any) -> list[str]:
        """All points of a whole run, found in a child, which tells them by a file."""
        path = self.mktemp()

        def note(name: str) -> None:
            with open(path, "a") as file:
                print(name, file=file)

        self.assertEqual(self.child(FaultPoints(note)), 0)
        with open(path) as file:
            return file.read().splitlines()

    async def test_killed(self: Any) -> None:
        """Wherever it is killed, the next run ends with what an undisturbed one has."""
        self.there.fill(7)
        self.there.user("Zoe", "pw", consent_version="1")
        self.there.registration_token("invitation", uses_allowed=5, completed=1)
        points = self.points()
        whole = await self.copied()
        self.assertEqual(len(whole[0]), 8)
        self.assertGreater(len(points), 30)
        resumed = 0
        last = max(n for n, point in enumerate(points) if "after:COMMIT" in point)
        # After the last commit nothing is left to do.
        for point in points[:last]:
            await self.cleared()
            self.assertEqual(self.child(die_at(point)), DIED, point)
            count = len(await self.rows("SELECT * FROM users"))
            self.assertIn(count, (0, 3, 6, 8), point)
            progress = await self.rows("SELECT after_user FROM adoption_progress")
            self.assertEqual(len(progress), 1 if count else 0, point)
            resumed += count in (3, 6)
            report = self.adopt()
            self.assertEqual(await self.copied(), whole, point)
            self.assertFound(report, **({"old_name": 1} if count == 0 else {}))
        self.assertGreater(resumed, 9)

    async def test_earlierOnes(self: Any) -> None:
        """A run that goes on looks at the earlier users, too, who may have changed meanwhile."""
        self.there.fill(7)
        points = [point for point in self.points() if "COMMIT" in point and "after" in point]
        await self.cleared()
        self.assertEqual(self.child(die_at(points[1])), DIED)
        self.there.user("earlier", creation_ts=1)
        self.there.execute(
            "UPDATE users SET name = ? WHERE name = ?", (user_id("a"), user_id("earlier"))
        )
        self.there.execute(
            "UPDATE users SET deactivated = 1 WHERE name = ?", (user_id("user0000000"),)
        )
        self.adopt()
        found = await self.users("user_id, deactivated")
        self.assertEqual(len(found), 8)
        self.assertEqual(
            [name for name, deactivated in found if deactivated], [user_id("user0000000")]
        )
        self.assertIn(user_id("a"), dict(found))


class FileResumed(Resumed, TestCase):
    def database(self) -> Any:
        from regsys.testing.database import inline_database

        database = inline_database(SQLite(sqlite_file(self)), sqlite3.connect)
        self.addCleanup(database.pool.close)  # type: ignore[attr-defined]
        return database


class PostgresResumed(OnPostgreSQL, Resumed, TestCase):
    in_postgres = True
