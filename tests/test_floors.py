"""A file of regsys imports from the floors below its folder's, see docs/architecture.md."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator, Mapping, Optional, Sequence

from twisted.trial.unittest import SynchronousTestCase

REGSYS = Path(__file__).parent.parent / "regsys"

# A name is a folder, whose files import each other freely, or a file at the root. Names of planned
# files have their floor, too.
FLOORS: Mapping[int, str] = {
    0: "errors",
    1: "model clock templates",
    2: "interfaces metrics json_body deadlines log_context",
    3: "config http",
    4: "storage outbound replication",
    5: "uia credentials appservices jobs limits callbacks adoption audit",
    6: "threepids captcha registration_tokens registration_reason consent",
    7: "accounts",
    8: "client_api",
    9: "web modules",
    10: "wiring",
    11: "processes logs __init__",
    12: "cli",
    13: "__main__",
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names.split()}
# These face the network or run others' code. They are chosen in wiring alone.
SHELLS = frozenset({"outbound", "replication", "modules", "adoption"})


def violations(sources: Mapping[str, str]) -> list[str]:
    """The violations in these files, a sentence each. Keys are like ``storage/users.py``."""
    found = []
    for path, source in sorted(sources.items()):
        name = path.removesuffix(".py").split("/")[0]
        if name == "testing":
            continue  # it may use everything
        if name not in FLOOR_OF:
            found.append(
                f"{path} stands on no floor: give it one in tests/test_floors.py and in "
                "docs/architecture.md"
            )
            continue
        for imported in sorted(set(_imports(source))):
            objection = _objection(name, imported)
            if objection:
                found.append(f"{path} imports {imported}: {objection}")
    return found


def _objection(importer: str, imported: str) -> Optional[str]:
    """Why one may not import the other, both names of FLOOR_OF or ``testing``; None if it may."""
    if importer == imported:
        return None
    if imported == "testing":
        # The package itself shows it to type checkers, and imports it when it is asked for.
        return None if importer == "__init__" else "what is for tests is imported by tests alone"
    if imported not in FLOOR_OF or imported == "__init__":
        return "take it from the file that defines it; the public names are for others"
    here, there = FLOOR_OF[importer], FLOOR_OF[imported]
    if imported in SHELLS and here < FLOOR_OF["wiring"]:
        return "only wiring knows which implementation is used"
    return (
        None if there < here else f"it is on floor {there}, and floor {here} sees only lower ones"
    )


def _imports(source: str) -> Iterator[str]:
    """The folders and root files of regsys, by name, that a source imports anywhere."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules: Sequence[str] = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):  # never a relative one: ruff forbids them
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            top, *rest = module.split(".")
            if top == "regsys":
                yield rest[0] if rest else "__init__"


class FloorTests(SynchronousTestCase):
    def test_regsys(self) -> None:
        """Every file of regsys is on a floor and imports from lower ones only."""
        sources = {
            path.relative_to(REGSYS).as_posix(): path.read_text("utf-8")
            for path in REGSYS.rglob("*.py")
        }
        self.assertIn("errors.py", sources)
        self.assertEqual(violations(sources), [])

    def test_document(self) -> None:
        """docs/architecture.md has each of these names on its floor."""
        text = (REGSYS.parent / "docs/architecture.md").read_text()
        for floor, names in FLOORS.items():
            (row,) = (line for line in text.splitlines() if line.startswith(f"| {floor} |"))
            for name in names.split():
                if (REGSYS / name).is_dir() or (REGSYS / f"{name}.py").exists():
                    self.assertIn(f"`{name}`", row)

    def assertViolation(self, path: str, source: str, reason: str) -> None:
        (wrong,) = violations({path: source})
        self.assertTrue(wrong.startswith(path), wrong)
        self.assertIn(reason, wrong)

    def assertAllowed(self, path: str, source: str) -> None:
        self.assertEqual(violations({path: source}), [])

    def test_downwardsIsFine(self) -> None:
        """Lower floors may be imported in any way, and the files of a folder by each other."""
        self.assertAllowed(
            "accounts/handler.py", "from regsys.model import UserID\nimport regsys.uia"
        )
        self.assertAllowed("storage/users.py", "from regsys import clock")
        self.assertAllowed("storage/users.py", "from regsys.storage.database import Database")
        self.assertAllowed("uia/sessions.py", "from regsys.storage.sessions import SessionStore")
        self.assertAllowed("wiring/parts.py", "from regsys.outbound.http import HTTPClient")
        self.assertAllowed("testing/contracts.py", "from regsys.cli import main")

    def test_upwards(self) -> None:
        """A file that imports a higher floor is reported, even if it does so within a function."""
        self.assertViolation("model/jobs.py", "import regsys.interfaces", "floor 2")
        source = "def f():\n    from regsys.web import register"
        self.assertViolation("client_api/signup.py", source, "floor 9")

    def test_neighbours(self) -> None:
        """The folders of a floor do not import each other."""
        self.assertViolation("uia/sessions.py", "from regsys.jobs import JobRunner", "floor 5")
        self.assertViolation("http/server.py", "from regsys.config import Listener", "floor 3")

    def test_shells(self) -> None:
        """The parts that face the network are chosen in wiring, and nowhere else."""
        source = "from regsys.outbound.http import HTTPClient"
        self.assertViolation("threepids/phones.py", source, "only wiring")
        self.assertViolation("web/login.py", source, "only wiring")

    def test_public(self) -> None:
        """Neither the public names nor the testing package are used within."""
        self.assertViolation("accounts/handler.py", "import regsys", "the public names")
        self.assertViolation("accounts/handler.py", "from regsys import UserID", "the public names")
        self.assertViolation(
            "accounts/handler.py", "from regsys.testing import config", "tests alone"
        )

    def test_noFloor(self) -> None:
        """A file that has no floor yet is reported with the place to give it one."""
        self.assertViolation("new.py", "", "docs/architecture.md")
