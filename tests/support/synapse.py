"""A stock Synapse for tests, whose auth service is a regsys of the same test.

It is run as it comes from PyPI, in an environment of its own: the Python that REGSYS_SYNAPSE names,
or an environment in the user's cache folder, which the first test that wants one makes by pip. If
there is none, tests that need it are skipped; with CI=true they fail. Synapse is under the AGPL:
nothing of it is copied or imported.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional

import attr
import yaml

from tests.support.missing import not_tried
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_port
from tests.support.reporter import report_on_failure
from tests.support.service_process import SERVER_NAME, Answer

VERSION = "1.163.2"
# psycopg2-binary, since a bare machine cannot build the driver that Synapse's extra names.
REQUIREMENTS = (f"matrix-synapse[redis]=={VERSION}", "psycopg2-binary")
SECRET = "the-shared-secret-canary-of-both"
NOT_FOUND = (
    f"There is no Synapse, so nothing was tested beside one: pip could not install {VERSION}. Let "
    "REGSYS_SYNAPSE name the Python of an environment that has it."
)
# The end of the log that a failure prints, in bytes.
TAIL = 6000


class NotFound(Exception):
    """This machine has no Synapse, and cannot install it."""


@functools.cache
def python() -> str:
    """The Python that has Synapse. Raises NotFound."""
    named = os.environ.get("REGSYS_SYNAPSE")
    if named:
        return named
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "regsys-tests")
    version = f"py{sys.version_info[0]}.{sys.version_info[1]}"
    home = cache / f"synapse-{VERSION}-{version}"
    if not _has_all(home):
        with _locked(cache):
            if not _has_all(home):
                _install(home)
    return str(home / "bin" / "python")


def _has_all(home: Path) -> bool:
    # An environment cannot be renamed, so a file says what it has when it is complete.
    complete = home / "complete"
    return complete.exists() and complete.read_text().split() == list(REQUIREMENTS)


@contextlib.contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """Only one process at a time installs."""
    import fcntl

    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    options = ["--disable-pip-version-check", "--only-binary=:all:"]
    for command in ([sys.executable, "-m", "venv", str(home)], [*pip, *options, *REQUIREMENTS]):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            print(done.stdout.decode(errors="replace"), file=sys.stderr)
            raise NotFound
    (home / "complete").write_text("\n".join(REQUIREMENTS))


@contextlib.contextmanager
def needed_by(case: unittest.TestCase) -> Iterator[None]:
    """If the block raises NotFound, skip the test, or fail it if CI=true."""
    try:
        yield
    except NotFound:
        not_tried(case, NOT_FOUND)


def need_redis(case: unittest.TestCase) -> None:
    """Skip the test, or fail it if CI=true, if that Python lacks what Synapse's processes need to
    talk to each other."""
    with needed_by(case):
        command = [python(), "-c", "import hiredis, txredisapi"]
    if subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
        reason = (
            "Synapse's workers were not tested: the environment that REGSYS_SYNAPSE names lacks"
            " hiredis and txredisapi, which pip installs with matrix-synapse[redis]."
        )
        not_tried(case, reason)


@attr.define(eq=False)
class Synapse:
    """One process, on a port that it keeps. ``endpoint``: the URL of its auth service;
    ``database``: a section for its configuration, an SQLite file of its own if None; ``options``
    replace others of its configuration, but ``listeners`` are more of them."""

    endpoint: str
    database: Optional[Mapping[str, Any]] = None
    options: Mapping[str, Any] = attr.field(factory=dict)
    port: int = attr.field(factory=free_port)
    app: str = "homeserver"
    files: tuple[str, ...] = ("homeserver.yaml",)
    home: Path = attr.field(init=False)
    _process: Optional[subprocess.Popen[bytes]] = attr.field(default=None, init=False)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def regsys_options(self) -> Mapping[str, Any]:
        """What regsys's configuration says of it."""
        return {
            "matrix_authentication_service": {
                "enabled": True,
                "endpoint": self.endpoint,
                "secret": SECRET,
            },
            "homeserver": {"url": self.base_url, "delegated": True},
        }

    def prepare(self) -> None:
        """Write its configuration. Raises NotFound."""
        python()
        self.home = Path(tempfile.mkdtemp(prefix="regsys-synapse-", dir="/tmp"))
        (self.home / "homeserver.yaml").write_text(yaml.safe_dump(self._config()))
        (self.home / "log.yaml").write_text(json.dumps(_LOGGING))

    def worker(self, name: str) -> Synapse:
        """Another process of this Synapse, which serves clients, too; not started yet. Stop it
        before its main process is removed."""
        made = Synapse(self.endpoint, app="generic_worker", files=(*self.files, f"{name}.yaml"))
        made.home = self.home
        config = {
            "worker_app": "synapse.app.generic_worker",
            "worker_name": name,
            "worker_pid_file": str(self.home / f"{name}.pid"),
            "worker_log_config": str(self.home / "log.yaml"),
            "worker_listeners": [made._listener],
        }
        (self.home / f"{name}.yaml").write_text(yaml.safe_dump(config))
        return made

    @property
    def _listener(self) -> Mapping[str, Any]:
        return {
            "port": self.port,
            "bind_addresses": ["127.0.0.1"],
            "type": "http",
            "resources": [{"names": ["client"]}],
        }

    def _config(self) -> Mapping[str, Any]:
        sqlite = {"name": "sqlite3", "args": {"database": str(self.home / "homeserver.db")}}
        plenty = {"per_second": 10_000, "burst_count": 10_000}
        return {
            "server_name": SERVER_NAME,
            "pid_file": str(self.home / "pid"),
            "report_stats": False,
            "log_config": str(self.home / "log.yaml"),
            "media_store_path": str(self.home / "media"),
            "signing_key_path": str(self.home / "signing.key"),
            "macaroon_secret_key": "of this test's own",
            "form_secret": "of this test's own",
            "trusted_key_servers": [],
            "database": dict(self.database or sqlite),
            "enable_registration": False,
            "password_config": {"enabled": False},
            "matrix_authentication_service": {
                "enabled": True,
                "endpoint": self.endpoint,
                "secret": SECRET,
            },
            "rc_login": {"address": plenty, "account": plenty, "failed_attempts": plenty},
            "rc_registration": plenty,
            "rc_message": plenty,
            "rc_joins": {"local": plenty, "remote": plenty},
            **self.options,
            "listeners": [self._listener, *self.options.get("listeners", ())],
        }

    def start(self) -> None:
        """Start it, and return when it answers."""
        command = [python(), "-m", f"synapse.app.{self.app}"]
        for file in self.files:
            command += ["-c", file]
        if not (self.home / "signing.key").exists():
            # Its shape is that of the specification's signing keys: a version and a seed.
            (self.home / "signing.key").write_text(f"ed25519 a_test {'A' * 43}\n")
        with open(self._out, "ab") as out:
            self._process = subprocess.Popen(
                command,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C is for the tests alone
            )
        end = time.monotonic() + PATIENCE_S
        while not self._answers():
            ended = self._process.poll() is not None
            assert not ended and time.monotonic() < end, f"Synapse did not start:\n{self.tail()}"
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill it, in the middle of whatever it does."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def report(self, case: unittest.TestCase) -> None:
        """Print the end of its log if the test fails."""
        report_on_failure(case, "Synapse", self.tail)

    def tail(self) -> str:
        """The end of its log."""
        return self.log()[-TAIL:]

    def log(self) -> str:
        """All that it has logged, from level WARNING."""
        return self._out.read_text(errors="replace") if self._out.exists() else ""

    @property
    def _out(self) -> Path:
        return self.home / f"{self.app}.out"

    def ask(
        self, method: str, path: str, body: Any = None, *, token: Optional[str] = SECRET
    ) -> Answer:
        """One request with a JSON body, or without one if it is None; blocks until it is
        answered."""
        request = urllib.request.Request(self.base_url + path, method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            response = _OPENER.open(request, timeout=PATIENCE_S)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            content = response.read()
        parsed = None
        with contextlib.suppress(ValueError):
            parsed = json.loads(content)
        return Answer(response.status, parsed, dict(response.headers), content.decode())

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/_matrix/client/versions", token=None).status == 200
        except OSError:
            return False


_LOGGING = {
    "version": 1,
    "formatters": {"line": {"format": "%(asctime)s %(name)s %(levelname)s %(message)s"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": "WARNING", "handlers": ["out"]},
    "disable_existing_loggers": False,
}
# Never through a proxy that the environment names.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
