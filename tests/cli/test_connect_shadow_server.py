"""What ``check-config --connect`` finds of the shadow server."""

from __future__ import annotations

import json
from typing import Optional, Union

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request

from regsys.cli.connect import shadow_server
from regsys.cli.peers import Unreachable
from regsys.config import ShadowServerConfig
from regsys.model import Secret
from regsys.outbound.http import HTTPClient, NoAnswer


class Shadow(Resource):
    isLeaf = True

    def __init__(self, status: int, errcode: Optional[str]) -> None:
        super().__init__()
        self.status, self.errcode = status, errcode

    def render(self, request: Request) -> bytes:
        assert request.getHeader("authorization") == "Bearer canary"
        assert json.loads(request.content.read()) == {"type": "m.login.application_service"}
        request.setResponseCode(self.status)
        return json.dumps({"errcode": self.errcode}).encode()


class ShadowServerTests(SynchronousTestCase):
    def found(self, status: int, errcode: Optional[str]) -> str:
        """The problem; empty if there is none."""
        config = ShadowServerConfig(url="https://shadow.example", as_token=Secret("canary"))
        peer = shadow_server(config, HTTPClient(StubTreq(Shadow(status, errcode)), Clock()))
        self.assertEqual((peer.option, peer.place), ("shadow_server.hs_url", config.url))
        asking = Deferred.fromCoroutine(peer.ask())  # type: ignore[arg-type]
        kinds: tuple[type[Exception], ...] = (Unreachable, NoAnswer)
        problems: list[Union[Unreachable, NoAnswer]] = []
        asking.addErrback(lambda failure: problems.append(failure.trap(*kinds) and failure.value))
        self.assertTrue(asking.called)
        return str(problems[0]) if problems else ""

    def test_good(self) -> None:
        """It knows our token, and makes nobody without a name, whatever it says of that."""
        for status, errcode in ((400, "M_MISSING_PARAM"), (400, "M_INVALID_USERNAME")):
            self.assertEqual(self.found(status, errcode), "")

    def test_problems(self) -> None:
        for status, errcode, part in (
            (401, "M_UNKNOWN_TOKEN", "it does not know our as_token"),
            (404, "M_UNRECOGNIZED", "does a homeserver answer there?"),
            (404, None, "does a homeserver answer there?"),
            (502, None, "it answers 502"),
            (200, None, "it answers 200"),
        ):
            self.assertIn(part, self.found(status, errcode))
