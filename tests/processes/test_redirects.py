"""What leads people to the registration page, in a service of ours."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from regsys.config.listeners import DEFAULT_LISTENER
from regsys.http import Call
from regsys.model import Client as Peer
from regsys.processes.service import Service
from regsys.testing import config
from regsys.web.registration_page import redirects
from tests.support.case import SystemCase
from tests.support.client import Client

PAGE = "/_matrix/static/client/register/"


class RedirectTests(SystemCase):
    def served(self, **options: Any) -> Client:
        self.system(**options)
        service = Service(config(**options), self.subsystem, Clock(), lambda _: None)
        return Client(self, service._resource(DEFAULT_LISTENER))

    def test_leads(self) -> None:
        """Where people look for the page they are led to it, with the query of a link."""
        client = self.served()
        for path in ("/", "/_matrix/static/client/register", "/_matrix/static/"):
            for query in ("", "?token=a.b-c&x=%22"):
                answer = client.get(path + query)
                self.assertEqual((answer.status, answer.headers["location"]), (308, PAGE + query))
        self.assertEqual(client.get(PAGE).status, 200)

    def test_hostile(self) -> None:
        """Whatever the query, it leads to this page, by a header of ASCII without a line end."""
        get = redirects(config()).handlers["GET"]
        for query in ("https://evil.example/", "/%0d%0aX:%20y", "\xff\r\nX: y", "a?b", '"\0'):
            # The request line as it was sent.
            uri = f"/?{query}"
            reply = self.wait(get(Call(method="GET", path="/", uri=uri, client=Peer("::1", ""))))
            self.assertRegex(reply.headers["Location"], rf"\A{PAGE}[?][!-~]*\Z")

    def test_deep(self) -> None:
        """Below a path they keep it."""
        client = self.served(public_baseurl="https://hs.example/deep")
        self.assertEqual(client.get("/?a=b").headers["location"], f"/deep{PAGE}?a=b")

    def test_notThere(self) -> None:
        """Where nobody may register they lead nowhere; a homeserver's own root is left alone."""
        client = self.served(enable_registration=False)
        self.assertEqual(client.get("/").status, 404)
        self.system()
        self.assertEqual(self.client.get("/").status, 404)
