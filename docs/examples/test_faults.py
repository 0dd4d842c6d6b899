"""embedding.py as a process that is killed, behind a proxy that cuts: what its clients were told
holds. The tools are in a checkout of regsys, and know nothing of it. Run this in docs/examples with

PYTHONPATH=../.. python -m twisted.trial test_faults
"""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional, Sequence

from twisted.trial.unittest import SynchronousTestCase

from tests.support.checker import Account, Told, broken
from tests.support.killer import Killer, Program
from tests.support.proxy import Cut, Proxy

REGISTER = "/_matrix/client/v3/register"
DOOR = {"type": "org.example.door_code", "code": "sesame"}
HERE = Path(__file__).parent
KILLS = 2
EVERY_S = 0.5


class MyTables:
    """How the checker reads store.py's tables."""

    def __init__(self, path: Path) -> None:
        self.database = sqlite3.connect(path)

    def accounts(self) -> Iterator[Account]:
        names = self.database.execute("SELECT user_id FROM accounts").fetchall()
        for (user_id,) in names:
            query = "SELECT device_id FROM devices WHERE user_id = ?"
            yield Account(user_id, [row[0] for row in self.database.execute(query, (user_id,))])

    def whose(self, token: str) -> Optional[str]:
        query = "SELECT user_id FROM devices WHERE token_hash = ?"
        token_hash = hashlib.sha256(token.encode()).hexdigest()
        row = self.database.execute(query, (token_hash,)).fetchone()
        return None if row is None else str(row[0])

    def half_made(self) -> Mapping[str, Sequence[object]]:
        return {
            "an account is that of a registration": self.database.execute(
                "SELECT user_id FROM accounts EXCEPT SELECT user_id FROM registrations"
            ).fetchall()
        }


class FaultTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.homeserver = Program(self.start)
        self.addCleanup(self.homeserver.end)

    def start(self) -> subprocess.Popen[bytes]:
        program = [sys.executable, str(HERE / "embedding.py"), str(self.folder), str(self.port)]
        process = subprocess.Popen(program, stdout=subprocess.DEVNULL)  # noqa: S603
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                break
            except ConnectionError:
                time.sleep(0.02)
        return process

    def test_retry(self) -> None:
        """While the homeserver is killed again and again, and connections are cut everywhere, each
        client gets its account by plain retry: whole, once, with one device."""
        told: list[Told] = []
        with Proxy(self.port) as proxy:
            with Killer(EVERY_S, self.homeserver.restart, most=KILLS) as killer:
                while len(killer.times) < KILLS:
                    proxy.cut(Cut("answer", 7 * len(told)), Cut("request", 11 * len(told)), None)
                    told.append(register(proxy.port, f"user{len(told)}"))
            self.assertGreater(proxy.cuts, 0)
        self.assertEqual(broken(told, MyTables(self.folder / "homeserver.db")), {})


def register(port: int, name: str) -> Told:
    """What a client is told that repeats each request until it is answered."""
    session = post(port, 401, {"username": name})["session"]
    body = {"username": name, "password": "in the looking glass"}
    made = post(port, 200, {**body, "auth": {**DOOR, "session": session}})
    return Told(made["user_id"], {made["device_id"]: made["access_token"]})


def post(port: int, expected: int, body: Mapping[str, Any]) -> Any:
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("POST", REGISTER, json.dumps(body))
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            # A ValueError: the answer was cut within its headers.
            time.sleep(0.02)
            continue
        finally:
            connection.close()
        if response.status == expected:
            return answer
        if response.status != 503:
            raise AssertionError(f"{response.status} {answer}")
