"""The section redis, and where limits are counted."""

from __future__ import annotations

import importlib.util
from typing import Any, Optional

from regsys.config.redis import RedisConfig, RedisTLS
from regsys.model import Secret
from tests.config.case import ConfigCase

ON = {"enabled": True}
SQLITE = {"name": "sqlite3", "args": {"database": "x.db"}}
POSTGRES = {"name": "psycopg2", "args": {}}


class RedisTests(ConfigCase):
    def setUp(self) -> None:
        self.has_library = True
        find_spec = importlib.util.find_spec

        def find(name: str, package: Optional[str] = None) -> Any:
            if name == "txredisapi":
                return object() if self.has_library else None
            return find_spec(name, package)

        self.patch(importlib.util, "find_spec", find)

    def test_off(self) -> None:
        """Without ``enabled`` there is none, whatever else is written and installed."""
        self.has_library = False
        for section in (
            {},
            {"enabled": False, "use_tls": True, "ca_file": "/gone"},
            {"port": 6380},
        ):
            self.assertIsNone(self.parse({"redis": section}).redis)

    def test_on(self) -> None:
        """Every option that operators know is read."""
        self.assertEqual(self.parse({"redis": ON}).redis, RedisConfig())
        section = {**ON, "host": "redis", "port": 6380, "dbid": 3, "username": "limits"}
        password = self.file("of the file\n")
        config = self.parse({"redis": {**section, "password_path": password}})
        expected = RedisConfig(
            host="redis", port=6380, dbid=3, username="limits", password=Secret("of the file")
        )
        self.assertEqual((config.redis, config.unused), (expected, ()))
        self.assertNotIn("of the file", repr(config))
        section = {**ON, "path": "/run/redis.sock", "password": "x"}
        expected = RedisConfig(path="/run/redis.sock", password=Secret("x"))
        self.assertEqual(self.parse({"redis": section}).redis, expected)

    def test_tls(self) -> None:
        """Certificates are files that can be read, the authorities of a directory its files."""
        files = {
            name: self.file("x") for name in ("certificate_file", "private_key_file", "ca_file")
        }
        section = {**ON, "use_tls": True, **files, "ca_path": "."}
        config = self.parse({"redis": section}).redis
        assert config is not None
        certificate, private_key, ca_file = files.values()
        self.assertEqual(
            config.tls,
            RedisTLS(
                certificate=certificate, private_key=private_key, ca_file=ca_file, ca_path="."
            ),
        )
        for name in (*files, "ca_path"):
            self.assertProblem({"redis": {**section, name: "/gone"}}, f"redis.{name}", "/gone")
        without = self.parse({"redis": {**section, "use_tls": False}}).redis
        self.assertEqual(without, RedisConfig())

    def test_mistakes(self) -> None:
        """What cannot work is refused, each with its option."""
        for options, name in (
            ({"username": "x"}, "username"),
            ({"path": "/x", "use_tls": True}, "use_tls"),
            ({"use_tls": True, "certificate_file": self.file("x")}, "certificate_file"),
            ({"port": 0}, "port"),
            ({"dbid": -1}, "dbid"),
        ):
            self.assertProblem({"redis": {**ON, **options}}, f"redis.{name}: ")
        self.assertProblem({"redis": {"enabled": "yes"}}, "redis.enabled: not a boolean")

    def test_notInstalled(self) -> None:
        """Without its library a warning says what to install, since the file may be that of a
        homeserver; where the file says that limits are shared, it is a problem."""
        self.has_library = False
        self.assertWarning({"redis": ON}, "redis is enabled", "pip install 'regsys[redis]'")
        self.assertIsNone(self.parse({"redis": ON}).redis)
        shared = {"redis": ON, "regsys": {"shared_limits": True}}
        self.assertProblem(shared, "redis.enabled: ", "pip install 'regsys[redis]'")
        config = self.parse({"redis": ON, "regsys": {"shared_limits": False}})
        self.assertIsNone(config.redis)

    def test_misspelt(self) -> None:
        """An option that is probably misspelt is named."""
        self.assertWarning({"redis": {**ON, "pasword": "x"}}, "redis.pasword", "redis.password?")


class SharedTests(ConfigCase):
    def test_option(self) -> None:
        """Limits are shared if the file says so, for which there must be a place."""
        for value in (None, True, False):
            options = {"database": POSTGRES, "regsys": {"shared_limits": value}}
            self.assertIs(self.parse(options).limits.shared, value)
        options = {"database": SQLITE, "regsys": {"shared_limits": True}}
        self.assertProblem(options, "regsys.shared_limits: ", "SQLite")
        self.parse({**options, "redis": ON})
