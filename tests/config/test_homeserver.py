"""The homeserver beside regsys: its address, and its token for regsys."""

from __future__ import annotations

from typing import Any
from unittest import mock

from regsys.config import DelegationConfig, HomeserverConfig
from regsys.model import Secret
from tests.config.case import OPEN, ConfigCase

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


class DelegationTests(ConfigCase):
    def options(self, block: Any = None, **here: Any) -> dict[str, Any]:
        block = {"enabled": True, "secret": "abc", **(block or {})}
        return {
            "matrix_authentication_service": {k: v for k, v in block.items() if v is not None},
            "regsys": {"homeserver": {"url": URL, "delegated": True, **here}},
            **OPEN,
        }

    def test_read(self) -> None:
        """Both files' parts make one; registration and passwords are regsys's, guests nobody's."""
        wanted = DelegationConfig(url=URL, secret=Secret("abc"), endpoint="http://regsys:8009/")
        for block in ({"secret": "abc"}, {"secret": None, "secret_path": self.file("abc\n")}):
            block = {**block, "endpoint": "http://regsys:8009/"}
            config = self.parse(self.options(block, url=f"{URL}/"))
            self.assertEqual((config.delegation, config.homeserver), (wanted, None))
            self.assertEqual((config.unused, config.warnings), ((), ()))
            self.assertNotIn("abc", repr(config))
        self.assertTrue(config.registration.enabled and config.passwords.login_enabled)

    def test_notDelegated(self) -> None:
        """Without ``delegated`` the block is about another service: accounts come from there, and
        its secret is not looked at."""
        block = {"enabled": True, "endpoint": "http://x/", "secret_path": "/nowhere"}
        config = self.parse({"matrix_authentication_service": block})
        self.assertEqual((config.delegation, config.unused), (None, ()))
        self.assertFalse(config.passwords.login_enabled)

    def test_refused(self) -> None:
        """Whatever is missing is named, with what to write; no problem quotes the secret."""
        service = "matrix_authentication_service"
        for options, part in (
            (self.options({"secret": None}), f"{service}.secret: missing"),
            (self.options({"secret": "can ary"}), f"{service}.secret: has a space"),
            (self.options({"enabled": False}), f"{service}.enabled: off"),
            (self.options(url=None), f"{NAME}.url: missing, but delegated"),
            (self.options(url="hs:8008"), f"{NAME}.url: not the address"),
            (self.options({"secret": None, "secret_path": "/nowhere"}), "cannot be read"),
        ):
            self.assertProblem(options, part)
            self.assertNotIn("can ary", "".join(self.problems(options)))

    def test_unreadable(self) -> None:
        """If the secret's file is another user's, the remedy says so."""
        path = self.file("abc")
        options = self.options({"secret": None, "secret_path": path})
        with mock.patch("builtins.open", side_effect=PermissionError(13, "Permission denied")):
            (problem,) = self.problems(options)
        self.assertIn("let the user that regsys runs as read it", problem)

    def test_otherPort(self) -> None:
        """If the homeserver asks at a port of this machine where regsys does not listen, a warning
        says so."""
        listeners = [{"port": 8009, "type": "http", "resources": [{"names": ["client"]}]}]
        for endpoint in ("http://localhost:8010/", "http://127.0.0.1"):
            options = {**self.options({"endpoint": endpoint}), "listeners": listeners}
            self.assertWarning(options, "regsys listens at 8009")
        for endpoint in ("http://localhost:8009/", "http://regsys:8010/", "http://localhost:x/"):
            options = {**self.options({"endpoint": endpoint}), "listeners": listeners}
            self.assertEqual(self.parse(options).warnings, (), endpoint)

    def test_closedDoors(self) -> None:
        """What the homeserver's file must switch off is switched off here, too, until a second file
        says otherwise: a warning says so."""
        for name, off in (
            ("enable_registration", {"enable_registration": False}),
            ("password_config.enabled", {"password_config": {"enabled": False}}),
            ("allow_guest_access", {"allow_guest_access": True}),
            ("as_token", self.options(as_token="abc")),
        ):
            self.assertWarning({**self.options(), **off}, name)
        guests = self.parse({**self.options(), "allow_guest_access": True})
        self.assertFalse(guests.registration.allow_guest_access)

    def test_schema(self) -> None:
        """A role of our schema's name would show the homeserver our tables instead of its own."""
        for role, schema in (("regsys", None), ("x", "x"), ("x", None)):
            more: dict[str, Any] = {} if schema is None else {"database_schema": schema}
            database = {"name": "psycopg2", "args": {"user": role, "dbname": "x"}}
            options = {**self.options(), "database": database}
            options["regsys"] = {**options["regsys"], **more}
            if role in ("regsys", schema):
                self.assertProblem(options, "regsys.database_schema: the name of the role")
                options["regsys"]["database"] = {"name": "sqlite3", "args": {"database": "a.db"}}
            self.assertIsNotNone(self.parse(options).delegation)

    def test_bridges(self) -> None:
        """Application services cannot log users in, as the homeserver refuses it, too."""
        file = self.file(
            """
            id: irc
            url: null
            as_token: a
            hs_token: b
            sender_localpart: ircbot
            namespaces: {users: [{exclusive: true, regex: '@irc_.*:example\\.com'}]}
            """
        )
        config = self.parse({**self.options(), "app_service_config_files": [file]})
        self.assertFalse(config.appservices[0].may_log_in)
