"""Identity servers at which users bind their addresses: the v2 API (contract B7.10)."""

from __future__ import annotations

import re
from typing import Any, Awaitable, Mapping, Optional, TypeVar
from urllib.parse import urlsplit

import attr
from twisted.logger import Logger

from regsys.config.identity_servers import IdentityServersConfig, host_of, server_name
from regsys.errors import (
    IdentityServerForbidden,
    IdentityServerRefused,
    InvalidParam,
    MissingParam,
    Unavailable,
)
from regsys.interfaces import IRequestSigner
from regsys.model import Secret
from regsys.model.identity_server_bindings import Binding, IdentityServerSession
from regsys.outbound.http import Answer, HTTPClient, NoAnswer
from regsys.outbound.identity_server_answers import parse_answer

API = "/_matrix/identity/v2"
UNBIND = f"{API}/3pid/unbind"

_IP = re.compile(r"[0-9.]+|.*:.*")
# The error of a proxy on the way.
_PROXY = frozenset({407})
# Errors that may pass.
_TEMPORARY = frozenset({408, 425, 429})
# A client would take these for the end of its login here.
_LOGIN_ENDS = frozenset({"M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_USER_DEACTIVATED"})

_log = Logger()
_T = TypeVar("_T")


@attr.frozen(kw_only=True)
class IdentityServers:
    """``http`` asks the configured servers, ``guarded`` those that clients name. If ``signer`` is
    None, an unbind request carries the validation session that the address was bound with."""

    config: IdentityServersConfig
    http: HTTPClient
    guarded: HTTPClient
    signer: Optional[IRequestSigner] = None

    @property
    def needs_session(self) -> bool:
        return self.signer is None

    def named(self, given: Optional[str]) -> str:
        if given is None:
            if self.config.default is None:
                raise MissingParam("'id_server' is missing.")
            return self.config.default
        name = server_name(given)
        if name is None:
            raise InvalidParam("'id_server' must be a host, with or without a port.")
        if not self._may_ask(name):
            raise IdentityServerForbidden()
        return name

    async def validated_threepid(
        self, server: str, token: Secret, session: IdentityServerSession
    ) -> tuple[str, str]:
        return await self._answered(server, self._validated_threepid(server, token, session))

    async def bind(self, binding: Binding, token: Secret, session: IdentityServerSession) -> None:
        await self._answered(binding.id_server, self._bind(binding, token, session))

    async def unbind(self, binding: Binding) -> bool:
        if not self._may_ask(binding.id_server):
            return False
        return await self._answered(binding.id_server, self._unbind(binding))

    async def _validated_threepid(
        self, server: str, token: Secret, session: IdentityServerSession
    ) -> tuple[str, str]:
        http, url = self._way(server)
        url = f"{url}{API}/3pid/getValidated3pid"
        answer = _parse_answer(await http.get(url, _session_fields(session), _bearer(token)))
        # validated_at is not needed, and some servers send 0 or nothing.
        medium, address = answer.get("medium"), answer.get("address")
        if not isinstance(medium, str) or not isinstance(address, str):
            raise NoAnswer("the answer holds no address")
        return medium, address

    async def _bind(self, binding: Binding, token: Secret, session: IdentityServerSession) -> None:
        http, url = self._way(binding.id_server)
        fields = {**_session_fields(session), "mxid": str(binding.user_id)}
        answer = await http.post_json(f"{url}{API}/3pid/bind", fields, _bearer(token))
        if not _matches(binding, _parse_answer(answer)):
            raise NoAnswer("it says that it has bound something else")

    async def _unbind(self, binding: Binding) -> bool:
        http, url = self._way(binding.id_server)
        threepid = {"medium": binding.medium, "address": binding.address}
        content: dict[str, Any] = {"mxid": str(binding.user_id), "threepid": threepid}
        headers = {}
        if self.signer is not None:
            uri = f"{urlsplit(url).path}{UNBIND}"
            headers = {"Authorization": await self._signed(uri, binding.id_server, content)}
        elif binding.session is not None:
            content.update(_session_fields(binding.session))
        else:
            return False
        answer = await http.post_json(f"{url}{UNBIND}", content, headers)
        if answer.status in _TEMPORARY:
            raise NoAnswer(f"the status is {answer.status}")
        # It cannot, or will not, whatever its errcode.
        if (400 <= answer.status < 500 and answer.status not in _PROXY) or answer.status == 501:
            return False
        try:
            _parse_answer(answer)
        except IdentityServerRefused:
            return False
        return True

    async def _signed(self, uri: str, server: str, content: Mapping[str, Any]) -> str:
        assert self.signer is not None
        try:
            return await self.signer.authorization("POST", uri, server, content)
        except Exception:
            # Whatever the homeserver's code raises: no request has been sent yet.
            _log.failure("signing a request to identity server {server}", server=server)
            raise NoAnswer("the request could not be signed") from None

    def _may_ask(self, name: str) -> bool:
        if name in self.config.urls:
            return True
        host = host_of(name)
        is_forbidden = _IP.fullmatch(host) and self.config.networks.forbids(host)
        return self.config.others and not is_forbidden

    def _way(self, name: str) -> tuple[HTTPClient, str]:
        """The HTTP client for this server, and its URL."""
        url = self.config.urls.get(name)
        return (self.guarded, f"https://{name}") if url is None else (self.http, url)

    async def _answered(self, server: str, asking: Awaitable[_T]) -> _T:
        try:
            return await asking
        except NoAnswer as reason:
            _log.warn(
                "identity server {server} cannot be asked: {reason}",
                server=server,
                reason=str(reason),
            )
            raise Unavailable(
                "The identity server cannot be asked at the moment: try again shortly."
            ) from None


def _bearer(token: Secret) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token.reveal()}"}


def _session_fields(session: IdentityServerSession) -> Mapping[str, str]:
    return {"sid": session.sid, "client_secret": session.client_secret.reveal()}


def _parse_answer(answer: Answer) -> Mapping[str, Any]:
    return parse_answer(answer, _refusal, _PROXY)


def _refusal(status: int, errcode: str, text: Optional[str], **more: Any) -> IdentityServerRefused:
    """The server's error, except one that a client would take for the end of its login here."""
    if status == 401 or errcode in _LOGIN_ENDS:
        status, errcode = 403, "M_FORBIDDEN"
    return IdentityServerRefused(status, errcode, text, **more)


def _matches(binding: Binding, found: Mapping[str, Any]) -> bool:
    """Whether the answer names this binding; some servers leave the fields out."""
    address = found.get("address", binding.address)
    medium, mxid = found.get("medium", binding.medium), found.get("mxid", str(binding.user_id))
    is_same = isinstance(address, str) and address.strip().lstrip("+").casefold() == (
        binding.address.casefold()
    )
    return is_same and (medium, mxid) == (binding.medium, str(binding.user_id))
