"""Sockets that listen: they are bound first and adopted by a reactor later, which may be that of
another process."""

# Twisted's descriptors are not annotated.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import re
import socket
from typing import Any, Callable, Iterable, Optional, Sequence

import attr
from twisted.internet import ssl
from twisted.internet.abstract import FileDescriptor
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from regsys.config import ALL_ADDRESSES, Listener, TLSFiles
from regsys.processes.activation import CannotListen, Inherited

# Connections that may wait to be accepted: while a process starts, or is replaced.
BACKLOG = 512
# How long a process leaves a new connection to those that have fewer.
AFTER_YOU_S = 0.005
# How long a process that has no descriptor left for a connection waits.
NO_DESCRIPTOR_S = 1.0

log = Logger()


@attr.frozen(kw_only=True)
class Bound:
    """A socket of a listener. ``file`` identifies the file of a Unix socket that is ours to remove.
    ``lasts``: another program has bound it, and keeps it when this one ends."""

    listener: Listener
    socket: socket.socket
    file: Optional[tuple[int, int]] = None
    lasts: bool = False

    @property
    def address(self) -> str:
        """The URL or the path of the Unix socket."""
        if self.listener.path is not None:
            return f"unix:{self.listener.path}"
        host, port = self.socket.getsockname()[:2]
        name = "localhost" if host in ALL_ADDRESSES else host
        scheme = "https" if self.listener.tls else "http"
        return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}"

    def adopt(
        self,
        reactor: Any,
        factory: Any,
        tls: Optional[TLSFiles],
        goes_first: Callable[[], bool] = lambda: True,
    ) -> Port:
        """Serve ``factory`` on it. This process's copy of the socket is the port's from now on.
        ``goes_first``: whether no other process should take the next connection."""
        if self.listener.tls:
            assert tls is not None
            factory = TLSMemoryBIOFactory(tls_context(tls), False, factory)
        return Port(self.socket, factory, reactor, goes_first, self.lasts)

    def close(self) -> None:
        self.socket.close()

    def remove_file(self) -> None:
        """Remove the file of a Unix socket, unless another process has bound the path since."""
        path = self.listener.path
        if path is not None:
            with contextlib.suppress(OSError):
                if _identity(path) == self.file:
                    os.unlink(path)


class Port(FileDescriptor):
    """Accepts connections of a socket that other processes may serve, too.

    One at a time, and one that another process should take only if that does not: Twisted's own
    ports take all that wait, and the first process to wake would keep them, since proxies keep
    connections open. Nor does closing this one concern the others: no file is removed, and the
    socket is not shut down. ``lasts``: those that wait at the end are the next process's.
    """

    reactor: Any

    def __init__(
        self,
        listening: socket.socket,
        factory: Any,
        reactor: Any,
        goes_first: Callable[[], bool] = lambda: True,
        lasts: bool = False,
    ) -> None:
        super().__init__(reactor)
        self._listening, self._factory, self._goes_first = listening, factory, goes_first
        self._lasts = lasts
        factory.doStart()
        self.startReading()

    def fileno(self) -> int:
        return self._listening.fileno()

    def doRead(self) -> None:
        if self._goes_first():
            self._accept()
        else:
            self._pause(AFTER_YOU_S, self._accept)

    def _accept(self) -> bool:
        """Take one; returns whether there was one."""
        try:
            accepted, _ = self._listening.accept()
        except (BlockingIOError, ConnectionError):
            return False  # another process has taken it, or the client has left
        except OSError as error:
            log.error("no connection can be accepted: {reason}", reason=error.strerror)
            self._pause(NO_DESCRIPTOR_S)
            return False
        with accepted:
            accepted.setblocking(False)
            # That makes a copy.
            self.reactor.adoptStreamConnection(accepted.fileno(), accepted.family, self._factory)
        return True

    def _pause(self, seconds: float, then: Callable[[], object] = lambda: None) -> None:
        def resume() -> None:
            if self._listening.fileno() >= 0:
                self.startReading()
                then()

        self.stopReading()
        self.reactor.callLater(seconds, resume)

    def stopListening(self) -> None:
        """Take those that wait, whose clients may have sent their requests, and no more. If the
        socket lasts, they are not lost, and the next process has more time for them."""
        for _ in range(0 if self._lasts else BACKLOG):
            if not self._accept():
                break
        self.stopReading()
        self._listening.close()
        self._factory.doStop()


class Shares:
    """How many connections each of several processes has, in memory that they share."""

    def __init__(self, count: int) -> None:
        # Shared with all processes that are forked from now on.
        self._counts = memoryview(mmap.mmap(-1, 4 * count)).cast("I")

    def goes_first(self, number: int, connections: int) -> bool:
        """The process ``number`` (from 0) has so many: whether none has fewer."""
        self._counts[number] = connections
        return connections <= min(self._counts)


def bind(listeners: Iterable[Listener], inherited: Optional[Inherited] = None) -> Sequence[Bound]:
    """Bind all of them, but for those that were ``inherited``. Raises CannotListen, also if one of
    these is no listener's; then none is bound."""
    bound: list[Bound] = []
    given = inherited or Inherited()
    try:
        for listener in listeners:
            bound += _bind(listener, given)
        given.check_all_taken()
    except CannotListen:
        given.close()
        for item in bound:
            item.close()
            item.remove_file()
        raise
    return bound


def addresses(bound: Iterable[Bound]) -> Sequence[str]:
    """Where they listen, each once."""
    return list(dict.fromkeys(item.address for item in bound))


def _bind(listener: Listener, given: Inherited) -> Sequence[Bound]:
    if listener.path is not None:
        found = given.take(socket.AF_UNIX, listener.path)
        if found is not None:
            return [Bound(listener=listener, socket=found, lasts=True)]
        return [_bind_unix(listener, listener.path)]
    bound: list[Bound] = []
    refused: Optional[OSError] = None
    for address in listener.bind_addresses:
        try:
            family, place = _resolved(address, listener.port or 0)
            found = given.take(family, place)
            made = found or _listen_at(family, place)
            bound.append(Bound(listener=listener, socket=made, lasts=found is not None))
        except OSError as error:
            refused = error
            if address not in ALL_ADDRESSES:
                break
    # Of ALL_ADDRESSES one family is enough: a machine may lack the other, or one socket may
    # serve both.
    if refused is not None and not (bound and set(listener.bind_addresses) <= set(ALL_ADDRESSES)):
        for item in bound:
            item.close()
        raise CannotListen(_problem(listener, refused))
    return bound


def _resolved(address: str, port: int) -> tuple[int, Any]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    places = socket.getaddrinfo(address, port, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return family, places[0][4]


def _listen_at(family: int, place: Any) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(place)
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _bind_unix(listener: Listener, path: str) -> Bound:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        if os.path.exists(path):
            os.unlink(path)
        made.bind(path)
        os.chmod(path, listener.mode)
        made.listen(BACKLOG)
        return Bound(listener=listener, socket=made, file=_identity(path))
    except OSError as error:
        made.close()
        raise CannotListen(f"cannot listen on {path}: {error}") from None


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _problem(listener: Listener, error: OSError) -> str:
    """Why the listener cannot bind its address, and what to do."""
    mends = {
        errno.EADDRINUSE: "another program has it. Stop that one, or choose another port: with"
        " regsys serve --port for now, with listeners in the configuration for good",
        errno.EACCES: "only root may take ports this low. Choose one from 1024, and let a reverse"
        " proxy pass requests on",
        errno.EADDRNOTAVAIL: "no interface of this machine has that address. Correct"
        " bind_addresses in listeners",
    }
    reason = mends.get(error.errno or 0)
    where = f"port {listener.port} of {', '.join(listener.bind_addresses)}"
    return f"cannot listen on {where}: {error}{f' — {reason}' if reason else ''}"


def tls_context(files: TLSFiles) -> ssl.CertificateOptions:
    """The TLS context with the certificate, its chain and its key."""
    from OpenSSL import crypto

    with open(files.certificate, "rb") as file:
        blocks = re.findall(
            rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", file.read(), re.DOTALL
        )
    with open(files.private_key, "rb") as file:
        key = crypto.load_privatekey(crypto.FILETYPE_PEM, file.read())
    chain = [ssl.Certificate.loadPEM(block).original for block in blocks]
    return ssl.CertificateOptions(privateKey=key, certificate=chain[0], extraCertChain=chain[1:])
