"""The documents describe everything that exists, and nothing else."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path
from typing import Iterator

import attr
import yaml
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

import regsys
from regsys.interfaces import homeserver, hooks
from regsys.metrics import Metrics
from regsys.testing import contracts, standalone
from regsys.web.operations import exposition
from regsys.wiring.subsystem import Hooks
from regsys.wiring.subsystem import hooks as make_hooks
from tests import interfaces_page
from tests.client_api.test_signup_terms import RULES
from tests.support.followers import Ledger
from tests.test_interfaces import interfaces_of

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").glob("**/*.md"))
EVERYTHING = "\n".join(path.read_text() for path in [ROOT / "README.md", *DOCS])


def anchors(text: str) -> set[str]:
    """What links to the headings of a document end in."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


class DocumentTests(SynchronousTestCase):
    def test_links(self) -> None:
        """A link to a file of ours leads to one, and to a heading of it."""
        for path in [ROOT / "README.md", *DOCS]:
            for name, heading in re.findall(
                r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", path.read_text()
            ):
                target = path.parent / name if name else path
                self.assertTrue(target.exists(), f"{path.name}: {name}")
                if heading:
                    self.assertIn(heading, anchors(target.read_text()), f"{path.name}: {name}")

    def test_namedFiles(self) -> None:
        """A file that a document names in `tests/` or `regsys/` exists."""
        for name in re.findall(r"`((?:tests|regsys|benchmarks)/[\w/]+\.\w+)`", EVERYTHING):
            self.assertTrue((ROOT / name).exists(), name)

    def test_endpoints(self) -> None:
        """docs/http-api.md has every path that is served."""
        text = (ROOT / "docs/http-api.md").read_text()
        subsystem = standalone(
            self,
            matrix_authentication_service={"enabled": True, "secret": "x"},
            regsys={
                "introspection_secret": "x" * 20,
                "policies": {"rules": RULES},
                "homeserver": {"url": "http://hs.example", "delegated": True},
            },
        )
        subsystem = subsystem.having(exposition(subsystem.process.metrics.registry))
        for endpoint in subsystem._endpoints.values():
            for path in endpoint.paths:
                if endpoint.name == "static":
                    path = "/_matrix/static/regsys/{file}"
                self.assertIn(path.replace("/r0/", "/v3/"), text)

    def test_firstMessage(self) -> None:
        """The two files of docs/synapse.md make a regsys that is an auth service, without a
        warning."""
        text = (ROOT / "docs" / "synapse.md").read_text("utf-8")
        part = text.split("## From nothing to a first message")[1].split("\n## ")[0]
        files = re.findall(r"^   ```yaml\n(.*?)^   ```", part, re.MULTILINE | re.DOTALL)
        first, second = (yaml.safe_load(textwrap.dedent(file)) for file in files)
        secret = Path(self.mktemp()).absolute()
        secret.touch(mode=0o600)
        secret.write_text("s")
        first["matrix_authentication_service"]["secret_path"] = str(secret)
        generated = {"server_name": "example.com", "macaroon_secret_key": "k"}
        found = regsys.parse({**generated, **first, **second})
        assert found.delegation is not None
        self.assertEqual(found.delegation.endpoint, "http://localhost:8009/")
        self.assertEqual([listener.port for listener in found.listeners], [8009])
        self.assertEqual(found.warnings, ())

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

    def test_jobs(self) -> None:
        """docs/jobs.md has every kind of job, and no other."""
        text = (ROOT / "docs/jobs.md").read_text()
        described = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
        followed = standalone(self, hooks=make_hooks(Clock(), followers=[Ledger()]))
        kinds = (kind.partition(":")[0] for kind in followed.jobs.kinds)
        self.assertEqual(sorted(described), sorted(kinds))

    def test_embeddersInterfaces(self) -> None:
        """docs/embedding.md and docs/hooks.md have every interface that an embedder may bring, each
        argument of embedded(), standalone() and hooks(), and every contract suite; the callbacks
        are on their own page."""
        text = "".join((ROOT / f"docs/{name}.md").read_text() for name in ("embedding", "hooks"))
        for interface in interfaces_of(homeserver) | interfaces_of(hooks):
            self.assertIn(f"`{interface.__name__}`", text)
        arguments = {*inspect.signature(regsys.embedded).parameters}
        arguments |= {*inspect.signature(regsys.standalone).parameters}
        arguments -= {"config", "clock", "process"}
        for name in (*arguments, *(field.name for field in attr.fields(Hooks))):
            self.assertRegex(text, rf"`{name}\b")
        for name in contracts.__all__:
            self.assertIn(name, text)
        suites = re.findall(r"`(\w+Contract)`", text)
        self.assertEqual({*suites} - {*contracts.__all__}, set())
        callbacks = (ROOT / "docs/callbacks.md").read_text()
        for name in (
            "spam",
            "threepids",
            "threepid_changes",
            "binding_changes",
            "names",
            "logins",
            "accounts",
        ):
            self.assertIn(f"| `{name}", callbacks)

    def test_interfacesPage(self) -> None:
        """docs/interfaces.md is what the source says: each interface and each of its methods, and
        the values in them. If it is not, run ``python -m tests.interfaces_page``."""
        text = interfaces_page.PAGE.read_text("utf-8")
        for interface in interfaces_of(homeserver) | interfaces_of(hooks):
            self.assertIn(f"### {interface.__name__}\n", text)
            for name in interface.names():
                self.assertRegex(text, rf"```python\n{name}[(:]")
        self.assertEqual(text, interfaces_page.page())

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
