"""Modules of others, as PyPI has them, end to end."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar, Mapping

from treq.testing import StubTreq
from twisted.trial.unittest import SynchronousTestCase

from regsys.config import ConfigError
from tests import pypi
from tests.doubles.homeserver import AS_TOKEN, STALL, HomeserverDouble
from tests.doubles.ldap import BASE, PASSWORD, SEARCHER, SEARCHERS_PASSWORD, LDAPProcess
from tests.doubles.policy import ANSWERS, FAULTS, PolicyDouble
from tests.support.case import DUMMY
from tests.support.client import V3, Answer
from tests.support.module_names import with_names
from tests.support.modules import PASSWORD as OWN_PASSWORD
from tests.support.modules import ModuleCase
from tests.support.patience import PATIENCE_S
from tests.support.service_process import ROOT, ServiceProcess, sqlite, write_config
from tests.support.service_process import Answer as ProcessAnswer

LOGIN, REGISTER = f"{V3}/login", f"{V3}/register"


class PyPICase(ModuleCase):
    """With the modules in this process."""

    def setUp(self) -> None:
        place = str(pypi.modules(self))
        with_names(self)
        self.patch(sys, "path", [place, *sys.path])
        super().setUp()

    def serve(self, module: str, options: Any, **more: Any) -> None:
        modules = [{"module": module, "config": options}]
        self.system(database=self.database, modules=modules, **more)

    def sign_up(self, name: str) -> Answer:
        return self.client.register(username=name, password=OWN_PASSWORD, auth=DUMMY)


class TempMailCheckerTests(PyPICase):
    """matrix-temp-mail-checker."""

    def test_domains(self) -> None:
        """An address of a listed domain is denied, as the limit denies; another one registers."""
        blocked = Path(self.mktemp())
        blocked.write_text("throwaway.example\nother.example\n")
        path = "matrix-temp-mail-checker.TempMailChecker"
        self.serve(path, {"blocked_domains_file": str(blocked)})
        session, sid = self.validated("bob@THROWAWAY.example", "bob")
        self.assertRefused(self.present(session, sid), 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(self.counts()["users"], 0)
        blocked.write_text("other.example\n")
        self.assertEqual(self.present(session, sid).status, 200)
        # A file that is missing is a failure of the module.
        blocked.unlink()
        session, sid = self.validated("carol@mail.example", "carol")
        self.assertEqual(self.present(session, sid).status, 503)
        self.flushLoggedErrors(FileNotFoundError)


class ThreepidCheckerTests(PyPICase):
    """threepid-checker, which asks by ``http_client.get_json``."""

    def setUp(self) -> None:
        self.double = PolicyDouble()
        super().setUp()

    def serve_checker(self, **options: Any) -> None:
        chosen = {"url": "http://policy.example/", **options}
        path = "threepid_checker.ThreepidChecker"
        self.serve(path, chosen, treq=StubTreq(self.double))

    def test_answers(self) -> None:
        """Each well-formed answer of the server is what the module makes of it."""
        self.serve_checker()
        for chosen in ANSWERS["threepids"]:
            answer = self.request_token(f"{chosen}@mail.example")
            expected = 200 if chosen == "invited" else 403
            self.assertEqual(answer.status, expected, chosen)
        asked = self.double.asked[0]
        self.assertEqual(asked, {"medium": "email", "address": "nobodys@mail.example"})
        session, sid = self.validated("alice@mail.example")
        self.assertEqual(self.present(session, sid).status, 200)

    def test_faults(self) -> None:
        """A server that fails refuses for now, and spends nothing."""
        self.serve_checker()
        for chosen in FAULTS:
            if chosen in ("hang-up", "list"):
                continue  # no network here; and the module takes a list for a mapping
            answer = self.request_token(f"{chosen}@mail.example")
            self.assertEqual(answer.status, 503, chosen)
        self.flushLoggedErrors()
        self.assertEqual(self.mails.sent, [])

    def test_options(self) -> None:
        """Its own errors of configuration stop the start, as a module's do."""
        for options, said in (({}, "required"), ({"url": "ftp://x"}, "HTTP(S) URL")):
            with self.assertRaises(ConfigError) as raised:
                self.serve("threepid_checker.ThreepidChecker", options)
            self.assertIn(said, raised.exception.problems[0])
            self.assertIn("threepid_checker.ThreepidChecker", raised.exception.problems[0])


class RegistrationNotifierTests(PyPICase):
    """synapse-registration-notifier."""

    PATH: ClassVar[str] = "synapse_registration_notifier.RegistrationNotifier"
    ADMIN: ClassVar[str] = "@modbot:test.example"
    BESIDE: ClassVar[Mapping[str, Any]] = {
        "homeserver": {"url": "http://homeserver.example", "as_token": AS_TOKEN}
    }

    def setUp(self) -> None:
        self.double = HomeserverDouble()
        self.double.profiles[self.ADMIN] = None
        self.room = self.double.add_room("#log:test.example")
        self.room.change(self.ADMIN, "join")
        super().setUp()

    def serve_notifier(self, regsys: Mapping[str, Any]) -> None:
        self.treq = StubTreq(self.double)
        options = {"notification_room": self.room.room_id, "admin_user_id": self.ADMIN}
        self.serve(self.PATH, options, treq=self.treq, regsys=regsys)

    def test_posts(self) -> None:
        """Each registration is told of in the room, by the homeserver."""
        self.serve_notifier(self.BESIDE)
        self.assertEqual(self.sign_up("alice").status, 200)
        ((sender, kind, content),) = self.room.events.values()
        self.assertEqual((sender, kind), (self.ADMIN, "m.room.message"))
        self.assertEqual(content["msgtype"], "m.text")
        self.assertIn("@alice:test.example", content["body"])
        self.assertEqual(self.sign_up("bob").status, 200)
        self.assertEqual(len(self.room.events), 2)

    def test_refused(self) -> None:
        """A homeserver that does not take the event stops no registration."""
        self.serve_notifier(self.BESIDE)
        for number, fault in enumerate(("500", "502", "429", "garbage", "list", "redirect")):
            self.double.faults["send"] = [fault]
            self.assertEqual(self.sign_up(f"user{number}").status, 200, fault)
        self.assertEqual(self.room.events, {})

    def test_stalls(self) -> None:
        """Nor does one that does not answer: the module goes on in time."""
        self.serve_notifier(self.BESIDE)
        self.double.faults["send"] = [STALL]
        body = {"username": "alice", "password": OWN_PASSWORD, "auth": DUMMY}
        waiting = self.client.start("POST", REGISTER, body)
        self.assertNoResult(waiting)
        self.clock.advance(5)
        self.assertEqual(self.client.answer(waiting).status, 200)

    def test_noHomeserver(self) -> None:
        """Without one the module logs that it could not post, and allows."""
        self.serve_notifier({})
        with self.assertLogs(level="ERROR") as logged:
            self.assertEqual(self.sign_up("alice").status, 200)
        self.assertIn("regsys.homeserver", "\n".join(logged.output))


class ProcessCase(SynchronousTestCase):
    """With the modules in ``regsys serve``: they may block its threads. Those that check logins
    need ``auth_checkers`` and ``check_3pid_auth``, and methods of the API object."""

    def setUp(self) -> None:
        place = str(pypi.modules(self))
        search_path = [place, *filter(None, [os.environ.get("PYTHONPATH")])]
        self.patch(os, "environ", {**os.environ, "PYTHONPATH": os.pathsep.join(search_path)})

    def serve(self, module: str, options: Mapping[str, Any], **more: Any) -> None:
        self.folder = folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        modules = [{"module": module, "config": options}]
        config = write_config(folder, sqlite(folder), modules=modules, **more)
        self.service = ServiceProcess(self, config)

    def register(self, name: str) -> None:
        body = {"username": name, "password": OWN_PASSWORD, "auth": DUMMY}
        answer = self.service.ask("POST", REGISTER, body)
        self.assertEqual(answer.status, 200, answer)

    def log_in(self, kind: str, identifier: Mapping[str, str], **more: Any) -> ProcessAnswer:
        return self.service.ask("POST", LOGIN, {"type": kind, "identifier": identifier, **more})

    def by_password(self, name: str, password: str) -> ProcessAnswer:
        identifier = {"type": "m.id.user", "user": name}
        return self.log_in("m.login.password", identifier, password=password)

    def assertLoggedIn(self, answer: ProcessAnswer, name: str) -> None:
        self.assertEqual(
            (answer.status, answer.json.get("user_id")), (200, f"@{name}:test.example")
        )
        token = answer.json["access_token"]
        whoami = self.service.ask("GET", f"{V3}/account/whoami", token=token)
        self.assertEqual(whoami.json["user_id"], f"@{name}:test.example")

    def assertUnavailable(self, answer: ProcessAnswer) -> None:
        self.assertEqual((answer.status, answer.headers.get("Retry-After")), (503, "2"), answer)

    def assertForbidden(self, answer: ProcessAnswer) -> None:
        self.assertEqual((answer.status, answer.json["errcode"]), (403, "M_FORBIDDEN"), answer)


class ServeTests(ProcessCase):
    def test_installedPackage(self) -> None:
        """``regsys serve`` and ``regsys check-config`` have the names that a module imports, and
        they are regsys's own where the package of a homeserver is installed, too."""
        other = Path(self.mktemp()).resolve() / "synapse"
        other.mkdir(parents=True)
        (other / "__init__.py").write_text("raise AssertionError('this one is not to be used')\n")
        search_path = os.pathsep.join([str(other.parent), os.environ["PYTHONPATH"]])
        self.patch(os, "environ", {**os.environ, "PYTHONPATH": search_path})
        path = "matrix-temp-mail-checker.TempMailChecker"
        self.serve(path, {"blocked_domains_file": os.devnull})
        self.register("alice")
        done = subprocess.run(
            [sys.executable, "-m", "regsys", "check-config", "-c", self.folder / "homeserver.yaml"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([search_path, str(ROOT)])},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        self.assertEqual(done.returncode, 0, done.stderr)


class SharedSecretTests(ProcessCase):
    """shared-secret-authenticator, which asks by ``get_qualified_user_id`` and
    ``get_userinfo_by_id``."""

    SECRET: ClassVar[str] = "a secret of bridges that is long enough for it"
    KIND: ClassVar[str] = "com.devture.shared_secret_auth"

    def code(self, user_id: str) -> str:
        return hmac.new(self.SECRET.encode(), user_id.encode(), hashlib.sha512).hexdigest()

    def test_logsIn(self) -> None:
        """Whoever has the secret logs in as any user that exists, by both types."""
        options = {
            "shared_secret": self.SECRET,
            "com_devture_shared_secret_auth_support_enabled": True,
            "m_login_password_support_enabled": True,
        }
        self.serve("shared_secret_authenticator.SharedSecretAuthProvider", options)
        self.register("alice")
        types = [flow["type"] for flow in self.service.ask("GET", LOGIN).json["flows"]]
        self.assertIn(self.KIND, types)
        self.assertIn("m.login.password", types)
        alice = {"type": "m.id.user", "user": "alice"}
        right, wrong = self.code("@alice:test.example"), self.code("@bob:test.example")
        self.assertLoggedIn(self.log_in(self.KIND, alice, token=right), "alice")
        self.assertForbidden(self.log_in(self.KIND, alice, token=wrong))
        self.assertLoggedIn(self.by_password("alice", right), "alice")
        self.assertLoggedIn(self.by_password("@alice:test.example", right), "alice")
        self.assertForbidden(self.by_password("alice", wrong))
        self.assertLoggedIn(self.by_password("alice", OWN_PASSWORD), "alice")
        # A user who does not exist is not made.
        nobody = {"type": "m.id.user", "user": "bob"}
        self.assertForbidden(self.log_in(self.KIND, nobody, token=wrong))
        self.assertNotIn("Traceback", self.service.output)


class LDAPTests(ProcessCase):
    """matrix-synapse-ldap3, which asks by ``get_qualified_user_id``, ``check_user_exists`` and
    ``register``."""

    ATTRIBUTES: ClassVar[Mapping[str, str]] = {"uid": "uid", "mail": "mail", "name": "cn"}

    def setUp(self) -> None:
        super().setUp()
        self.directory = LDAPProcess(self)
        self.directory.start()

    def serve_ldap(self, **options: Any) -> None:
        own = {
            "enabled": True,
            "uri": self.directory.url,
            "start_tls": False,
            "base": BASE,
            "attributes": dict(self.ATTRIBUTES),
            **options,
        }
        deadline = {"rc_availability": False, "module_deadline": "5s"}
        self.serve("ldap_auth_provider.LdapAuthProviderModule", own, regsys=deadline)

    def display_name(self, name: str) -> Any:
        """As the account was made."""
        sql = "SELECT display_name FROM profiles WHERE user_id = ?"
        with contextlib.closing(sqlite3.connect(self.folder / "homeserver-regsys.db")) as database:
            return database.execute(sql, (f"@{name}:test.example",)).fetchone()[0]

    def test_simple(self) -> None:
        """A user of the directory has an account after the first login, and the same one after
        the second."""
        self.serve_ldap(mode="simple")
        self.register("carol")
        for _ in range(2):
            self.assertLoggedIn(self.by_password("alice", PASSWORD), "alice")
        self.assertLoggedIn(self.by_password("@bob:test.example", PASSWORD), "bob")
        self.assertForbidden(self.by_password("alice", "wrong"))
        self.assertForbidden(self.by_password("dave", PASSWORD))
        self.assertForbidden(self.by_password("dave", ""))
        self.assertLoggedIn(self.by_password("carol", OWN_PASSWORD), "carol")
        self.directory.stop()
        self.assertUnavailable(self.by_password("alice", PASSWORD))
        self.directory.start()
        self.assertLoggedIn(self.by_password("alice", PASSWORD), "alice")

    def test_search(self) -> None:
        """In this mode the account has the directory's address, by which the user logs in, too."""
        self.serve_ldap(mode="search", bind_dn=SEARCHER, bind_password=SEARCHERS_PASSWORD)
        self.register("carol")
        by_address = {"type": "m.id.thirdparty", "medium": "email", "address": "alice@mail.example"}
        for _ in range(2):
            answer = self.log_in("m.login.password", by_address, password=PASSWORD)
            self.assertLoggedIn(answer, "alice")
        self.assertLoggedIn(self.by_password("alice", PASSWORD), "alice")
        answer = self.by_password("bob", PASSWORD)
        self.assertLoggedIn(answer, "bob")
        found = self.service.ask(
            "GET", f"{V3}/account/3pid", token=answer.json["access_token"]
        ).json["threepids"]
        self.assertEqual([item["address"] for item in found], ["bob@mail.example"])
        self.assertEqual(self.display_name("bob"), "Bob Bates")
        self.assertForbidden(self.log_in("m.login.password", by_address, password="wrong"))
        self.assertForbidden(self.by_password("dave", PASSWORD))

    def test_stalls(self) -> None:
        """A directory that hangs holds up logins alone, each for as long as a callback may take;
        once it is back all is as before."""
        self.serve_ldap(mode="search", bind_dn=SEARCHER, bind_password=SEARCHERS_PASSWORD)
        self.register("carol")
        self.directory.pause()
        # It is asked before regsys's own password: the user may be one of the directory.
        self.assertUnavailable(self.by_password("carol", OWN_PASSWORD))
        self.register("erin")
        self.directory.resume()
        self.assertLoggedIn(self.by_password("carol", OWN_PASSWORD), "carol")
        self.assertLoggedIn(self.by_password("alice", PASSWORD), "alice")
