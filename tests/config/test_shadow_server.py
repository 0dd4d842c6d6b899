"""``shadow_server``."""

from __future__ import annotations

from typing import Any

from regsys.config import ShadowServerConfig
from regsys.model import Secret
from tests.config.case import ConfigCase


class ShadowServerTests(ConfigCase):
    def test_section(self) -> None:
        section = {"hs_url": "https://shadow.example/", "hs": "shadow.example", "as_token": "t"}
        found = self.parse({"shadow_server": section}).shadow_server
        expected = ShadowServerConfig(
            url="https://shadow.example", as_token=Secret("t"), server_name="shadow.example"
        )
        self.assertEqual(found, expected)
        self.assertNotIn("Secret('t')", repr(found))

    def test_absent(self) -> None:
        for section in (None, {}):
            self.assertIsNone(self.parse({"shadow_server": section}).shadow_server)

    def test_problems(self) -> None:
        """Each half without the other is reported, and what cannot be an address or a token."""
        url = {"hs_url": "https://shadow.example"}
        cases: tuple[tuple[dict[str, Any], str], ...] = (
            (url, "shadow_server.as_token: missing"),
            ({"as_token": "t"}, "shadow_server.hs_url: missing"),
            ({"hs_url": "shadow.example", "as_token": "t"}, "shadow_server.hs_url: not the"),
            ({"hs_url": "https://a@b/", "as_token": "t"}, "shadow_server.hs_url: not the"),
            ({**url, "as_token": "a b"}, "shadow_server.as_token: has a space"),
        )
        for section, problem in cases:
            self.assertProblem({"shadow_server": section}, problem)
