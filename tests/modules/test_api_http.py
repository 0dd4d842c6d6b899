"""The API object: asking other servers, and resources of modules."""

from __future__ import annotations

from typing import Any

from treq.testing import StringStubbingResource, StubTreq
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.web.resource import Resource

from regsys import http
from regsys.modules.shapes import HttpResponseException
from tests.support.case import SystemCase
from tests.support.client import V3, Client
from tests.support.modules import package


class HttpCase(SystemCase):
    """``self.apis`` are those of two modules; ``self.asked`` what other servers were asked."""

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[Any] = []
        self.answer: tuple[int, dict[bytes, bytes], bytes] = (200, {}, b'{"a": 1}')
        self.apis: list[Any] = []
        names = package(
            self,
            First=lambda config, api: self.apis.append(api) or api,
            Second=lambda config, api: self.apis.append(api) or api,
        )
        paths = [{"module": f"{names}.First"}, {"module": f"{names}.Second"}]
        self.system(modules=paths, treq=StubTreq(StringStubbingResource(self.respond)))

    def respond(self, method: Any, url: Any, params: Any, headers: Any, data: Any) -> Any:
        self.asked.append((method, url, params, headers, data))
        return self.answer


class ClientTests(HttpCase):
    def test_methods(self) -> None:
        """Each sends what its arguments say, and returns what the server answers."""
        client = self.apis[0].http_client
        headers = {"X-One": ["a", "b"], b"X-Two": [b"c"]}
        url = "http://other.example/path"
        query = {"x": "1 2", "y": ["3", "4"]}
        json = b"application/json"
        form = b"application/x-www-form-urlencoded"
        parsed = {b"x": [b"1 2"], b"y": [b"3", b"4"]}
        for asked, method, params, kind, body in (
            (client.get_json(url, query, headers), b"GET", parsed, None, b""),
            (client.post_json_get_json(url, {"z": 5}, headers), b"POST", {}, json, b'{"z": 5}'),
            (
                client.post_urlencoded_get_json(url, query, headers),
                b"POST",
                parsed,  # the stub puts a form's fields there
                form,
                b"x=1+2&y=3&y=4",
            ),
            (client.put_json(url, {"z": 5}, query, headers), b"PUT", parsed, json, b'{"z": 5}'),
        ):
            self.assertEqual(self.wait(asked), {"a": 1})
            sent = self.asked.pop()
            self.assertEqual((sent[0], sent[2], sent[4]), (method, params, body))
            self.assertEqual((sent[3][b"X-One"], sent[3][b"X-Two"]), ([b"a, b"], [b"c"]))
            self.assertEqual(sent[3].get(b"Content-Type"), kind and [kind])
        self.assertEqual(self.wait(client.get_raw(url)), b'{"a": 1}')

    def test_refused(self) -> None:
        """Another status is an error with the body; no redirect is followed."""
        client = self.apis[0].http_client
        for status in (302, 400, 503):
            self.answer = (status, {b"Location": b"http://inside.example/"}, b'{"errcode": "X"}')
            for asked in (
                client.get_json("http://other.example"),
                client.get_raw("http://other.example"),
                client.post_json_get_json("http://other.example", {}),
                client.post_urlencoded_get_json("http://other.example"),
                client.put_json("http://other.example", {}),
            ):
                self.asked.clear()
                failure = self.failureResultOf(Deferred.fromCoroutine(asked), HttpResponseException)
                error: Any = failure.value
                self.assertEqual((error.code, error.response), (status, b'{"errcode": "X"}'))
                self.assertEqual(len(self.asked), 1)


class Says(Resource):
    def __init__(self, text: str, leaf: bool = True) -> None:
        super().__init__()
        self.text, self.isLeaf = text, leaf

    def render_GET(self, request: Any) -> bytes:
        return f"{self.text} {request.prepath} {request.postpath}".encode()


class ResourceTests(HttpCase):
    def text(self, path: str) -> Any:
        found = self.client.get(path)
        return found.json.decode() if found.status == 200 else found.status

    def test_paths(self) -> None:
        """A resource has its path and those below; ours come first, and of modules the first."""
        first, second = self.apis
        tree = Says("tree", leaf=False)
        tree.putChild(b"child", Says("child"))
        first.register_web_resource("/_synapse/client/first", Says("first"))
        first.register_web_resource("/_synapse/client/first/tree/", tree)
        first.register_web_resource(V3, Says("all"))
        with capturedLogs() as events:
            second.register_web_resource("/_synapse/client/first", Says("second"))
        self.assertEqual(events[0]["path"], "/_synapse/client/first")
        for path, expected in {
            "/_synapse/client/first": ("first [b'_synapse', b'client', b'first'] []"),
            "/_synapse/client/first/a%20b?c": ("first [b'_synapse', b'client', b'first'] [b'a b']"),
            "/_synapse/client/first/tree": ("tree [b'_synapse', b'client', b'first', b'tree'] []"),
            "/_synapse/client/first/tree/child/x": (
                "child [b'_synapse', b'client', b'first', b'tree', b'child'] [b'x']"
            ),
            "/_synapse/client/first/tree/other": 404,
            "/_synapse/client": 404,
            "/_synapse/client/firstly": 404,
            f"{V3}/other": "all [b'_matrix', b'client', b'v3'] [b'other']",
        }.items():
            self.assertEqual(self.text(path), expected, path)
        self.assertEqual(self.client.get(f"{V3}/login").json["flows"][0]["type"][:2], "m.")

    def test_places(self) -> None:
        """They are beside an embedder's own resource, and not where they are left out."""
        self.apis[0].register_web_resource("/_synapse/client/first", Says("first"))
        others = Says("others")
        for given, expected in (
            ({"otherwise": others}, ("first", "others")),
            ({"of_modules": False, "otherwise": others}, ("others", "others")),
            ({"endpoints": ["login"]}, ("first", 404)),
        ):
            resource = self.subsystem.resource(client_address=http.first_forwarded, **given)
            self.client = Client(self, resource)
            found = [self.text("/_synapse/client/first"), self.text("/elsewhere")]
            first = [it.split()[0] if isinstance(it, str) else it for it in found]
            self.assertEqual(tuple(first), expected)

    def test_wrong(self) -> None:
        """What cannot be served is an error at the call."""
        register = self.apis[0].register_web_resource
        for path in ("no/slash", "/", "", None):
            self.assertRaises(ValueError, register, path, Says("x"))
        self.assertRaises(TypeError, register, "/path", Says)
