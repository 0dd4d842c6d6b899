"""The listeners of the service."""

from __future__ import annotations

from typing import Any

from regsys.config import ALL_ADDRESSES, Listener, TLSFiles
from tests.config.case import ConfigCase


class ListenerTests(ConfigCase):
    def listeners(self, *listeners: dict[str, Any]) -> dict[str, Any]:
        """These listeners, serving clients unless they say otherwise."""
        served = {"resources": [{"names": ["client"]}]}
        return {"listeners": [{**served, **listener} for listener in listeners]}

    def test_withoutAnyOneListensOnLoopback(self) -> None:
        """Without listeners: port 8008 on loopback."""
        (listener,) = self.parse({}).listeners
        self.assertEqual((listener.port, listener.bind_addresses), (8008, ("127.0.0.1",)))

    def test_withoutAddressesItTakesAll(self) -> None:
        """A listener listens on all addresses unless some are named, in either form."""
        for named, expected in (
            ({}, ALL_ADDRESSES),
            ({"bind_addresses": []}, ALL_ADDRESSES),
            ({"bind_address": "::1"}, ("::1",)),
            ({"bind_addresses": ["::1", "127.0.0.1"]}, ("::1", "127.0.0.1")),
            ({"bind_addresses": ["[::1]", "localhost"]}, ("::1", "localhost")),
            ({"bind_address": "fe80::1%eth0"}, ("fe80::1%eth0",)),
        ):
            for port in (0, 65535):
                (listener,) = self.parse(self.listeners({"port": port, **named})).listeners
                self.assertEqual((listener.port, listener.bind_addresses), (port, expected))

    def test_unixSockets(self) -> None:
        """A socket has permissions, and trusts the proxy that connects to it."""
        for written, mode in (
            (None, 0o666),
            (0o777, 0o777),
            (0, 0),
            ("0o600", 0o600),
            ("0600", 0o600),
        ):
            options = self.listeners({"path": "/run/regsys.sock", "mode": written})
            expected = Listener(
                path="/run/regsys.sock",
                mode=mode,
                x_forwarded=True,
                resources=frozenset({"client", "health"}),
            )
            self.assertEqual(self.parse(options).listeners, (expected,))

    def test_onlyOurResourcesAreKept(self) -> None:
        """Foreign resources and listeners are ignored and listed; health is always there."""
        config = self.parse(
            self.listeners(
                {"port": 8008, "resources": [{"names": ["client", "federation"]}]},
                {"port": 8448, "resources": [{"names": ["federation"], "compress": False}]},
                {"port": 9000, "type": "metrics"},
                {"port": 8081, "resources": [{"names": ["health"]}]},
            )
        )
        self.assertEqual([listener.port for listener in config.listeners], [8008, 8081])
        self.assertEqual(config.listeners[0].resources, {"client", "health"})
        self.assertEqual(config.listeners[1].resources, {"health"})
        self.assertEqual(config.warnings, ())
        self.assertEqual(
            set(config.unused),
            {"listeners[0].resources[0].names[1] (federation)", "listeners[1]", "listeners[2]"},
        )

    def test_metrics(self) -> None:
        """Metrics have a listener of their own, or are named as a resource; unless they are enabled
        both are without effect, and listed so."""
        options = self.listeners(
            {"port": 8008, "resources": [{"names": ["client", "metrics"]}]},
            {"port": 9000, "type": "metrics", "resources": None},
        )
        for enabled, resources, unused in (
            (True, [{"client", "metrics", "health"}, {"metrics", "health"}], set()),
            (
                False,
                [{"client", "health"}],
                {"listeners[0].resources[0].names[1] (metrics)", "listeners[1]"},
            ),
        ):
            config = self.parse({**options, "enable_metrics": enabled})
            self.assertEqual([set(item.resources) for item in config.listeners], resources)
            self.assertEqual(set(config.unused), unused)

    def test_impossibleListenersAreRefused(self) -> None:
        """Port and path exclude each other, sockets have no TLS, and one listener must serve
        clients."""
        for listener, name in (
            ({}, "listeners[0].port"),
            ({"port": 1, "path": "s"}, "listeners[0].port"),
            ({"port": 65536}, "listeners[0].port"),
            ({"path": "s", "mode": 0o1777}, "listeners[0].mode"),
            ({"path": "s", "mode": "rw"}, "listeners[0].mode"),
            ({"path": "s", "mode": 0o1000}, "listeners[0].mode"),
            ({"path": "s", "mode": -1}, "listeners[0].mode"),
            ({"path": "s", "mode": 1.5}, "listeners[0].mode"),
            ({"port": 1, "type": "gopher"}, "listeners[0].type"),
            ({"port": 1, "resources": [{"names": ["federation"]}]}, "listeners: none"),
            ({"port": 1, "resources": [{"names": ["health"]}]}, "listeners: none"),
            ({"port": 1, "resources": "client"}, "listeners[0].resources"),
            ({"port": 1, "resources": [{"name": "client"}]}, "listeners[0].resources[0].name: not"),
            ({"port": 1, "bind_addresses": ["127.0.0.1:8008"]}, "listeners[0].bind_addresses[0]"),
            ({"port": 1, "bind_address": "[::1]:8008"}, "listeners[0].bind_address: not"),
            ({"port": 1, "bind_address": "10.0.0.0/8"}, "listeners[0].bind_address: not"),
            ({"port": 1, "bind_address": "127.0.0.256"}, "listeners[0].bind_address: not"),
            ({"port": 1, "bind_address": "*"}, "listeners[0].bind_address: not"),
        ):
            self.assertIn(name, self.problems(self.listeners(listener))[0])
        for listener, name in (({"port": "http"}, "port"), ({"path": 8008}, "path")):
            self.assertProblem(self.listeners(listener), f"listeners[0].{name}: not")
        tls = {"tls_certificate_path": __file__, "tls_private_key_path": __file__}
        socket = self.listeners({"path": "s", "tls": True})
        self.assertProblem({**socket, **tls}, "listeners[0].tls")

    def test_tlsNeedsItsFiles(self) -> None:
        """With a TLS listener both files must exist; without one they are not read."""
        listeners = self.listeners({"port": 1, "tls": True})
        self.assertEqual(len(self.problems(listeners)), 2)
        files = {"tls_certificate_path": __file__, "tls_private_key_path": "gone.pem"}
        self.assertProblem({**listeners, **files}, "tls_private_key_path", "gone.pem")
        self.assertProblem({**listeners, **files, "tls_private_key_path": "/"}, "('/')")
        self.assertIsNone(self.parse(files).tls)
        files["tls_private_key_path"] = __file__
        expected = TLSFiles(certificate=__file__, private_key=__file__)
        self.assertEqual(self.parse({**listeners, **files}).tls, expected)

    def test_forwardedAddressesWithoutKnownProxiesAreWarnedOf(self) -> None:
        """X-Forwarded-For is trusted as far as the operator configures, with a warning."""
        options = self.listeners({"port": 1, "x_forwarded": True})
        self.assertWarning(options, "x_forwarded", "trusted_proxies")
        everything = {
            **options,
            "session_lifetime": "1h",
            "allow_guest_access": True,
            "public_url": 1,
        }
        *more, last = self.parse(everything).warnings
        self.assertTrue(more)
        self.assertIn("x_forwarded", last)
        proxies = ["192.0.2.7", "10.0.0.0/8", "::1"]
        config = self.parse({**options, "regsys": {"trusted_proxies": proxies}})
        self.assertEqual((config.trusted_proxies, config.warnings), (tuple(proxies), ()))
