"""Typed values: what is refused and how it is told, and secrets."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from regsys.config import parse
from regsys.config.values import duration_ms, is_url
from regsys.model import Secret
from tests.config.case import ConfigCase


class ValueTests(ConfigCase):
    def test_wrongTypesNameTheirValueAndTheMend(self) -> None:
        """A value of a wrong type is shown, with what to write instead."""
        for options, name, value in (
            ({"bcrypt_rounds": True}, "bcrypt_rounds", "(true)"),
            ({"bcrypt_rounds": 12.0}, "bcrypt_rounds", "(12.0)"),
            ({"allow_guest_access": "yes"}, "allow_guest_access", "('yes')"),
            ({"enable_registration": "maybe"}, "enable_registration", "('maybe')"),
            ({"session_lifetime": "5 minutes"}, "session_lifetime", "('5 minutes')"),
            ({"session_lifetime": "0s"}, "session_lifetime", "('0s')"),
            ({"session_lifetime": "1001y"}, "session_lifetime", "('1001y')"),
            ({"pid_file": 7}, "pid_file", "(7)"),
            ({"rc_registration": {"per_second": float("nan")}}, "per_second", "(nan)"),
            ({"rc_registration": {"per_second": True}}, "per_second", "(true)"),
            ({"rc_registration": {"per_second": "1"}}, "per_second", "('1')"),
            ({"rc_login": {"address": {"burst_count": 0}}}, "rc_login.address.burst", "(0)"),
            ({"user_types": {"extra_user_types": [1]}}, "extra_user_types[0]", "(1)"),
            ({"user_types": {"default_user_type": "vip"}}, "default_user_type", "('vip')"),
            ({"password_config": {"enabled": 1}}, "password_config.enabled", "(1)"),
            ({"server_name": "https://a.example"}, "server_name", "('https://a.example')"),
            ({"public_baseurl": "example.com"}, "public_baseurl", "('example.com')"),
            ({"public_baseurl": f"https://{'x' * 64}.example"}, "public_baseurl", "('https://x"),
            ({"server_notices": {"system_mxid_localpart": "@n:a"}}, "system_mxid", "('@n:a')"),
            ({"regsys": {"database_schema": "public"}}, "database_schema", "('public')"),
            ({"regsys": {"database_schema": "a-b"}}, "database_schema", "('a-b')"),
            ({"regsys": {"sessions_per_ip": 199}}, "sessions_per_ip", "(199)"),
            ({"regsys": {"long_passwords": "cut"}}, "long_passwords", "('cut')"),
            ({"regsys": {"rc_availability": True}}, "rc_availability", "(true)"),
            ({"regsys": {"rc_availability": {"per_second": 1}}}, "burst_count", "missing"),
        ):
            self.assertProblem(options, name, value)
        self.assertProblem({"allow_guest_access": 1}, "— write true or false")
        self.assertProblem({"bcrypt_rounds": 1}, "— write one, or leave the option out")
        self.assertProblem({"listeners": "x"}, "text, not a list")
        self.assertProblem({"regsys": ["x"]}, "a list, not a mapping")
        self.assertProblem({"regsys": 7}, "a number, not a mapping")
        self.assertProblem({"pid_file": {"x": "y"}}, "(a mapping)")

    def test_longTextIsCut(self) -> None:
        """Sixty characters of a value are enough to find it."""
        for length, shown in ((60, 60 * "x"), (61, 60 * "x" + "…")):
            self.assertProblem({"public_baseurl": length * "x"}, f"('{shown}')")

    def test_whatNestsIsNotShown(self) -> None:
        """A mapping, or text in its place, is told by kind alone: it may hold a password."""
        for options in (
            {"database": "postgres://regsys:hunter2@db/regsys"},
            {"database": {"name": "psycopg2", "args": ["hunter2"]}},
            {"pid_file": {"hunter2": "hunter2"}},
            {"macaroon_secret_key": ["hunter2"]},
            {"macaroon_secret_key": 12345},
            {"password_config": {"pepper": 12345}},
        ):
            report = "".join(self.problems(options))
            self.assertNotIn("hunter2", report)
            self.assertNotIn("12345", report)

    def test_durations(self) -> None:
        """s m h d w y, or a bare number of milliseconds; nothing else."""
        for value, ms in ((1, 1), ("1000y", 1000 * 365 * 86_400_000)):
            tokens = self.parse({"session_lifetime": value}).tokens
            self.assertEqual(tokens.session_lifetime_ms, ms)
        values = ("2s", "2m", "2h", "2d", "2w", "2y", "2", 2, "-1s", -1, 2.5, True, "2M", None)
        second, day = 1000, 86_400_000
        self.assertEqual(
            [duration_ms(value) for value in values],
            [2 * second, 120 * second, 7200 * second, 2 * day, 14 * day, 730 * day, 2, 2]
            + 6 * [None],
        )


class SecretTests(ConfigCase):
    """Secrets, inline and from files."""

    def introspection(self, **options: object) -> dict[str, Any]:
        return {"regsys": {f"introspection_secret{name}": to for name, to in options.items()}}

    def binary(self) -> str:
        """A file that isn't text."""
        path = self.file("")
        with open(path, "wb") as file:
            file.write(b"hunter2\xff")
        return path

    def test_inlineOrFromAFile(self) -> None:
        """A file's secret comes without the white space around it; neither is ever shown."""
        inline = self.parse(self.introspection(**{"": "hunter2"}))
        filed = self.parse(self.introspection(_path=self.file("  hunter2\n\n")))
        for config in (inline, filed):
            self.assertEqual(config.introspection_secret, Secret("hunter2"))
            self.assertNotIn("hunter2", repr(config))
            self.assertEqual(config.warnings, ())

    def test_databasePasswordsAreNotShown(self) -> None:
        """What psycopg2 gets is absent from the configuration's repr."""
        args = {"user": "regsys", "password": "hunter2"}
        config = self.parse({"database": {"name": "psycopg2", "args": args}})
        self.assertNotIn("hunter2", repr(config))

    def test_twiceEmptyOrUnreadableIsRefused(self) -> None:
        """A secret given twice, an empty one and a file that can't be read are problems."""
        path = self.file("hunter2")
        for options, wrong in (
            (self.introspection(**{"": "hunter2", "_path": path}), "given twice"),
            (self.introspection(**{"": " "}), "introspection_secret: empty"),
            (self.introspection(_path=self.file("\n")), "the file is empty"),
            (self.introspection(_path="gone"), "No such file"),
            (self.introspection(_path=self.binary()), "not UTF-8"),
            (self.introspection(_path=os.path.dirname(path)), "cannot be read"),
        ):
            self.assertProblem(options, "regsys.introspection_secret", wrong)
            self.assertNotIn("hunter2", self.problems(options)[0])

    def test_aFileOpenToOthersBringsAWarning(self) -> None:
        """A file that the group or others may open is used, with a warning that names it."""
        for mode in (0o640, 0o604, 0o620):
            path = self.file("hunter2", mode)
            self.assertWarning(self.introspection(_path=path), path, f"{mode:04o}")

    def test_withoutAMacaroonKeyTheOperatorIsTold(self) -> None:
        """No key is a warning, and left to the store."""
        config = parse({"server_name": "example.com"})
        self.assertIsNone(config.tokens.macaroon_secret_key)
        self.assertIn("macaroon_secret_key", config.warnings[0])


class URLTests(SynchronousTestCase):
    def test_urls(self) -> None:
        """Whatever host a resolver may know is one in a URL too; what it cannot know is refused."""
        for host in (
            "captcha_service",
            "captcha_service:8080",
            "a--b.example",
            "[::1]:8008",
            "A.b",
        ):
            self.assertTrue(is_url(f"http://{host}/x"), host)
        for host in ("", f"{'x' * 64}.example", "a..b", "*.example", "[::1", "a:0", "-a", "a b"):
            self.assertFalse(is_url(f"http://{host}/x"), host)
