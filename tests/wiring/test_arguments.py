"""What embedders pass is checked at once: each error names the argument, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

import regsys
from regsys.interfaces import IAccountStore, IAppservices, ISmsSender
from regsys.model import JOB_LEASE_MS
from regsys.testing import (
    MemoryAccounts,
    MemoryAppservices,
    MemoryAuth,
    MemoryDevices,
    MemoryMails,
    config,
    memory_process,
)
from tests.support.question_stage import QUESTION, QuestionStage

# Arguments, what the error begins with, and what else is in it.
Cases = Sequence[tuple[Mapping[str, Any], str, str]]


class OtherNames(MemoryAccounts):
    async def is_taken(self, name: str) -> bool:  # type: ignore[override]
        return False


@implementer(IAccountStore)
class Unfinished:
    async def is_taken(self, localpart: str) -> bool:
        return False


@implementer(IAppservices)
class AsyncServices(MemoryAppservices):
    async def by_token(self, as_token: Any) -> Any: ...


class ArgumentCase(SynchronousTestCase):
    def assertRefused(self, call: Callable[..., Any], cases: Cases) -> None:
        for changes, begin, part in cases:
            error = self.assertRaises(TypeError, call, **changes)
            self.assertTrue(str(error).startswith(begin), error)
            self.assertIn(part, str(error))


class EmbeddedTests(ArgumentCase):
    def make(self, **changes: Any) -> Any:
        accounts, chosen = MemoryAccounts(), config()
        devices = MemoryDevices(accounts)
        given: dict[str, Any] = {
            "config": chosen,
            "clock": Clock(),
            "store": accounts,
            "devices": devices,
            "auth": MemoryAuth(devices),
            "process": memory_process(self, chosen, Clock()),
            **changes,
        }
        return regsys.embedded(given.pop("config"), given.pop("clock"), **given)

    def test_parts(self) -> None:
        """Each part must provide its interface."""
        accounts = MemoryAccounts()
        names = "OtherNames.is_taken takes (name), IAccountStore.is_taken takes (localpart)"
        self.assertRefused(
            self.make,
            [
                ({"store": OtherNames()}, "embedded(store=…): ", names),
                ({"store": Unfinished()}, "embedded(store=…): Unfinished lacks the method ", ""),
                ({"store": MemoryAccounts}, "embedded(store=…): MemoryAccounts is a class: ", ""),
                ({"store": None}, "embedded(store=…) is None, but needed: ", "IAccountStore"),
                ({"devices": accounts}, "embedded(devices=…): ", "@implementer(IDevices)"),
                ({"auth": lambda token: None}, "embedded(auth=…): function does not ", "IAuth"),
                ({"services": AsyncServices()}, "embedded(services=…): ", "is async"),
            ],
        )
        optional = "users threepids rooms pushers directory active_users blocking services signer"
        for name in optional.split():
            self.make(**{name: None})
            self.assertRefused(
                self.make, [({name: accounts}, f"embedded({name}=…): ", "declare I")]
            )

    def test_rest(self) -> None:
        """A configuration is made by regsys, a clock is the reactor, hooks are made by hooks()."""
        self.assertRefused(
            self.make,
            [
                ({"config": {"server_name": "x"}}, "embedded(config): a dict ", "regsys.parse"),
                ({"config": "homeserver.yaml"}, "embedded(config): a str ", "regsys.load([…])"),
                ({"config": Path("h.yaml")}, "embedded(config): a PosixPath", "regsys.load([…])"),
                ({"config": Clock()}, "embedded(config): a Clock is no regsys.Config", "parse"),
                ({"config": None}, "embedded(config): None is no regsys.Config", "load"),
                ({"clock": 5}, "embedded(clock): an int has no method seconds", "reactor"),
                ({"clock": "reactor"}, "embedded(clock): a str has no", "together with process="),
                ({"process": None}, "embedded(clock): a Clock is no reactor", "memory_process("),
                ({"hooks": {"stages": []}}, "embedded(hooks=…): a dict", "regsys.hooks(reactor"),
                ({"process": 5}, "embedded(process=…): an int", "memory_process"),
                ({"deadline_s": "30"}, "embedded(deadline_s=…): a str", "number"),
                ({"deadline_s": True}, "embedded(deadline_s=…): a bool", "number"),
            ],
        )

    def test_deadline(self) -> None:
        """A deadline ends within a job's lease."""
        lease_s = JOB_LEASE_MS / 1000
        for value in (0, -1, lease_s, float("nan"), float("inf")):
            error = self.assertRaises(ValueError, self.make, deadline_s=value)
            self.assertIn("lease", str(error))
        for value in (1, 0.5, lease_s - 1):
            self.make(deadline_s=value)

    def test_nothingIsOpened(self) -> None:
        """The arguments are checked before the database is made."""
        path = Path(self.mktemp())
        chosen = config(database={"name": "sqlite3", "args": {"database": str(path)}})
        for changes in ({"auth": None}, {"hooks": 5}, {"process": None, "signer": 5}):
            given = {"config": chosen, "process": None, **changes}
            self.assertRaises(TypeError, self.make, **given)
        self.assertEqual(list(path.parent.glob(f"{path.name}*")), [])


class StandaloneTests(ArgumentCase):
    def make(self, **changes: Any) -> Any:
        given: dict[str, Any] = {"clock": Clock(), **changes}
        chosen = given.pop("config", config())
        process = memory_process(self, config(), Clock())
        return regsys.standalone(chosen, given.pop("clock"), process=process, **given)

    def test_parts(self) -> None:
        """So are the parts that it takes."""
        accounts = MemoryAccounts()
        for name in ("rooms", "directory", "blocking", "services", "signer"):
            self.make(**{name: None})
            begin = f"standalone({name}=…): MemoryAccounts does not declare I"
            self.assertRefused(self.make, [({name: accounts}, begin, "@implementer(")])
        self.assertRefused(
            self.make,
            [
                ({"config": {}}, "standalone(config): a dict ", "regsys.parse"),
                ({"clock": None}, "standalone(clock): None has no method seconds", ""),
                ({"hooks": QuestionStage()}, "standalone(hooks=…): a QuestionStage ", ""),
            ],
        )
        self.assertRaises(ValueError, self.make, deadline_s=60)


class HooksTests(ArgumentCase):
    def make(self, **changes: Any) -> regsys.Hooks:
        return regsys.hooks(changes.pop("clock", Clock()), **changes)

    def test_refused(self) -> None:
        """All that is custom is checked, too."""
        stage, mails = QuestionStage(), MemoryMails()
        slip = "a flow is a tuple of them, as in flows=[('m.login.dummy',)]"
        self.assertRefused(
            self.make,
            [
                ({"clock": stage}, "hooks(clock): a QuestionStage has no method seconds", ""),
                ({"mails": stage}, "hooks(mails=…): QuestionStage does not declare", "IValidation"),
                ({"mails": MemoryMails}, "hooks(mails=…): MemoryMails is a class", ""),
                ({"sms": mails}, "hooks(sms=…): ", f"@implementer({ISmsSender.__name__})"),
                ({"stages": stage}, "hooks(stages=…): a QuestionStage is no list: ", "IStage"),
                ({"stages": [stage, mails]}, "hooks(stages=…)[1]: MemoryMails does not ", ""),
                ({"stages": [QuestionStage]}, "hooks(stages=…)[0]: QuestionStage is a class", ""),
                ({"stages": [None]}, "hooks(stages=…)[0] is None", "IStage"),
                ({"flows": "m.login.dummy"}, "hooks(flows=…): a str is no list", "list of flows"),
                ({"flows": ["m.login.dummy"]}, "hooks(flows=…): 'm.login.dummy' is a type", slip),
                ({"flows": [[stage]]}, "hooks(flows=…): a QuestionStage is no str", ""),
                ({"flows": [stage]}, "hooks(flows=…): a QuestionStage is no list", ""),
                ({"confirmation_flows": [QUESTION]}, "hooks(confirmation_flows=…): ", QUESTION),
                ({"template_directories": "templates"}, "hooks(template_directories=…): a str", ""),
                ({"template_directories": [Path("t")]}, "hooks(template_directories=…): a P", ""),
                ({"display_name": "Alice"}, "hooks(display_name=…): a str cannot be called", ""),
                ({"spam": print}, "hooks(spam=…): a builtin", "register callbacks on the .spam of"),
                ({"spam": self.make().threepids}, "hooks(spam=…): a ThreepidRules is no Spam", ""),
                ({"spam": []}, "hooks(spam=…): a list is no SpamChecks", ""),
                ({"threepids": 0}, "hooks(threepids=…): an int", ""),
                ({"threepid_changes": print}, "hooks(threepid_changes=…): ", ""),
                ({"binding_changes": print}, "hooks(binding_changes=…): ", ""),
            ],
        )

    def test_stagesOfOneType(self) -> None:
        """Two stages of one type are refused: one would never be asked."""
        error = self.assertRaises(ValueError, self.make, stages=[QuestionStage(), QuestionStage()])
        self.assertEqual(str(error), f"hooks(stages=…): two stages have the type {QUESTION!r}")

    def test_accepted(self) -> None:
        """Lists and tuples are alike; the lists of callbacks may be shared."""
        other = self.make()
        chosen = self.make(
            stages=(QuestionStage(),),
            flows=[[QUESTION], ("m.login.dummy",)],
            confirmation_flows=None,
            template_directories=["templates"],
            display_name=str.upper,
            spam=other.spam,
            threepids=other.threepids,
        )
        self.assertIs(chosen.spam, other.spam)
        self.assertIs(chosen.threepids, other.threepids)
