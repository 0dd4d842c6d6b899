"""Endpoints, and the resource that routes a path to one of them."""

from __future__ import annotations

from typing import Callable, Iterable, Mapping, Optional
from urllib.parse import unquote

import attr
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from regsys.errors import UnknownPath, WrongMethod
from regsys.http.addresses import AddressPolicy, peer_address
from regsys.http.call import Call
from regsys.http.refusals import RefusalLog
from regsys.http.reply import Reply, refusal
from regsys.http.serving import Handler, InFlight, Leaf

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


# The resource, not ours, of a request; None if there is none.
Find = Callable[[IRequest], Optional[IResource]]


def _paths(value: Iterable[str]) -> tuple[str, ...]:
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"Endpoint: paths must be a list or a tuple, not {type(value).__name__}")
    return tuple(value)


@attr.frozen
class Endpoint:
    """An endpoint. TypeError or ValueError for what cannot be one.

    ``paths``: a list or a tuple; a segment written ``{name}`` matches any one segment that is not
    empty, and reaches the handler in ``Call.path_args``. ``handlers`` by method: GET also answers
    HEAD, and OPTIONS is answered automatically.
    """

    name: str
    paths: tuple[str, ...] = attr.field(converter=_paths)
    handlers: Mapping[str, Handler]

    def __attrs_post_init__(self) -> None:
        where = f"Endpoint({self.name!r})"
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"{where}: its name must be a text that is not empty")
        for path in self.paths:
            if not isinstance(path, str):
                raise TypeError(f"{where}: each path must be a str, not {type(path).__name__}")
            if not path.startswith("/") or not path.isascii():
                raise ValueError(f"{where}: the path {path!r} must begin with / and be ASCII")
        if not isinstance(self.handlers, Mapping):
            raise TypeError(f'{where}: handlers must be a mapping, such as {{"GET": get}}')
        for method, handler in self.handlers.items():
            if method not in METHODS:
                raise ValueError(
                    f"{where}: there is no method {method!r}: there are {', '.join(METHODS)}"
                )
            if not callable(handler):
                raise TypeError(
                    f"{where}: the handler of {method} must be a function, not"
                    f" {type(handler).__name__}"
                )


def check_endpoint(argument: str, value: object) -> None:
    """Raise TypeError for what is no Endpoint; ``argument`` is where it was passed."""
    if isinstance(value, Endpoint):
        return
    if isinstance(value, type):
        given = f"the class {value.__name__}"
    else:
        given = f"a {type(value).__name__}"
    several = ": pass each endpoint by itself" if isinstance(value, (list, tuple)) else ""
    raise TypeError(f"{argument}: {given} is no Endpoint{several}")


def resource(
    endpoints: Iterable[Endpoint],
    *,
    otherwise: Optional[IResource] = None,
    client_address: AddressPolicy = peer_address,
    in_flight: Optional[InFlight] = None,
    refusals: Optional[RefusalLog] = None,
    others: Find = lambda request: None,
) -> IResource:
    """The endpoints as one resource, for the root of a site or below it by ``putChild``.

    Wherever it is mounted, the full path of a request decides. Other paths go to ``otherwise`` as
    if that were mounted here; if it is None, they are answered with a 404. ``client_address``
    returns the client's address of a request. ``in_flight`` counts the calls under way,
    ``refusals`` logs refused ones; several resources may share them. ``others`` is asked before
    ``otherwise``. Raises TypeError for an argument of another type, ValueError if two endpoints
    have the same path.
    """
    if not callable(client_address):
        raise TypeError(
            f"resource(client_address=…): a {type(client_address).__name__} is no function: pass"
            " one of regsys.http, such as first_forwarded"
        )
    if otherwise is not None and not IResource.providedBy(otherwise):
        raise TypeError(
            f"resource(otherwise=…): a {type(otherwise).__name__} is no IResource: pass an object"
            " such as a twisted.web.resource.Resource"
        )
    in_flight, refusals = in_flight or InFlight(), refusals or RefusalLog()

    def leaf(pattern: str, handlers: Mapping[str, Handler], fallback: Handler) -> Leaf:
        methods = {name.encode("ascii"): handler for name, handler in handlers.items()}
        return Leaf(pattern, methods, fallback, client_address, in_flight, refusals)

    leaves: dict[str, Leaf] = {}
    for endpoint in endpoints:
        check_endpoint("resource([…])", endpoint)
        handlers = _completed(endpoint.handlers)
        for path in endpoint.paths:
            if path in leaves:
                raise ValueError(f"two endpoints claim {path}")
            leaves[path] = leaf(path, handlers, _wrong_method(handlers))
    unknown = leaf("an unknown path", {"OPTIONS": _preflight}, _unknown_path)
    return _Root(leaves, otherwise, unknown, in_flight, others)


def _completed(handlers: Mapping[str, Handler]) -> dict[str, Handler]:
    """The handlers, with OPTIONS and HEAD."""
    head = {"HEAD": handlers["GET"]} if "GET" in handlers else {}
    return {"OPTIONS": _preflight, **head, **handlers}


async def _preflight(call: Call) -> Reply:
    return Reply()


async def _unknown_path(call: Call) -> Reply:
    raise UnknownPath()


def _wrong_method(handlers: Mapping[str, Handler]) -> Handler:
    reply = attr.evolve(refusal(WrongMethod()), headers={"Allow": ", ".join(sorted(handlers))})

    async def wrong_method(call: Call) -> Reply:
        return reply

    return wrong_method


class _Root(Resource):
    """Sends a request to the leaf of its path, or on to ``otherwise``."""

    def __init__(
        self,
        leaves: Mapping[str, Leaf],
        otherwise: Optional[IResource],
        unknown: Leaf,
        in_flight: InFlight,
        others: Find,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self.in_flight = in_flight
        self._others = others
        self._literal = {path.encode("ascii"): leaf for path, leaf in leaves.items()}
        self._patterns: dict[int, list[tuple[list[str], Leaf]]] = {}
        # Those with fewer parameters come first: /new before /{token}.
        for path in sorted(leaves, key=lambda path: path.count("{")):
            segments = path.split("/")
            self._patterns.setdefault(len(segments), []).append((segments, leaves[path]))
        self._otherwise = otherwise
        self._unknown = unknown

    def getChild(self, name: bytes, request: IRequest) -> IResource:
        found = self._find(request.path) or self._others(request)
        if found is not None:
            return found
        if self._otherwise is None:
            return self._unknown
        if self._otherwise.isLeaf:
            # A leaf expects the unconsumed segments in postpath.
            request.postpath.insert(0, request.prepath.pop())
            return self._otherwise
        child: IResource = self._otherwise.getChildWithDefault(name, request)
        return child

    def render(self, request: Request) -> object:
        """Reached only for the very path at which this is mounted."""
        found: Optional[IResource] = self._find(request.path) or self._others(request)
        if found is None:
            found = self._unknown if self._otherwise is None else self._otherwise
        return found.render(request)

    def _find(self, path: bytes) -> Optional[Leaf]:
        leaf = self._literal.get(path)
        if leaf is not None:
            return leaf
        candidates = self._patterns.get(path.count(b"/") + 1, ())
        segments = _decoded(path) if candidates else None
        if segments is None:
            return None
        for pattern, leaf in candidates:
            path_args = _match(pattern, segments)
            if path_args is not None:
                return attr.evolve(leaf, path_args=path_args)
        return None


def _decoded(path: bytes) -> Optional[list[str]]:
    """The segments of a path; None if one is not UTF-8 text, as no endpoint has such a path."""
    try:
        segments = [unquote(segment, errors="strict") for segment in path.decode().split("/")]
    except UnicodeDecodeError:
        return None
    return None if any("\0" in segment for segment in segments) else segments


def _match(pattern: list[str], segments: list[str]) -> Optional[dict[str, str]]:
    """The parameters of a path that matches; None if it does not."""
    path_args = {}
    for expected, given in zip(pattern, segments, strict=True):
        if expected.startswith("{"):
            if not given:
                return None
            path_args[expected[1:-1]] = given
        elif expected != given:
            return None
    return path_args
