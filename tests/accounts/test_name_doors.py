"""Each way to an account asks the operator's rules about its name, but those of administrators and
application services."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Mapping

import attr
from twisted.internet.defer import Deferred

from regsys.accounts.name_rules import KEPT, NameRules
from regsys.client_api.names_from_threepids import REFUSED, ThreepidNames
from regsys.config import NamesConfig, ThreepidsConfig
from regsys.errors import UsernameReserved
from regsys.model import Registration, Threepid
from tests.appservices.bridges import BridgeCase
from tests.support.case import DUMMY, PASSWORD
from tests.support.client import V3, Answer
from tests.threepids.test_names import NAMED, NamedCase
from tests.web.test_admin import SECRET, SharedSecretCase

RULES: Any = {"names": {"deny": ["admin", "*-staff*"]}, "rc_availability": False}
OPEN: Any = {"enable_registration": True, "enable_registration_without_verification": True}


class ClientTests(BridgeCase):
    options: ClassVar[Mapping[str, Any]] = {**OPEN, "regsys": RULES}

    def available(self, name: str) -> Answer:
        return self.client.get(f"{V3}/register/available?username={name}")

    def assertKept(self, answer: Answer) -> None:
        self.assertRefused(answer, 400, "M_EXCLUSIVE")
        self.assertEqual(answer.json["error"], KEPT)

    def test_register(self) -> None:
        """A client hears of it at once, before any stage, whatever the case of its letters; its
        next name is free."""
        for name in ("Admin", "adm1n", "our-staff-1"):
            self.assertKept(self.client.register(username=name, password=PASSWORD))
            self.assertKept(self.client.register(username=name, password=PASSWORD, auth=DUMMY))
        self.assertEqual(self.counts()["uia_sessions"], 0)
        self.register("administrator")

    def test_available(self) -> None:
        """Whether a name is free is said by the same rules."""
        self.assertKept(self.available("adm1n"))
        self.assertEqual(self.available("alice").json, {"available": True})

    def test_embedder(self) -> None:
        """So does the handler; a generated name passes."""
        handler = self.subsystem.handler
        for call in (handler.check_username("admin"), handler.register_user(localpart="admin")):
            self.failureResultOf(Deferred.fromCoroutine(call), UsernameReserved)
        self.wait(handler.register_user(localpart="admin", by_admin=True))
        self.system(**OPEN, regsys={"names": {"min_length": 5}})
        unnamed = self.client.register(password=PASSWORD, auth=DUMMY)
        self.assertEqual(unnamed.json["user_id"], "@1:test.example")

    def test_bridges(self) -> None:
        """An application service's users are its own matter."""
        self.made("_irc_x-staff")

    def test_reload(self) -> None:
        """A name in a file is kept back after SIGHUP, from a session under way too. A finished one
        repeats its answer."""
        path = Path(self.mktemp())
        path.write_text("admin\n")
        self.system(**OPEN, regsys={"names": {"deny_file": str(path)}})
        sessions = [
            self.challenge(username=name, password=PASSWORD)["session"] for name in ("bob", "eve")
        ]
        ends = [{"auth": {**DUMMY, "session": session}} for session in sessions]
        self.clock.advance(0)
        first = self.client.register(**ends[0])
        path.write_text("bob\neve\n")
        self.subsystem.reload()
        again = self.client.register(**ends[0])
        self.assertEqual((first.status, again.status, again.json), (200, 200, first.json))
        self.assertKept(self.client.register(**ends[1]))
        self.register("admin")


class AdministratorTests(SharedSecretCase):
    options: ClassVar[Mapping[str, Any]] = {
        "registration_shared_secret": SECRET,
        "regsys": RULES,
    }

    def test_sharedSecret(self) -> None:
        """Whoever has the shared secret may make the accounts that the rules keep for them."""
        answer = self.send({"username": "admin", "password": PASSWORD, "admin": True})
        self.assertEqual(answer.status, 200, answer)
        available = self.client.get(
            "/_synapse/admin/v1/username_available?username=our-staff",
            token=answer.json["access_token"],
        )
        self.assertEqual(available.json, {"available": True})


class Refusing(NameRules):
    """Refuses every name, and notes it."""

    def __init__(self) -> None:
        super().__init__(NamesConfig(), {})
        self.asked: list[str] = []

    def check(self, localpart: str) -> None:
        self.asked.append(localpart)
        raise UsernameReserved()


class DerivedTests(NamedCase):
    def test_email(self) -> None:
        """A name that is derived from an address gets the first number with which it may be used,
        and a generated one if there is none."""
        self.system(**NAMED, regsys={"names": {"deny": ["bob-mail.example", "*eve*"]}})
        self.assertEqual(self.registered("bob@mail.example"), "bob-mail.example1")
        self.assertEqual(self.registered("eve@mail.example", "t"), "1")
        self.system(**NAMED, regsys={"names": {"max_length": 5}})
        self.assertEqual(self.registered("alice@mail.example", "u"), "1")

    def test_fewTries(self) -> None:
        """Where a rule is about the name itself, not all numbers are tried behind it."""
        rules = Refusing()
        names = self.subsystem.handler._names
        maker = ThreepidNames(
            names=attr.evolve(names, rules=rules),
            config=ThreepidsConfig(name_from="email"),
        )
        threepids = (Threepid("email", "eve@mail.example", 0),)
        made = self.wait(maker.with_names(Registration(key="key", threepids=threepids)))
        self.assertEqual((made.localpart, len(rules.asked)), (None, REFUSED))
