"""Limits that several processes share over Redis."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any, Optional

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from regsys.config.redis import RedisConfig, RedisTLS
from regsys.errors import Unavailable
from regsys.interfaces.internal import IBucketStore
from regsys.model import Secret
from regsys.model.buckets import Bucket
from regsys.outbound import redis as redis_store
from regsys.outbound.redis import PREFIX, RedisBuckets, UnusableFiles, endpoint
from regsys.testing.contracts.case import together
from tests.contracts.limits import BucketStoreContract, SharedLimiterContract
from tests.support import redis
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_port

# Moves all keys that begin so, as if the server's clock had moved.
MOVE = """
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
    local empty = redis.call('GET', key) - ARGV[2]
    redis.call('SET', key, string.format('%.0f', empty), 'KEEPTTL')
end
"""
BUCKET = Bucket("one", 10**8, 2)


class RedisCase(TestCase):
    def setUp(self) -> None:
        # A decision that takes long on a loaded machine is no failure here.
        self.patch(redis_store, "DEADLINE_S", PATIENCE_S)
        self.server = self.start()

    def start(self) -> redis.Server:
        return redis.shared(self)

    def buckets(self, config: Optional[RedisConfig] = None, **options: Any) -> RedisBuckets:
        """Over a connection of its own, by TCP unless ``options`` say otherwise."""
        chosen = config or RedisConfig(**{"host": "127.0.0.1", "port": self.server.port, **options})
        made = RedisBuckets(endpoint(chosen, reactor), chosen, reactor)
        self.addCleanup(self.closed, made)
        return made

    async def closed(self, buckets: RedisBuckets) -> None:
        factory = buckets._factory
        buckets.close()
        if factory is not None:
            await factory.disconnect()

    async def unavailable(self, buckets: RedisBuckets) -> str:
        """It must not answer; why."""
        error = await self.assertFailure(
            Deferred.fromCoroutine(buckets.take([BUCKET])), Unavailable
        )
        return str(error.__cause__)

    def move(self, pattern: str, seconds: float) -> None:
        self.server.ask("EVAL", MOVE, 0, pattern, round(seconds * 1_000_000))


class ContractTests(BucketStoreContract, RedisCase):
    def make(self) -> IBucketStore:
        return self.buckets()

    async def advance(self, seconds: float) -> None:
        self.move(f"{PREFIX}{self.id()} *", seconds)

    async def kept(self) -> int:
        found = self.server.ask("KEYS", f"{PREFIX}{self.id()} *")
        assert isinstance(found, list)
        return len(found)

    async def test_expires(self) -> None:
        """A key expires when its bucket has run empty."""
        store, bucket = self.make(), self.bucket()
        for taken_us in (bucket.interval_us, bucket.full_us):
            await store.take([bucket])
            ttl_ms = self.server.ask("PTTL", PREFIX + bucket.key)
            assert isinstance(ttl_ms, int)
            self.assertTrue(0 < ttl_ms <= taken_us / 1000, ttl_ms)
        await store.give_back([bucket])
        ttl_ms = self.server.ask("PTTL", PREFIX + bucket.key)
        assert isinstance(ttl_ms, int)
        self.assertTrue(0 < ttl_ms <= bucket.interval_us / 1000, ttl_ms)


class LimiterTests(SharedLimiterContract, RedisCase):
    def secret(self) -> bytes:
        # The server is shared, and a test may run twice.
        return f"{self.id()} {self.nonce}".encode()

    def setUp(self) -> None:
        super().setUp()
        self.nonce = os.urandom(8).hex()

    def store(self) -> IBucketStore:
        return self.buckets()

    async def advance(self, seconds: float) -> None:
        self.move(f"{PREFIX}*", seconds)

    async def test_keys(self) -> None:
        """No key has an address in it."""
        await self.make().take("192.0.2.77")
        found = self.server.ask("KEYS", "*")
        assert isinstance(found, list)
        self.assertEqual([key for key in found if "192" in key or not key.startswith(PREFIX)], [])


class ConnectionTests(RedisCase):
    def start(self) -> redis.Server:
        return redis.own(self)

    def clients(self) -> int:
        """How many connections it has, other than that of the question."""
        found = self.server.ask("CLIENT", "LIST")
        assert isinstance(found, str)
        return len(found.splitlines()) - 1

    async def test_lazy(self) -> None:
        """The first call opens a connection, on which all calls go; ``close`` closes it, and a
        later call opens another."""
        buckets = self.buckets()
        self.assertEqual(self.clients(), 0)
        await together(buckets.take([BUCKET]) for _ in range(10))
        await buckets.peek([BUCKET])
        self.assertEqual(self.clients(), 1)
        await self.closed(buckets)
        while self.clients():
            await deferLater(reactor, 0.01)
        self.assertGreater(await buckets.take([BUCKET]), 0)

    async def test_oneCommand(self) -> None:
        """A decision is one command: the script's hash, once Redis knows the script."""
        buckets = self.buckets()
        await buckets.peek([BUCKET])
        await buckets.give_back([BUCKET])
        self.server.ask("CONFIG", "RESETSTAT")
        await buckets.take([BUCKET, Bucket("two", 10**8, 2)])
        await buckets.peek([BUCKET])
        await buckets.give_back([BUCKET])
        stats = self.server.ask("INFO", "commandstats")
        assert isinstance(stats, str)
        self.assertIn("cmdstat_evalsha:calls=3,", stats)
        self.assertNotIn("cmdstat_eval:", stats)

    async def test_scriptsLost(self) -> None:
        """When Redis has lost its scripts, they are sent again."""
        buckets = self.buckets(path=self.server.path)
        await buckets.take([BUCKET])
        self.server.ask("SCRIPT", "FLUSH")
        self.assertEqual(await buckets.take([BUCKET]), 0)
        self.assertGreater(await buckets.take([BUCKET]), 0)

    async def test_restart(self) -> None:
        """After a restart of Redis the first call is answered, on a new connection."""
        buckets = self.buckets()
        await buckets.take([BUCKET])
        self.server.stop()
        await deferLater(reactor, 0.05)
        self.assertIn("refused", await self.unavailable(buckets))
        self.server.start()
        self.assertEqual(await buckets.take([BUCKET]), 0)
        self.server.stop()
        self.server.start()
        while buckets._factory.pool:
            await deferLater(reactor, 0.01)
        self.assertEqual(await buckets.take([BUCKET]), 0)

    async def test_clientLeft(self) -> None:
        """A call that is cancelled while others wait for the connection leaves that to them."""
        buckets = self.buckets()
        left = Deferred.fromCoroutine(buckets.take([BUCKET]))
        stays = Deferred.fromCoroutine(buckets.take([BUCKET]))
        left.cancel()
        await self.assertFailure(left, CancelledError)
        self.assertEqual(await stays, 0)

    async def test_databases(self) -> None:
        """``dbid`` chooses the database."""
        await self.buckets(dbid=3).take([BUCKET])
        await self.buckets(dbid=3, path=self.server.path).take([BUCKET])
        self.assertGreater(await self.buckets(dbid=3).take([BUCKET]), 0)
        self.assertEqual(await self.buckets().take([BUCKET]), 0)
        keyspace = self.server.ask("INFO", "keyspace")
        self.assertIn("db3:keys=1,", str(keyspace))

    async def test_logins(self) -> None:
        """A user and a password log in, or the password alone; the commands that docs/workers.md
        names are enough. A wrong password is told without it, and a right one works later."""
        rule = f"~{PREFIX}* -@all +eval +evalsha +time +get +set +del +select"
        self.server.ask("ACL", "SETUSER", "limits", "on", ">of limits", *rule.split())
        self.server.ask("ACL", "SETUSER", "default", "resetpass", ">of all")
        known = {"username": "limits", "password": Secret("of limits"), "dbid": 1}
        for options in (known, {"password": Secret("of all")}):
            self.assertEqual(await self.buckets(**options).take([BUCKET]), 0)
        for options in ({}, {"password": Secret("s3cret")}, {**known, "username": "default"}):
            cause = await self.unavailable(self.buckets(**options))
            self.assertRegex(cause, "NOAUTH|WRONGPASS")
            self.assertNotIn("s3cret", cause)

    async def test_rightLater(self) -> None:
        """A password that Redis learns later works then."""
        buckets = self.buckets(username="later", password=Secret("x"))
        self.assertIn("WRONGPASS", await self.unavailable(buckets))
        self.server.ask("ACL", "SETUSER", "later", "on", ">x", "~*", "+@all")
        self.assertEqual(await buckets.take([BUCKET]), 0)

    async def test_cannotCount(self) -> None:
        """What Redis refuses is no answer: here it is a replica that cannot write."""
        buckets = self.buckets()
        await buckets.take([BUCKET])
        self.server.ask("REPLICAOF", "127.0.0.1", free_port())
        self.assertIn("READONLY", await self.unavailable(buckets))
        self.server.ask("REPLICAOF", "NO", "ONE")
        self.assertEqual(await buckets.take([BUCKET]), 0)


class Silent(Protocol):
    """Takes what is sent and answers nothing, or something else than Redis."""

    answer = b""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(self.answer)


class SilentTests(RedisCase):
    def start(self) -> redis.Server:
        self.patch(redis_store, "DEADLINE_S", 0.3)
        return redis.shared(self)

    async def listening(self, answer: bytes = b"") -> RedisBuckets:
        """Buckets over another server than Redis."""
        protocol = type("Answering", (Silent,), {"answer": answer})
        listener = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = await listener.listen(Factory.forProtocol(protocol))
        self.addCleanup(port.stopListening)
        return self.buckets(port=port.getHost().port)

    async def test_silent(self) -> None:
        """A server that says nothing is given up, by all that wait for it, and its connection is
        closed."""
        buckets = await self.listening()
        started_s = time.monotonic()
        ended = await together(buckets.take([BUCKET]) for _ in range(5))
        self.assertEqual([type(error) for error in ended], [Unavailable] * 5)
        self.assertLess(time.monotonic() - started_s, 5)
        self.assertIsNone(buckets._factory)

    async def test_stopped(self) -> None:
        """A Redis that is stopped in the middle is given up, and answers again later."""
        server = redis.own(self)
        buckets = self.buckets(port=server.port)
        self.patch(redis_store, "DEADLINE_S", PATIENCE_S)
        await buckets.take([BUCKET])
        server.ask("CLIENT", "PAUSE", 100_000)
        self.patch(redis_store, "DEADLINE_S", 0.3)
        self.assertIn("no answer within 0.3 s", await self.unavailable(buckets))
        server.stop()
        server.start()
        self.patch(redis_store, "DEADLINE_S", PATIENCE_S)
        self.assertEqual(await buckets.take([BUCKET]), 0)

    async def test_nobody(self) -> None:
        """Where nobody listens the refusal comes at once, for a Unix socket as well."""
        self.patch(redis_store, "DEADLINE_S", PATIENCE_S)
        self.assertIn("refused", await self.unavailable(self.buckets(port=free_port())))
        self.assertIn("No such file", await self.unavailable(self.buckets(path="/tmp/no/redis")))

    async def test_others(self) -> None:
        """What is no answer of Redis is none."""
        for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n", b"$-1\r\n", b"*0\r\n"):
            await self.unavailable(await self.listening(answer))


def make_certificates(folder: Path) -> None:
    """An authority, and a certificate of it for localhost, which a client may show as well."""
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    for command in (
        f"openssl req -x509 {key} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem",
        f"openssl req {key} -subj /CN=localhost -keyout key.pem -out request.pem",
        "openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2"
        " -extfile names -out cert.pem",
        f"openssl req -x509 {key} -days 2 -subj /CN=stranger -keyout no.key -out stranger.pem",
    ):
        (folder / "names").write_text("subjectAltName=DNS:localhost\n")
        subprocess.run(shlex.split(command), cwd=folder, check=True, capture_output=True)


class TLSTests(RedisCase):
    def start(self) -> redis.Server:
        self.folder = Path(self.mktemp()).resolve()
        (self.folder / "authorities").mkdir(parents=True)
        make_certificates(self.folder)
        (self.folder / "authorities/ca.pem").write_bytes((self.folder / "ca.pem").read_bytes())
        self.port = free_port()
        files = {
            f"tls-{name}-file": self.folder / f"{file}.pem"
            for name, file in (("cert", "cert"), ("key", "key"), ("ca-cert", "ca"))
        }
        options = {"port": 0, "tls-port": self.port, "tls-auth-clients": "optional", **files}
        return redis.own(self, **options)

    def over_tls(self, host: str = "localhost", **options: str) -> RedisBuckets:
        paths = {name: str(self.folder / file) for name, file in options.items()}
        return self.buckets(RedisConfig(host=host, port=self.port, tls=RedisTLS(**paths)))

    async def test_trusted(self) -> None:
        """An authority of a file or of a directory is trusted."""
        for options in ({"ca_file": "ca.pem"}, {"ca_path": "authorities"}):
            self.assertEqual(await self.over_tls(**options).take([BUCKET]), 0)

    async def test_notTrusted(self) -> None:
        """Another authority, those of the system, and another name of the server are not."""
        for options in ({}, {"ca_file": "stranger.pem"}):
            self.assertIn(
                "certificate verify failed", await self.unavailable(self.over_tls(**options))
            )
        self.assertIn(
            "127.0.0.1", await self.unavailable(self.over_tls("127.0.0.1", ca_file="ca.pem"))
        )

    async def test_ownCertificate(self) -> None:
        """Where Redis asks for our certificate it gets it."""
        self.server.ask("CONFIG", "SET", "tls-auth-clients", "yes")
        await self.unavailable(self.over_tls(ca_file="ca.pem"))
        pair = {"certificate": "cert.pem", "private_key": "key.pem"}
        self.assertEqual(await self.over_tls(ca_file="ca.pem", **pair).take([BUCKET]), 0)

    def test_notCertificates(self) -> None:
        """A file without a certificate is named."""
        with self.assertRaisesRegex(UnusableFiles, "names contains no certificate"):
            self.over_tls(ca_file="names")
        with self.assertRaises(UnusableFiles):
            self.over_tls(certificate="cert.pem", private_key="no.key")
