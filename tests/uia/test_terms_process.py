"""Policies against ``regsys serve`` as a real process, on both databases."""

from __future__ import annotations

import hmac
import re
from pathlib import Path
from typing import Any, Mapping
from urllib.parse import urlencode

from twisted.trial.unittest import SynchronousTestCase

from tests.support import postgres
from tests.support.log_canaries import leaked
from tests.support.policies import FORM_SECRET, TERMS, user_consent, write_pages
from tests.support.service_process import Answer, ServiceProcess, psycopg2, sqlite, write_config

V3 = "/_matrix/client/v3"
DUMMY = {"type": "m.login.dummy"}
PASSWORD = "correct horse battery staple"
CONSENT = "/_matrix/consent"


def signed(localpart: str) -> str:
    return hmac.new(FORM_SECRET.encode(), localpart.encode(), "sha256").hexdigest()


class Policies:
    """For every database; ``database(folder)`` gives its section of the file."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).resolve()
        pages = write_pages(folder / "pages", "1.0")
        listener = {
            "port": 0,
            "bind_addresses": ["127.0.0.1"],
            "resources": [{"names": ["client", "consent"]}],
        }
        self.config = write_config(
            folder, self.database(folder), **user_consent(pages), listeners=[listener]
        )
        self.service = ServiceProcess(self, self.config)

    def tearDown(self) -> None:
        output = self.service.output
        self.assertNotIn("Traceback", output)
        self.assertEqual(leaked(output, {"the form secret": FORM_SECRET}), [])

    def test_firstDay(self) -> None:
        """A new user reads the policy at its link, accepts it, and later finds it accepted; a
        guest, who was not asked, accepts it by a link."""
        ask = self.service.ask
        body: dict[str, Any] = {"username": "alice", "password": PASSWORD}
        challenge = ask("POST", f"{V3}/register", body).json
        self.assertEqual(challenge["flows"], [{"stages": [TERMS, DUMMY["type"]]}])
        policy = challenge["params"][TERMS]["policies"]["privacy_policy"]
        page = ask("GET", re.sub("^https://[^/]+", "", policy["en"]["url"]))
        self.assertEqual(page.status, 200)
        self.assertIn("version 1.0 of us", page.text)
        for stage, status in ({"type": TERMS}, 401), (DUMMY, 200):
            auth = {**stage, "session": challenge["session"]}
            answer = ask("POST", f"{V3}/register", {**body, "auth": auth})
            self.assertEqual(answer.status, status, answer)
        self.assertIn("Agreed.", self.read("alice").text)
        name = ask("POST", f"{V3}/register?kind=guest", {}).json["user_id"][1:].partition(":")[0]
        self.assertIn("<form", self.read(name).text)
        form = urlencode({"u": name, "h": signed(name), "v": "1.0"}).encode()
        answer = ask("POST", CONSENT, form)
        self.assertEqual((answer.status, "Thank you" in answer.text), (200, True))
        self.assertIn("Agreed.", self.read(name).text)
        self.assertEqual(ask("GET", f"{CONSENT}?u=alice&h={signed(name)}").status, 403)
        style = re.findall('href="([^"]*css[^"]*)"', answer.text)
        self.assertEqual([ask("GET", path).status for path in style], [200])

    def read(self, localpart: str) -> Answer:
        """The page behind this user's link."""
        answer = self.service.ask("GET", f"{CONSENT}?u={localpart}&h={signed(localpart)}")
        self.assertEqual(answer.status, 200, answer)
        return answer


class SQLiteTests(Policies, SynchronousTestCase):
    def database(self, folder: Path) -> Mapping[str, Any]:
        return sqlite(folder)


class PostgresTests(Policies, SynchronousTestCase):
    def database(self, folder: Path) -> Mapping[str, Any]:
        return psycopg2(postgres.dsn(self))
