"""A request as handlers see it."""

from __future__ import annotations

import re
from operator import itemgetter
from typing import Any, Mapping, Optional, Sequence
from urllib.parse import unquote

import attr
from twisted.internet.defer import Deferred
from twisted.web import http
from twisted.web.iweb import IRequest
from twisted.web.server import Request

from regsys import json_body
from regsys.errors import InvalidParam, MissingParam, TooLarge
from regsys.http.addresses import AddressPolicy
from regsys.model import Client, Secret

# Bytes of a request body (contract B13).
BODY_LIMIT = 64 * 1024
# Characters of a user agent that we keep (threat A20).
USER_AGENT_LIMIT = 512

# Entries of Accept-Language that we read.
LANGUAGES_LIMIT = 20

# Stands for a malformed or ambiguous token: no user has it.
INVALID_TOKEN = Secret("")


@attr.frozen(kw_only=True)
class Call:
    """One request.

    ``path`` and ``uri`` (path and query) are as sent, still percent-encoded. ``uri`` has no access
    token, because sessions keep it. ``path_args``: the decoded ``{name}`` segments of the
    endpoint's path. ``repr`` shows neither query nor body, which may hold secrets. If
    ``access_token`` is None, none was sent; a malformed one is INVALID_TOKEN. ``gone`` fires when
    the client has disconnected or got its answer; None if that is not known. ``takes_gzip``:
    the client can read an answer that is compressed with gzip.
    """

    method: str
    path: str = attr.field(repr=False)
    uri: str = attr.field(repr=False)
    client: Client
    access_token: Optional[Secret] = None
    path_args: Mapping[str, str] = attr.field(factory=dict, repr=False)
    query_args: Mapping[bytes, Sequence[bytes]] = attr.field(factory=dict, repr=False)
    body: bytes = attr.field(default=b"", repr=False)
    languages: Sequence[str] = ()
    gone: Optional[Deferred[Any]] = attr.field(default=None, eq=False, repr=False)
    takes_gzip: bool = False

    def object(self) -> dict[str, Any]:
        """The body as a JSON object; errors as of ``regsys.json_body.parse_object``."""
        return json_body.parse_object(self.body)

    def form(self) -> dict[str, str]:
        """The body as a form's fields; errors as of ``regsys.json_body.parse_form``."""
        return json_body.parse_form(self.body)

    def query(self, name: str) -> Optional[str]:
        """The query parameter, decoded; the first of duplicates; None if there is none.

        Raises InvalidParam if it is not UTF-8, or holds NUL.
        """
        values = self.query_args.get(name.encode("utf-8"))
        if not values:
            return None
        value = _text(values[0])
        if value is None:
            raise InvalidParam(f"'{name}' contains a character that is not allowed.")
        return value

    def required_query(self, name: str) -> str:
        """As ``query``; MissingParam if there is none."""
        value = self.query(name)
        if value is None:
            raise MissingParam(f"'{name}' is missing.")
        return value


def read_call(
    request: Request,
    path_args: Mapping[str, str],
    client_address: AddressPolicy,
    gone: Deferred[None],
) -> Call:
    """The Call of a fully received request. ``gone`` fires when its client leaves. Raises
    TooLarge for its body."""
    # Our own site enforces the limit earlier; an embedder's does not.
    assert request.content is not None  # it is fully received
    body = request.content.read(BODY_LIMIT + 1)
    if len(body) > BODY_LIMIT:
        raise TooLarge()
    # Not request.args: an embedder's site may have added the fields of a form.
    query = http.parse_qs(request.uri.partition(b"?")[2], True) if b"?" in request.uri else {}
    return Call(
        method=request.method.decode("latin-1"),
        path=request.path.decode("latin-1"),
        uri=_without_token(request.uri.decode("latin-1")),
        client=Client(client_address(request), _user_agent(request)),
        access_token=_access_token(request, query),
        path_args=path_args,
        query_args=query,
        body=body,
        languages=_languages(request),
        gone=gone,
        takes_gzip=_takes_gzip(request),
    )


def access_token_of(request: Request) -> Optional[Secret]:
    """The access token of a request that is no Call; None if it has none, INVALID_TOKEN if it is
    malformed."""
    return _access_token(request, http.parse_qs(request.uri.partition(b"?")[2], True))


def _access_token(request: IRequest, query: Mapping[bytes, Sequence[bytes]]) -> Optional[Secret]:
    """The bearer token, else the legacy ``?access_token=``. INVALID_TOKEN for two headers or two
    parameters, which leave open which one is meant."""
    headers = request.requestHeaders.getRawHeaders(b"Authorization")
    if headers:
        if len(headers) > 1:
            return INVALID_TOKEN
        scheme, _, value = headers[0].partition(b" ")
        if scheme.lower() == b"bearer":
            return _token(value.strip(b" "))
    values = query.get(b"access_token")
    if not values:
        return None
    return _token(values[0]) if len(values) == 1 else INVALID_TOKEN


def _token(value: bytes) -> Secret:
    if not value.isascii() or b"\0" in value:
        return INVALID_TOKEN
    return Secret(value.decode("ascii"))


def _without_token(uri: str) -> str:
    path, mark, query = uri.partition("?")
    if not mark:
        return uri
    parts = query.split("&")
    kept = [part for part in parts if unquote(part.partition("=")[0]) != "access_token"]
    return path + mark + "&".join(kept) if kept else path


def _user_agent(request: IRequest) -> str:
    headers = request.requestHeaders.getRawHeaders(b"User-Agent")
    if not headers:
        return ""
    agent: str = headers[0].decode("utf-8", "replace")
    if not agent.isprintable():
        agent = "".join(filter(str.isprintable, agent))
    return agent[:USER_AGENT_LIMIT]


def _takes_gzip(request: IRequest) -> bool:
    headers = request.requestHeaders.getRawHeaders(b"Accept-Encoding") or ()
    codings = (coding.strip().lower() for header in headers for coding in header.split(b","))
    # A client that gives it a weight can do without: weights are rare, and 0 forbids it.
    return b"gzip" in codings


def _languages(request: IRequest) -> tuple[str, ...]:
    """The tags of Accept-Language, the highest weight first, without those of weight 0."""
    headers = request.requestHeaders.getRawHeaders(b"Accept-Language")
    if not headers:
        return ()
    wanted = []
    for item in headers[0].decode("latin-1").split(",")[:LANGUAGES_LIMIT]:
        tag, _, weight = item.partition(";")
        match = re.fullmatch(r"q=([01](\.\d{0,3})?)", weight.strip() or "q=1")
        if match and float(match[1]) and tag.strip():
            wanted.append((-float(match[1]), tag.strip().lower()))
    return tuple(tag for _, tag in sorted(wanted, key=itemgetter(0)))


def _text(value: bytes) -> Optional[str]:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
