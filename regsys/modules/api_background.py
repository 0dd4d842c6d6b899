"""What a module does without a request, or beside one: loops, threads, mails, templates."""

from __future__ import annotations

import functools
import time
from typing import Any, Callable, Iterable, Optional
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, Template, select_autoescape
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater

from regsys.model.threepids import Mail
from regsys.modules.base import ApiBase, coroutine, deferred
from regsys.templates import HERE


class BackgroundMethods(ApiBase):
    def run_as_background_process(
        self, desc: str, func: Callable[..., Any], *args: Any, bg_start_span: bool = True, **kw: Any
    ) -> Deferred[Any]:
        """Call it now, and log what it raises: the result is None then."""
        return self._run(desc, functools.partial(func, *args, **kw))

    @deferred
    async def _run(self, desc: str, call: Callable[[], Any]) -> Any:
        return await self._parts.background.run(self._module, desc, call)

    def looping_background_call(
        self,
        f: Callable[..., Any],
        msec: float,
        *args: Any,
        desc: Optional[str] = None,
        run_on_all_instances: bool = False,
        **kwargs: Any,
    ) -> None:
        """Call it each so many milliseconds, in the main process alone unless
        ``run_on_all_instances``."""
        if run_on_all_instances or self._is_main:
            call = functools.partial(f, *args, **kwargs)
            self._parts.background.loop(self._module, desc or _name(f), call, msec / 1000)

    def delayed_background_call(
        self,
        msec: float,
        f: Callable[..., Any],
        *args: Any,
        desc: Optional[str] = None,
        run_on_all_instances: bool = False,
        **kwargs: Any,
    ) -> Optional[IDelayedCall]:
        """Call it once, after so many milliseconds; in which processes, as of the loop. None where
        it is not called."""
        if not (run_on_all_instances or self._is_main):
            return None
        call = functools.partial(f, *args, **kwargs)
        return self._parts.background.later(self._module, desc or _name(f), call, msec / 1000)

    @property
    def _is_main(self) -> bool:
        return self._parts.config.worker is None

    @coroutine
    async def sleep(self, seconds: float) -> None:
        await deferLater(self._parts.clock, seconds, lambda: None)

    @coroutine
    async def defer_to_thread(self, f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The result of a function that blocks, in a thread that is for modules alone."""
        working: Deferred[Any] = self._parts.in_thread(f, *args, **kwargs)
        return await working

    @coroutine
    async def send_mail(self, recipient: str, subject: str, html: str, text: str) -> None:
        """Hand a mail to the configured server; the error if that does not take it."""
        if self._parts.deliver is None:
            raise self._not_offered("send_mail", "no mail server is configured (email)")
        await self._parts.deliver(Mail(to=recipient, subject=subject, text=text, html=html))

    def read_templates(
        self, filenames: Iterable[str], custom_template_directory: Optional[str] = None
    ) -> list[Template]:
        """These templates of jinja2: from the module's directory, else from the administrator's,
        else ours."""
        own = [custom_template_directory] if custom_template_directory else []
        places: list[Any] = [*own, *self._parts.template_directories, HERE]
        environment: Any = Environment(
            loader=FileSystemLoader(places),
            extensions=["jinja2.ext.i18n"],
            autoescape=select_autoescape(),
            auto_reload=False,
        )
        # Their sentences are in no catalogue of ours.
        environment.install_null_translations()
        environment.globals["server_name"] = self._parts.config.server_name
        environment.filters["format_ts"] = _format_ts
        environment.filters["mxc_to_http"] = functools.partial(
            _mxc_to_http, self._parts.config.public_baseurl
        )
        return [environment.get_template(name) for name in filenames]


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _format_ts(value_ms: int, form: str) -> str:
    """A time in milliseconds, in this machine's zone."""
    return time.strftime(form, time.localtime(value_ms / 1000))


def _mxc_to_http(
    public_baseurl: str, value: str, width: int, height: int, resize_method: str = "crop"
) -> str:
    """The address of the thumbnail of an mxc: URL; empty for any other."""
    scheme, _, media = value.partition("://")
    if scheme != "mxc":
        return ""
    path, _, fragment = media.partition("#")
    query = urlencode({"width": width, "height": height, "method": resize_method})
    anchor = f"#{fragment}" if fragment else ""
    return f"{public_baseurl}_matrix/media/v1/thumbnail/{quote(path)}?{query}{anchor}"
