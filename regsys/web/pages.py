"""What all pages share: rendering, the page of a refusal, and static files."""

from __future__ import annotations

import base64
import gzip
import hashlib
import mimetypes
from typing import Any, Mapping

import attr
from twisted.logger import Logger

from regsys.errors import RegistrationError, Unavailable
from regsys.http import Call, Endpoint, Handler, Reply
from regsys.http.reply import File, Page, refusal
from regsys.templates import Templates, fault
from regsys.templates.static_files import STATIC_PATH, served_files

_log = Logger()

_BYTES = "application/octet-stream"
# Administrators' own pages may have inline styles, but no script.
ADMINISTRATORS_SOURCES: Mapping[str, tuple[str, ...]] = {
    "style-src": ("'unsafe-inline'",),
    "img-src": ("'self'", "data:"),
}


@attr.frozen
class Pages:
    """Renders templates to replies, in the reader's language."""

    templates: Templates

    def reply(
        self,
        call: Call,
        template: str,
        *,
        status: int = 200,
        sources: Mapping[str, tuple[str, ...]] = {},
        **values: Any,
    ) -> Reply:
        """The template as a page; ``sources`` as of ``regsys.http.Page``. Raises Unavailable if it
        cannot be rendered, and we have no template of our own to replace it."""
        try:
            html = self.templates.render(template, call.languages, **values)
        except Exception as error:  # an embedder's template may raise anything
            raise cannot_render(template, error) from None
        return Reply(Page(html, sources), status)

    def script_source(self, template: str) -> str:
        """The CSP source (a hash) that allows this template's script inline in a page."""
        script = self.templates.render(template, ())
        digest = hashlib.sha256(script.encode("utf-8")).digest()
        return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"

    def handler(self, handler: Handler) -> Handler:
        """The handler, with refusals as pages."""

        async def handle(call: Call) -> Reply:
            try:
                return await handler(call)
            except RegistrationError as error:
                plain = refusal(error)
                page = self.reply(call, "refused.html", error=error.text)
                return attr.evolve(plain, body=page.body)

        return handle


def cannot_render(template: str, error: Exception) -> Unavailable:
    """The error for a template that fails; its reason is logged."""
    _log.error("{fault}", fault=fault(template, error))
    return Unavailable()


def static() -> Endpoint:
    """The style sheets, scripts and catalogues that pages load. They hold no secret, so they may be
    compressed."""
    files, compressed = dict[str, File](), dict[str, File]()
    for name, content in served_files().items():
        path, kind = f"/{STATIC_PATH}{name}", mimetypes.guess_type(name)[0] or _BYTES
        files[path] = File(content, kind)
        # The time stands in its header: without 0 two processes would serve different bytes.
        compressed[path] = File(gzip.compress(content, mtime=0), kind)

    async def get(call: Call) -> Reply:
        headers = {"Vary": "Accept-Encoding"}
        if not call.takes_gzip:
            return Reply(files[call.path], headers=headers)
        return Reply(compressed[call.path], headers={**headers, "Content-Encoding": "gzip"})

    return Endpoint("static", tuple(files), {"GET": get})
