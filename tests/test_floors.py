"""regsys is a house: a file imports from the floors below its own, see docs/architecture.md."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator, Mapping, Optional, Sequence

from twisted.trial.unittest import SynchronousTestCase

REGSYS = Path(__file__).parent.parent / "regsys"

# A name is a file, or a whole package, whose files import each other freely. The folders of
# capabilities hold files of several floors. Names that are not there yet have their floor.
FLOORS: Mapping[int, str] = {
    0: "errors",
    1: "clocks deadlines log_context pid_file tokens model bodies networks "
    "appservices/literal_prefixes",
    2: "interfaces config http callbacks metrics sealed templates uia/turns",
    3: "usernames passwords hashing_threads access_tokens ratelimit admission registration_tokens "
    "drafts blocking approval autojoin shared_secret consent mails farewell activity guests "
    "uia/sessions uia/flows uia/proof_of_work threepids/addresses threepids/changes "
    "threepids/domains threepids/names threepids/tokens threepids/attempts "
    "appservices/namespaces appservices/ghosts",
    4: "credentials wishes hashing kept_hashes follow_ups aftermath jobs writer foreign_writer "
    "handler uia/stages_first uia/threepid_stages uia/captchas threepids/account "
    "threepids/requests threepids/unbinding",
    5: "signup login uia/stages uia/confirmation threepids/validation threepids/bindings "
    "appservices/requests",
    6: "web threepids/phones threepids/mailer",
    7: "backend",
    8: "subsystem",
    9: "wiring",
    10: "service logs __init__",
    11: "cli",
    12: "__main__",
}
CAPABILITIES = frozenset({"uia", "threepids", "appservices"})
# Shells face a database or the network. They see floors 0 to 2, never a rule nor each other,
# and are seen only from backend upwards, where it is decided which of them are used.
SHELLS = frozenset({"storage", "outbound", "replication", "modules", "standalone"})
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names.split()}
FLOOR_OF.update(dict.fromkeys(SHELLS, 3))
FLOOR_OF.update({f"{folder}/__init__": 0 for folder in CAPABILITIES})


def wrongs(sources: Mapping[str, str]) -> list[str]:
    """What is wrong with these files, a sentence each. Keys are like ``storage/users.py``."""
    found = []
    for path, source in sorted(sources.items()):
        name = _name(path)
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
    """Why one may not import the other, both names of FLOOR_OF or ``testing``; None: it may."""
    if importer == imported:
        return None
    if imported == "testing":
        return "what is for tests stays out of the house"
    if imported not in FLOOR_OF or imported == "__init__":
        return "take it from the file that defines it; the public names are for others"
    here, there = FLOOR_OF[importer], FLOOR_OF[imported]
    if imported in SHELLS and here < FLOOR_OF["backend"]:
        return "only backend and wiring know which shell is used"
    if imported == "interfaces" and here == there:
        return None  # the seams are for the whole of their floor
    return (
        None if there < here else f"it is on floor {there}, and floor {here} sees only lower ones"
    )


def _name(path: str) -> str:
    return _file_or_package(path.removesuffix(".py").split("/"))


def _file_or_package(parts: Sequence[str]) -> str:
    """The name in FLOORS of what these parts of a path, or of a module's name, lead to."""
    return "/".join(parts[:2]) if parts[0] in CAPABILITIES else parts[0]


def _imports(source: str) -> Iterator[str]:
    """The files and packages of regsys, by name, that a source imports anywhere."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):  # never a relative one: ruff sees to that
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            top, *rest = module.split(".")
            if top == "regsys":
                yield _file_or_package(rest) if rest else "__init__"


class FloorTests(SynchronousTestCase):
    def test_regsys(self) -> None:
        """Every file of regsys stands on a floor and imports from lower ones only."""
        sources = {
            path.relative_to(REGSYS).as_posix(): path.read_text("utf-8")
            for path in REGSYS.rglob("*.py")
        }
        self.assertIn("errors/base.py", sources)
        self.assertEqual(wrongs(sources), [])

    def assertWrong(self, path: str, source: str, reason: str) -> None:
        (wrong,) = wrongs({path: source})
        self.assertTrue(wrong.startswith(path), wrong)
        self.assertIn(reason, wrong)

    def assertFine(self, path: str, source: str) -> None:
        self.assertEqual(wrongs({path: source}), [])

    def test_downwardsIsFine(self) -> None:
        """Lower floors may be imported in any way, and a package imports itself."""
        self.assertFine("handler.py", "from regsys.model import UserID\nimport regsys.errors")
        self.assertFine("storage/users.py", "from regsys import tokens")
        self.assertFine("storage/users.py", "from regsys.storage.database import Database")
        self.assertFine("wiring/parts.py", "from regsys.storage.database import Database")
        self.assertFine("callbacks.py", "from regsys.interfaces import Verdict")
        self.assertFine("testing/contracts.py", "from regsys.cli import main")

    def test_upwards(self) -> None:
        """A file that imports a higher floor is told, even if it does so within a function."""
        self.assertWrong("model.py", "import regsys.interfaces", "floor 2")
        self.assertWrong("signup.py", "def f():\n    from regsys.web import register", "floor 6")

    def test_neighbours(self) -> None:
        """The rules do not import each other, nor do the files of any other floor."""
        self.assertWrong("usernames.py", "from regsys.passwords import prepare", "floor 3")
        self.assertWrong("http/site.py", "from regsys.config import Listener", "floor 2")

    def test_capabilities(self) -> None:
        """The files of a capability's folder have floors of their own."""
        self.assertFine("threepids/phones.py", "from regsys.threepids.addresses import mailbox")
        self.assertWrong("uia/flows.py", "from regsys.uia.sessions import Auth", "only lower ones")
        self.assertWrong("uia/__init__.py", "import regsys.uia.flows", "floor 0")
        self.assertWrong("uia/gossip.py", "", "stands on no floor")

    def test_shells(self) -> None:
        """A shell sees no rule and no other shell, and nobody below backend sees a shell."""
        self.assertWrong("storage/users.py", "import regsys.usernames", "floor 3")
        self.assertWrong("standalone.py", "import regsys.storage.users", "only backend")
        self.assertWrong("handler.py", "import regsys.storage.users", "only backend")

    def test_nobodyImportsTesting(self) -> None:
        """regsys.testing is for tests, of embedders too, and for nothing else."""
        self.assertWrong("cli/__init__.py", "import regsys.testing", "for tests")

    def test_nobodyInsideUsesThePublicNames(self) -> None:
        """Inside the house a thing is taken from the file that defines it."""
        self.assertWrong("service.py", "from regsys import RegistrationHandler", "defines it")
        self.assertWrong("cli/__init__.py", "import regsys", "defines it")

    def test_newFile(self) -> None:
        """A file that nobody has given a floor is named, with the place to do so."""
        self.assertWrong("gossip.py", "", "tests/test_floors.py")
