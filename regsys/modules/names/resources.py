"""Web resources of modules: how they answer, and how they read a request."""

from __future__ import annotations

import html
import inspect
import json
from typing import Any, ClassVar, Iterable, Mapping, Optional, Union

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from regsys import json_body
from regsys.errors import RegistrationError
from regsys.http.reply import CORS_HEADERS, INTERNAL_ERROR
from regsys.modules.names.errors import Codes, RedirectException, SynapseError

# Bytes of a body (contract B13).
BODY_LIMIT = 64 * 1024
_BOOLEANS = {"true": True, "false": False}

log = Logger()


class _DirectServeResource(Resource):
    """Calls ``_async_render_GET`` and the like, which return a status and a body, at once or later.
    ``args``: modules pass what homeservers want."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's

    def render(self, request: Request) -> int:
        Deferred.fromCoroutine(self._serve(request)).addErrback(
            lambda failure: log.failure("a web resource of a module", failure)
        )
        return NOT_DONE_YET

    async def _serve(self, request: Request) -> None:
        gone = request.notifyFinish()
        gone.addErrback(lambda reason: None)
        try:
            answer = await self._async_render(request)
        except RedirectException as error:
            if not gone.called:
                _redirect(request, error)
        except RegistrationError as error:
            if not gone.called:
                self._fail(request, error.status, error.body)
        except Exception:
            log.failure("{method} of a module's web resource failed", method=request.method)
            if not gone.called:
                self._fail(request, INTERNAL_ERROR.status, INTERNAL_ERROR.body)
        else:
            # None: the module has answered itself.
            if answer is not None and not gone.called:
                self._send_response(request, *answer)

    async def _async_render(self, request: Request) -> Optional[tuple[int, Any]]:
        """The module's answer."""
        method = request.method.decode("ascii", "replace")
        render = getattr(self, f"_async_render_{method}", None)
        if render is None and method == "HEAD":
            render = getattr(self, "_async_render_GET", None)
        if render is None and method == "OPTIONS":
            return 204, {}
        if render is None:
            text = "This address does not support that method."
            raise SynapseError(405, text, Codes.UNRECOGNIZED)
        answer = render(request)
        # What else it may be, the caller finds out.
        return await answer if inspect.isawaitable(answer) else answer  # type: ignore[no-any-return]

    def _send_response(self, request: Request, code: int, response_object: Any) -> None:
        raise NotImplementedError

    def _fail(self, request: Request, code: int, body: Any) -> None:
        raise NotImplementedError


class DirectServeJsonResource(_DirectServeResource):
    """Answers JSON."""

    def _send_response(self, request: Request, code: int, response_object: Any) -> None:
        respond_with_json(request, code, response_object, send_cors=True)

    def _fail(self, request: Request, code: int, body: Any) -> None:
        self._send_response(request, code, body)


class DirectServeHtmlResource(_DirectServeResource):
    """Answers HTML, which may be bytes or text. ``ERROR_TEMPLATE``: a template of the module's for
    errors, which gets ``code`` and ``msg``."""

    ERROR_TEMPLATE: ClassVar[Any] = None

    def _send_response(self, request: Request, code: int, response_object: Any) -> None:
        respond_with_html_bytes(request, code, _as_bytes(response_object))

    def _fail(self, request: Request, code: int, body: Any) -> None:
        text = str(body.get("error", ""))
        if self.ERROR_TEMPLATE is None:
            page = f"<!DOCTYPE html><title>{code}</title><p>{html.escape(text)}</p>"
        else:
            page = self.ERROR_TEMPLATE.render(code=code, msg=text)
        respond_with_html(request, code, page)


def respond_with_json(
    request: Request, code: int, json_object: Any, send_cors: bool = False, **others: Any
) -> int:
    """Send this as JSON, and finish the request."""
    headers = CORS_HEADERS if send_cors else ()
    content = b"" if code == 204 else json.dumps(json_object, allow_nan=False).encode()
    return _respond(request, code, content, b"application/json", headers)


def respond_with_html(request: Request, code: int, html: str) -> int:
    """Send this page, and finish the request."""
    return respond_with_html_bytes(request, code, html.encode("utf-8"))


def respond_with_html_bytes(request: Request, code: int, html_bytes: bytes) -> int:
    policy = b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"
    headers = (
        (b"Content-Security-Policy", [policy + b"; frame-ancestors 'none'"]),
        (b"X-Frame-Options", [b"DENY"]),
        (b"Referrer-Policy", [b"no-referrer"]),
    )
    return _respond(request, code, html_bytes, b"text/html; charset=utf-8", headers)


def _respond(
    request: Request,
    code: int,
    content: bytes,
    kind: bytes,
    headers: Iterable[tuple[bytes, list[bytes]]],
) -> int:
    request.setResponseCode(code)
    own = request.responseHeaders
    for name, values in (
        (b"Cache-Control", [b"no-cache, no-store, must-revalidate"]),
        (b"X-Content-Type-Options", [b"nosniff"]),
        *headers,
    ):
        # What the module has set itself stays.
        if not own.hasHeader(name):
            own.setRawHeaders(name, values)
    own.setRawHeaders(b"Content-Type", [kind])
    own.setRawHeaders(b"Content-Length", [b"%d" % len(content)])
    request.write(content)
    request.finish()
    return NOT_DONE_YET


def _redirect(request: Request, error: RedirectException) -> None:
    request.responseHeaders.setRawHeaders(b"Location", [error.location])
    for cookie in error.cookies:
        request.cookies.append(cookie)
    _respond(request, error.code, b"", b"text/plain; charset=utf-8", ())


def _as_bytes(text: Union[str, bytes]) -> bytes:
    return text.encode("utf-8") if isinstance(text, str) else text


# --- Reading a request ------------------------------------------------------------------------


def parse_json_value_from_request(request: IRequest, allow_empty_body: bool = False) -> Any:
    """The body, which is JSON; None for an empty one that may be."""
    content = request.content.read(BODY_LIMIT + 1)
    if len(content) > BODY_LIMIT:
        raise SynapseError(413, "The request is too large.", Codes.TOO_LARGE)
    if not content and allow_empty_body:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise SynapseError(400, "The body is not valid JSON.", Codes.NOT_JSON) from None


def parse_json_object_from_request(
    request: IRequest, allow_empty_body: bool = False
) -> dict[str, Any]:
    """The same, but a JSON object; an empty one for an empty body that may be."""
    value = parse_json_value_from_request(request, allow_empty_body)
    if value is None and allow_empty_body:
        return {}
    if not isinstance(value, dict):
        raise SynapseError(400, "The body must be a JSON object.", Codes.BAD_JSON)
    return value


def assert_params_in_dict(body: Mapping[str, Any], required: Iterable[str]) -> None:
    missing = [name for name in required if name not in body]
    if missing:
        raise SynapseError(400, f"Missing: {', '.join(missing)}.", Codes.MISSING_PARAM)


def parse_string(
    request: Request,
    name: str,
    default: Optional[str] = None,
    required: bool = False,
    allowed_values: Optional[Iterable[str]] = None,
    encoding: str = "ascii",
) -> Optional[str]:
    """The first value of this parameter of the query; ``default`` if there is none."""
    values = (request.args or {}).get(name.encode("ascii"))
    if not values:
        if required:
            raise SynapseError(400, f"'{name}' is missing.", Codes.MISSING_PARAM)
        return default
    try:
        value: str = values[0].decode(encoding)
    except UnicodeDecodeError:
        raise SynapseError(400, f"'{name}' is not {encoding}.", Codes.INVALID_PARAM) from None
    if allowed_values is not None and value not in allowed_values:
        raise SynapseError(400, f"'{name}' has a wrong value.", Codes.INVALID_PARAM)
    return value


def parse_integer(
    request: Request,
    name: str,
    default: Optional[int] = None,
    required: bool = False,
    negative: bool = True,
) -> Optional[int]:
    text = parse_string(request, name, None, required)
    if text is None:
        return default
    try:
        value = int(text)
        if not json_body.MIN_INTEGER <= value <= json_body.MAX_INTEGER or (
            value < 0 and not negative
        ):
            raise ValueError
    except ValueError:
        raise SynapseError(400, f"'{name}' is not a number.", Codes.INVALID_PARAM) from None
    return value


def parse_boolean(
    request: Request, name: str, default: Optional[bool] = None, required: bool = False
) -> Optional[bool]:
    text = parse_string(request, name, None, required)
    if text is None:
        return default
    if text not in _BOOLEANS:
        raise SynapseError(400, f"'{name}' is neither true nor false.", Codes.INVALID_PARAM)
    return _BOOLEANS[text]
