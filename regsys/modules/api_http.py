"""Asking other servers, and answering requests, for modules."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Optional, Union
from urllib.parse import urlencode

import attr

from regsys.modules.base import ApiBase
from regsys.modules.parts import HTTP, Answer
from regsys.modules.shapes import HttpResponseException

_Text = Union[str, bytes]
# Names with one value, or a list of them.
Headers = Mapping[_Text, Union[_Text, Iterable[_Text]]]
Query = Mapping[str, Union[str, Iterable[str]]]


class HttpMethods(ApiBase):
    @property
    def http_client(self) -> ModuleHttpClient:
        return ModuleHttpClient(self._parts.http)

    def register_web_resource(self, path: str, resource: Any) -> None:
        """Serve this resource of twisted.web at the path, and at all below it, beside the
        endpoints for clients. Of two modules that register one path, the first one has it."""
        self._parts.web.add(self._module, path, resource)


@attr.frozen
class ModuleHttpClient:
    """Asks other servers, within ten seconds, for answers of up to 64 KiB. No redirect is followed.
    HttpResponseException for another status than 2xx."""

    _http: HTTP

    async def get_json(
        self, uri: str, args: Optional[Query] = None, headers: Optional[Headers] = None
    ) -> Any:
        return _good(await self._http.get(uri, _pairs(args), _plain(headers))).json()

    async def get_raw(
        self, uri: str, args: Optional[Query] = None, headers: Optional[Headers] = None
    ) -> bytes:
        return _good(await self._http.get(uri, _pairs(args), _plain(headers))).body

    async def post_json_get_json(
        self, uri: str, post_json: Any, headers: Optional[Headers] = None
    ) -> Any:
        return _good(await self._http.send_json("POST", uri, post_json, _plain(headers))).json()

    async def post_urlencoded_get_json(
        self, uri: str, args: Optional[Query] = None, headers: Optional[Headers] = None
    ) -> Any:
        fields = {name: _values(value) for name, value in (args or {}).items()}
        return _good(await self._http.post_form(uri, fields, _plain(headers))).json()

    async def put_json(
        self,
        uri: str,
        json_body: Any,
        args: Optional[Query] = None,
        headers: Optional[Headers] = None,
    ) -> Any:
        whole = uri
        if args:
            whole += ("&" if "?" in uri else "?") + urlencode(_pairs(args))
        return _good(await self._http.send_json("PUT", whole, json_body, _plain(headers))).json()


def _good(answer: Answer) -> Answer:
    if 200 <= answer.status < 300:
        return answer
    raise HttpResponseException(answer.status, "the answer is no success", answer.body)


def _values(given: Union[_Text, Iterable[_Text]]) -> list[str]:
    """One value, or several, as texts."""
    several = [given] if isinstance(given, (str, bytes)) else given
    if not isinstance(several, Iterable):
        several = [str(several)]
    return [item.decode() if isinstance(item, bytes) else str(item) for item in several]


def _pairs(query: Optional[Query]) -> list[tuple[str, str]]:
    return [(name, value) for name, found in (query or {}).items() for value in _values(found)]


def _plain(headers: Optional[Headers]) -> dict[str, str]:
    return {
        name.decode() if isinstance(name, bytes) else name: ", ".join(_values(found))
        for name, found in (headers or {}).items()
    }
