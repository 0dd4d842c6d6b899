"""Sockets that listen, and which of several processes takes a connection: without processes."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

import attr
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from regsys.config import Listener
from regsys.processes import listening, service
from regsys.processes.activation import CannotListen
from regsys.processes.listening import AFTER_YOU_S, NO_DESCRIPTOR_S, Port, Shares
from regsys.testing import config, standalone


class Listening:
    """A socket with ``waiting`` connections."""

    waiting = 0
    error: OSError = BlockingIOError()

    def __init__(self) -> None:
        self.number = 7

    def fileno(self) -> int:
        return self.number

    def accept(self) -> tuple[socket.socket, Any]:
        if not self.waiting:
            raise self.error
        self.waiting -= 1
        return socket.socketpair()[0], None

    def close(self) -> None:
        self.number = -1


class Reactor(MemoryReactorClock):
    def __init__(self) -> None:
        super().__init__()
        self.accepted = 0

    def adoptStreamConnection(self, number: int, family: int, factory: Any) -> None:
        self.accepted += 1


class PortTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.socket, self.reactor, self.first = Listening(), Reactor(), True
        factory = Factory.forProtocol(Protocol)
        port: Any = Port(self.socket, factory, self.reactor, lambda: self.first)  # type: ignore[arg-type]
        self.port = port

    @property
    def listens(self) -> bool:
        return self.port in self.reactor.getReaders()

    def test_oneAtATime(self) -> None:
        """Each turn takes one connection, so that others may take the next."""
        self.socket.waiting = 2
        self.port.doRead()
        self.assertEqual((self.reactor.accepted, self.listens), (1, True))

    def test_othersFirst(self) -> None:
        """A connection that another process should take is taken all the same if that does not."""
        self.socket.waiting, self.first = 1, False
        self.port.doRead()
        self.assertEqual((self.reactor.accepted, self.listens), (0, False))
        self.reactor.advance(AFTER_YOU_S)
        self.assertEqual((self.reactor.accepted, self.listens), (1, True))

    def test_takenByAnother(self) -> None:
        """A connection that another process has taken is none of this one's business."""
        self.port.doRead()
        self.assertEqual((self.reactor.accepted, self.listens), (0, True))

    def test_noDescriptor(self) -> None:
        """Without a free descriptor it waits, with a line in the log, and does not spin."""
        self.socket.error = OSError(errno.EMFILE, "Too many open files")
        self.port.doRead()
        self.assertFalse(self.listens)
        self.socket.waiting = 1
        self.reactor.advance(NO_DESCRIPTOR_S)
        self.assertTrue(self.listens)
        self.port.doRead()
        self.assertEqual(self.reactor.accepted, 1)

    def test_stopped(self) -> None:
        """At the end those that wait are taken, as they would be cut otherwise; then none, also if
        it was just leaving one to others."""
        self.socket.waiting, self.first = 3, False
        self.port.doRead()
        self.port.stopListening()
        self.assertEqual(self.reactor.accepted, 3)
        self.socket.waiting = 1
        self.reactor.advance(AFTER_YOU_S)
        self.assertEqual((self.reactor.accepted, self.listens), (3, False))

    def test_lasts(self) -> None:
        """Those that wait in a socket that the next process gets are left to that."""
        factory = Factory.forProtocol(Protocol)
        port: Any = Port(self.socket, factory, self.reactor, lasts=True)  # type: ignore[arg-type]
        self.socket.waiting = 3
        port.doRead()
        port.stopListening()
        self.assertEqual((self.reactor.accepted, port in self.reactor.getReaders()), (1, False))


class ServiceTests(SynchronousTestCase):
    def test_asked(self) -> None:
        """A service asks whether it goes first with the number of its connections, and adopts
        sockets that another process has bound: their files are that one's."""
        self.patch(service.signal, "signal", lambda *arguments: None)
        path = f"/tmp/regsys-{os.getpid()}.s"
        listener = Listener(path=path)
        bound = listening.bind([listener])
        self.addCleanup(bound[0].remove_file)
        reactor, asked = Reactor(), []

        def goes_first(connections: int) -> bool:
            asked.append(connections)
            return False

        serving = service.Service(
            attr.evolve(config(), listeners=(listener,)),
            standalone(self, reactor),
            reactor,
            lambda service: None,
            bound=bound,
            goes_first=goes_first,
        )
        self.patch(serving, "_end_in_time", lambda: None)
        serving.startService()
        (port,) = reactor.getReaders()
        port.doRead()
        self.assertEqual(asked, [0])
        serving.stopService()
        self.assertEqual(reactor.getReaders(), [])
        self.assertTrue(os.path.exists(path))


class SharesTests(SynchronousTestCase):
    def test_least(self) -> None:
        """Whoever has the fewest connections goes first; of equals each does."""
        shares = Shares(2)
        self.assertTrue(shares.goes_first(0, 0))
        self.assertFalse(shares.goes_first(0, 1))
        self.assertTrue(shares.goes_first(1, 1))
        self.assertTrue(shares.goes_first(0, 1))

    def test_otherProcess(self) -> None:
        """What a forked process has is known to the others."""
        shares = Shares(2)
        pid = os.fork()
        if pid == 0:
            shares.goes_first(1, 5)
            os._exit(0)
        os.waitpid(pid, 0)
        self.assertTrue(shares.goes_first(0, 3))
        self.assertFalse(shares.goes_first(1, 4))


class BindTests(SynchronousTestCase):
    def test_allOrNone(self) -> None:
        """If one address is taken nothing stays bound."""
        with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = probe.getsockname()[1]
            probe.close()
            local = ("127.0.0.1",)
            listeners = [
                Listener(port=free, bind_addresses=local),
                Listener(port=taken.getsockname()[1], bind_addresses=local),
            ]
            self.assertRaises(CannotListen, listening.bind, listeners)
            with socket.create_server(("127.0.0.1", free)):
                pass

    def test_bothFamilies(self) -> None:
        """Of the addresses for all interfaces one may be taken by the other."""
        bound = listening.bind([Listener(port=0, bind_addresses=("::", "0.0.0.0"))])  # noqa: S104
        self.addCleanup(lambda: [item.close() for item in bound])
        self.assertGreaterEqual(len(bound), 1)

    def test_address(self) -> None:
        """Where it listens is told as a URL, with the port that the system has chosen."""
        (bound,) = listening.bind([Listener(port=0, bind_addresses=("127.0.0.1",))])
        self.addCleanup(bound.close)
        port = bound.socket.getsockname()[1]
        self.assertEqual(bound.address, f"http://127.0.0.1:{port}")

    def test_anothersFile(self) -> None:
        """The file of a Unix socket is removed only by who has bound it last."""
        path = f"/tmp/regsys-{os.getpid()}.s"
        (one,) = listening.bind([Listener(path=path, mode=0o600)])
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        (other,) = listening.bind([Listener(path=path)])
        for item in (one, other):
            item.close()
        one.remove_file()
        self.assertTrue(os.path.exists(path))
        other.remove_file()
        self.assertFalse(os.path.exists(path))
