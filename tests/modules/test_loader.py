"""Loading modules: what each gets, and what an operator is told of one that cannot be loaded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar, Optional

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

import regsys
from regsys.cli import checks
from regsys.config import ConfigError
from regsys.testing import config, standalone
from regsys.wiring.modules import callbacks
from regsys.wiring.subsystem import Subsystem, hooks
from tests.support.module_names import with_names
from tests.support.modules import ModuleCase, package


class LoaderCase(SynchronousTestCase):
    def load(self, module: type, options: Any = None, **more: Any) -> Subsystem:
        """A subsystem with this one module."""
        return self.load_path(f"{package(self, Module=module)}.Module", options, **more)

    def load_path(self, path: str, options: Any = None, **more: Any) -> Subsystem:
        return standalone(self, modules=[{"module": path, "config": options}], **more)

    def assertStops(self, module: Any, *words: str, **more: Any) -> str:
        """The start stops with one line that has these words; returns it."""
        path = module if isinstance(module, str) else f"{package(self, Module=module)}.Module"
        error = self.assertRaises(ConfigError, self.load_path, path, **more)
        (line,) = error.problems
        for word in (path, *words):
            self.assertIn(word, line)
        self.assertNotIn("\n", line)
        self.assertNotIn("Traceback", line)
        return line


class LoadingTests(LoaderCase):
    def test_positions(self) -> None:
        """A module is made of its configuration and the API object, by position."""

        class Module:
            def __init__(self, of_operator: Any, account_handler: Any, /) -> None:
                self.given = (of_operator, account_handler.server_name)

        (loaded,) = self.load(Module, {"limit": 5}).modules
        self.assertEqual(loaded.instance.given, ({"limit": 5}, "test.example"))  # type: ignore[attr-defined]

    def test_parseConfig(self) -> None:
        """What ``parse_config`` returns is the configuration; without one it is as in the file, and
        an empty one if there is none."""

        class Parsing:
            seen: ClassVar[list[Any]] = []

            def __init__(self, config: Any, api: Any) -> None:
                self.seen.append(config)

            @staticmethod
            def parse_config(config: Any) -> Any:
                return ("parsed", config)

        class Raw:
            seen = Parsing.seen

            def __init__(self, config: Any, api: Any) -> None:
                self.seen.append(config)

        for module in (Parsing, Raw):
            for given in ({"a": [1]}, None, {}):
                self.load(module, given)
        standalone(self, modules=[{"module": f"{package(self, Module=Raw)}.Module"}])
        given, raw = [{"a": [1]}, {}, {}], [{"a": [1]}, {}, {}, {}]
        self.assertEqual(Parsing.seen, [*(("parsed", it) for it in given), *raw])

    def test_ownConfiguration(self) -> None:
        """A module that changes its configuration changes nothing for others."""

        class Module:
            def __init__(self, config: Any, api: Any) -> None:
                self.config = config
                config["list"].append(2)

        path, options = f"{package(self, Module=Module)}.Module", {"list": [1]}
        chosen = config(modules=[{"module": path, "config": options} for _ in range(2)])
        subsystem = standalone(
            self, modules=[{"module": path, "config": options} for _ in range(2)]
        )
        for loaded in subsystem.modules:
            self.assertEqual(loaded.instance.config, {"list": [1, 2]})  # type: ignore[attr-defined]
        self.assertEqual(options, {"list": [1]})
        self.assertNotIn("list", repr(chosen.modules))

    def test_kept(self) -> None:
        """The modules are part of the subsystem also when it gets further endpoints."""

        class Module:
            def __init__(self, config: Any, api: Any) -> None:
                pass

        self.assertEqual(len(self.load(Module).having().modules), 1)

    def test_shape(self) -> None:
        """The list, each module's name and its configuration have their types."""
        for modules, said in (
            ({"module": "a.B"}, "modules: a mapping, not a list"),
            (["a.B"], "modules[0]: text, not a mapping"),
            ([{}], "modules[0].module: missing"),
            ([{"module": "JustAName"}], "modules[0].module: not the name of a class ('JustAName')"),
            ([{"module": "a.B", "config": [1]}], "modules[0].config: not a mapping"),
        ):
            error = self.assertRaises(ConfigError, config, modules=modules)
            self.assertIn(said, "\n".join(error.problems))

    def test_deadline(self) -> None:
        """``module_deadline`` is that of every callback, of modules and of embedders; a list with a
        deadline of its own keeps it."""
        made = hooks(Clock())
        made.spam.deadline_ms = 7
        subsystem = standalone(self, hooks=made, regsys={"module_deadline": "3s"})
        for lists in callbacks(subsystem.hooks).values():
            for item in lists.values():
                self.assertEqual(item._ms, 7 if item is made.spam else 3000)
        self.assertEqual(regsys.parse({"server_name": "a.b"}).modules.deadline_ms, 10_000)
        for wrong in ("1m", "0s", "soon"):
            error = self.assertRaises(ConfigError, config, regsys={"module_deadline": wrong})
            self.assertIn("regsys.module_deadline", error.problems[0])


class HooksTests(ModuleCase):
    def test_twoSubsystems(self) -> None:
        """The hooks of one subsystem's modules are refused by another, which would call each
        callback twice; without modules, two may share them."""
        shared = self.hooks()
        for _ in range(2):
            self.system(hooks=shared)
        modules = [{"module": self.module(on_user_login=self.recording("in"))}]
        self.system(hooks=shared, modules=modules)
        error = self.assertRaises(ValueError, self.system, hooks=shared, modules=modules)
        self.assertIn("make hooks of its own for each subsystem", str(error))
        self.register()
        self.assertEqual(len(self.calls), 1)


class StopTests(LoaderCase):
    """Each stops the start with the module, the option and the reason, and no traceback."""

    def test_missingPackage(self) -> None:
        for path in ("no_such_package_of_ours.Module", "regsys.no_such_thing.Module"):
            self.assertStops(path, "modules[0].module", "there is no package", "install it")

    def test_missingClass(self) -> None:
        self.assertStops(f"{package(self)}.Module", "modules[0].module", "has no class Module")

    def test_ignored(self) -> None:
        """A missing package or class is left out if the configuration says so; another failure
        still stops the start."""
        options = {"ignore_missing_modules": True}
        for path in ("no_such_package_of_ours.Module", f"{package(self)}.Module"):
            with capturedLogs() as events:
                self.assertEqual(self.load_path(path, regsys=options).modules, ())
            texts = [str(event.get("module")) for event in events]
            self.assertIn(path, texts)

        class Module:
            def __init__(self, config: Any, api: Any) -> None:
                raise KeyError("url")

        self.assertStops(Module, "KeyError: 'url'", regsys=options)

    def test_missingDependency(self) -> None:
        """A module that imports what is not installed is there, and is not left out."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "half_a_module.py").write_text("import no_such_library_of_ours\n")
        self.patch(sys, "path", [str(folder), *sys.path])
        self.assertStops(
            "half_a_module.Module",
            "importing it failed: ModuleNotFoundError: No module named 'no_such_library_of_ours'",
            "half_a_module.py, line 1",
            regsys={"ignore_missing_modules": True},
        )

    def test_namesNotInstalled(self) -> None:
        """An embedder who has not asked for the names of a homeserver is told how to."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "a_ported_module.py").write_text("import synapse.module_api\n")
        # Without an installed package.
        here = [place for place in sys.path if not (Path(place) / "synapse").exists()]
        self.patch(sys, "path", [str(folder), *here])
        self.assertStops("a_ported_module.Module", "install_names()")

    def test_noClass(self) -> None:
        self.assertStops(f"{package(self, Module='text')}.Module", "Module is no class")

    def test_parseError(self) -> None:
        """An exception of ``parse_config``; one with a path names the option below ``config``."""

        class ConfigError(Exception):
            def __init__(self, msg: str, path: Optional[Any] = None) -> None:
                self.msg, self.path = msg, path

        class Module:
            error: ClassVar[Exception]

            def __init__(self, config: Any, api: Any) -> None:
                raise AssertionError("it must not be made")

            @classmethod
            def parse_config(cls, config: Any) -> Any:
                raise cls.error

        for error, option, said in (
            (KeyError("url"), "modules[0].config:", "KeyError: 'url'"),
            (ConfigError("two\nlines"), "modules[0].config:", "failed: two lines"),
            (ConfigError("no", ("ldap", "uri")), "modules[0].config.ldap.uri:", "failed: no"),
            (ConfigError("no", "uri"), "modules[0].config.uri:", "failed: no"),
        ):
            Module.error = error
            self.assertStops(Module, option, said, "test_loader.py, line")

    def test_raisingConstructor(self) -> None:
        class Module:
            def __init__(self, config: Any, api: Any) -> None:
                raise ValueError("no servers")

        self.assertStops(Module, "modules[0].config", "ValueError: no servers", "line")

    def test_wrongArguments(self) -> None:
        class Module:
            def __init__(self, config: Any) -> None:
                pass

        self.assertStops(Module, "TypeError", "positional argument")

    def test_misspeltCallback(self) -> None:
        """A callback that its method does not have is refused, with the one that was meant, and so
        is what cannot be called; none of the others is registered."""
        for method, named, said in (
            (
                "register_spam_checker_callbacks",
                {"check_registration_for_spamm": print},
                "did you mean 'check_registration_for_spam'",
            ),
            (
                "register_spam_checker_callbacks",
                {"on_logged_out": print},
                "register_password_auth_provider_callbacks registers it",
            ),
            ("register_third_party_rules_callbacks", {"xyzzy": print}, "no callback 'xyzzy'"),
            (
                "register_account_validity_callbacks",
                {"is_user_expired": "text"},
                "a str cannot be called",
            ),
        ):

            class Module:
                call = (method, {"on_create_room": None, **named})

                def __init__(self, config: Any, api: Any) -> None:
                    name, given = self.call
                    if "third_party" not in name:
                        given.pop("on_create_room")
                    getattr(api, name)(**given)

            self.assertStops(Module, method if "text" not in named.values() else "", said)

    def test_checkConfig(self) -> None:
        """check-config tells of the import and of ``parse_config``, and makes no module."""
        with_names(self)

        class Module:
            def __init__(self, config: Any, api: Any) -> None:
                raise AssertionError("it must not be made")

            @staticmethod
            def parse_config(config: Any) -> Any:
                return config["url"]

        path = f"{package(self, Module=Module)}.Module"
        good = config(modules=[{"module": path, "config": {"url": "x"}}])
        checks.without_start(good)
        error = self.assertRaises(
            ConfigError, checks.without_start, config(modules=[{"module": path}])
        )
        self.assertIn("KeyError: 'url'", "\n".join(error.problems))

    def test_all(self) -> None:
        """What is wrong with several modules is told at once."""
        modules = [{"module": "no_such_package_of_ours.A"}, {"module": f"{package(self)}.B"}]
        error = self.assertRaises(ConfigError, standalone, self, modules=modules)
        self.assertEqual(len(error.problems), 2)
