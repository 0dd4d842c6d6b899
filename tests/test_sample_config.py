"""sample_config.yaml and docs/configuration.md have every option, with its true default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterator

import yaml
from twisted.trial.unittest import SynchronousTestCase

from regsys.config import load, parse, read
from regsys.config.values import Reader

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "sample_config.yaml"
DOCUMENTED = ROOT / "docs" / "configuration.md"


def uncommented() -> Any:
    """The sample with the marker removed from each option: prose has a single space behind it."""
    text = SAMPLE.read_text(encoding="utf-8")
    return yaml.safe_load(re.sub(r"^#(?=[a-z]| {2})", "", text, flags=re.MULTILINE))


def options(reader: Reader) -> Iterator[str]:
    """The dotted names of all options that the sections read, lists without their indexes."""
    parents = {name.partition("[")[0] for name, child in reader.children.items() if child.asked}
    for name in reader.asked:
        if name not in parents:
            yield re.sub(r"\[\d+\]", "[]", reader.name_of(name))
    for child in reader.children.values():
        yield from options(child)


class SampleTests(SynchronousTestCase):
    def test_theSampleStarts(self) -> None:
        """Unchanged, the sample is a configuration with every default."""
        config = load([str(SAMPLE)])
        self.assertEqual(config, parse({"server_name": "example.com"}))
        self.assertFalse(config.registration.enabled)

    def test_eachDefaultShownIsTheRealOne(self) -> None:
        """The sample with all its options switched on changes nothing."""
        everything = parse(uncommented())
        self.assertEqual(everything, parse({"server_name": "example.com"}))
        self.assertEqual(everything.unused, ())

    def test_everyOptionIsShown(self) -> None:
        """The sample contains each option, and the documentation does, too."""
        reader = Reader(uncommented())
        read(reader)
        text = DOCUMENTED.read_text(encoding="utf-8")
        names = set(options(reader))
        self.assertGreater(len(names), 60)
        self.assertEqual(sorted(name for name in names if f"`{name}`" not in text), [])
        self.assertEqual(sorted(self.missing_in_sample(reader)), [])

    def missing_in_sample(self, reader: Reader) -> Iterator[str]:
        for name in reader.asked - set(reader.data):
            yield reader.name_of(name)
        for child in reader.children.values():
            yield from self.missing_in_sample(child)
