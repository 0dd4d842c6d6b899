"""The buckets that processes share over Redis: one script a decision.

txredisapi, an optional dependency, speaks the protocol. It neither connects by itself here nor
again: a connection is opened for the first call, and a new one for the first call after it was
lost. So there is one rule of when Redis is asked, that of the caller's circuit breaker.
"""

from __future__ import annotations

import functools
import os
import re
from typing import Any, Optional, Sequence

import attr
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from regsys.config.redis import RedisConfig, RedisTLS
from regsys.errors import Unavailable
from regsys.interfaces.internal import IBucketStore
from regsys.model.buckets import Bucket

# How long connecting and the answer may take together, before the caller decides without.
DEADLINE_S = 0.75
PREFIX = "regsys:limit:"
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

# A key's value is when its bucket will have run empty, in microseconds by Redis's clock; the key
# expires then. ARGV: for each key its interval and how long a full bucket takes to run empty.
# A bucket that is fuller than full by a minute was counted before the clock was set back, or by a
# larger limit: it counts as full after one more request. ARGV[1] is 1 to count, 0 to look.
_TAKE = b"""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local wait, empty = 0, {}
for number, key in ipairs(KEYS) do
    local interval, full = tonumber(ARGV[2 * number]), tonumber(ARGV[2 * number + 1])
    local kept = tonumber(redis.call('GET', key) or 0)
    if kept > now + full + 60000000 then kept = now + full - interval end
    empty[number] = math.max(kept, now) + interval
    wait = math.max(wait, empty[number] - now - full)
end
if wait == 0 and ARGV[1] == '1' then
    for number, key in ipairs(KEYS) do
        local ttl = string.format('%.0f', math.ceil((empty[number] - now) / 1000))
        redis.call('SET', key, string.format('%.0f', empty[number]), 'PX', ttl)
    end
end
return wait
"""
# ARGV: for each key its interval.
_GIVE_BACK = b"""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for number, key in ipairs(KEYS) do
    local empty = tonumber(redis.call('GET', key) or 0) - tonumber(ARGV[number])
    if empty > now then
        local ttl = string.format('%.0f', math.ceil((empty - now) / 1000))
        redis.call('SET', key, string.format('%.0f', empty), 'PX', ttl)
    else
        redis.call('DEL', key)
    end
end
return 0
"""


@implementer(IBucketStore)
@attr.define(eq=False)
class RedisBuckets:
    """``_endpoint`` is where Redis listens; ``_clock`` that of the deadline."""

    _endpoint: IStreamClientEndpoint
    _config: RedisConfig
    _clock: IReactorTime
    # txredisapi's factory of the one connection, and who waits until that is open.
    _factory: Any = None
    _waiting: list[Deferred[Any]] = attr.field(factory=list)

    async def peek(self, buckets: Sequence[Bucket]) -> int:
        return await self._run(_TAKE, buckets, [0, *_sizes(buckets)])

    async def take(self, buckets: Sequence[Bucket]) -> int:
        return await self._run(_TAKE, buckets, [1, *_sizes(buckets)])

    async def give_back(self, buckets: Sequence[Bucket]) -> None:
        await self._run(_GIVE_BACK, buckets, [bucket.interval_us for bucket in buckets])

    def close(self) -> None:
        """Close the connection, or give up opening it. Those that wait get Unavailable."""
        if self._factory is not None:
            self._factory.disconnect().addErrback(lambda failure: None)
            self._failed(self._factory, ConnectionError("the connection was closed"))

    async def _run(self, script: bytes, buckets: Sequence[Bucket], numbers: Sequence[int]) -> int:
        keys = [f"{PREFIX}{bucket.key}".encode() for bucket in buckets]
        texts = [b"%d" % number for number in numbers]
        asked = self._connected()
        # By its hash, if this connection has sent it already and Redis still knows it.
        asked.addCallback(lambda protocol: protocol.eval(script, keys, texts))
        asked.addTimeout(DEADLINE_S, self._clock)
        try:
            return int(await asked)
        except CancelledError:
            raise
        except TimeoutError:
            self.close()
            raise Unavailable() from TimeoutError(f"no answer within {DEADLINE_S} s")
        except Exception as error:  # txredisapi's, and what another server answers in its place
            lost = None if self._factory is None else self._factory.lost
            self.close()
            raise Unavailable() from (lost or error)

    def _connected(self) -> Deferred[Any]:
        """The protocol of an open connection."""
        if self._factory is not None and self._factory.pool:
            return succeed(self._factory.pool[0])
        waited: Deferred[Any] = Deferred()
        self._waiting.append(waited)
        # Without a Deferred it has had its connection, and lost it.
        if self._factory is None or self._factory.deferred is None:
            self._connect()
        return waited

    def _connect(self) -> None:
        import txredisapi

        config = self._config
        password = None if config.password is None else config.password.reveal()
        factory = txredisapi.RedisFactory(
            uuid="regsys",
            dbid=config.dbid,
            poolsize=1,
            password=password,
            username=config.username,
            convertNumbers=False,
        )
        factory.reconnect, factory.protocol, factory.lost = False, _protocol(), None
        self._factory = factory
        factory.deferred.addCallbacks(
            lambda handler: self._opened(factory),
            lambda failure: self._failed(factory, failure.value),
        )
        factory.startConnecting(self._endpoint)

    def _opened(self, factory: Any) -> None:
        if factory is self._factory:
            waiting, self._waiting = self._waiting, []
            for waited in waiting:
                waited.callback(factory.pool[0])

    def _failed(self, factory: Any, cause: Exception) -> None:
        if factory is self._factory:
            self._factory = None
            waiting, self._waiting = self._waiting, []
            for waited in waiting:
                waited.errback(cause)


@functools.lru_cache(maxsize=1)
def _protocol() -> Any:
    """txredisapi's protocol. It tells its factory why the connection was ``lost``: nothing else
    says what was wrong about a certificate."""
    import txredisapi

    class Protocol(txredisapi.RedisProtocol):  # type: ignore[misc]  # it is not typed
        def connectionLost(self, why: Failure) -> None:
            self.factory.lost = why.value
            super().connectionLost(why)

    return Protocol


def _sizes(buckets: Sequence[Bucket]) -> list[int]:
    return [number for bucket in buckets for number in (bucket.interval_us, bucket.full_us)]


class UnusableFiles(Exception):
    """The certificates or keys cannot be used; the text says why."""


def endpoint(config: RedisConfig, reactor: Any) -> IStreamClientEndpoint:
    """Where Redis listens. Raises UnusableFiles."""
    if config.path is not None:
        return UNIXClientEndpoint(reactor, config.path, timeout=DEADLINE_S)
    plain = HostnameEndpoint(reactor, config.host, config.port, timeout=DEADLINE_S)
    if config.tls is None:
        return plain
    try:
        return wrapClientTLS(_tls_options(config.host, config.tls), plain)
    except Exception as error:  # of three libraries, each with exceptions of its own
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise UnusableFiles(reason) from None


def _tls_options(host: str, tls: RedisTLS) -> Any:
    own, more = _own_certificate(tls)
    return optionsForClientTLS(
        host,
        trustRoot=_trust(tls),
        clientCertificate=own,
        extraCertificateOptions={"extraCertChain": more} if more else None,
    )


def _trust(tls: RedisTLS) -> Any:
    """The authorities that may have signed Redis's certificate; None: those of the system."""
    paths = [tls.ca_file] if tls.ca_file is not None else []
    if tls.ca_path is not None:
        names = sorted(os.listdir(tls.ca_path))
        paths += [path for name in names if os.path.isfile(path := os.path.join(tls.ca_path, name))]
    if not paths:
        return None
    return trustRootFromCertificates([item for path in paths for item in _certificates(path)])


def _own_certificate(tls: RedisTLS) -> tuple[Optional[PrivateCertificate], list[Any]]:
    """The certificate with which we introduce ourselves, and those between it and its authority."""
    if tls.certificate is None or tls.private_key is None:
        return None, []
    with open(tls.private_key, "rb") as file:
        key = file.read()
    own, *more = _certificates(tls.certificate)
    pair = PrivateCertificate.loadPEM(key + b"\n" + own.dumpPEM())
    return pair, [item.original for item in more]


def _certificates(path: str) -> list[Certificate]:
    """All certificates of a PEM file. ValueError if it has none."""
    with open(path, "rb") as file:
        found = [Certificate.loadPEM(block) for block in _CERTIFICATE.findall(file.read())]
    if not found:
        raise ValueError(f"{path} contains no certificate")
    return found
