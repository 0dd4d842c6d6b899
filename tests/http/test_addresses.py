"""The client address that a request counts for."""

from __future__ import annotations

from typing import Callable, Optional

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IRequest
from twisted.web.test.requesthelper import DummyRequest

from regsys.http import first_forwarded, peer_address, rightmost_untrusted

SOCKET_FILE = UNIXAddress(None)


def request(peer: str | IAddress, *forwarded: str) -> IRequest:
    """A request from ``peer`` with these X-Forwarded-For headers."""
    made = DummyRequest([])
    if isinstance(peer, str):
        peer = (IPv6Address if ":" in peer else IPv4Address)("TCP", peer, 4711)
    made.client = peer
    if forwarded:
        made.requestHeaders.setRawHeaders("X-Forwarded-For", forwarded)
    return made


class PeerAddressTests(SynchronousTestCase):
    def test_headersAreNotBelieved(self) -> None:
        """The connection decides, whatever a header says."""
        self.assertEqual(peer_address(request("192.0.2.1", "203.0.113.9")), "192.0.2.1")

    def test_ipv6(self) -> None:
        """An IPv6 address is in its short form and without its zone."""
        self.assertEqual(peer_address(request("2001:DB8:0:0::1")), "2001:db8::1")
        self.assertEqual(peer_address(request("fe80::1%eth0")), "fe80::1")

    def test_ipv4WrappedInIPv6(self) -> None:
        """IPv4 clients of an IPv6 listener are told apart, not lumped into one /64."""
        self.assertEqual(peer_address(request("::ffff:192.0.2.1")), "192.0.2.1")

    def test_socketFile(self) -> None:
        """A peer at a Unix socket has no address of its own."""
        self.assertEqual(peer_address(request(SOCKET_FILE)), "unix")


class FirstForwardedTests(SynchronousTestCase):
    def assert_client(self, expected: str, *forwarded: str) -> None:
        self.assertEqual(first_forwarded(request("192.0.2.1", *forwarded)), expected)

    def test_first(self) -> None:
        """The first address of the first header counts."""
        self.assert_client("203.0.113.9", "203.0.113.9")
        self.assert_client("203.0.113.9", "203.0.113.9, 198.51.100.2")
        self.assert_client("203.0.113.9", " 203.0.113.9 ,198.51.100.2", "198.51.100.3")

    def test_spellings(self) -> None:
        """A port, brackets, a zone or a wrapping do not make another client."""
        self.assert_client("203.0.113.9", "203.0.113.9:8080")
        self.assert_client("203.0.113.9", "::ffff:203.0.113.9")
        for spelling in ("2001:db8::1", "[2001:db8::1]", "[2001:DB8::0:1]:443"):
            self.assert_client("2001:db8::1", spelling)

    def test_nothingReadable(self) -> None:
        """Without a header, or with an invalid one, the peer counts."""
        self.assert_client("192.0.2.1")
        for junk in ("", ",", "unknown", "999.1.1.1", "203.0.113.9\xff", "1:2:3", "[", "203"):
            self.assert_client("192.0.2.1", junk)
        self.assertEqual(first_forwarded(request(SOCKET_FILE)), "unix")


class RightmostUntrustedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.policy: Callable[[IRequest], str] = rightmost_untrusted(
            ["192.0.2.1", "10.0.0.0/8", "2001:db8:1::/48"]
        )

    def assert_client(
        self, expected: str, *forwarded: str, peer: Optional[str | IAddress] = None
    ) -> None:
        self.assertEqual(self.policy(request(peer or "192.0.2.1", *forwarded)), expected)

    def test_spoofedHeader(self) -> None:
        """A header that a client writes itself is not trusted."""
        self.assert_client("203.0.113.9", "198.51.100.66, 203.0.113.9")
        self.assert_client("203.0.113.9", "10.0.0.1, 203.0.113.9, 10.1.2.3")

    def test_strangersHeader(self) -> None:
        """A peer that is no known proxy counts itself, whatever it sends."""
        self.assert_client("203.0.113.1", "198.51.100.66", peer="203.0.113.1")

    def test_chain(self) -> None:
        """Known proxies are skipped, those of IPv6 too."""
        self.assert_client("203.0.113.9", "203.0.113.9, 2001:db8:1::5, 10.0.0.2")

    def test_severalHeaders(self) -> None:
        """Several headers are one list."""
        self.assert_client("203.0.113.9", "198.51.100.66", "203.0.113.9, 10.0.0.2")

    def test_socketFile(self) -> None:
        """A peer at a Unix socket is a proxy."""
        self.assert_client("203.0.113.9", "1.1.1.1, 203.0.113.9", peer=SOCKET_FILE)
        self.assert_client("unix", peer=SOCKET_FILE)

    def test_onlyProxies(self) -> None:
        """If all are proxies, the one that is farthest away counts."""
        self.assert_client("10.0.0.9", "10.0.0.9, 10.0.0.2")
        self.assert_client("192.0.2.1")

    def test_junk(self) -> None:
        """An invalid entry ends the search at the last valid address."""
        self.assert_client("192.0.2.1", "203.0.113.9, junk")
        self.assert_client("10.0.0.2", "203.0.113.9, , 10.0.0.2")

    def test_badProxy(self) -> None:
        """A proxy that is no address or network is an error at once."""
        self.assertRaises(ValueError, rightmost_untrusted, ["proxy.example"])
        error = self.assertRaises(TypeError, rightmost_untrusted, "10.0.0.0/8")
        self.assertIn("pass a list", str(error))
