"""A stock Synapse and the regsys that is its auth service, as processes."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Any, ClassVar, Mapping, Optional
from urllib.parse import urlencode

from twisted.trial.unittest import TestCase

from tests.support import postgres, synapse
from tests.support.client import V3
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_port
from tests.support.proxies import ProxyExamples
from tests.support.service_process import (
    Answer,
    ServiceProcess,
    psycopg2,
    sqlite,
    write_config,
)
from tests.support.synapse import Synapse

PASSWORD = "correct horse battery staple"


class DelegationCase(TestCase):
    """One Synapse for all tests of the class, and one regsys for each. ``on_postgres``: both keep
    their tables there."""

    on_postgres: ClassVar[bool] = False
    options: ClassVar[Mapping[str, Any]] = {}
    synapse_options: ClassVar[Mapping[str, Any]] = {}
    homeserver: ClassVar[Optional[Synapse]] = None
    port: ClassVar[int]
    args: ClassVar[Any] = None

    @classmethod
    def tearDownClass(cls) -> None:
        if cls.homeserver is not None:
            cls.homeserver.remove()
            cls.homeserver = None
        if cls.args is not None:
            postgres.shared().drop_database(cls.args)
            cls.args = None

    def setUp(self) -> None:
        cls = type(self)
        if cls.homeserver is None:
            cls.port = free_port()
            with synapse.needed_by(self):
                synapse.python()
            database = None
            if cls.on_postgres:
                with postgres.needed_by(self):
                    cls.args = postgres.shared().create_database()
                database = {**psycopg2(cls.args)}
                database["args"] = {**database["args"], "cp_min": 1, "cp_max": 5}
            made = Synapse(
                f"http://127.0.0.1:{cls.port}/", database=database, options=cls.synapse_options
            )
            made.prepare()
            made.start()
            cls.homeserver = made
        self.there = cls.homeserver
        assert self.there is not None
        self.there.report(self)
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.regsys = self.start()

    def start(self) -> ServiceProcess:
        """A regsys over this test's database; it keeps its port."""
        assert self.there is not None
        port = type(self).port
        options = dict(self.there.regsys_options)
        listener = {
            "port": port,
            "bind_addresses": ["127.0.0.1"],
            "type": "http",
            "resources": [{"names": ["client", "health"]}],
        }
        database = psycopg2(self.args) if self.on_postgres else sqlite(self.folder)
        more = dict(self.regsys_options())
        regsys = {"rc_availability": False, "homeserver": options.pop("homeserver")}
        if self.on_postgres:
            # The tests' role is "regsys", and a schema of its role's name is where PostgreSQL looks
            # first: the Synapse would take our tables for its own.
            regsys["database_schema"] = "auth"
        regsys.update(more.pop("regsys", {}))
        options.update(listeners=[listener], regsys=regsys, allow_guest_access=False, **more)
        return self.serve(write_config(self.folder, database, **options))

    def serve(self, config: Path) -> ServiceProcess:
        return ServiceProcess(self, config)

    def regsys_options(self) -> Mapping[str, Any]:
        """More of its configuration."""
        return self.options

    # --- Clients ---------------------------------------------------------------------------

    def register(self, name: Optional[str], **more: Any) -> Answer:
        named = {} if name is None else {"username": name}
        body = {**named, "password": PASSWORD, "auth": {"type": "m.login.dummy"}, **more}
        return self.regsys.ask("POST", f"{V3}/register", body)

    def registered(self, name: str, **more: Any) -> Any:
        answer = self.register(name, **more)
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    def log_in(self, name: str, **more: Any) -> Answer:
        identifier = {"type": "m.id.user", "user": name}
        body = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD, **more}
        return self.regsys.ask("POST", f"{V3}/login", body)

    def confirmed(
        self,
        method: str,
        path: str,
        token: str,
        body: Mapping[str, Any],
        password: str = PASSWORD,
    ) -> Answer:
        """A request that the user confirms by their password."""
        asked = self.regsys.ask(method, f"{V3}/{path}", body, token=token)
        self.assertEqual(asked.status, 401, asked)
        name = self.whoami(token).json["user_id"]
        auth = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": name},
            "password": password,
            "session": asked.json["session"],
        }
        return self.regsys.ask(method, f"{V3}/{path}", {**body, "auth": auth}, token=token)

    def form(self, path: str, **fields: str) -> int:
        """The status of a page of regsys to which a person sends this form."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", path, urlencode(fields), headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    def at(self, method: str, path: str, token: Optional[str], body: Any = None) -> Answer:
        """A client's request at the Synapse."""
        assert self.there is not None
        return self.there.ask(method, f"{V3}/{path}", body, token=token)

    def whoami(self, token: str) -> Answer:
        return self.at("GET", "account/whoami", token)

    def assertDead(self, token: str) -> None:
        """The Synapse refuses the token."""
        answer = self.whoami(token)
        self.assertEqual((answer.status, answer.json.get("errcode")), (401, "M_UNKNOWN_TOKEN"))

    def assertAlive(self, token: str, user_id: str, device_id: str) -> None:
        answer = self.whoami(token)
        self.assertEqual(
            (answer.status, answer.json),
            (200, {"user_id": user_id, "device_id": device_id, "is_guest": False}),
        )


class PublicCase(DelegationCase):
    """Both at one public address, ``self.public``: nginx is before them, with our routes."""

    front: ClassVar[int] = 0

    def setUp(self) -> None:
        cls = type(self)
        cls.front = cls.front or free_port()
        self.public = f"http://127.0.0.1:{self.front}"
        super().setUp()
        assert self.there is not None
        proxy = ProxyExamples(self, "synapse-routes.md", ())
        proxy.ports = {
            "8080": str(self.front),
            "8008": str(self.there.port),
            "8009": str(self.port),
        }
        proxy.run_nginx()

    def regsys_options(self) -> Mapping[str, Any]:
        return {"public_baseurl": f"{self.public}/", **super().regsys_options()}
