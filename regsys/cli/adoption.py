"""``regsys adopt`` and ``regsys hand-back``: the accounts of a Synapse become ours, and its own
again."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from typing import Any, Callable, Iterator, Optional, TextIO

import attr
from twisted.internet.task import Clock

from regsys.adoption.connections import Source, Unreadable, open_source
from regsys.adoption.decisions import Rules
from regsys.adoption.hand_back import LOST, WRITTEN, HandBack
from regsys.adoption.hand_back_tokens import Issue
from regsys.adoption.ours import Ours
from regsys.adoption.report import Report
from regsys.adoption.run import Adoption, AlreadyRunning
from regsys.adoption.sql import Script
from regsys.adoption.synapse import Synapse
from regsys.cli.times import utc
from regsys.config import Config
from regsys.credentials.access_tokens import GuestTokens, Logins
from regsys.storage import migrations
from regsys.storage.database import Transaction
from regsys.storage.dialects import Dialect
from regsys.storage.server_state import forget_hand_backs, handed_back_ms, note_hand_back
from regsys.storage.sqlite import SQLite
from regsys.wiring.process import cannot_start, connect, dialect, prepare

# How often progress is printed: on a terminal, and in a log.
ON_TERMINAL_S, IN_LOG_S = 0.2, 10.0


def adopt(config: Config, arguments: argparse.Namespace) -> int:
    try:
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(_source(config, arguments))
            synapse = Synapse(source)
            version = synapse.check(config.server_name)
            print(f"Reading Synapse's accounts from {source.place} (schema {version}).")
            report = Report(stack.enter_context(_private_file(arguments.report)))
            target = dialect(config.database)
            connection, keeps = stack.enter_context(_target(config, target, arguments.dry_run))
            _check_handed_back(config, Transaction(connection.cursor(), target), arguments)
            rules = Rules(
                server_name=config.server_name,
                requires_approval=config.registration.requires_approval,
            )
            adoption = Adoption(
                synapse=synapse,
                connection=connection,
                dialect=target,
                rules=rules,
                report=report,
                keeps=keeps,
            )
            with cannot_start(target, "our own tables cannot be written"):
                _run(adoption)
    except (Unreadable, AlreadyRunning) as error:
        print(f"regsys: {error}", file=sys.stderr)
        return 1
    _print_report(report, config, arguments)
    return 0


def _check_handed_back(config: Config, txn: Transaction, arguments: argparse.Namespace) -> None:
    """Once Synapse has its accounts back, what our tables have of them is old, and must not win
    over what has changed there since. Raises Unreadable."""
    written_ms = handed_back_ms(txn)
    if written_ms is None:
        return
    if not arguments.not_handed_back:
        remedy = (
            f"move {config.database.path} away, with its -wal and -shm"
            if config.database.path is not None
            else f"DROP SCHEMA {config.database.schema} CASCADE"
        )
        raise Unreadable(
            f"hand-back was run on {utc(written_ms)}. If its SQL was executed, Synapse has changed"
            f" the accounts since, and our tables are old: empty them ({remedy}), and adopt again."
            " If it was never executed, say so by --not-handed-back"
        )
    if not arguments.dry_run:
        forget_hand_backs(txn)


@contextlib.contextmanager
def _source(config: Config, arguments: argparse.Namespace) -> Iterator[Source]:
    theirs, ours = config.homeserver_database, config.database.path
    path = arguments.source or theirs.path
    if path and ours and os.path.exists(path) and os.path.realpath(path) == os.path.realpath(ours):
        raise Unreadable(f"{path} is regsys's own database: --from names Synapse's")
    source = open_source(arguments.source, theirs)
    try:
        yield source
    finally:
        source.close()


@contextlib.contextmanager
def _target(config: Config, target: Dialect, is_dry: bool) -> Iterator[tuple[Any, bool]]:
    """A connection to our tables, and whether what is written stays. A dry run is one transaction
    that is rolled back, or in SQLite, where that would block all others, goes to a copy."""
    if is_dry and isinstance(target, SQLite):
        connection = _copy_of(target.path)
    else:
        prepare(config, lambda text: print(f"regsys: {text}", file=sys.stderr, flush=True))
        connection = connect(config.database)
    try:
        yield connection, not is_dry or isinstance(target, SQLite)
    finally:
        connection.close()


def _copy_of(path: str) -> sqlite3.Connection:
    """A copy that SQLite deletes when it is closed, with our tables of today."""
    copy = sqlite3.connect("", isolation_level=None)
    if os.path.exists(path):
        with contextlib.closing(sqlite3.connect(path)) as original:
            original.backup(copy)
    migrations.migrate(copy, SQLite(":memory:"))
    copy.execute("PRAGMA foreign_keys = ON")
    return copy


@contextlib.contextmanager
def _private_file(path: Optional[str]) -> Iterator[Optional[TextIO]]:
    if path is None:
        yield None
        return
    try:
        # Nobody else may read it: it has the names of users in it, or their tokens.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise Unreadable(f"{path} cannot be written: {error.strerror}") from None
    with open(descriptor, "w", encoding="utf-8") as file:
        yield file


def _run(adoption: Adoption) -> None:
    after = adoption.resumes_after()
    total = adoption.synapse.count(after) + (adoption.synapse.count() if after else 0)
    if after:
        print(f"Going on after {after!r}, where an earlier run has stopped.")
    progress = Progress(total, sys.stderr, time.monotonic)
    attr.evolve(adoption, progress=progress.add).run()
    progress.end()


@attr.define
class Progress:
    """Tells how far the adoption is: on one line of a terminal, or by a line now and then."""

    total: int
    output: TextIO
    seconds: Callable[[], float]
    done: int = 0
    _started_s: float = attr.field(init=False)
    _told_s: float = attr.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._started_s = self._told_s = self.seconds()

    def add(self, count: int) -> None:
        self.done += count
        now_s, on_terminal = self.seconds(), self.output.isatty()
        if now_s - self._told_s < (ON_TERMINAL_S if on_terminal else IN_LOG_S):
            return
        self._told_s = now_s
        rate = self.done / max(now_s - self._started_s, 0.001)
        left_s = max(self.total - self.done, 0) / max(rate, 0.001)
        text = f"{self.done:,} of {self.total:,} users, {rate:,.0f}/s, {left_s:,.0f} s left"
        # \x1b[K deletes what a longer text has left on the line.
        self.output.write(f"\r{text}\x1b[K" if on_terminal else f"{text}\n")
        self.output.flush()

    def end(self) -> None:
        if self.output.isatty():
            self.output.write("\r\x1b[K")
        spent_s = self.seconds() - self._started_s
        self.output.write(f"{self.done:,} users looked at in {spent_s:,.1f} s\n")
        self.output.flush()


def _print_report(report: Report, config: Config, arguments: argparse.Namespace) -> None:
    print("Would be adopted:" if arguments.dry_run else "Adopted:")
    for line in report.lines():
        print(line)
    if not config.passwords.pepper.reveal():
        print("password_config.pepper is not set here: if Synapse has one, no password fits.")
    if config.tokens.macaroon_secret_key is None:
        print("macaroon_secret_key is not set here: without Synapse's, no guest's token fits.")
    if arguments.report is None and report.has_more:
        print("--report FILE writes all of them into a file.")
    if arguments.dry_run:
        print("Nothing was written. Without --dry-run it is done, and may be repeated.")
    else:
        print("Nothing was written at Synapse. Running this again adopts what is new there.")


def hand_back(config: Config, arguments: argparse.Namespace) -> int:
    try:
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(_source(config, arguments))
            synapse = Synapse(source)
            synapse.check(config.server_name)
            out = stack.enter_context(_private_file(arguments.output)) or sys.stdout
            target = dialect(config.database)
            # Read the statements first: what cannot go back is said above them.
            statements = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            script = Script(statements, source.is_sqlite)
            report = Report(texts=LOST, counted=WRITTEN)
            with cannot_start(target, "our own tables cannot be read"):
                _, secret = prepare(config)
                connection = stack.enter_context(contextlib.closing(connect(config.database)))
                txn = Transaction(connection.cursor(), target)
                HandBack(
                    synapse=synapse,
                    ours=Ours(txn),
                    issue=_issue(config, secret),
                    script=script,
                    report=report,
                ).write()
                statements.seek(0)
                _print_script(Script(out, source.is_sqlite), source, report, statements)
                note_hand_back(txn, int(time.time() * 1000))
    except Unreadable as error:
        print(f"regsys: {error}", file=sys.stderr)
        return 1
    return 0


def _issue(config: Config, secret: bytes) -> Issue:
    guests = GuestTokens(server_name=config.server_name, secret=secret)
    return Logins(config=config.tokens, secret=secret, guests=guests, clock=Clock()).issue


_BEFORE = """\
Hands the accounts of regsys back to Synapse, whose tables are in {place}.
Stop regsys and Synapse first, make a backup of Synapse's database, and read this file.
It has password hashes and access tokens in it: delete it afterwards. Run it by
    {command}
and then start Synapse without matrix_authentication_service. All is one transaction. Each statement
changes only what is as it was when this was written; so it may be run twice.
"""


def _print_script(script: Script, source: Source, report: Report, statements: TextIO) -> None:
    place = source.place
    command = (
        "sqlite3 -bail homeserver.db < hand-back.sql"
        if script.is_sqlite
        else "psql -v ON_ERROR_STOP=1 -f hand-back.sql 'dbname=… user=…'"
    )
    script.comment(_BEFORE.format(place=place, command=command))
    lost = list(report.found_lines())
    script.comment("\nWhat cannot go back:" if lost else "\nEverything can go back.")
    for line in lost:
        script.comment(line)
    script.comment("\nWhat follows:")
    for line in report.counted_lines():
        script.comment(line)
    script.statement("BEGIN IMMEDIATE" if script.is_sqlite else "BEGIN")
    if not script.is_sqlite:
        script.statement("SET LOCAL standard_conforming_strings = on")
        # A role of our schema's name would else find our tables first.
        script.out.write(f"SET LOCAL search_path TO {source.schema};\n")
    shutil.copyfileobj(statements, script.out)
    script.statement("COMMIT")
