"""An adoption from tables of a Synapse into ours: on SQLite and on PostgreSQL."""

from __future__ import annotations

from io import StringIO
from typing import Any, Optional, Sequence

from twisted.internet.task import Clock

from regsys.adoption.decisions import Rules
from regsys.adoption.hand_back import LOST, WRITTEN, HandBack
from regsys.adoption.ours import Ours
from regsys.adoption.report import Report
from regsys.adoption.run import Adoption
from regsys.adoption.sql import Script
from regsys.adoption.synapse import Synapse
from regsys.config import TokensConfig
from regsys.credentials.access_tokens import GuestTokens, Logins
from regsys.storage.database import Transaction
from tests.support.databases import sqlite_file
from tests.support.synapse_tables import SERVER, SynapseTables
from tests.support.tables import Tables

NOW_S = 1_750_000_000


class AdoptionCase(Tables):
    """``there`` are the tables of a Synapse, ``self.db`` ours."""

    there: SynapseTables
    now_s = NOW_S
    in_postgres = False

    async def new_database(self: Any) -> None:
        await super().new_database()
        if self.in_postgres:
            self.there = SynapseTables.in_postgres(self)
        else:
            self.there = SynapseTables.in_file(self, sqlite_file(self))

    def adopt(
        self,
        *,
        keeps: bool = True,
        size: int = 3,
        connection: Any = None,
        requires_approval: bool = False,
        progress: Any = lambda done: None,
        now_s: Any = None,
    ) -> Report:
        """Run an adoption; returns its report."""
        db: Any = self.db
        report = Report()
        source = self.there.source()
        try:
            synapse = Synapse(source)
            synapse.check(SERVER)
            Adoption(
                synapse=synapse,
                connection=connection or db.pool.connection,
                dialect=db.dialect,
                rules=Rules(server_name=SERVER, requires_approval=requires_approval),
                report=report,
                keeps=keeps,
                progress=progress,
                now_s=now_s or (lambda: self.now_s),
                sleep=lambda seconds: None,
                size=size,
            ).run()
        finally:
            source.close()
        return report

    def assertFound(self: Any, report: Report, **findings: int) -> None:
        """The report has these counts of findings, and no other finding."""
        from regsys.adoption.report import FINDINGS

        found = {name: report.counts[name] for name in FINDINGS if report.counts[name]}
        self.assertEqual(found, findings)

    async def users(self, columns: str = "user_id") -> Sequence[Any]:
        found = await self.rows(f"SELECT {columns} FROM users ORDER BY user_id")
        return [row[0] for row in found] if "," not in columns else found


class HandBackCase(AdoptionCase):
    """The way back: the SQL that is printed, executed on the tables of a Synapse."""

    def logins(self, *, keeps_keys: bool = True) -> Logins:
        clock = Clock()
        clock.advance(NOW_S)
        return Logins(
            config=TokensConfig(keeps_keys=keeps_keys),
            secret=b"a secret",
            guests=GuestTokens(server_name=SERVER, secret=b"a secret"),
            clock=clock,
        )

    def script(self: Any) -> tuple[str, Report]:
        out, report = StringIO(), Report(texts=LOST, counted=WRITTEN)
        source = self.there.source()
        try:
            HandBack(
                synapse=Synapse(source),
                ours=Ours(Transaction(self.db.pool.connection.cursor(), self.db.dialect)),
                issue=self.logins().issue,
                script=Script(out, source.is_sqlite),
                report=report,
            ).write()
        finally:
            source.close()
        return out.getvalue(), report

    def hand_back(self: Any, **lost: int) -> Report:
        """Execute the script, twice: the second time it must change nothing. ``lost``: what cannot
        go back."""
        script, report = self.script()
        self.run_script(script)
        first = self.there.contents()
        self.run_script(script)
        self.assertEqual(self.there.contents(), first)
        found = {name: report.counts[name] for name in LOST if report.counts[name]}
        # Synapse does not know the neighbour, nor its registration token.
        self.assertEqual(found, {"unknown": 1, "registration_token": 1, **lost})
        return report

    def run_script(self: Any, script: str) -> None:
        if self.there.is_sqlite:
            self.there.connection.executescript(script)
        elif script:
            self.there.connection.cursor().execute(script)

    def there_is(self: Any, columns: str, table: str) -> list[Any]:
        found = self.there.execute(f"SELECT {columns} FROM {table} ORDER BY {columns}").fetchall()
        return [tuple(row) for row in found]


def examples(report: Report, words: str) -> Optional[str]:
    """The line of a report that has these words in it."""
    return next((line for line in report.lines() if words in line), None)
