"""A Synapse that keeps its accounts itself, as a process on a free port of loopback.
``support/synapse.py`` says where it comes from."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import unittest
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Mapping, Optional

import attr
import yaml

from tests.support import synapse
from tests.support.patience import PATIENCE_S, until
from tests.support.ports import free_port
from tests.support.service_process import MACAROON_SECRET, SERVER_NAME

SHARED_SECRET = "a shared secret"
PEPPER = "Pépper"
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@attr.define(eq=False)
class NativeSynapse:
    """``database``: its section of the configuration. ``options`` of it, by which a test may have
    it give its accounts away at the next start."""

    case: unittest.TestCase
    folder: Path
    database: Mapping[str, Any]
    options: Mapping[str, Any] = attr.field(factory=dict)
    port: int = attr.field(factory=free_port)
    _process: Optional[subprocess.Popen[bytes]] = attr.field(default=None, init=False)

    @property
    def config(self) -> dict[str, Any]:
        """Its configuration, which regsys can read, too."""
        plenty = {"per_second": 10_000, "burst_count": 10_000}
        return {
            "server_name": SERVER_NAME,
            "public_baseurl": f"http://127.0.0.1:{self.port}/",
            "listeners": [
                {
                    "port": self.port,
                    "bind_addresses": ["127.0.0.1"],
                    "type": "http",
                    "resources": [{"names": ["client"]}],
                }
            ],
            "database": dict(self.database),
            "media_store_path": str(self.folder / "media"),
            "signing_key_path": str(self.folder / "signing.key"),
            "registration_shared_secret": SHARED_SECRET,
            "macaroon_secret_key": MACAROON_SECRET,
            "form_secret": "a form secret",
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "allow_guest_access": True,
            "report_stats": False,
            "suppress_key_server_warning": True,
            "trusted_key_servers": [],
            "bcrypt_rounds": 4,
            "password_config": {"pepper": PEPPER},
            "refreshable_access_token_lifetime": "10m",
            "rc_registration": plenty,
            "rc_login": {"address": plenty, "account": plenty, "failed_attempts": plenty},
            "rc_message": plenty,
            "rc_joins": {"local": plenty, "remote": plenty},
            **self.options,
        }

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and return once it answers."""
        path = self.folder / "synapse.yaml"
        path.write_text(yaml.safe_dump(self.config))
        with synapse.needed_by(self.case):
            python = synapse.python()
        command = [python, "-m", "synapse.app.homeserver", "-c", str(path)]
        quiet: Any = {"cwd": self.folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
        if not (self.folder / "signing.key").exists():
            # Its shape is that of the specification's signing keys: a version and a seed.
            (self.folder / "signing.key").write_text(f"ed25519 a_test {'A' * 43}\n")
        log = (self.folder / "synapse.log").open("ab")
        self.case.addCleanup(log.close)
        self._process = process = subprocess.Popen(command, **{**quiet, "stdout": log})
        self.case.addCleanup(self.stop)

        def answers() -> bool:
            assert process.poll() is None, (self.folder / "synapse.log").read_text()[-3000:]
            try:
                return self.ask("GET", "/_matrix/client/versions")[0] == 200
            except OSError:
                return False

        until(answers)

    def stop(self) -> None:
        """End it in order; its database is whole then."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)
            self._process = None

    def ask(
        self, method: str, path: str, body: Any = None, token: Optional[str] = None
    ) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data=data, method=method
        )
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            response = _OPENER.open(request, timeout=PATIENCE_S)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            content = response.read()
            return response.status, json.loads(content) if content else None

    def register(self, name: str, password: str, **more: Any) -> Any:
        """Register a user; the answer."""
        body = {"username": name, "password": password, "auth": {"type": "m.login.dummy"}, **more}
        return self._done("POST", "/_matrix/client/v3/register", body)

    def log_in(self, name: str, password: str, **more: Any) -> tuple[int, Any]:
        identifier = {"type": "m.id.user", "user": name}
        body = {"type": "m.login.password", "identifier": identifier, "password": password, **more}
        return self.ask("POST", "/_matrix/client/v3/login", body)

    def administrator(self, name: str, password: str) -> str:
        """Make a server administrator; its access token."""
        path = "/_synapse/admin/v1/register"
        nonce = self._done("GET", path)["nonce"]
        parts = "\0".join([nonce, name, password, "admin"]).encode()
        mac = hmac.new(SHARED_SECRET.encode(), parts, hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": name, "password": password, "admin": True, "mac": mac}
        return str(self._done("POST", path, body)["access_token"])

    def _done(self, *request: Any) -> Any:
        status, answer = self.ask(*request)
        assert status == 200, (request[:2], status, answer)
        return answer
