"""A worker and its master over real sockets, between which the connection is cut at any byte."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Iterator, Sequence
from unittest import mock

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from regsys import http
from regsys.config import MasterConfig, TLSFiles, WorkerConfig
from regsys.errors import Unavailable
from regsys.model import Secret
from regsys.outbound.master import Master
from regsys.processes.listening import tls_context
from regsys.replication.sender import TRY_S
from regsys.testing.contracts.case import user
from tests.accounts.test_writer import OwnWriter
from tests.contracts.writer import Aftercare, logins, new_account
from tests.replication.fixtures import SECRET
from tests.replication.master import HastyClock, InProcessMaster
from tests.replication.test_writer import remote
from tests.support.databases import InMemory
from tests.support.proxy import HOST, Cut, Proxy, Side
from tests.support.scale import SCALE
from tests.support.tables import rows

# Every so many bytes the connection is cut.
OF_REQUEST, OF_ANSWER = max(1, 180 // SCALE), max(1, 24 // SCALE)


def connection(**main: Any) -> Master:
    worker = WorkerConfig(name="w", master=MasterConfig(**main), secret=Secret(SECRET))
    return Master.on(reactor, worker)


class SocketCase(InMemory, TestCase):
    db: Any

    def setUp(self) -> None:
        self.started: list[str] = []

        def start_jobs(jobs: Sequence[Any]) -> None:
            self.started += [job.kind for job in jobs]

        made = logins()
        local, self.auth = OwnWriter.make(self, made, Aftercare(), start_jobs)
        resource = InProcessMaster(local, made, self.db).resource()
        self.site = http.site(resource, clock=reactor)  # type: ignore[arg-type]

    async def assertMade(self, writer: Any, number: int) -> None:
        """An account, made once by this worker."""
        name = f"user{number}"
        created = await writer.create_account(new_account(name, name))
        self.assertEqual((created.user_id, created.replayed), (user(name), False))
        requester = await self.auth.whose(created.login.access_token)
        assert requester is not None
        self.assertEqual(requester.user_id, user(name))

    async def count(self, table: str) -> int:
        return len(await rows(self.db, f"SELECT 1 FROM {table}"))


class CutTests(SocketCase):
    async def test_everywhere(self) -> None:
        """Wherever the connection is cut, the worker's call ends well, and its work is done
        once."""
        port = await TCP4ServerEndpoint(reactor, 0, interface=HOST).listen(self.site)
        try:
            with Proxy(port.getHost().port) as proxy:
                master = connection(host=HOST, port=proxy.port)
                writer = remote(master.ask, reactor)  # type: ignore[arg-type]
                await self.assertMade(writer, 0)
                cuts = 0
                for cut in self.places(dict(proxy.passed)):
                    proxy.cut(cut)
                    cuts += 1
                    await self.assertMade(writer, cuts)
                self.assertEqual(proxy.cuts, cuts)
                # Also a connection that is cut and lost while nobody uses it.
                proxy.cut_all()
                await self.assertMade(writer, cuts + 1)
                await master.close()
                for table in ("users", "devices", "logins", "jobs", "replication_calls"):
                    self.assertEqual(await self.count(table), cuts + 2, table)
                self.assertEqual(len(self.started), cuts + 2)
        finally:
            await port.stopListening()

    def places(self, length: dict[str, int]) -> Iterator[Cut]:
        sides: Sequence[tuple[Side, int]] = (("request", OF_REQUEST), ("answer", OF_ANSWER))
        for side, step in sides:
            last = length[side] - 1
            yield from (Cut(side, after) for after in (*range(0, last, step), last))


class GivenUpTests(SocketCase):
    async def test_givenUp(self) -> None:
        """A worker that is about to end does not wait for a master that does not answer."""
        with socket.create_server((HOST, 0)) as silent:
            master = connection(host=HOST, port=silent.getsockname()[1])
            writer = remote(master.ask, reactor)  # type: ignore[arg-type]
            started_s = time.monotonic()
            waiting = Deferred.fromCoroutine(writer.deactivate(user("alice")))
            await deferLater(reactor, 0.1)
            master.give_up()
            await self.assertFailure(waiting, Unavailable)
            await self.assertFailure(
                Deferred.fromCoroutine(writer.deactivate(user("bob"))), Unavailable
            )
            self.assertLess(time.monotonic() - started_s, TRY_S)
            await master.close()


class UnixSocketTests(SocketCase):
    async def test_persistent(self) -> None:
        """Over a Unix socket, too, calls share a connection."""
        path = self.mktemp()[-80:].rpartition("/")[2]
        made = []
        build = self.site.buildProtocol

        def counted(address: Any) -> Any:
            made.append(build(address))
            return made[-1]

        self.patch(self.site, "buildProtocol", counted)
        port = await UNIXServerEndpoint(reactor, path).listen(self.site)
        try:
            master = connection(path=path)
            writer = remote(master.ask, reactor)  # type: ignore[arg-type]
            for number in range(3):
                await self.assertMade(writer, number)
            self.assertEqual(len(made), 1)
            await master.close()
        finally:
            await port.stopListening()


class TLSTests(SocketCase):
    """``SSL_CERT_FILE`` names the authorities of the machine."""

    def setUp(self) -> None:
        super().setUp()
        folder = Path(self.mktemp())
        folder.mkdir()
        subprocess.run(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
            " -keyout key.pem -out cert.pem -subj /CN=localhost"
            " -addext subjectAltName=DNS:localhost".split(),
            cwd=folder,
            check=True,
            capture_output=True,
        )
        self.files = TLSFiles(
            certificate=str(folder / "cert.pem"), private_key=str(folder / "key.pem")
        )

    async def asked(self, authorities: str) -> None:
        """Make an account over TLS."""
        with mock.patch.dict(os.environ, SSL_CERT_FILE=authorities):
            port = reactor.listenSSL(  # type: ignore[attr-defined]
                0, self.site, tls_context(self.files), interface=HOST
            )
            master = connection(host="localhost", port=port.getHost().port, tls=True)
            try:
                await self.assertMade(remote(master.ask, HastyClock()), 0)
            finally:
                await master.close()
                await port.stopListening()

    async def test_trusted(self) -> None:
        """A master whose certificate the machine trusts is asked over TLS."""
        await self.asked(self.files.certificate)
        self.assertEqual(await self.count("users"), 1)

    async def test_notTrusted(self) -> None:
        """Any other gets nothing, the secret least of all."""
        with self.assertRaises(Unavailable):
            await self.asked(os.devnull)
        self.assertEqual(await self.count("users"), 0)
