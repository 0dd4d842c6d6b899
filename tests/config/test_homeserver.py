"""The homeserver beside regsys: its address, and its token for regsys."""

from __future__ import annotations

from typing import Any

from regsys.config import HomeserverConfig
from regsys.model import Secret
from tests.config.case import ConfigCase

URL = "http://localhost:8008"
NAME = "regsys.homeserver"


def section(**options: Any) -> dict[str, Any]:
    return {"regsys": {"homeserver": options}}


class HomeserverTests(ConfigCase):
    def test_read(self) -> None:
        """Its address may end with a slash; the token may be in a file of its own."""
        wanted = HomeserverConfig(url=URL, as_token=Secret("abc"))
        for url in (URL, f"{URL}/"):
            config = self.parse(section(url=url, as_token="abc"))
            self.assertEqual((config.homeserver, config.unused), (wanted, ()))
        config = self.parse(section(url=URL, as_token_path=self.file("abc\n")))
        self.assertEqual(config.homeserver, wanted)
        self.assertNotIn("abc", repr(config))

    def test_none(self) -> None:
        for nothing in (
            {},
            {"url": None},
            {"url": None, "as_token": None},
            {"url": "", "as_token": ""},
        ):
            self.assertIsNone(self.parse(section(**nothing)).homeserver)

    def test_refused(self) -> None:
        """The address without the token, or the reverse, is refused; so is an invalid address or
        one with a login in it. The token must fit into a header, and no problem quotes it."""
        for options, part in (
            ({"url": URL}, ".as_token: missing"),
            ({"as_token": "canary"}, ".url: missing"),
            ({"as_token_path": "/nowhere", "url": URL}, ".as_token_path: cannot be read"),
            *(
                ({"url": url, "as_token": "canary"}, ".url: not the address of a homeserver")
                for url in ("hs:8008", f"{URL}/?a", f"{URL}/#a", "http://me:canary@hs", "ftp://hs")
            ),
            *(
                ({"url": URL, "as_token": token}, ".as_token: has a space or an odd character")
                for token in ("canary canary", "canary\n", "cänary")
            ),
        ):
            self.assertProblem(section(**options), f"{NAME}{part}")
            self.assertNotIn("canary", "".join(self.problems(section(**options))))
