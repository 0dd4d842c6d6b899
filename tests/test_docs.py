"""The documents describe everything that exists, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface

from regsys import interfaces
from regsys.metrics import Metrics
from regsys.testing import standalone
from regsys.web.metrics import exposition
from tests.client_api.test_signup_terms import RULES

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").glob("**/*.md"))
EVERYTHING = "\n".join(path.read_text() for path in [ROOT / "README.md", *DOCS])


class DocumentTests(SynchronousTestCase):
    def test_links(self) -> None:
        """A link to a file of ours leads to one."""
        for path in [ROOT / "README.md", *DOCS]:
            for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text()):
                self.assertTrue((path.parent / target).exists(), f"{path.name}: {target}")

    def test_namedFiles(self) -> None:
        """A file that a document names in `tests/` or `regsys/` exists."""
        for name in re.findall(r"`((?:tests|regsys|benchmarks)/[\w/]+\.\w+)`", EVERYTHING):
            self.assertTrue((ROOT / name).exists(), name)

    def test_endpoints(self) -> None:
        """docs/http-api.md has every path that is served."""
        text = (ROOT / "docs/http-api.md").read_text()
        subsystem = standalone(
            self, regsys={"introspection_secret": "x" * 20, "policies": {"rules": RULES}}
        )
        subsystem = subsystem.having(exposition(subsystem.process.metrics))
        for endpoint in subsystem._endpoints.values():
            for path in endpoint.paths:
                if endpoint.name == "static":
                    path = "/_matrix/static/regsys/{file}"
                self.assertIn(path.replace("/r0/", "/v3/"), text)

    def test_metrics(self) -> None:
        """docs/metrics.md has every metric with its labels, and no other."""
        metrics = Metrics()
        metrics.monthly_active_users()
        described = re.findall(
            r"^\| `(regsys_\w+)` \| \w+[^|]*\|([^|]*)\|",
            (ROOT / "docs/metrics.md").read_text(),
            re.MULTILINE,
        )
        documented = {
            name: tuple(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", labels)))
            for name, labels in described
        }
        there = {}
        for metric in metrics.registry._collector_to_names:
            name = metric._name + ("_total" if metric._type == "counter" else "")
            there[name] = metric._labelnames
        self.assertEqual(documented, there)

    def test_embeddersInterfaces(self) -> None:
        """docs/embedding.md describes every interface that an embedder may bring."""
        text = (ROOT / "docs/embedding.md").read_text()
        for name in (
            "IAccountStore",
            "IDevices",
            "IAuth",
            "IUserDirectory",
            "IAppservices",
            "IStage",
            "IThreepidStore",
            "IValidationMails",
            "ISmsSender",
            "IRequestSigner",
            "IUserLookup",
            "IPushers",
            "IRooms",
            "IMonthlyActiveUsers",
            "IBlocking",
        ):
            self.assertTrue(issubclass(type(getattr(interfaces, name)), type(Interface)))
            self.assertIn(name, text)

    def test_noMachine(self) -> None:
        """No document or source contains a path of one machine."""
        here = str(ROOT.parent) + "/"
        for path in [ROOT / "README.md", *DOCS, *(ROOT / "regsys").glob("**/*.py")]:
            self.assertNotIn(here, path.read_text(), str(path))


# Such as "contract B7.5", "contract B16.9-10", "threat A6, B4".
NUMBER = r"[A-F]\d+[ab]?(?:\.\d+(?:-\d+)?)?"
CITATION = re.compile(rf"\b(contract|threat)\s+({NUMBER}(?:,\s+{NUMBER})*)")


def rules_of_contract() -> set[str]:
    """The numbers of the contract's rules: "B7" for a chapter, "B7.5" for a rule in it."""
    rules: set[str] = set()
    chapter = ""
    for line in (ROOT / "docs/contract.md").read_text().splitlines():
        if heading := re.match(r"## (B\d+)", line):
            chapter = heading[1]
            rules.add(chapter)
        elif rule := re.match(r"(\d+)\. ", line):
            rules.add(f"{chapter}.{rule[1]}")
    return rules


def rows_of_threat_model() -> set[str]:
    text = (ROOT / "docs/threat-model.md").read_text()
    return set(re.findall(r"^\| ([A-F]\d+[ab]?) \|", text, re.MULTILINE))


def cited(text: str) -> Iterator[tuple[str, str]]:
    """The numbers that a text cites, each with the document; a range gives its first and last."""
    for document, numbers in CITATION.findall(text):
        for number in re.split(r",\s+", numbers):
            first, dash, last = number.partition("-")
            yield document, first
            if dash:
                yield document, f"{first.partition('.')[0]}.{last}"


class CitationTests(SynchronousTestCase):
    def test_citedRules(self) -> None:
        """Each rule and threat that a source or a document cites exists."""
        there = {"contract": rules_of_contract(), "threat": rows_of_threat_model()}
        paths = [
            path
            for folder in ("regsys", "tests", "benchmarks", "docs")
            for kind in ("py", "md", "sql")
            for path in (ROOT / folder).rglob(f"*.{kind}")
        ]
        count = 0
        for path in paths:
            for document, number in cited(path.read_text("utf-8")):
                count += 1
                self.assertIn(number, there[document], f"{path.relative_to(ROOT)}: {document}")
        self.assertGreater(count, 200)

    def test_cited(self) -> None:
        """Lists, ranges and line breaks are read; other uses of the words are not."""
        text = "see contract B7.5, B8.6-7 and threat\nA6, F1a; a contract for B2 is none"
        self.assertEqual(
            list(cited(text)),
            [
                ("contract", "B7.5"),
                ("contract", "B8.6"),
                ("contract", "B8.7"),
                ("threat", "A6"),
                ("threat", "F1a"),
            ],
        )
