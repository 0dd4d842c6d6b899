"""What modules import from ``synapse``: the names are there, do what modules expect of them, and
whoever wants another one is told so."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent
from twisted.web.server import Site
from twisted.web.test.requesthelper import DummyRequest

from regsys.config import ConfigError
from regsys.errors import ModuleRefusal
from regsys.interfaces import Verdict
from regsys.modules import install_names
from regsys.modules.api import ModuleApi, NotOffered
from regsys.modules.names import ROOT, table
from tests.support.module_names import with_names

ROOT_OF_TESTS = Path(__file__).parents[2]
# Imported while another package of this name can be, too.
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import regsys
assert "synapse" not in sys.modules
regsys.parse({"server_name": "a.b"})
from regsys.modules import install_names
assert "synapse" not in sys.modules
install_names()
import synapse, synapse.module_api
print(synapse.__version__ != "real", synapse.module_api.__name__)
try:
    import synapse.app.homeserver
except ImportError as error:
    print(error)
"""


class NamesCase(SynchronousTestCase):
    def setUp(self) -> None:
        with_names(self)

    def offered(self, name: str) -> Any:
        return importlib.import_module(name)


class InstalledTests(NamesCase):
    def test_all(self) -> None:
        """Each module and each of its names can be imported, in each way."""
        for module, names in table.OFFERED.items():
            made: dict[str, Any] = {}
            exec(f"import {module}\nfound = {module}", made)  # noqa: S102
            for name, value in names.items():
                if not name.startswith("__"):
                    exec(f"from {module} import {name} as found", made)  # noqa: S102
                    self.assertIs(made["found"], value)

    def test_wanted(self) -> None:
        """Those that modules are promised."""
        for name in (
            "module_api.ModuleApi",
            "module_api.NOT_SPAM",
            "module_api.UserID",
            "module_api.EventBase",
            "module_api.cached",
            "module_api.DirectServeJsonResource",
            "module_api.DirectServeHtmlResource",
            "module_api.errors.SynapseError",
            "module_api.errors.Codes",
            "module_api.errors.ConfigError",
            "module_api.errors.InvalidClientCredentialsError",
            "api.errors.SynapseError",
            "api.errors.Codes",
            "spam_checker_api.RegistrationBehaviour",
            "config.ConfigError",
            "config._base.Config",
            "config._base.ConfigError",
            "types.JsonDict",
            "types.UserID",
            "logging.context.LoggingContext",
            "logging.context.make_deferred_yieldable",
            "logging.context.run_in_background",
            "http.server.DirectServeJsonResource",
            "http.servlet.parse_json_object_from_request",
            "events.EventBase",
            "events.utils.strip_event",
        ):
            module, _, own = f"{ROOT}.{name}".rpartition(".")
            self.assertTrue(hasattr(self.offered(module), own), name)
        version = tuple(int(part) for part in self.offered(ROOT).__version__.split("."))
        self.assertGreaterEqual(version, (1, 100))
        self.assertIs(self.offered("synapse.module_api").ModuleApi, ModuleApi)
        self.assertIs(self.offered("synapse.spam_checker_api").RegistrationBehaviour, Verdict)

    def test_absent(self) -> None:
        """Another name is an ImportError or AttributeError, as of any module, which says why."""
        for source in (
            "import synapse.app.homeserver",
            "from synapse import app",
            "from synapse.types import RoomVersion",
            "from synapse.storage.databases import main",
        ):
            error = self.assertRaises(ImportError, exec, source, {})
            self.assertIn("regsys has no synapse.", str(error))
            self.assertIn("docs/modules.md", str(error))
        module = self.offered("synapse.types")
        error = self.assertRaises(AttributeError, getattr, module, "RoomVersion")
        self.assertIn("docs/modules.md", str(error))
        self.assertFalse(hasattr(module, "RoomVersion"))
        inside = self.offered("synapse.module_api").DatabasePool
        error = self.assertRaises(AttributeError, getattr, inside, "simple_insert_txn")
        self.assertIn("docs/modules.md", str(error))
        strip = self.offered("synapse.events.utils").strip_event
        self.assertIn("docs/modules.md", str(self.assertRaises(NotOffered, strip, object())))

    def test_documented(self) -> None:
        """docs/modules.md has each module with its names."""
        text = (ROOT_OF_TESTS / "docs" / "modules.md").read_text("utf-8")
        rows = dict(re.findall(r"^\| from `(synapse[\w.]*)` \| (.*) \|$", text, re.MULTILINE))
        self.assertEqual(set(rows), {name for name, found in table.OFFERED.items() if found})
        for module, names in table.OFFERED.items():
            for name in names:
                if module != "synapse.events.utils":
                    self.assertIn(f"`{name}`", rows[module], module)

    def test_again(self) -> None:
        """A second call changes nothing."""
        before, finders = self.offered("synapse.types"), list(sys.meta_path)
        install_names()
        self.assertIs(self.offered("synapse.types"), before)
        self.assertEqual(sys.meta_path, finders)


class ProcessTests(SynchronousTestCase):
    def test_installedPackage(self) -> None:
        """regsys's names are there even where the package is installed, which is then told apart;
        regsys alone imports neither."""
        folder = Path(self.mktemp()).resolve()
        (folder / ROOT / "app").mkdir(parents=True)
        (folder / ROOT / "__init__.py").write_text("__version__ = 'real'\n")
        for file in ("app/__init__.py", "app/homeserver.py"):
            (folder / ROOT / file).write_text("")
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder)],
            cwd=ROOT_OF_TESTS,
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        first, second = done.stdout.splitlines()
        self.assertEqual(first, "True synapse.module_api")
        self.assertIn("regsys has no synapse.app", second)

    def test_importedBefore(self) -> None:
        """A process that has imported the package does not silently keep it."""
        self.patch(sys, "modules", {**sys.modules, ROOT: ModuleType(ROOT)})
        error = self.assertRaises(ConfigError, install_names)
        self.assertIn("has imported the package synapse already", error.problems[0])


class ErrorTests(NamesCase):
    def test_synapseError(self) -> None:
        """What modules raise is what regsys takes for a refusal, with the same arguments."""
        errors = self.offered("synapse.api.errors")
        self.assertIs(errors.SynapseError, ModuleRefusal)
        error = errors.SynapseError(403, "No.", errors.Codes.FORBIDDEN, {"a": 1})
        self.assertEqual((error.code, error.msg, error.errcode), (403, "No.", "M_FORBIDDEN"))
        for made, status, code in (
            (errors.AuthError(403, "No."), 403, "M_FORBIDDEN"),
            (errors.NotFoundError(), 404, "M_NOT_FOUND"),
            (errors.InvalidClientTokenError(), 401, "M_UNKNOWN_TOKEN"),
            (errors.MissingClientTokenError(), 401, "M_MISSING_TOKEN"),
            (errors.StoreError(500, "No."), 500, "M_UNKNOWN"),
        ):
            self.assertIsInstance(made, errors.SynapseError)
            self.assertEqual((made.code, made.errcode), (status, code))

    def test_codes(self) -> None:
        """Text, and members of an enum."""
        codes = self.offered("synapse.module_api.errors").Codes
        self.assertEqual(codes.FORBIDDEN, "M_FORBIDDEN")
        self.assertIs(codes("M_FORBIDDEN"), codes.FORBIDDEN)
        self.assertEqual(json.dumps(codes.EXPIRED_ACCOUNT), '"ORG_MATRIX_EXPIRED_ACCOUNT"')

    def test_config(self) -> None:
        """Values as in a homeserver's file."""
        base = self.offered("synapse.config._base")
        for text, number in (("10M", 10 * 1024 * 1024), (512, 512), ("3K", 3072)):
            self.assertEqual(base.Config.parse_size(text), number)
        for text, number in (("5m", 300_000), (7, 7), ("2d", 2 * 86_400_000)):
            self.assertEqual(base.Config.parse_duration(text), number)
        for parse, wrong in ((base.Config.parse_size, "M"), (base.Config.parse_duration, "soon")):
            self.assertRaises(base.ConfigError, parse, wrong)
        path = self.mktemp()
        Path(path).write_text("a secret")
        self.assertEqual(base.Config.read_file(path, "option"), "a secret")
        error = self.assertRaises(base.ConfigError, base.Config.read_file, "/no/such", "option")
        self.assertIn("option", error.msg)

    def test_values(self) -> None:
        types = self.offered("synapse.types")
        user = types.UserID.from_string("@alice:a.example:8448")
        self.assertEqual((user.localpart, user.domain), ("alice", "a.example:8448"))
        self.assertEqual((str(user), user.to_string()), ("@alice:a.example:8448",) * 2)
        self.assertRaises(ModuleRefusal, types.UserID.from_string, "alice")
        self.assertEqual(types.create_requester("@a:b").user, types.UserID("a", "b"))
        self.assertEqual(types.get_domain_from_id("!room:b.example"), "b.example")
        self.assertEqual(types.get_localpart_from_id("@a:b.example"), "a")


class ContextTests(NamesCase):
    def test_contexts(self) -> None:
        """They take what they are given."""
        context = self.offered("synapse.logging.context")
        for made in (
            context.LoggingContext(),
            context.LoggingContext("name", parent_context=context.current_context()),
            context.LoggingContext(name="name", server_name="a", request=object()),
            context.PreserveLoggingContext(None),
            context.nested_logging_context("x"),
        ):
            with made as entered:
                self.assertIs(entered, made)

    def test_background(self) -> None:
        """Plain functions, coroutines and Deferreds alike; a failure is one of the Deferred."""
        context = self.offered("synapse.logging.context")

        async def coroutine() -> int:
            return 7

        for run in (lambda: 7, coroutine, lambda: succeed(7)):
            self.assertEqual(self.successResultOf(context.run_in_background(run)), 7)
        self.failureResultOf(context.run_in_background(lambda: 1 / 0), ZeroDivisionError)
        waiting: Deferred[int] = Deferred()
        self.assertIs(context.make_deferred_yieldable(waiting), waiting)
        run = self.offered("synapse.module_api").run_as_background_process
        self.assertIsNone(self.successResultOf(run("name", lambda: 1 / 0, bg_start_span=False)))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class CachedTests(NamesCase):
    def setUp(self) -> None:
        super().setUp()
        cached = self.offered("synapse.module_api").cached
        self.waiting: list[tuple[Any, Deferred[Any]]] = []
        waiting = self.waiting

        class Store:
            @cached(max_entries=2)
            def find(self, name: str, more: int = 0) -> Deferred[Any]:
                found: Deferred[Any] = Deferred()
                waiting.append((name, found))
                return found

            @cached(num_args=1)
            async def first(self, name: str, other: object) -> Any:
                waiting.append((name, succeed(None)))
                return other

        self.store: Any = Store()
        self.other: Any = Store()

    def test_shared(self) -> None:
        """Callers at once share one call, and each gets its result; so do later ones."""
        first, second = self.store.find("a"), self.store.find("a", more=0)
        second.cancel()
        self.failureResultOf(second)
        ((_, found),) = self.waiting
        found.callback(7)
        self.assertEqual(self.successResultOf(first), 7)
        self.assertEqual(self.successResultOf(self.store.find(name="a")), 7)
        self.assertEqual(len(self.waiting), 1)
        self.other.find("a")
        self.assertEqual(len(self.waiting), 2)

    def test_failure(self) -> None:
        """All callers get it, and it is not remembered."""
        asked = [self.store.find("a") for _ in range(2)]
        self.waiting[0][1].errback(ValueError())
        for item in asked:
            self.failureResultOf(item, ValueError)
        self.store.find("a")
        self.assertEqual(len(self.waiting), 2)

    def test_forgotten(self) -> None:
        """On demand, and the oldest beyond the limit."""
        self.store.find.prefill(("a", 0), 1)
        self.assertEqual(self.successResultOf(self.store.find("a")), 1)
        self.store.find.invalidate(("a", 0))
        for name in "abc":
            self.store.find(name)
        self.assertEqual([name for name, _ in self.waiting], ["a", "b", "c"])
        self.store.find("a")
        self.store.find("c")
        self.assertEqual(len(self.waiting), 4)
        self.store.find.invalidate_all()
        self.store.find("c")
        self.assertEqual(len(self.waiting), 5)

    def test_someArguments(self) -> None:
        self.assertEqual(self.successResultOf(self.store.first("a", 1)), 1)
        self.assertEqual(self.successResultOf(self.store.first("a", 2)), 1)


class ResourceTests(TestCase):
    """Over loopback: a resource of a module answers, and fails, as clients expect."""

    def setUp(self) -> None:
        with_names(self)
        module_api = importlib.import_module("synapse.module_api")
        errors = importlib.import_module("synapse.module_api.errors")
        servlet = importlib.import_module("synapse.http.servlet")

        class JSON(module_api.DirectServeJsonResource):  # type: ignore[misc, name-defined]
            isLeaf = True

            async def _async_render_GET(self, request: Any) -> Any:
                what = servlet.parse_string(request, "what", required=True)
                if what == "refuse":
                    raise errors.SynapseError(403, "No.", errors.Codes.FORBIDDEN)
                if what == "break":
                    raise ValueError("secret")
                if what == "redirect":
                    raise errors.RedirectException(b"https://a.example/")
                return 200, {"what": what, "number": servlet.parse_integer(request, "n", 3)}

            def _async_render_POST(self, request: Any) -> Any:
                return succeed((201, module_api.parse_json_object_from_request(request)))

        class HTML(module_api.DirectServeHtmlResource):  # type: ignore[misc, name-defined]
            isLeaf = True

            def _async_render_GET(self, request: Any) -> Any:
                if request.args:
                    return fail(errors.SynapseError(400, "<No>"))
                module_api.respond_with_html(request, 200, "<p>é")
                return None

        self.sites = {}
        real: Any = reactor
        for name, made in (("json", JSON(object(), extract_context=True)), ("html", HTML())):
            port = real.listenTCP(0, Site(made), interface="127.0.0.1")
            self.addCleanup(port.stopListening)
            self.sites[name] = f"http://127.0.0.1:{port.getHost().port}/"

    async def ask(self, site: str, method: str = "GET", **more: Any) -> Any:
        client = HTTPClient(Agent(reactor))
        answer = await client.request(method, self.sites[site], allow_redirects=False, **more)
        return answer.code, await answer.content(), answer.headers

    async def test_json(self) -> None:
        for asked, status, body in (
            ({"params": {"what": "a"}}, 200, {"what": "a", "number": 3}),
            ({"params": {"what": "a", "n": "-4"}}, 200, {"what": "a", "number": -4}),
            ({"params": {"what": "a", "n": "x"}}, 400, "M_INVALID_PARAM"),
            ({}, 400, "M_MISSING_PARAM"),
            ({"params": {"what": "refuse"}}, 403, "M_FORBIDDEN"),
            ({"params": {"what": "break"}}, 500, "M_UNKNOWN"),
            ({"method": "POST", "data": b'{"a": 1}'}, 201, {"a": 1}),
            ({"method": "POST", "data": b"[]"}, 400, "M_BAD_JSON"),
            ({"method": "POST", "data": b"no"}, 400, "M_NOT_JSON"),
            ({"method": "POST", "data": b"x" * 70_000}, 413, "M_TOO_LARGE"),
            ({"method": "PUT", "data": b"{}"}, 405, "M_UNRECOGNIZED"),
        ):
            code, content, headers = await self.ask("json", **asked)  # type: ignore[arg-type]
            found = json.loads(content)
            self.assertEqual(code, status, content)
            self.assertEqual(body, found["errcode"] if isinstance(body, str) else found)
            self.assertEqual(headers.getRawHeaders("access-control-allow-origin"), ["*"])
            self.assertNotIn(b"secret", content)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        code, _, headers = await self.ask("json", params={"what": "redirect"})
        self.assertEqual((code, headers.getRawHeaders("location")), (302, ["https://a.example/"]))
        self.assertEqual((await self.ask("json", "OPTIONS"))[0], 204)

    async def test_html(self) -> None:
        code, content, headers = await self.ask("html")
        self.assertEqual((code, content), (200, "<p>é".encode()))
        self.assertEqual(headers.getRawHeaders("content-type"), ["text/html; charset=utf-8"])
        code, content, _ = await self.ask("html", params={"a": "b"})
        self.assertEqual(code, 400)
        self.assertIn(b"&lt;No&gt;", content)


class ReadingTests(NamesCase):
    def test_query(self) -> None:
        servlet = self.offered("synapse.http.servlet")
        request = DummyRequest([])
        request.args = {b"yes": [b"true"], b"odd": [b"\xff"], b"huge": [b"9" * 30]}
        self.assertIs(servlet.parse_boolean(request, "yes"), True)
        self.assertIs(servlet.parse_boolean(request, "none", default=False), False)
        for parse, name in (
            (servlet.parse_string, "odd"),
            (servlet.parse_boolean, "huge"),
            (servlet.parse_integer, "huge"),
        ):
            self.assertRaises(ModuleRefusal, parse, request, name)
        self.assertRaises(ModuleRefusal, servlet.assert_params_in_dict, {"a": 1}, ["a", "b"])
