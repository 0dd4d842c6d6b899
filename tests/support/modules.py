"""Modules that a test writes, in a package that can be imported while it runs."""

from __future__ import annotations

import itertools
import sys
from types import ModuleType
from typing import Any, Callable, ClassVar, Mapping

from regsys.config import Config
from regsys.modules.api import ModuleApi
from regsys.wiring.modules import callbacks
from regsys.wiring.process import Process
from regsys.wiring.subsystem import Subsystem
from tests.support.client import V3, Answer
from tests.support.validations import ALICE, EmailValidationCase

_numbers = itertools.count(1)


def package(case: Any, **classes: Any) -> str:
    """A package with these classes, until the test ends; its name."""
    name = f"modules_of_tests_{next(_numbers)}"
    module = ModuleType(name)
    vars(module).update(classes)
    sys.modules[name] = module
    case.addCleanup(sys.modules.pop, name, None)
    return name


def registering(by_method: Mapping[str, Mapping[str, Any]]) -> type:
    """A module that registers these callbacks, by the API object's methods."""

    class Module:
        def __init__(self, config: Any, api: ModuleApi) -> None:
            self.config, self.api = config, api
            for method, named in by_method.items():
                getattr(api, method)(**named)

    return Module


PASSWORD = "correct horse"


class ModuleCase(EmailValidationCase):
    """Registration without a stage but the dummy; who wants has an email address validated, too.
    ``self.calls`` has the calls of the callbacks that ``recording`` makes."""

    options: ClassVar[Mapping[str, Any]] = {}

    def setUp(self) -> None:
        self.calls: list[Any] = []
        super().setUp()

    def recording(self, name: str, answer: Any = None) -> Callable[..., Any]:
        """A callback that records its arguments after this name, and returns ``answer``."""

        def callback(*args: Any) -> Any:
            self.calls.append((name, *args))
            return answer

        return callback

    def module(self, **named: Any) -> str:
        """The path of a module that registers these callbacks."""
        lists = callbacks(self.hooks())
        method_of = {name: method for method, found in lists.items() for name in found}
        by_method: dict[str, dict[str, Any]] = {}
        for name, callback in named.items():
            by_method.setdefault(method_of[name], {})[name] = callback
        return f"{package(self, Module=registering(by_method))}.Module"

    def load(self, *paths: str, database: Any = None, **options: Any) -> None:
        """The same server, with these modules."""
        modules = [{"module": path} for path in paths]
        database = self.database if database is None else database
        self.system(database=database, modules=modules, **options)

    def validated(self, email: str = ALICE, name: str = "alice") -> tuple[str, str]:
        """A session and the sid of an address that its client has validated: ``present`` registers
        with it."""
        sid = self.validate_address(email)
        return self.begin(name), sid

    def log_in(self, name: str = "alice", **more: Any) -> Answer:
        identifier = {"type": "m.id.user", "user": name}
        body = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        return self.client.post(f"{V3}/login", {**body, **more}, user_agent="Client/1")


class MasterCase(ModuleCase):
    """After ``RemoteSystem``: the master's callbacks are not its worker's."""

    def built(self, chosen: Config, process: Process, **given: Any) -> Subsystem:
        return super().built(chosen, process, **{**given, "hooks": self.hooks(mails=self.mails)})
