"""Registration files of application services: what is read, and how mistakes are reported."""

from __future__ import annotations

from typing import Any

import yaml

from regsys.model import Appservice, Secret
from tests.config.case import ConfigCase

BRIDGE: dict[str, Any] = {
    "id": "irc",
    "url": "http://localhost:9999",
    "as_token": "the token of the service",
    "hs_token": "the token of the server",
    "sender_localpart": "ircbot",
    "rate_limited": False,
    "namespaces": {
        "users": [{"regex": "@_irc_.*:example\\.com", "exclusive": True}],
        "aliases": [],
        "rooms": [],
    },
    "protocols": ["irc"],
}
OTHER = {**BRIDGE, "id": "other", "as_token": "another token", "sender_localpart": "otherbot"}


class AppserviceCase(ConfigCase):
    def registration(self, **changes: Any) -> str:
        """The path of BRIDGE's file with these changes; ``...`` removes a key."""
        keys = {**BRIDGE, **changes}
        return self.file(yaml.safe_dump({k: v for k, v in keys.items() if v is not ...}))

    def services(self, *paths: str, **options: Any) -> tuple[Appservice, ...]:
        return self.parse({"app_service_config_files": list(paths), **options}).appservices

    def wrong(self, *paths: str) -> Any:
        return self.problems({"app_service_config_files": list(paths)})


class ReadTests(AppserviceCase):
    def test_read(self) -> None:
        """A file gives a service; keys that are not about accounts are ignored."""
        (service,) = self.services(self.registration())
        self.assertEqual((service.id, service.sender_localpart), ("irc", "ircbot"))
        self.assertEqual(service.as_token, Secret(BRIDGE["as_token"]))
        self.assertTrue(service.may_log_in)
        (namespace,) = service.users
        self.assertEqual(namespace.regex.pattern, r"@_irc_.*:example\.com")
        self.assertTrue(namespace.exclusive)
        self.assertEqual(self.services(), ())
        self.assertEqual(self.parse({"app_service_config_files": None}).appservices, ())

    def test_tolerated(self) -> None:
        """A service without a URL, without namespaces or with unknown keys is accepted."""
        for changes in (
            {"url": None},
            {"url": ..., "rate_limited": ...},
            {"namespaces": {}},
            {"namespaces": {"users": None}},
            {"namespaces": ...},
            {"de.sorunome.msc2409.push_ephemeral": True, "receive_ephemeral": 1},
        ):
            config = self.parse({"app_service_config_files": [self.registration(**changes)]})
            self.assertEqual([item.id for item in config.appservices], ["irc"], changes)
            self.assertEqual((config.unused, config.warnings), ((), ()), changes)

    def test_withoutLogins(self) -> None:
        """MSC4190 in its file, or OAuth alone, gives a service's users no logins."""
        (service,) = self.services(self.registration(**{"io.element.msc4190": True}))
        self.assertFalse(service.may_log_in)
        oauth = {"matrix_authentication_service": {"enabled": True}}
        (service,) = self.services(self.registration(), **oauth)
        self.assertFalse(service.may_log_in)


class MistakeTests(AppserviceCase):
    def test_eachKey(self) -> None:
        """A bad key is reported with its file, its name, what is wrong and how to correct it."""
        users = [{"regex": "@_irc_.*", "exclusive": True}]
        for changes, *parts in (
            ({"id": ...}, "id: missing"),
            ({"id": 5}, "id: not text (5)"),
            ({"as_token": ...}, "as_token: missing"),
            ({"as_token": 5}, "as_token: a number, not text"),
            ({"as_token": " "}, "as_token: missing"),
            ({"hs_token": ...}, "hs_token: missing"),
            ({"sender_localpart": ...}, "sender_localpart: missing"),
            ({"sender_localpart": "@bot:example.com"}, "sender_localpart: not the localpart"),
            ({"sender_localpart": "b" * 255}, "sender_localpart: too long"),
            ({"url": 5}, "url: not text (5)"),
            ({"rate_limited": "no"}, "rate_limited: not a boolean"),
            ({"io.element.msc4190": "yes"}, "io.element.msc4190: not a boolean"),
            ({"namespaces": []}, "namespaces: a list, not a mapping"),
            ({"namespaces": {"users": {}}}, "namespaces.users: a mapping, not a list"),
            ({"namespaces": {"users": ["@_irc"]}}, "namespaces.users[0]: text, not a mapping"),
            (
                {"namespaces": {"users": [*users, {"regex": "@(", "exclusive": True}]}},
                "namespaces.users[1].regex: cannot be understood",
                "'@('",
            ),
            (
                {"namespaces": {"users": [{"regex": "@_irc_.*"}]}},
                "namespaces.users[0].exclusive: missing",
            ),
            (
                {"namespaces": {"users": [{"regex": "@", "exclusive": "yes"}]}},
                "namespaces.users[0].exclusive: not a boolean ('yes')",
            ),
            (
                {"namespaces": {"users": [{"exclusive": True}]}},
                "namespaces.users[0].regex: missing",
            ),
        ):
            path = self.registration(**changes)
            problems = [item for item in self.wrong(path) if item.startswith(f"{path}: {parts[0]}")]
            self.assertEqual(len(problems), 1, f"{changes} {self.wrong(path)}")
            for part in (*parts, " — "):
                self.assertIn(part, problems[0])

    def test_allInOneReport(self) -> None:
        """The mistakes of all files and of the other options come together, and no token is
        shown."""
        first = self.registration(id=..., as_token=7001, hs_token=...)
        second = self.registration(sender_localpart=..., as_token="a secret token")
        missing = self.mktemp()
        broken = self.file("id: [")
        problems = self.problems(
            {"app_service_config_files": [first, second, missing, broken], "bcrypt_rounds": 99}
        )
        for begin in (
            f"{first}: id",
            f"{first}: as_token",
            f"{first}: hs_token",
            f"{second}: sender_localpart",
            f"app_service_config_files: {missing}: cannot be read",
            f"app_service_config_files: {broken}: not valid YAML at line",
            "bcrypt_rounds",
        ):
            self.assertEqual(len([1 for item in problems if item.startswith(begin)]), 1, begin)
        self.assertEqual(len(problems), 7, problems)
        for secret in ("7001", "a secret token"):
            self.assertNotIn(secret, "\n".join(problems))

    def test_twice(self) -> None:
        """Two services with one id or one token are refused; the token is not shown."""
        first = self.registration()
        for changes, part in (({"id": "irc"}, "('irc')"), ({"as_token": BRIDGE["as_token"]}, "")):
            second = self.registration(**{**OTHER, **changes})
            (problem,) = self.wrong(first, second)
            (name,) = changes
            self.assertTrue(problem.startswith(f"{second}: {name}: the same as in {first}"))
            self.assertIn(part, problem)
            self.assertNotIn(BRIDGE["as_token"], problem)
        self.assertEqual(len(self.services(first, self.registration(**OTHER))), 2)

    def test_oneSender(self) -> None:
        """Two services with the same sender cause a warning."""
        first, second = (
            self.registration(),
            self.registration(**{**OTHER, "sender_localpart": "IRCbot", "namespaces": ...}),
        )
        options = {"app_service_config_files": [first, second]}
        self.assertWarning(options, f"{second}: sender_localpart", first)

    def test_everybody(self) -> None:
        """A service that reserves every name, or every number, causes a warning, unless it is
        regsys's own at a homeserver."""

        def warnings(regex: str, exclusive: bool = True, **options: Any) -> list[str]:
            users = [{"regex": regex, "exclusive": exclusive}]
            path = self.registration(as_token="our-token", namespaces={"users": users})
            config = self.parse({"app_service_config_files": [path], **options})
            return [item for item in config.warnings if item.startswith(path)]

        for regex in (r"@.*:example\.com", ".*", "@[a-z]+:"):
            (warning,) = warnings(regex)
            self.assertIn("namespaces.users: the service keeps every name", warning)
        for regex, exclusive in ((".*", False), ("@_irc_.*", True), ("@any.*", True)):
            self.assertEqual(warnings(regex, exclusive), [], regex)
        (warning,) = warnings("@[0-9]+:.*")
        self.assertIn("namespaces.users: the service keeps every number", warning)
        self.assertEqual(warnings("@[0-9]{,6}:.*"), [])
        beside = {"url": "http://localhost", "as_token": "our-token"}
        self.assertEqual(warnings(".*", regsys={"homeserver": beside}), [])
        beside = {"url": "http://localhost", "as_token": "another-token"}
        self.assertEqual(len(warnings(".*", regsys={"homeserver": beside})), 1)

    def test_notAList(self) -> None:
        """The option is a list of paths."""
        self.assertProblem({"app_service_config_files": "irc.yaml"}, "app_service_config_files")
        self.assertProblem({"app_service_config_files": [5]}, "app_service_config_files[0]")

    def test_nobody(self) -> None:
        """A namespace that cannot match any user of this server causes a warning; one that may
        match does not."""
        for regex, why in (
            (r"@_irc_.*:example\.org", "another server's than example.com"),
            (r"^@_irc_.*:example\.org$", "another server's"),
            (r"@_irc_.*\:(one|two)\.example", "another server's"),
            (r"@bot:matrix\.example\.com", "another server's"),
            ("@_irc_.*:EXAMPLE.com", "another server's"),
            ("_irc_.*", "does not begin with @"),
            (r"^_irc_.*:example\.com", "does not begin with @"),
            (r"\#_irc_.*:example\.com", "does not begin with @"),
            ("@_irc_.*", None),
            ("@_irc_", None),
            (r"^@_irc_.*:example\.com$", None),
            ("@_irc_.*:example.com", None),
            ("@_irc_.*:.*", None),
            ("@_irc_[^:]*:example", None),
            ("@_irc_[]:]*:(other|example).com", None),
            (r"@a:one\.org|@b:example\.com", None),
            (r"(?i)@_irc_.*:EXAMPLE\.com", None),
            (r"(?:@|%)x.*(:other\.org)?", None),
            (r"x?@_irc_.*", None),
            (r"@_irc_.*:?other", None),
            (r".*_irc_.*", None),
            (r"[@]_irc_.*", None),
        ):
            users = [{"regex": regex, "exclusive": False}]
            path = self.registration(namespaces={"users": users})
            warnings = self.parse({"app_service_config_files": [path]}).warnings
            expected = (
                [f"{path}: namespaces.users[0].regex ({regex}) matches no user of this server: "]
                if why
                else []
            )
            self.assertEqual(
                [item.partition("server: ")[0] + "server: " for item in warnings], expected
            )
            self.assertIn(why or "", "".join(warnings))

    def test_shadowed(self) -> None:
        """Two exclusive namespaces of which one contains the other cause a warning; there is none
        if they only overlap, belong to one service, or one is not exclusive."""
        for first, second, expected in (
            ("@_irc_.*", "@_irc_bot_.*", "@_irc_bot_.*"),
            (r"@_irc_bot_.*:example\.com", "@_irc_.*", r"@_irc_bot_.*:example\.com"),
            ("@_irc_.*", "@_irc_.*", "@_irc_.*"),
            ("@_irc_.*", r"@_irc_helper:example\.com", r"@_irc_helper:example\.com"),
            ("@_irc_.*", "^@_irc_[0-9]+", "^@_irc_[0-9]+"),
            ("@_irc_[0-9]+:.*", "@_irc_[a-z]+:.*", None),
            ("@_irc_.*", "@_xmpp_.*", None),
            ("@_irc_a.*", "@_irc_b.*", None),
            ("@_irc_[ab]:.*", "@_irc_[ac]:.*", None),
            ("@_irc_.*", r"@_irc_.*:example\.org", None),
            ("@_irc_(a|b).*", "@_irc_.*_c", None),
        ):
            one = self.registration(namespaces={"users": [{"regex": first, "exclusive": True}]})
            users = [{"regex": second, "exclusive": True}]
            two = self.registration(**{**OTHER, "namespaces": {"users": users}})
            warnings = self.parse({"app_service_config_files": [one, two]}).warnings
            found = [item for item in warnings if "neither of the two" in item]
            self.assertEqual(len(found), 0 if expected is None else 1, (first, second, warnings))
            if expected is not None:
                self.assertIn(f"namespaces.users[0].regex ({expected}): the service of", found[0])
                for path in (one, two):
                    self.assertIn(path, found[0])
        open_users = [{"regex": "@_irc_bot_.*", "exclusive": False}]
        both = [{"regex": "@_irc_.*", "exclusive": True}, {"regex": "@_irc_b.*", "exclusive": True}]
        one = self.registration(namespaces={"users": both})
        two = self.registration(**{**OTHER, "namespaces": {"users": open_users}})
        self.assertEqual(self.parse({"app_service_config_files": [one, two]}).warnings, ())
