"""An identity server that validates phone numbers for us (contract B7.8, threat C9)."""

from __future__ import annotations

import re
from typing import Any, Awaitable, Mapping, Optional, TypeVar

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys import clock
from regsys.errors import DelegateRefused, Unavailable
from regsys.model import Threepid
from regsys.outbound.http import Answer, HTTPClient, NoAnswer
from regsys.outbound.identity_server_answers import RETRY_MS, parse_answer

API = "/_matrix/identity/api/v1"
MSISDN = "msisdn"

_SID = re.compile(r"[0-9A-Za-z.=_-]{1,255}")
_NUMBER = re.compile(r"\+?([1-9][0-9]{3,14})")
# How far its clock may be ahead of ours.
AHEAD_MS = 5 * 60 * 1000
# Errors that are ours, not the client's: we, or a proxy on the way, would need a login.
_OUR_FAULT = frozenset({401, 407})

_log = Logger()
_T = TypeVar("_T")


@attr.frozen(kw_only=True)
class IdentityServer:
    """``url``: as in the configuration, without a trailing slash.

    Only a well-formed answer counts as yes or no. Anything else is Unavailable, with a log line
    that names neither number nor session.
    """

    url: str
    http: HTTPClient
    clock: IReactorTime

    async def request_token(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._answered(self._request_token(fields))

    async def submit_token(self, sid: str, client_secret: str, token: str) -> bool:
        fields = {"sid": sid, "client_secret": client_secret, "token": token}
        return await self._answered(self._submit_token(fields))

    async def validated_threepid(self, sid: str, client_secret: str) -> Optional[Threepid]:
        query = {"sid": sid, "client_secret": client_secret}
        return await self._answered(self._validated_threepid(query))

    async def _request_token(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        url = f"{self.url}{API}/validate/msisdn/requestToken"
        answer = _parse_answer(await self.http.post_json(url, fields))
        sid = answer.get("sid")
        if not isinstance(sid, str) or not _SID.fullmatch(sid):
            raise NoAnswer("the answer has no sid")
        # Pass on the other plain fields; we know of none that nests.
        return {name: value for name, value in answer.items() if _is_plain(value)}

    async def _submit_token(self, fields: Mapping[str, str]) -> bool:
        url = f"{self.url}{API}/validate/msisdn/submitToken"
        success = _parse_answer(await self.http.post_json(url, fields)).get("success")
        if not isinstance(success, bool):
            raise NoAnswer("the answer does not say whether the code was right")
        return success

    async def _validated_threepid(self, query: Mapping[str, str]) -> Optional[Threepid]:
        try:
            url = f"{self.url}{API}/3pid/getValidated3pid"
            answer = _parse_answer(await self.http.get(url, query))
        except DelegateRefused as refusal:
            if refusal.status == 429:
                # It says nothing about the number: the client may try again.
                raise Unavailable(retry_after_ms=refusal.retry_after_ms or RETRY_MS) from None
            return None
        medium, address, validated_ms = (
            answer.get(name) for name in ("medium", "address", "validated_at")
        )
        if medium != MSISDN or validated_ms is None:
            return None
        number = _NUMBER.fullmatch(address) if isinstance(address, str) else None
        if number is None:
            raise NoAnswer("the answer holds no phone number")
        # A validation in the future would be valid for longer than any other.
        latest_ms = clock.now_ms(self.clock) + AHEAD_MS
        if type(validated_ms) is not int or not 0 < validated_ms <= latest_ms:
            raise NoAnswer("its 'validated_at' is no moment of the past: compare the clocks")
        return Threepid(MSISDN, number[1], validated_ms)

    async def _answered(self, asking: Awaitable[_T]) -> _T:
        try:
            return await asking
        except NoAnswer as reason:
            _log.error(
                "identity server {url} cannot be asked, so no phone number is validated: {reason}",
                url=self.url,
                reason=str(reason),
            )
            raise Unavailable(
                "Phone numbers cannot be confirmed at the moment: try again shortly."
            ) from None


def _is_plain(value: object) -> bool:
    return value.isprintable() if isinstance(value, str) else type(value) in (int, bool)


def _parse_answer(answer: Answer) -> Mapping[str, Any]:
    return parse_answer(answer, DelegateRefused, _OUR_FAULT)
