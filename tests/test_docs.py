"""The documents speak of what is there, and of all of it."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface

from regsys import interfaces
from regsys.metrics import Metrics
from regsys.testing import standalone
from regsys.web.metrics import exposition
from tests.test_signup_terms import RULES

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
        subsystem = subsystem.having(exposition(subsystem.backend.metrics))
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
        """docs/embedding.md speaks of every interface that an embedder may bring."""
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
        """No document or source names a path of one machine."""
        here = str(ROOT.parent) + "/"
        for path in [ROOT / "README.md", *DOCS, *(ROOT / "regsys").glob("**/*.py")]:
            self.assertNotIn(here, path.read_text(), str(path))
