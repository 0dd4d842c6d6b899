"""Policies: which there are, which new users must accept, and what is invalid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regsys.config.terms import Policy, PolicyText, TermsConfig
from regsys.model import Secret
from tests.config.case import ConfigCase

SECRET = {"form_secret": "s"}


class TermsCase(ConfigCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        (self.directory / "en").mkdir(parents=True)
        for version in ("1.0", "2"):
            (self.directory / "en" / f"{version}.html").write_text("")

    def consent(self, **more: Any) -> dict[str, Any]:
        """A valid user_consent section, but for these options."""
        return {"template_dir": str(self.directory), "version": "1.0", **more}


class UserConsentTests(TermsCase):
    def test_absent(self) -> None:
        """No policy is required without the section, nor by an empty one."""
        empty = dict.fromkeys(("template_dir", "version", "policy_name"))
        for section in (None, {}, empty, {"policy_name": "Privacy Policy"}):
            self.assertEqual(self.parse({"user_consent": section}).terms, TermsConfig())

    def test_whole(self) -> None:
        """The policy has its version, its name, and whether new users must accept it."""
        for more, name, asked in (
            ({}, "Privacy Policy", False),
            ({"policy_name": "House rules", "require_at_registration": True}, "House rules", True),
        ):
            config = self.parse({"user_consent": self.consent(**more), **SECRET})
            policy = Policy(
                version="1.0", texts={"en": PolicyText(name=name)}, at_registration=asked
            )
            expected = TermsConfig(
                policies={"privacy_policy": policy},
                template_dir=str(self.directory),
                form_secret=Secret("s"),
            )
            self.assertEqual(config.terms, expected)
            self.assertEqual(
                set(config.terms.at_registration), {"privacy_policy"} if asked else set()
            )
            self.assertEqual((config.unused, config.warnings), ((), ()))

    def test_numbers(self) -> None:
        """A version that YAML reads as a number is accepted, as it was written."""
        for written, version in ((1.0, "1.0"), (2, "2")):
            config = self.parse({"user_consent": self.consent(version=written), **SECRET})
            self.assertEqual(config.terms.policies["privacy_policy"].version, version)

    def test_refused(self) -> None:
        """A missing or invalid value is reported by name, with the remedy."""
        cases: list[tuple[dict[str, Any], str]] = [
            ({"template_dir": None}, "user_consent.template_dir: missing"),
            ({"version": None}, "user_consent.version: missing"),
            ({"version": 1.1}, "en/1.1.html; a version like 1.10 needs quotes"),
            ({"template_dir": "nowhere"}, "user_consent.template_dir: not a directory"),
            *(
                ({"version": version}, "user_consent.version: not a version")
                for version in (
                    True,
                    "../en/1.0",
                    "a/b",
                    ".",
                    "1.0\n",
                    "<x onload>",
                    "success",
                    [1],
                )
            ),
        ]
        for more, part in cases:
            self.assertProblem({"user_consent": self.consent(**more), **SECRET}, part)

    def test_homeserversOwn(self) -> None:
        """Options that only a homeserver can follow are listed as unused."""
        names = ("server_notice_content", "send_server_notice_to_guests", "block_events_error")
        section = self.consent(**dict.fromkeys(names, "x"))
        config = self.parse({"user_consent": section, **SECRET})
        self.assertEqual(set(config.unused), {f"user_consent.{name}" for name in names})
        self.assertEqual(config.warnings, ())

    def test_warnings(self) -> None:
        """Links that cannot be followed, and pages that no listener serves, cause warnings."""
        self.assertWarning({"user_consent": self.consent()}, "form_secret")
        here = {"user_consent": self.consent(), **SECRET}
        rules = {"version": "1", "en": {"name": "Rules", "url": "https://rules.example/"}}
        elsewhere = {"regsys": {"policies": {"rules": rules}}}
        for options, names, warned in (
            (here, ["client"], True),
            (here, ["client", "consent"], False),
            (elsewhere, ["client"], False),
        ):
            options = {**options, "listeners": [{"port": 1, "resources": [{"names": names}]}]}
            if warned:
                self.assertWarning(options, "no listener serves them")
            else:
                self.assertEqual(self.parse(options).warnings, ())


class PoliciesTests(TermsCase):
    def policies(self, **policies: Any) -> dict[str, Any]:
        return {"regsys": {"policies": policies}}

    def test_several(self) -> None:
        """Each has a version and languages, its text here or elsewhere; new users accept all."""
        file = str(self.directory / "en" / "2.html")
        rules = {
            "version": 1.2,
            "en": {"name": "Rules", "file": file},
            "pt-BR": {"name": "Regras", "url": "https://rules.example/pt"},
        }
        options = self.policies(rules=rules)
        expected = Policy(
            version="1.2",
            texts={
                "en": PolicyText(name="Rules", file=file),
                "pt-BR": PolicyText(name="Regras", url="https://rules.example/pt"),
            },
        )
        config = self.parse(options)
        self.assertEqual(config.terms.at_registration, {"rules": expected})
        self.assertEqual((config.unused, config.warnings), ((), ()))
        both = self.parse({**options, "user_consent": self.consent(), **SECRET}).terms
        self.assertEqual(list(both.policies), ["privacy_policy", "rules"])
        self.assertEqual(list(both.at_registration), ["rules"])

    def test_refused(self) -> None:
        """Each mistake is reported by its dotted name."""
        good = {"name": "Rules", "url": "https://rules.example/"}
        for policy, part in (
            ({"en": good}, "regsys.policies.rules.version: missing"),
            ({"version": "1"}, "regsys.policies.rules.en: missing"),
            ({"version": "1", "en": {**good, "name": None}}, "regsys.policies.rules.en.name"),
            ({"version": "1", "en": {**good, "url": None}}, "regsys.policies.rules.en.url"),
            ({"version": "1", "en": {**good, "file": __file__}}, "keep exactly one"),
            ({"version": "1", "en": {"name": "R", "file": "no"}}, "regsys.policies.rules.en.file"),
            ({"version": "1", "en": good, False: good}, "regsys.policies.rules.False"),
            ({"version": "1", "en": good, "english": good}, "regsys.policies.rules.english"),
            *(
                ({"version": "1", "en": {**good, "url": url}}, "regsys.policies.rules.en.url: not")
                for url in (
                    "javascript:alert(1)",
                    "ftp://rules.example/",
                    "rules.html",
                    "https://",
                    "http://a.example/\n",
                )
            ),
        ):
            self.assertProblem(self.policies(rules=policy), part)
        self.assertProblem(self.policies(**{"No name": {}}), "regsys.policies.No name")

    def test_givenTwice(self) -> None:
        """A policy may be configured in one section only."""
        policy = {"version": "1", "en": {"name": "P", "url": "https://p.example/"}}
        options = self.policies(privacy_policy=policy)
        self.assertEqual(set(self.parse(options).terms.policies), {"privacy_policy"})
        self.assertProblem(
            {**options, "user_consent": self.consent(), **SECRET},
            "regsys.policies.privacy_policy: given twice",
        )
