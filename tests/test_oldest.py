"""``tox -e oldest`` tests with the oldest of what may be installed."""

from __future__ import annotations

import configparser
import re
from typing import Iterator

from twisted.trial.unittest import SynchronousTestCase

from tests.support.service_process import ROOT


class OldestTests(SynchronousTestCase):
    def test_pins(self) -> None:
        """It has the lowest version of each dependency that setup.cfg allows."""
        setup, tox = _read("setup.cfg"), _read("tox.ini")
        lowest = {}
        for wanted in (
            setup["options"]["install_requires"],
            setup["options.extras_require"]["postgres"],
            setup["options.extras_require"]["redis"],
        ):
            lowest.update(_versions(wanted, ">="))
        self.assertGreater(len(lowest), 10)
        self.assertEqual(dict(_versions(tox["testenv:oldest"]["deps"], "==")), lowest)


def _read(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / name)
    return parser


def _versions(requirements: str, relation: str) -> Iterator[tuple[str, str]]:
    for line in requirements.splitlines():
        found = re.match(rf"([\w\[\]-]+) {relation} ([\d.]+)", line)
        if found:
            yield found[1], found[2]
