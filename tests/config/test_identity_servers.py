"""Identity servers that may be asked, and networks that may not."""

from __future__ import annotations

from typing import Any

from regsys.config.identity_servers import Networks, host_of, server_name
from tests.config.case import ConfigCase


class IdentityServerTests(ConfigCase):
    def servers(self, **options: Any) -> Any:
        return self.parse(options).identity_servers

    def test_default(self) -> None:
        """Without options, every server of the internet may be asked, and none of our own
        networks."""
        servers = self.servers()
        self.assertEqual((servers.urls, servers.others, servers.default), ({}, True, None))
        self.assertTrue(servers.may_bind)
        self.assertTrue(servers.networks.forbids("192.168.1.1"))
        self.assertFalse(servers.networks.forbids("1.1.1.1"))

    def test_named(self) -> None:
        """Listed servers are asked under the written name, and no others; the default one is always
        among them."""
        servers = self.servers(
            default_identity_server="http://127.0.0.1:8090/",
            enable_3pid_lookup=False,
            regsys={"identity_servers": ["Id.Example", "https://b.example:443/below"]},
        )
        expected = {
            "127.0.0.1:8090": "http://127.0.0.1:8090",
            "id.example": "https://Id.Example",
            "b.example": "https://b.example:443/below",
        }
        self.assertEqual(servers.urls, expected)
        self.assertEqual((servers.default, servers.others), ("127.0.0.1:8090", False))
        self.assertFalse(servers.may_bind)
        self.assertFalse(self.servers(regsys={"identity_servers": []}).others)

    def test_wrong(self) -> None:
        """An invalid server name is refused with its position."""
        for text in ("ftp://a", "https://", "https://u:p@a.example", "a.example?b", "a b", "a:b_"):
            (problem,) = self.problems({"default_identity_server": text})
            self.assertTrue(problem.startswith("default_identity_server: not the add"), problem)
            (problem,) = self.problems({"regsys": {"identity_servers": ["a.example", text]}})
            self.assertTrue(problem.startswith("regsys.identity_servers[1]: not the"), problem)

    def test_networks(self) -> None:
        """A list replaces ours, except for this machine's own addresses; there are exceptions; an
        invalid network is refused."""
        networks = self.servers(
            ip_range_blacklist=["192.0.2.0/24", "10.0.0.1/8"], ip_range_whitelist=["10.1.0.0/16"]
        ).networks
        for address, is_forbidden in (
            ("192.0.2.1", True),
            ("10.0.0.1", True),
            ("10.1.0.1", False),
            ("192.168.0.1", False),
            ("0.0.0.1", True),
            ("::", True),
            ("no address", True),
        ):
            self.assertIs(networks.forbids(address), is_forbidden, address)
        self.assertFalse(self.servers(ip_range_blacklist=[]).networks.forbids("127.0.0.1"))
        for name in ("ip_range_blacklist", "ip_range_whitelist"):
            (problem,) = self.problems({name: ["10.0.0.0/8", "10.0.0.0/33"]})
            self.assertTrue(problem.startswith(f"{name}[1]: not a network"), problem)

    def test_scopes(self) -> None:
        """An address with the name of an interface is the same address."""
        self.assertTrue(Networks().forbids("fe80::1%eth0"))

    def test_serverName(self) -> None:
        """A name has one form, whatever its case, and with the usual port or without."""
        for text, name in (
            ("id.example", "id.example"),
            ("ID.Example:443", "id.example"),
            ("id.example:8443", "id.example:8443"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[0:0::1]:65535", "[::1]:65535"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ):
            self.assertEqual(server_name(text), name, text)
        wrong = ("", "a:", "a:0", "a:65536", "a:080", "a/", "a?b", "a#b", "u@a", "a b", "a\n", "-a")
        for text in (
            *wrong,
            "a..b",
            ".a",
            "a.",
            "::1",
            "[::1",
            "[1.2]",
            "bücher.example",
            "a" * 64,
        ):
            self.assertIsNone(server_name(text), text)
        self.assertIsNone(server_name(".".join(["a" * 60] * 5)))
        hosts = [host_of(name) for name in ("a.example", "a.example:1", "[::1]:1", "[::1]")]
        self.assertEqual(hosts, ["a.example", "a.example", "::1", "::1"])
