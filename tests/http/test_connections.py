"""The bounds on connections, and which connection is closed beyond them (threat A27)."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from regsys.http import Call, Endpoint, Reply, resource, site
from regsys.http.connections import (
    MOST_CONNECTIONS,
    Connections,
    counted_by_address,
    most_connections,
)
from tests.http.wire import Wire

GET = b"GET /wait HTTP/1.1\r\nHost: hs.test\r\n\r\n"


class ConnectionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.gates = Clock(), list[Deferred[None]]()
        self.bounded(total=5, per_address=5)

    def bounded(self, **bounds: int) -> None:
        self.connections = Connections(seconds=self.clock.seconds, **bounds)
        self.site = self.another_site()

    def another_site(self) -> Any:
        root = resource([Endpoint("wait", ("/wait",), {"GET": self.wait})])
        return site(root, clock=self.clock, connections=self.connections)

    async def wait(self, call: Call) -> Reply:
        self.gates.append(Deferred())
        await self.gates[-1]
        return Reply()

    def connect(self, host: str = "192.0.2.7", at: Any = None) -> Wire:
        return Wire.to(at or self.site, self.clock, host)

    def assert_open(self, wires: list[Wire], *places: int) -> None:
        """These of the connections are open, the others are not."""
        still = tuple(place for place, wire in enumerate(wires) if not wire.closed)
        self.assertEqual(still, places)

    def test_theOldestGivesWay(self) -> None:
        """Beyond the bound the connection that has been idle for the longest time is closed at
        once, on whichever listener; a byte now and then does not help it."""
        other = self.another_site()
        wires = [self.connect(f"192.0.2.{number}", other) for number in range(5)]
        for wire in wires:
            wire.send(b"G")
        wires += [self.connect("198.51.100.1")]
        self.assert_open(wires, 1, 2, 3, 4, 5)
        self.assertTrue(wires[0].transport.disconnected)
        wires[1].send(b"E")
        wires += [self.connect("198.51.100.2")]
        self.assert_open(wires, 2, 3, 4, 5, 6)

    def test_thoseThatWaitForUs(self) -> None:
        """A connection whose request is under way is not closed; if all are, the new one is. Once
        answered it counts as idle from then on."""
        wires = [self.connect(f"192.0.2.{number}") for number in range(5)]
        for number in (0, 2, 3, 4):
            wires[number].send(GET)
        wires += [self.connect("198.51.100.1")]
        self.assert_open(wires, 0, 2, 3, 4, 5)
        wires[5].send(GET)
        wires += [self.connect("198.51.100.2")]
        self.assert_open(wires, 0, 2, 3, 4, 5)
        self.gates[1].callback(None)
        self.gates[0].callback(None)
        wires += [self.connect("198.51.100.3"), self.connect("198.51.100.4")]
        self.assert_open(wires, 3, 4, 5, 7, 8)

    def test_expected(self) -> None:
        """A request is on its way if its connection is new, or a part of it is there; none is if it
        has arrived, or one before was answered."""
        wires = [self.connect() for _ in range(3)]
        self.assertEqual(self.connections.expected, 3)
        wires[0].send(GET)
        wires[1].send(GET[:9])
        wires[2].hang_up()
        self.assertEqual(self.connections.expected, 1)
        wires[1].send(GET[9:])
        self.gates[0].callback(None)
        self.assertEqual(self.connections.expected, 0)
        wires[0].send(GET[:9])
        self.assertEqual(self.connections.expected, 1)

    def test_closedOnes(self) -> None:
        """Closed connections do not count, and leave nothing behind."""
        for _ in range(3):
            wires = [self.connect("2001:db8::1") for _ in range(5)]
            wires[0].send(GET)
            for wire in wires:
                wire.hang_up()
        extra = [self.connect("2001:db8::1") for _ in range(6)]
        self.assert_open(extra, 1, 2, 3, 4, 5)
        for wire in extra:
            wire.hang_up()
        left = self.connections
        self.assertEqual((left._all.count, len(left._all.idle)), (0, 0))
        self.assertEqual((left._by_key, left._groups, left.expected), ({}, {}, 0))

    def test_oneAddress(self) -> None:
        """An address with too many connections loses its own, and no others."""
        self.bounded(total=100, per_address=3)
        stranger = self.connect("198.51.100.1")
        wires = [self.connect() for _ in range(5)]
        self.assert_open([*wires, stranger], 2, 3, 4, 5)
        for wire in wires[2:]:
            wire.send(GET)
        self.assertTrue(self.connect().closed)
        self.assertTrue(self.connect("::ffff:192.0.2.7").closed)
        self.assertFalse(self.connect("192.0.2.8").closed)

    def test_oneSite(self) -> None:
        """An IPv6 address counts as its /64, and its /48 may have eight times as many."""
        self.bounded(total=1000, per_address=3)
        near = [self.connect(f"2001:db8:0:1::{number}") for number in range(4)]
        self.assert_open(near, 1, 2, 3)
        wires = [self.connect(f"2001:db8:0:{number}::1") for number in range(2, 602)]
        self.assert_open(wires, *range(600 - 24, 600))
        self.assert_open(near)
        self.assertFalse(self.connect("2001:db8:1::1").closed)

    def test_proxies(self) -> None:
        """Peers with many clients are bounded by the total alone: proxies, Unix sockets, and this
        machine itself."""
        keys = counted_by_address(["203.0.113.0/24", "2001:db8:5::1"])
        for peer, expected in (
            (IPv4Address("TCP", "192.0.2.7", 1), ("192.0.2.7",)),
            (IPv6Address("TCP", "::ffff:192.0.2.7", 1), ("192.0.2.7",)),
            (IPv6Address("TCP", "2001:db8:6:2::1", 1), ("2001:db8:6:2::/64", "2001:db8:6::/48")),
            (IPv6Address("TCP", "fe80::1%eth0", 1), ("fe80::/64", "fe80::/48")),
            (IPv4Address("TCP", "203.0.113.9", 1), ()),
            (IPv6Address("TCP", "::ffff:203.0.113.9", 1), ()),
            (IPv6Address("TCP", "2001:db8:5::1", 1), ()),
            (IPv4Address("TCP", "127.0.0.2", 1), ()),
            (IPv6Address("TCP", "::1", 1), ()),
            (IPv6Address("TCP", "::ffff:127.0.0.1", 1), ()),
            (UNIXAddress("/run/regsys.sock"), ()),
            (UNIXAddress(None), ()),
        ):
            self.assertEqual(keys(peer), expected)
            self.assertEqual(counted_by_address(None)(peer), ())

    def test_log(self) -> None:
        """At most once a minute a log line says that all places are taken."""
        with capturedLogs() as events:
            for _ in range(5):
                self.connect()
            self.assertEqual(events, [])
            for _ in range(100):
                self.connect()
                self.clock.advance(1)
        self.assertEqual([event["total"] for event in events], [5, 5])

    def test_bounds(self) -> None:
        """The total follows from the descriptors that the process may have, less what it needs
        itself; that of an address is at most an eighth."""
        for descriptors, total, per_address in (
            (256, 128, 16),
            (1024, 512, 64),
            (4096, 3072, 256),
            (1_048_576, MOST_CONNECTIONS, 256),
            (16, 8, 1),
        ):
            self.assertEqual(most_connections(descriptors), total)
            bounds = Connections.within(total, self.clock.seconds)
            self.assertEqual((bounds.total, bounds.per_address), (total, per_address))
        self.assertEqual(Connections.within(100, self.clock.seconds, 70).per_address, 70)
