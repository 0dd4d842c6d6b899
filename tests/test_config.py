"""The configuration as a whole: its files, and how all that is wrong is told."""

from __future__ import annotations

from typing import Any

from regsys.config import (
    ConfigError,
    LimitsConfig,
    PasswordsConfig,
    RegistrationConfig,
    SessionsConfig,
    TokensConfig,
    load,
    parse,
)
from regsys.model import Secret
from tests.config.case import ConfigCase


class FileTests(ConfigCase):
    """The files themselves."""

    def test_laterFilesReplaceWholeTopLevelOptions(self) -> None:
        """Of several files the later one wins, option by option, and nothing is merged below."""
        first = self.file(
            """
            server_name: one.example
            bcrypt_rounds: 4
            password_config: {pepper: salt, enabled: false}
            """
        )
        second = self.file("server_name: two.example\npassword_config: {pepper: other}")
        config = load([first, second])
        self.assertEqual(config.server_name, "two.example")
        self.assertEqual(config.passwords.bcrypt_rounds, 4)
        self.assertEqual(config.passwords.pepper, Secret("other"))
        self.assertTrue(config.passwords.login_enabled)

    def test_everyUnusableFileIsReported(self) -> None:
        """Missing files, lists and directories are told together, by path."""
        listing = self.file("[a, b]")
        error = self.assertRaises(ConfigError, load, ["gone.yaml", listing, "/"])
        self.assertEqual(
            [problem.split(":")[0] for problem in error.problems], ["gone.yaml", listing, "/"]
        )

    def test_brokenYamlIsPlacedButNotQuoted(self) -> None:
        """A syntax error names its line, and nothing of the text around it, which may be secret."""
        for line in ("  key: *hunter2", "  key: !hunter2 x", '  key: "hunter2', "  key: %hunter2"):
            path = self.file(f"server_name: example.com\nregsys:\n{line}")
            error = self.assertRaises(ConfigError, load, [path])
            self.assertIn("at line 3, column ", str(error))
            self.assertNotIn("hunter2", str(error))
            self.assertIsNone(error.__cause__)

    def test_anEmptyFileLacksTheServerName(self) -> None:
        """A file without any option is a mapping without any option."""
        error = self.assertRaises(ConfigError, load, [self.file("")])
        self.assertEqual([problem.split(":")[0] for problem in error.problems], ["server_name"])


class WholeTests(ConfigCase):
    def test_allProblemsComeTogether(self) -> None:
        """Each fault is a line with the option's dotted name, all lines in one report."""
        error = self.assertRaises(
            ConfigError,
            parse,
            {
                "bcrypt_rounds": 3,
                "password_config": {"policy": {"require_digit": "yes"}},
                "listeners": [{"port": "x", "resources": [{"names": ["client"]}], "path": "s"}],
                "regsys": {"trusted_proxies": ["192.0.2.1", "10.0.0.1/8"]},
            },
        )
        self.assertEqual(
            {problem.split(": ")[0] for problem in error.problems},
            {
                "server_name",
                "bcrypt_rounds",
                "password_config.policy.require_digit",
                "listeners[0].port",
                "regsys.trusted_proxies[1]",
            },
        )
        for problem in error.problems:
            self.assertIn(problem, str(error))

    def test_nullIsTheDefault(self) -> None:
        """An option without a value is as good as absent."""
        names = ("listeners", "database", "rc_registration", "regsys", "bcrypt_rounds", "tokens")
        config = self.parse({**dict.fromkeys(names), "enable_set_displayname": None})
        self.assertEqual(config.unused, ("tokens",))
        self.assertTrue(config.registration.enable_set_displayname)
        self.assertEqual(config.listeners, self.parse({}).listeners)
        self.assertIsNone(self.parse({"log_config": ""}).log_config)

    def test_eachPartAloneHasTheDefaultsOfTheFile(self) -> None:
        """A section made by hand, as embedders do, is the one of a file that says nothing."""
        config = parse({"server_name": "example.com"})
        self.assertEqual(config.registration, RegistrationConfig())
        self.assertEqual(config.tokens, TokensConfig())
        self.assertEqual(config.passwords, PasswordsConfig())
        self.assertEqual(config.limits, LimitsConfig())
        self.assertEqual(config.sessions, SessionsConfig())

    def test_boundsAreWithin(self) -> None:
        """The smallest and the largest number that an option takes are taken."""
        for name, least, most in (
            ("bcrypt_rounds", 4, 31),
            ("password_config.policy.minimum_length", 0, 512),
            ("rc_registration.burst_count", 1, 10**9),
            ("rc_registration.per_second", 1e-6, 1e6),
            ("regsys.sessions_per_ip", 200, 10**9),
            ("database.args.cp_min", 1, 1000),
        ):
            for value, good in ((least - 1, 0), (least, 1), (most, 1), (most + 1, 0)):
                options: dict[str, Any] = {"database": {"name": "psycopg2"}}
                *sections, last = name.split(".")
                place = options
                for section in sections:
                    place = place.setdefault(section, {})
                place[last] = value
                if good:
                    self.parse(options)
                else:
                    self.assertProblem(options, f"{name}: not a", f"({value})")

    def test_namesAndAddressOfTheServer(self) -> None:
        """A server name may have a port or be an address; the base of links ends with a slash."""
        for name in ("example.com", "localhost:8448", "192.0.2.1", "[2001:db8::1]:443"):
            self.assertEqual(self.parse({"server_name": name}).server_name, name)
            self.assertEqual(self.parse({"server_name": name}).public_baseurl, f"https://{name}/")
        for url in ("http://a.example/matrix", "http://a.example/matrix/"):
            config = self.parse({"public_baseurl": url})
            self.assertEqual(config.public_baseurl, "http://a.example/matrix/")
        for url in ("ftp://a.example/", "https://", "https://[a/", "https://a/?b", "https://a/#b"):
            self.assertProblem({"public_baseurl": url}, "public_baseurl", url)

    def test_filesOfTheProcess(self) -> None:
        """The files for logging and the process ID are taken as they are."""
        config = self.parse({"log_config": "log.yaml", "pid_file": "/run/regsys.pid"})
        self.assertEqual((config.log_config, config.pid_file), ("log.yaml", "/run/regsys.pid"))
