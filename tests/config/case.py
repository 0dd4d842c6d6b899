"""Helpers for the tests of the configuration."""

from __future__ import annotations

import os
import textwrap
from typing import Any, Sequence

from twisted.trial.unittest import SynchronousTestCase

from regsys.config import Config, ConfigError, parse

OPEN = {"enable_registration": True, "enable_registration_without_verification": True}


class ConfigCase(SynchronousTestCase):
    def parse(self, options: dict[Any, Any]) -> Config:
        """A server with these options."""
        return parse({"server_name": "example.com", "macaroon_secret_key": "k", **options})

    def problems(self, options: dict[str, Any]) -> Sequence[str]:
        """The problems of these options."""
        return self.assertRaises(ConfigError, self.parse, options).problems

    def assertProblem(self, options: dict[str, Any], *parts: str) -> None:
        """Exactly one problem, with all these parts."""
        problems = self.problems(options)
        self.assertEqual(len(problems), 1, problems)
        for part in (*parts, " — "):
            self.assertIn(part, problems[0])

    def assertWarning(self, options: dict[str, Any], *parts: str) -> None:
        """Exactly one warning, with all these parts."""
        warnings = self.parse(options).warnings
        self.assertEqual(len(warnings), 1, warnings)
        for part in parts:
            self.assertIn(part, warnings[0])

    def file(self, text: str, mode: int = 0o600) -> str:
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            file.write(textwrap.dedent(text))
        os.chmod(path, mode)
        return path
