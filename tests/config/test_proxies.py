"""Proxies for requests to other servers."""

from __future__ import annotations

import os
from typing import Any, Optional
from unittest import mock

from regsys.config import ProxiesConfig
from regsys.config.proxies import Proxy
from tests.config.case import ConfigCase


class ProxyTests(ConfigCase):
    def proxies(self, environment: Optional[dict[str, str]] = None, **options: Any) -> Any:
        with mock.patch.dict(os.environ, environment or {}, clear=True):
            return self.parse(options).proxies

    def test_options(self) -> None:
        """Each scheme has its proxy, with TLS and a password if they are given."""
        proxies = self.proxies(
            http_proxy="proxy.example:3128",
            https_proxy="https://me:a%40b@proxy.example",
            no_proxy_hosts=["inside.example"],
        )
        plain = Proxy("proxy.example", 3128)
        tls = Proxy("proxy.example", 443, True, b"Basic bWU6YUBi")
        expected = ProxiesConfig(
            by_scheme={"http": plain, "https": tls}, direct=("inside.example",)
        )
        self.assertEqual(proxies, expected)
        self.assertEqual(Proxy.parse("http://proxy.example"), Proxy("proxy.example", 80))

    def test_environment(self) -> None:
        """The environment counts if no option is set, and not at all if one is."""
        environment = {"https_proxy": "http://a.example:8080", "no_proxy": "b.example, c.example"}
        proxy = Proxy("a.example", 8080)
        expected = ProxiesConfig(by_scheme={"https": proxy}, direct=("b.example", "c.example"))
        self.assertEqual(self.proxies(environment), expected)
        chosen = self.proxies(environment, no_proxy_hosts=["*"])
        self.assertEqual(chosen, ProxiesConfig(direct=("*",)))
        self.assertEqual(self.proxies(), ProxiesConfig())

    def test_direct(self) -> None:
        """Exceptions are hosts by name, by the end of the name, or by name and port."""
        proxy = Proxy("proxy.example", 80)
        for direct, host, asked_directly in (
            ("a.example", "a.example", True),
            ("a.example", "A.Example", True),
            ("a.example", "x.a.example", True),
            (".a.example", "x.a.example", True),
            ("a.example", "xa.example", False),
            ("a.example", "example", False),
            ("a.example:443", "a.example", True),
            ("a.example:80", "a.example", False),
            ("192.0.2.1", "192.0.2.1", True),
            ("*", "a.example", True),
        ):
            proxies = ProxiesConfig(by_scheme={"https": proxy}, direct=(direct,))
            found = proxies.proxy_for("https", host, 443)
            self.assertEqual(found, None if asked_directly else proxy, (direct, host))
            self.assertIsNone(proxies.proxy_for("http", host, 443))

    def test_wrong(self) -> None:
        """An invalid proxy is refused in the file, and causes a warning in the environment; its
        password is not shown."""
        for text in ("socks5://u:canary@a", "http://", "http://a:x", "http://u:canary@a:99999"):
            with mock.patch.dict(os.environ, {}, clear=True):
                (problem,) = self.problems({"https_proxy": text})
            self.assertTrue(problem.startswith("https_proxy: not the address"), problem)
            with mock.patch.dict(os.environ, {"https_proxy": text}, clear=True):
                (warning,) = self.parse({}).warnings
            self.assertIn("https_proxy", warning)
            self.assertNotIn("canary", problem + warning)
        self.assertNotIn("OmNhbmFyeQ", repr(self.proxies(http_proxy="http://:canary@a.example")))
