"""The shadow server, where we are an application service (contract B12.1)."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr

from regsys.config import ShadowServerConfig
from regsys.errors import NoAnswer, ShadowServerRefused
from regsys.outbound.http import Answer, HTTPClient

REGISTER = "/_matrix/client/r0/register"
# Not about this account: it may pass, or the operator mends it.
_LATER = frozenset({401, 404, 405, 407, 408, 425, 429})
_MAX_TEXT = 200


@attr.frozen(kw_only=True)
class ShadowServerClient:
    config: ShadowServerConfig
    http: HTTPClient

    async def register(self, body: Mapping[str, Any]) -> Optional[str]:
        """Have the account registered. Returns its user ID there, or None if the name was taken:
        an earlier request may have registered it, whose answer was lost. NoAnswer if a retry may
        work; ShadowServerRefused."""
        token = self.config.as_token.reveal()
        headers = {"Authorization": f"Bearer {token}"}
        answer = await self.http.post_json(f"{self.config.url}{REGISTER}", body, headers)
        found = _fields(answer)
        if answer.status == 200 and isinstance(found.get("user_id"), str):
            return str(found["user_id"])
        code = found.get("errcode")
        if answer.status == 400 and code == "M_USER_IN_USE":
            return None
        said = " ".join(self._loggable(found.get(name), body) for name in ("errcode", "error"))
        sentence = f"{self.config.url}: it answers {answer.status} {said}".rstrip()
        if 400 <= answer.status < 500 and answer.status not in _LATER:
            raise ShadowServerRefused(sentence)
        raise NoAnswer(sentence)

    def _loggable(self, text: object, body: Mapping[str, Any]) -> str:
        """Its text, for the log; empty if it is not printable, or quotes a secret."""
        if not isinstance(text, str) or not text.isprintable():
            return ""
        secrets = (self.config.as_token.reveal(), body.get("password"))
        return "" if any(secret and secret in text for secret in secrets) else text[:_MAX_TEXT]


def _fields(answer: Answer) -> Mapping[str, Any]:
    try:
        found = answer.json()
    except NoAnswer:
        return {}
    return found if isinstance(found, dict) else {}
