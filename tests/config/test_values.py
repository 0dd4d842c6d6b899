"""Typed values: what is refused and how it is reported, and secrets."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from regsys.config import load, parse
from regsys.config.secret_files import make_secret_file
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
        """A long value is cut to sixty characters."""
        for length, expected in ((60, 60 * "x"), (61, 60 * "x" + "…")):
            self.assertProblem({"public_baseurl": length * "x"}, f"('{expected}')")

    def test_whatNestsIsNotShown(self) -> None:
        """A mapping, or text in its place, is reported by its type alone: it may contain a
        password."""
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
        """A file's secret is stripped of surrounding white space; no secret is ever shown."""
        inline = self.parse(self.introspection(**{"": "hunter2"}))
        filed = self.parse(self.introspection(_path=self.file("  hunter2\n\n")))
        for config in (inline, filed):
            self.assertEqual(config.introspection_secret, Secret("hunter2"))
            self.assertNotIn("hunter2", repr(config))
            self.assertEqual(config.warnings, ())

    def test_databasePasswordsAreNotShown(self) -> None:
        """The arguments for psycopg2 do not appear in the configuration's repr."""
        args = {"user": "regsys", "password": "hunter2"}
        config = self.parse({"database": {"name": "psycopg2", "args": args}})
        self.assertNotIn("hunter2", repr(config))

    def test_twiceOrUnreadableIsRefused(self) -> None:
        """A secret that is given twice, and a file that is empty or can't be read, are problems."""
        path = self.file("hunter2")
        for options, wrong in (
            (self.introspection(**{"": "hunter2", "_path": path}), "given twice"),
            (self.introspection(_path=self.file("\n")), "the file is empty"),
            (self.introspection(_path="gone"), "No such file"),
            (self.introspection(_path=self.binary()), "not UTF-8"),
            (self.introspection(_path=os.path.dirname(path)), "cannot be read"),
        ):
            self.assertProblem(options, "regsys.introspection_secret", wrong)
            self.assertNotIn("hunter2", self.problems(options)[0])

    def test_emptyIsNotSet(self) -> None:
        """An empty secret counts as not set, whichever it is, with a warning that names it; a file
        may be given beside it. A required secret is still missing if it is empty."""
        path = self.file("hunter2")
        for options, name in (
            ({"registration_shared_secret": ""}, "registration_shared_secret"),
            ({"form_secret": ""}, "form_secret"),
            ({"recaptcha_private_key": "", "recaptcha_public_key": ""}, "recaptcha_private_key"),
            (self.introspection(**{"": " "}), "regsys.introspection_secret"),
            (self.introspection(**{"": "", "_path": path}), "regsys.introspection_secret"),
            ({"regsys": {"sms": {"authorization": ""}}}, "regsys.sms.authorization"),
            ({"regsys": {"captcha": {"private_key": ""}}}, "regsys.captcha.private_key"),
            ({"regsys": {"homeserver": {"as_token": ""}}}, "regsys.homeserver.as_token"),
            ({"email": {"smtp_pass": ""}}, "email.smtp_pass"),
            ({"email": {"smtp_user": ""}}, "email.smtp_user"),
        ):
            self.assertWarning(options, f"{name} is empty and counts as not set")
        config = self.parse({"registration_shared_secret": "", "macaroon_secret_key": ""})
        self.assertIsNone(config.registration.shared_secret)
        self.assertIsNone(config.tokens.macaroon_secret_key)
        self.assertEqual(len(config.warnings), 3, config.warnings)  # the key is generated, too
        both = self.parse(self.introspection(**{"": "", "_path": path}))
        self.assertEqual(both.introspection_secret, Secret("hunter2"))
        self.assertEqual(self.parse({"password_config": {"pepper": ""}}).warnings, ())
        captcha = {"enable_registration_captcha": True, "recaptcha_public_key": "p"}
        self.assertProblem({**captcha, "recaptcha_private_key": ""}, "recaptcha_private_key: miss")

    def test_anEmptyLoginIsNone(self) -> None:
        """A mail server with an empty login is used without one; half of one is still refused."""
        email = {"notif_from": "a@example.com", "smtp_user": "", "smtp_pass": ""}
        config = self.parse({"email": email})
        assert config.email is not None
        self.assertEqual((config.email.user, config.email.password), (None, None))
        self.assertProblem({"email": {**email, "smtp_pass": "s"}}, "smtp_user: missing")
        self.assertProblem({"email": {**email, "smtp_user": "u"}}, "smtp_pass: missing")

    def test_aFileOpenToOthersBringsAWarning(self) -> None:
        """A file that the group or others may open is used, with a warning that names it."""
        for mode in (0o640, 0o604, 0o620):
            path = self.file("hunter2", mode)
            self.assertWarning(self.introspection(_path=path), path, f"{mode:04o}")

    def test_withoutAMacaroonKeyThereIsAWarning(self) -> None:
        """Without a key there is a warning, and the store keeps one."""
        config = parse({"server_name": "example.com"})
        self.assertIsNone(config.tokens.macaroon_secret_key)
        self.assertIn("macaroon_secret_key", config.warnings[0])


class URLTests(SynchronousTestCase):
    def test_urls(self) -> None:
        """Any host that a resolver may know is accepted in a URL too; others are refused."""
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


class CreatedFileTests(ConfigCase):
    """The file of registration_shared_secret_path, which may not exist yet."""

    OPTION = "registration_shared_secret_path"

    def test_made(self) -> None:
        """It is created complete, random, and for its owner alone, with a warning; later it is
        read."""
        made = []
        for _ in range(2):
            path = self.mktemp()
            first, second = (self.parse({self.OPTION: path}) for _ in range(2))
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            self.assertIn(f"{self.OPTION}: there was no {path}: it was made", first.warnings[0])
            self.assertEqual(second.warnings, ())
            self.assertEqual(first.registration.shared_secret, second.registration.shared_secret)
            self.assertEqual(os.listdir(os.path.dirname(path)), [os.path.basename(path)])
            assert first.registration.shared_secret is not None
            made.append(first.registration.shared_secret.reveal())
        self.assertNotEqual(*made)
        self.assertGreater(len(made[0]), 40)

    def test_anothersStays(self) -> None:
        """Two processes that create it concurrently both have the same file."""
        path = self.mktemp()
        self.assertTrue(make_secret_file(path))
        before = Path(path).read_text()
        self.assertFalse(make_secret_file(path))
        self.assertEqual(Path(path).read_text(), before)
        self.assertEqual(os.listdir(os.path.dirname(path)), [os.path.basename(path)])

    def test_notWhereOnlyLookedAt(self) -> None:
        """A command that only reads the configuration creates no file, and says that a start
        would."""
        path = self.mktemp()
        file = self.file(f"server_name: a.example\nmacaroon_secret_key: k\n{self.OPTION}: {path}")
        (warning,) = load([file], makes_files=False).warnings
        self.assertIn(f"{self.OPTION}: there is no {path} yet: serve will make it", warning)
        self.assertFalse(os.path.exists(path))

    def test_refused(self) -> None:
        """Without its directory it cannot be created, and no other secret's file is."""
        self.assertProblem({self.OPTION: "/nowhere/key"}, "no directory to make it in")
        self.assertProblem({self.OPTION: "/proc/key"}, "cannot be made: ")
        for name in ("recaptcha_private_key_path", "form_secret_path"):
            path = self.mktemp()
            self.assertProblem({name: path}, f"{name}: cannot be read: No such file")
            self.assertFalse(os.path.exists(path))
