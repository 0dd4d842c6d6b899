"""The proxies of docs/synapse-routes.md are parsed and run, before two servers that say who they
are."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Iterator, Optional

from twisted.trial.unittest import SynchronousTestCase

from regsys.testing.system import standalone
from tests.support.proxies import ProxyExamples

FRONT, SYNAPSE, REGSYS = "8080", "8008", "8009"
# Endpoints of ours that Synapse answers in this mode, for its own clients.
OF_SYNAPSE = {"whoami", "pushers", "versions", "devices", "device"}
# Those that the proxies' examples keep from the public.
NOT_PUBLIC = ("/health", "/metrics", "/_synapse/", "/_regsys/", "/oauth2/", "/.well-known/")
# What clients ask Synapse for.
ELSEWHERE = (
    "GET /_matrix/client/versions",
    "GET /_matrix/client/v3/sync",
    "GET /_matrix/client/v3/devices",
    "GET /_matrix/client/v3/devices/ABC",
    "PUT /_matrix/client/v3/devices/ABC",
    "GET /_matrix/client/v3/account/whoami",
    "POST /_matrix/client/v3/keys/device_signing/upload",
    "PUT /_matrix/client/v3/rooms/!register:example.com/send/m.room.message/login",
    "GET /_matrix/client/v3/profile/@login:example.com",
    "PUT /_matrix/client/v3/user/@a:example.com/account_data/register",
    "GET /_matrix/client/v3/user_directory/search",
    "GET /_matrix/client/v3/loginx",
    "GET /_matrix/client/v3/publicRooms",
    "POST /_matrix/media/v3/upload",
    "GET /_matrix/federation/v1/version",
    "GET /_synapse/client/pick_idp",
)
REFUSED = ("POST /_synapse/mas/provision_user", "GET /_synapse/admin/v2/users", "GET /elsewhere")
# What of ours has no endpoint in the system of the test, or none at all: a 404 is its answer.
OURS = (
    "GET /_matrix/client/v3/capabilities",
    "GET /_matrix/client/v1/auth_metadata",
    "GET /_matrix/client/unstable/org.matrix.msc2965/auth_metadata",
    "POST /_matrix/client/v3/account/password/email/requestToken",
    "POST /_matrix/client/v3/account/deactivate",
    "DELETE /_matrix/client/v3/devices/ABC",
    "POST /_matrix/client/v3/delete_devices",
    "GET /_matrix/client/unstable/password_reset/email/submit_token",
    "GET /_matrix/consent?v=1.0",
    "OPTIONS /_matrix/client/v3/register",
    "GET /_matrix/client/v3/register?kind=guest",
)


def our_paths(case: SynchronousTestCase) -> Iterator[str]:
    """A request for each public endpoint that regsys has where the accounts are its own."""
    for endpoint in standalone(case)._endpoints.values():
        if endpoint.name in OF_SYNAPSE:
            continue
        for path in endpoint.paths:
            if not path.startswith(NOT_PUBLIC):
                for method in endpoint.handlers:
                    yield f"{method} {path.replace('{', '').replace('}', '')}"


class _SaysWho(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        body = self.server.name.encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = _answer

    def log_message(self, *args: object) -> None: ...


class RoutesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.proxy = ProxyExamples(self, "synapse-routes.md", (FRONT, SYNAPSE, REGSYS))
        for name, port in (("synapse", SYNAPSE), ("regsys", REGSYS)):
            server = ThreadingHTTPServer(("127.0.0.1", int(self.proxy.ports[port])), _SaysWho)
            server.name = name  # type: ignore[attr-defined]
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.addCleanup(server.server_close)
            self.addCleanup(server.shutdown)

    def who_answers(self, request: str) -> Optional[str]:
        """The name of the server behind the proxy; None if that refuses."""
        method, path = request.split(" ")
        front = http.client.HTTPConnection("127.0.0.1", int(self.proxy.ports[FRONT]), timeout=30)
        front.request(method, path)
        answer = front.getresponse()
        text = answer.read().decode()
        front.close()
        return text if answer.status == 200 else None

    def assertRoutes(self) -> None:
        wanted: dict[str, Optional[str]] = {
            **dict.fromkeys((*our_paths(self), *OURS), "regsys"),
            **dict.fromkeys(ELSEWHERE, "synapse"),
            **dict.fromkeys(REFUSED),
        }
        self.assertGreater(len(wanted), 50)
        self.assertEqual({request: self.who_answers(request) for request in wanted}, wanted)

    def test_nginx(self) -> None:
        self.proxy.run_nginx()
        self.assertRoutes()

    def test_haproxy(self) -> None:
        self.proxy.run_haproxy()
        self.assertRoutes()

    def test_caddy(self) -> None:
        self.proxy.run_caddy()
        self.assertRoutes()
