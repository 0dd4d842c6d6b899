"""Which handler gets a request, and what happens to other requests."""

from __future__ import annotations

import json
import re
from typing import Callable

from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.static import Data, File

from regsys.http import Endpoint, resource
from tests.http.wire import Answer, Echo, Wire, ask

GET = b"GET %s HTTP/1.1\r\nHost: hs.test\r\n\r\n"
DATE = re.compile(rb"Date: [^\r]*\r\n")


class Seen(Resource):
    """A resource that answers with the path segments before and after it."""

    def __init__(self, isLeaf: bool) -> None:
        super().__init__()
        self.isLeaf = isLeaf

    def render(self, request: IRequest) -> bytes:
        return json.dumps(
            [[segment.decode() for segment in path] for path in (request.prepath, request.postpath)]
        ).encode()


class PathTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.literal = Echo("/v3/register", "/r0/register")
        self.new = Echo("/tokens/new")
        self.token = Echo("/tokens/{token}")
        self.resource = resource(
            [self.token.endpoint, self.new.endpoint, self.literal.endpoint],
        )

    def assert_reaches(self, echo: Echo, path: str) -> None:
        self.assertEqual(ask(self, self.resource, path).code, 200)
        echo.calls.pop()

    def assert_unknown(self, path: str) -> None:
        answer = ask(self, self.resource, path)
        self.assertEqual(answer.code, 404, path)
        self.assertEqual(json.loads(answer.content)["errcode"], "M_UNRECOGNIZED")

    def test_literal(self) -> None:
        """Each of an endpoint's paths reaches it, whatever the query."""
        self.assert_reaches(self.literal, "/v3/register?kind=guest")
        self.assert_reaches(self.literal, "/r0/register")

    def test_encodedLiteral(self) -> None:
        """Percent-encoding is undone before paths are compared, a segment at a time."""
        self.assert_reaches(self.literal, "/v3/%72egister")
        self.assert_unknown("/v3%2Fregister")

    def test_unknown(self) -> None:
        """Any other path is unknown: another case, a prefix, more of it, a trailing slash."""
        for path in (
            "/",
            "/v3",
            "/v3/Register",
            "/v3/register/",
            "//v3/register",
            "/v3/register/x",
            "/register",
        ):
            self.assert_unknown(path)

    def test_pattern(self) -> None:
        """A named segment matches any one segment but an empty one."""
        self.assert_reaches(self.token, "/tokens/abc")
        self.assert_reaches(self.token, "/tokens/a%2Fb")
        for path in ("/tokens", "/tokens/", "/tokens/a/b", "/other/abc"):
            self.assert_unknown(path)

    def test_literalBeatsPattern(self) -> None:
        """A literal path wins over one with a named segment."""
        self.assert_reaches(self.new, "/tokens/new")
        self.assert_reaches(self.new, "/tokens/%6eew")

    def test_segmentThatIsNoText(self) -> None:
        """A segment that is not UTF-8, or contains NUL, matches no pattern."""
        for segment in ("%00", "a%00b", "%FF", "%ED%A0%80"):
            self.assert_unknown(f"/tokens/{segment}")

    def test_pathClaimedTwice(self) -> None:
        """Two endpoints cannot have the same path."""
        self.assertRaises(ValueError, resource, [self.new.endpoint, Echo("/tokens/new").endpoint])


class MistakeTests(SynchronousTestCase):
    """What an embedder passes is checked at once."""

    def test_endpoint(self) -> None:
        get = Echo("/x").answer
        for error, said, given in (
            (TypeError, "paths must be a list or a tuple, not str", ("x", "/x", {"GET": get})),
            (TypeError, "Endpoint('x'): each path must be a str", ("x", [b"/x"], {"GET": get})),
            (ValueError, "the path 'x' must begin with /", ("x", ["x"], {"GET": get})),
            (ValueError, "be ASCII", ("x", ["/ü"], {"GET": get})),
            (TypeError, "its name must be a text", ("", ["/x"], {"GET": get})),
            (TypeError, "its name must be a text", (None, ["/x"], {"GET": get})),
            (TypeError, "handlers must be a mapping", ("x", ["/x"], get)),
            (ValueError, "there is no method 'get': there are DELETE", ("x", ["/x"], {"get": get})),
            (TypeError, "the handler of GET must be a function", ("x", ["/x"], {"GET": None})),
        ):
            caught = self.assertRaises(error, Endpoint, *given)
            self.assertIn(said, str(caught))
        self.assertEqual(Endpoint("x", ["/x"], {"GET": get}).paths, ("/x",))  # type: ignore[arg-type]

    def test_resource(self) -> None:
        own = Echo("/x").endpoint
        for said, endpoints, more in (
            ("a str is no Endpoint", ["x"], {}),
            ("the class Endpoint is no Endpoint", [Endpoint], {}),
            ("resource(client_address=…): a str is no function", [own], {"client_address": "x"}),
            ("resource(otherwise=…): a str is no IResource", [own], {"otherwise": "x"}),
        ):
            caught = self.assertRaises(TypeError, resource, endpoints, **more)
            self.assertIn(said, str(caught))


class MethodTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.echo = Echo("/both")
        post = Endpoint("post", ("/post",), {"POST": self.echo.answer})
        self.resource = resource([self.echo.endpoint, post])

    def ask(self, method: str, path: str) -> Answer:
        return ask(self, self.resource, path, method)

    def test_head(self) -> None:
        """HEAD is answered like GET, without the body."""
        wire = Wire(self.resource)
        head, end, body = wire.send(GET % b"/both").partition(b"\r\n\r\n")
        self.assertIn(b"\r\nContent-Length: %d" % len(body), head)
        answer = wire.send((GET % b"/both").replace(b"GET", b"HEAD"))
        self.assertEqual(DATE.sub(b"", answer), DATE.sub(b"", head) + end)
        self.assertEqual([call.method for call in self.echo.calls], ["GET", "HEAD"])

    def test_options(self) -> None:
        """A preflight succeeds on each of our paths, and on unknown ones that no other resource
        has."""
        for path in ("/both", "/post", "/unknown"):
            self.assertEqual(self.ask("OPTIONS", path).code, 200)
        self.assertEqual(self.echo.calls, [])

    def test_wrongMethod(self) -> None:
        """Another method is a 405 that lists the allowed ones."""
        for method in ("GET", "HEAD", "PUT", "DELETE", "BREW"):
            answer = self.ask(method, "/post")
            self.assertEqual(answer.code, 405)
            self.assertEqual(answer.header("Allow"), "OPTIONS, POST")
        self.assertEqual(json.loads(answer.content)["errcode"], "M_UNRECOGNIZED")
        self.assertEqual(self.ask("PUT", "/both").header("Allow"), "GET, HEAD, OPTIONS, POST")
        self.assertEqual(self.echo.calls, [])


class MountTests(SynchronousTestCase):
    """Beside an embedder's own resources."""

    def setUp(self) -> None:
        self.echo = Echo("/_matrix/client/v3/register", "/_matrix")

    def below_matrix(self, otherwise: IResource | None = None) -> Resource:
        root = Resource()
        root.putChild(b"_matrix", resource([self.echo.endpoint], otherwise=otherwise))
        root.putChild(b"other", Data(b"theirs", "text/plain"))
        return root

    def test_belowTheRoot(self) -> None:
        """Below a root of the embedder's, the full path still decides."""
        root = self.below_matrix()
        self.assertEqual(ask(self, root, "/_matrix/client/v3/register").code, 200)
        self.assertEqual(ask(self, root, "/_matrix").code, 200)
        self.assertEqual(ask(self, root, "/_matrix/_matrix").code, 404)
        self.assertEqual(ask(self, root, "/other").content, b"theirs")
        self.assertEqual(len(self.echo.calls), 2)

    def assert_same(
        self, otherwise: Callable[[], IResource], *paths: str, method: str = "GET"
    ) -> None:
        """``otherwise`` answers as if it were mounted in our place: at the root, and below it."""
        plain = Resource()
        plain.putChild(b"_matrix", otherwise())
        mounted = resource([self.echo.endpoint], otherwise=otherwise())
        for path in paths:
            for theirs, ours, full in (
                (otherwise(), mounted, path),
                (plain, self.below_matrix(otherwise()), f"/_matrix{path}"),
            ):
                expected = ask(self, theirs, full, method)
                answer = ask(self, ours, full, method)
                self.assertEqual(answer.content, expected.content)
                self.assertEqual(answer.code, expected.code)
                self.assertEqual(answer.header("Location"), expected.header("Location"))
        self.assertEqual(self.echo.calls, [])

    def test_theirLeaf(self) -> None:
        """A leaf gets the segments that no other resource has consumed."""
        self.assert_same(lambda: Seen(True), "/", "/a", "/a/b%2Fc", "/a/b/", "//")

    def test_theirMountPoint(self) -> None:
        """The very path of our mount point is the embedder's too, unless it is one of ours."""
        for isLeaf in (True, False):
            plain, root = Resource(), Resource()
            plain.putChild(b"mount", Seen(isLeaf))
            root.putChild(b"mount", resource([self.echo.endpoint], otherwise=Seen(isLeaf)))
            self.assertEqual(ask(self, root, "/mount").content, ask(self, plain, "/mount").content)
        root.putChild(b"mount", resource([self.echo.endpoint]))
        self.assertEqual(ask(self, root, "/mount").code, 404)

    def test_theirTree(self) -> None:
        """A tree is walked with the segments before and after each of its nodes."""

        def tree() -> Resource:
            root, branch = Resource(), Resource()
            root.putChild(b"branch", branch)
            root.putChild(b"leaf", Seen(True))
            branch.putChild(b"end", Seen(False))
            return root

        self.assert_same(tree, "/", "/leaf/a/b", "/branch/end", "/branch/none", "/none")

    def test_theirFiles(self) -> None:
        """Twisted's static files are found, redirected to and missed as usual."""
        files = FilePath(self.mktemp())
        files.makedirs()
        files.child("page.html").setContent(b"<p>hello")
        files.child("folder").makedirs()
        files.child("folder").child("index.html").setContent(b"<p>index")
        paths = ("/page.html", "/folder/", "/folder", "/none", "/")
        # HEAD, because a file is sent by a producer that needs the reactor.
        self.assert_same(lambda: File(files.path), *paths, method="HEAD")

    def test_theirChild(self) -> None:
        """A child that the embedder puts below our resource is theirs."""
        ours = resource([self.echo.endpoint])
        ours.putChild(b"other", Data(b"theirs", "text/plain"))
        self.assertEqual(ask(self, ours, "/other").content, b"theirs")
        self.assertEqual(ask(self, ours, "/_matrix").code, 200)
