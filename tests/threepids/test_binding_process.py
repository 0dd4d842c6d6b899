"""Addresses bound and unbound over real HTTP, by an identity server that does not always answer
(B7.10)."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from regsys.outbound.http import DEADLINE_S
from tests.doubles.identity import REFUSALS
from tests.doubles.identity_v2 import (
    LIES,
    NEVER,
    ONCE,
    OTHER_BINDINGS,
    TOKEN,
    UNSIGNED,
    IdentityV2Process,
)
from tests.support import postgres
from tests.support.log_canaries import leaked
from tests.support.patience import PATIENCE_S, until
from tests.support.service_process import Answer, ServiceProcess, psycopg2, sqlite, write_config
from tests.threepids.test_bindings import MEANINGLESS

THREEPIDS = "/_matrix/client/v3/account/3pid"
ALICE = "alice@mail.example"
SECRET = "client-secret-canary"
# The service gives up at its deadline; the rest is an allowance for a slow machine.
IN_TIME_S = 2 * DEADLINE_S


class BindingFlows:
    """For every database; ``database(folder)`` gives its section of the file."""

    def setUp(self: Any) -> None:
        self.double = IdentityV2Process(self)
        self.double.start()
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        config = write_config(
            folder,
            self.database(folder),
            default_identity_server=self.double.url,
            rc_3pid_validation={"per_second": 1000, "burst_count": 1000},
            # Never through a proxy that the environment names.
            no_proxy_hosts=["127.0.0.1"],
        )
        self.service = ServiceProcess(self, config)
        fields = {"username": "alice", "password": "x" * 20, "auth": {"type": "m.login.dummy"}}
        answer = self.service.ask("POST", "/_matrix/client/v3/register", fields)
        self.token = answer.json["access_token"]

    def tearDown(self: Any) -> None:
        secrets = {"a secret": "canary", "the token": self.token, "an address": "@mail.example"}
        self.assertEqual(leaked(self.service.output, secrets), [])
        self.assertNotIn("Traceback", self.service.output)

    def ask(self: Any, what: str, **body: Any) -> Answer:
        answer: Answer = self.service.ask("POST", f"{THREEPIDS}/{what}", body, token=self.token)
        return answer

    def bind(self: Any, sid: str, token: str = TOKEN, **more: Any) -> Answer:
        creds = {"sid": sid, "client_secret": SECRET, "id_access_token": token, **more}
        answer: Answer = self.ask("bind", **creds)
        return answer

    def unbound(self: Any, what: str = "unbind", address: str = ALICE) -> Any:
        """The result, or the status of the refusal."""
        answer = self.ask(what, medium="email", address=address)
        return answer.json.get("id_server_unbind_result", answer.status)

    def bind_address(self: Any) -> Any:
        """The bindings at the identity server."""
        with urllib.request.urlopen(f"{self.double.url}/bound", timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def test_binds(self: Any) -> None:
        """Every fault there has a clear answer in time; a binding is removed in the end, also by a
        server that was down when the address was deleted."""
        for name, (status, body) in REFUSALS.items():
            answer = self.bind(f"proven={name}..{ALICE}")
            self.assertEqual((answer.status, answer.json["errcode"]), (status, body["errcode"]))
        self.assertEqual(self.bind(f"ok..{ALICE}", UNSIGNED).json["errcode"], "M_TERMS_NOT_SIGNED")
        self.assertEqual(self.bind(f"ok..{ALICE}", "stolen").json["errcode"], "M_FORBIDDEN")
        for name in (*MEANINGLESS, *LIES):
            self.assertEqual(self.bind(f"proven={name}..{ALICE}").status, 503, name)
        for name in OTHER_BINDINGS:
            self.assertEqual(self.bind(f"bind={name}..{ALICE}").status, 503, name)
        for name in NEVER:
            self.assertEqual(self.bind(f"unbind={name}..{ALICE}").status, 200, name)
            self.assertEqual(self.unbound(), "no-support", name)
        self.assertEqual(self.bind(f"ok..{ALICE}").status, 200)
        self.assertEqual(self.bind_address(), {ALICE: "@alice:test.example"})
        self.assertEqual(self.unbound(), "success")
        self.assertEqual(self.bind_address(), {})
        self.assertEqual(self.unbound(), "no-support")
        self.deleted_while_away()

    def test_strangers(self: Any) -> None:
        """Servers that a client names are asked by HTTPS, and never on this machine or its network:
        the answer is the same as for a server that does not exist."""
        port = self.double.port
        for name, status in (
            (f"localhost:{port}", 503),
            ("nobody.invalid", 503),
            ("127.0.0.2", 403),
            ("[::1]", 403),
            ("169.254.169.254:80", 403),
            ("user@id.example", 400),
        ):
            before = time.monotonic()
            self.assertEqual(self.bind(f"ok..{ALICE}", id_server=name).status, status, name)
            self.assertLess(time.monotonic() - before, IN_TIME_S)
        self.assertEqual(self.bind_address(), {})

    def deleted_while_away(self: Any) -> None:
        self.assertEqual(self.bind(f"unbind={ONCE}..{ALICE}").status, 200)
        self.assertEqual(self.unbound("delete"), "no-support")
        self.assertEqual(self.bind_address(), {ALICE: "@alice:test.example"})
        until(lambda: not self.bind_address(), lambda: "it is still bound there")


class SQLiteBindingTests(BindingFlows, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return sqlite(folder)

    def test_stalls(self) -> None:
        """A request that waits for a stalled server is answered in time; the server may act on it
        later. This takes ten seconds, so one database is enough."""
        self.assertEqual(self.bind(f"ok..{ALICE}").status, 200)
        before = time.monotonic()
        self.double.pause()
        self.assertEqual(self.unbound(), 503)
        self.assertLess(time.monotonic() - before, IN_TIME_S)
        self.double.resume()
        self.assertEqual(self.bind(f"ok..{ALICE}").status, 200)


class PostgreSQLBindingTests(BindingFlows, SynchronousTestCase):
    def database(self, folder: Path) -> dict[str, Any]:
        return psycopg2(postgres.dsn(self))
