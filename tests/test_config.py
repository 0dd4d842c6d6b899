"""The configuration as a whole: its files, and the report of its problems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

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
        """Missing files and lists are reported together, by path."""
        listing = self.file("[a, b]")
        error = self.assertRaises(ConfigError, load, ["gone.yaml", listing])
        self.assertEqual(
            [problem.split(":")[0] for problem in error.problems], ["gone.yaml", listing]
        )

    def test_aDirectoryIsItsYamlFilesByName(self) -> None:
        """Of a directory the *.yaml files count, sorted by name and at its place among the others;
        a file with a similar ending is reported."""
        folder = Path(self.mktemp())
        (folder / "below.yaml").mkdir(parents=True)
        (folder / "below.yaml").rmdir()
        for name, text in (
            ("b.yaml", "bcrypt_rounds: 6"),
            ("a.yaml", "server_name: a.example\nmacaroon_secret_key: k\nbcrypt_rounds: 5"),
            ("c.yml", "bcrypt_rounds: 7"),
            ("d.yaml~", "bcrypt_rounds: 8"),
        ):
            (folder / name).write_text(text)
        before = self.file("bcrypt_rounds: 4\nserver_name: b.example")
        config = load([before, str(folder)])
        self.assertEqual((config.server_name, config.passwords.bcrypt_rounds), ("a.example", 6))
        (warning,) = config.warnings
        self.assertIn("c.yml is not read: its name must end in .yaml", warning)
        self.assertEqual(load([str(folder), before]).passwords.bcrypt_rounds, 4)

    def test_duplicateKeys(self) -> None:
        """Of duplicate keys the last counts, anywhere, and both lines are reported; a value that is
        merged in or used again is no duplicate, and no value is quoted."""
        path = self.file(
            """
            server_name: example.com
            macaroon_secret_key: hunter2
            base: &base {per_second: 1, burst_count: 2}
            rc_registration: {<<: *base, burst_count: 3, <<: *base}
            rc_registration_token_validity: *base
            email: {notif_from: a@example.com}
            password_config:
              pepper: hunter3
              pepper: hunter4
            email: {notif_from: b@example.com}
            """
        )
        config = load([path])
        assert config.email is not None
        self.assertEqual(config.email.from_address, "b@example.com")
        self.assertEqual(config.passwords.pepper, Secret("hunter4"))
        self.assertEqual(config.limits.registration.burst_count, 3)
        self.assertEqual(len(config.warnings), 2, config.warnings)
        inner, outer = config.warnings
        self.assertIn(f"{path}: password_config.pepper is set twice, at lines 9 and 10", inner)
        self.assertIn(f"{path}: email is set twice, at lines 7 and 11", outer)
        self.assertNotIn("hunter", inner + outer)

    def test_replacedSections(self) -> None:
        """If a later file removes a part of an earlier one without naming it, that is reported; if
        it changes what it names itself, it is not. Beside a homeserver its listeners must be
        replaced."""
        first = self.file(
            """
            server_name: example.com
            macaroon_secret_key: k
            email: {notif_from: a@example.com, smtp_host: mail.example.com, app_name: One}
            auto_join_rooms: ["#a:example.com", "#b:example.com"]
            password_config: {pepper: salt}
            bcrypt_rounds: 4
            listeners: [{port: 8008, type: http, resources: [{names: [client]}]}]
            """
        )
        second = self.file(
            """
            email: {notif_from: b@example.com}
            auto_join_rooms: ["#b:example.com"]
            password_config: {pepper: salt, enabled: true}
            bcrypt_rounds: 5
            listeners: [{port: 8009, type: http, resources: [{names: [client]}]}]
            regsys: {homeserver: {url: "http://localhost:1", as_token: x}}
            """
        )
        warnings = load([first, second]).warnings
        self.assertEqual(len(warnings), 2, warnings)
        self.assertIn(f"email: {second} replaces the whole value of {first}", warnings[0])
        self.assertIn("app_name, smtp_host are not set any more", warnings[0])
        self.assertIn("auto_join_rooms: ", warnings[1])
        self.assertIn("1 of its 2 entries", warnings[1])

    def test_hintsComeFirst(self) -> None:
        """A possible cause of a refusal, such as a misspelt name, is reported before it."""
        path = self.file("server_nmae: a.example\nmacaroon_secret_key: k\nmacaroon_secret_key: k")
        error = self.assertRaises(ConfigError, load, [path])
        self.assertEqual([problem.split(":")[0] for problem in error.problems], ["server_name"])
        lines = str(error).splitlines()
        self.assertIn("macaroon_secret_key is set twice", lines[1])
        self.assertIn("server_nmae is not an option: did you mean server_name?", lines[2])
        self.assertIn("server_name: missing", lines[3])

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


class ArgumentTests(SynchronousTestCase):
    def test_path(self) -> None:
        """One path in the place of a list of them is refused with the list."""
        for one in ("homeserver.yaml", Path("homeserver.yaml")):
            error = self.assertRaises(TypeError, load, one)
            self.assertIn("load(['homeserver.yaml'])", str(error))

    def test_noMapping(self) -> None:
        """So is what is no mapping of options."""
        for wrong, kind in (("server_name: a", "str"), (None, "NoneType"), ([], "list")):
            error = self.assertRaises(TypeError, parse, wrong)
            self.assertIn(f"a {kind} is no mapping of options", str(error))


class WholeTests(ConfigCase):
    def test_allProblemsComeTogether(self) -> None:
        """Each problem is a line with the option's dotted name, all lines in one report."""
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
        """An option without a value counts as absent."""
        names = ("listeners", "database", "rc_registration", "regsys", "bcrypt_rounds", "tokens")
        config = self.parse({**dict.fromkeys(names), "enable_set_displayname": None})
        self.assertEqual(config.unused, ("tokens",))
        self.assertTrue(config.registration.enable_set_displayname)
        self.assertEqual(config.listeners, self.parse({}).listeners)
        self.assertIsNone(self.parse({"log_config": ""}).log_config)

    def test_eachPartAloneHasTheDefaultsOfTheFile(self) -> None:
        """A section made by hand, as embedders do, equals the one of an empty file."""
        config = parse({"server_name": "example.com"})
        self.assertEqual(config.registration, RegistrationConfig())
        self.assertEqual(config.tokens, TokensConfig())
        self.assertEqual(config.passwords, PasswordsConfig())
        self.assertEqual(config.limits, LimitsConfig())
        self.assertEqual(config.sessions, SessionsConfig())

    def test_boundsAreWithin(self) -> None:
        """The smallest and the largest number of an option are accepted."""
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
        """The files for logging and the process ID are kept as they are."""
        config = self.parse({"log_config": "log.yaml", "pid_file": "/run/regsys.pid"})
        self.assertEqual((config.log_config, config.pid_file), ("log.yaml", "/run/regsys.pid"))
