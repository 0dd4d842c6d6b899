"""The API object: what it says of the server, and what it does not offer."""

from __future__ import annotations

import copy
from typing import Any

import attr
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

import regsys
from regsys.config import Config
from regsys.model import UserID
from regsys.modules.api import ApiParts, ModuleApi, NotOffered
from regsys.modules.registry import UNUSED, Registry
from regsys.wiring.modules import callbacks
from regsys.wiring.subsystem import hooks

OPTIONS = {"server_name": "example.org", "macaroon_secret_key": "x"}
WORKER = {
    "database": {"name": "psycopg2", "args": {"dbname": "x"}},
    "worker_app": "synapse.app.generic_worker",
    "worker_name": "worker1",
    "worker_replication_secret": "x",
    "instance_map": {"main": {"host": "localhost", "port": 9093}},
}


class ApiTests(SynchronousTestCase):
    def api(self, config: Any = None) -> ModuleApi:
        chosen: Config = regsys.parse({**OPTIONS, **(config or {})})
        self.made = hooks(Clock())
        others = dict.fromkeys(item.name for item in attr.fields(ApiParts))
        given: Any = {**others, "config": chosen, "registry": Registry(callbacks(self.made))}
        return ModuleApi("a.Module", ApiParts(**given))

    def test_server(self) -> None:
        """What the configuration says of the server."""
        api = self.api()
        self.assertEqual(api.server_name, "example.org")
        self.assertEqual(api.public_baseurl, "https://example.org/")
        self.assertEqual(api.email_app_name, "Matrix")
        named = self.api({"email": {"app_name": "Ours", "notif_from": "a@example.org"}})
        self.assertEqual(named.email_app_name, "Ours")

    def test_worker(self) -> None:
        """Which process this is; what must run once runs in the main process."""
        api, worker = self.api(), self.api(WORKER)
        self.assertEqual((api.worker_name, api.worker_app), (None, None))
        self.assertEqual(
            (worker.worker_name, worker.worker_app), ("worker1", "synapse.app.generic_worker")
        )
        self.assertTrue(api.should_run_background_tasks())
        self.assertFalse(worker.should_run_background_tasks())

    def test_userIDs(self) -> None:
        """A localpart is completed, a user ID stays; IDs of any kind are ours or not."""
        api = self.api()
        self.assertEqual(api.get_qualified_user_id("alice"), "@alice:example.org")
        self.assertEqual(api.get_qualified_user_id("@bob:b.example"), "@bob:b.example")
        for theirs in ("@a:b.example", "#a:b.example:8448", "alice", "@a:example.org:8448", ""):
            self.assertFalse(api.is_mine(theirs), theirs)
        for ours in ("@a:example.org", "#a:example.org", UserID("a", "example.org")):
            self.assertTrue(api.is_mine(ours))

    def test_notOffered(self) -> None:
        """Anything else is an error that names it, at the call; the inside of a homeserver is one
        at once."""
        api = self.api()
        method = api.invalidate_cache
        error = self.assertRaises(NotOffered, method, 1, a=2)
        self.assertIn("ModuleApi.invalidate_cache (module a.Module)", str(error))
        self.assertIn("ModuleApi._hs", str(self.assertRaises(AttributeError, lambda: api._hs)))
        self.assertIsInstance(copy.copy(api), ModuleApi)

    def test_unused(self) -> None:
        """Callbacks that no registration reaches are accepted, by every method that homeservers
        have for them; the log says once that they are not called."""
        api = self.api()
        with capturedLogs() as events:
            for method, names in UNUSED.items():
                for _ in range(2):
                    getattr(api, method)(**dict.fromkeys(names, print))
        told = [event["callback"] for event in events]
        self.assertEqual(sorted(told), sorted(name for names in UNUSED.values() for name in names))
        self.assertEqual({event["module"] for event in events}, {"a.Module"})

    def test_registered(self) -> None:
        """Every callback that is called can be registered by its name, and None is none."""
        api = self.api()
        checkers = {("m.login.password", ("password",)): print}

        def made(name: str) -> Any:
            return checkers if name == "auth_checkers" else print

        for method, lists in callbacks(self.made).items():
            getattr(api, method)(**dict.fromkeys(lists))
            getattr(api, method)(**{name: made(name) for name in lists})
        for lists in callbacks(self.made).values():
            for item in lists.values():
                self.assertEqual(item.hooks, [("a.Module", made(item.moment))])

    def test_allOrNone(self) -> None:
        """If one name is wrong, none is registered."""
        api = self.api()
        wrong = {"on_user_login": print, "on_user_log_in": print}
        self.assertRaises(TypeError, api.register_account_validity_callbacks, **wrong)
        self.assertEqual(self.made.logins.begun.hooks, [])
