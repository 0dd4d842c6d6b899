"""docs/modules.md has every callback, and its example can be loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from regsys.config import ConfigError
from regsys.modules.api import ModuleApi
from regsys.modules.api_http import ModuleHttpClient
from regsys.testing import standalone
from regsys.wiring.modules import callbacks
from tests.support.case import DUMMY
from tests.support.modules import PASSWORD, ModuleCase, package

PAGE = Path(__file__).parent.parent.parent / "docs" / "modules.md"


class DocumentTests(ModuleCase):
    def test_table(self) -> None:
        """The table has the callbacks of each method in their order, and no other."""
        rows = re.findall(r"^\| (?:by )?`(\w+)`", PAGE.read_text("utf-8"), re.MULTILINE)
        expected = [
            name for method, named in callbacks(self.hooks()).items() for name in (method, *named)
        ]
        begin = rows.index(expected[0])
        self.assertEqual(rows[begin : begin + len(expected)], expected)

    def test_api(self) -> None:
        """The API object has the methods and properties of its table, and no others."""
        _, _, section = PAGE.read_text("utf-8").partition("## The API object")
        rows = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)
        named = {name for row in rows for name in re.findall(r"`(\w+)", row)}
        offered = {name for name in dir(ModuleApi) if not name.startswith(("_", "register_"))} | {
            "register",
            "register_user",
            "register_device",
            "register_web_resource",
        }
        self.assertEqual(named, offered)
        (row,) = (line for line in section.splitlines() if line.startswith("| `http_client`"))
        for name in dir(ModuleHttpClient):
            if not name.startswith("_"):
                self.assertIn(f"`{name}(", row)

    def test_example(self) -> None:
        """The module of the page refuses robots, and what is wrong with its configuration stops the
        start."""
        blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
        (source,) = [block for block in blocks if "class NoRobots" in block]
        made: dict[str, Any] = {}
        exec(source, made)  # noqa: S102 (our own page)
        path = f"{package(self, NoRobots=made['NoRobots'])}.NoRobots"
        self.system(modules=[{"module": path, "config": {"refused": "robot"}}])
        answer = self.client.register(username="robot1", password=PASSWORD, auth=DUMMY)
        self.assertRefused(answer, 429, "M_LIMIT_EXCEEDED")
        self.register("alice")
        error = self.assertRaises(ConfigError, standalone, self, modules=[{"module": path}])
        self.assertIn("refused: write the beginning", error.problems[0])
