"""Text messages through an HTTP gateway."""

from __future__ import annotations

from typing import Any, Mapping

import attr
from twisted.logger import Logger
from zope.interface import implementer

from regsys.config.phones import SmsConfig
from regsys.errors import SmsDeferred, SmsRefused
from regsys.interfaces import ISmsSender
from regsys.model.identity import masked
from regsys.outbound.http import Answer, HTTPClient, NoAnswer

# Errors that are temporary, or about our account there, not about this message.
_LATER = frozenset({401, 402, 403, 404, 405, 407, 408, 425, 429})

_log = Logger()


@implementer(ISmsSender)
@attr.frozen(kw_only=True)
class SmsGateway:
    """One request a message, with the configured fields; any 2xx status means that the gateway has
    accepted the message."""

    config: SmsConfig
    http: HTTPClient

    async def send(self, number: str, text: str) -> None:
        values = {"number": f"+{number}", "text": text}
        fields = {name: _filled(value, values) for name, value in self.config.fields.items()}
        try:
            answer = await self._ask(fields)
        except NoAnswer as reason:
            raise SmsDeferred(f"The SMS gateway cannot be used: {reason}") from None
        if 400 <= answer.status < 500 and answer.status not in _LATER:
            raise SmsRefused(f"The SMS gateway refuses it: the status is {answer.status}")
        if not 200 <= answer.status < 300:
            raise SmsDeferred(f"The SMS gateway cannot be used: the status is {answer.status}")
        _log.info("text message for {to} handed to the gateway", to=masked(number))

    async def _ask(self, fields: Mapping[str, Any]) -> Answer:
        secret, url = self.config.authorization, self.config.url
        assert url is not None
        headers = {} if secret is None else {"Authorization": secret.reveal()}
        if self.config.as_form:
            return await self.http.post_form(url, fields, headers)
        return await self.http.post_json(url, fields, headers)


def _filled(template: Any, values: Mapping[str, str]) -> Any:
    """The template with number and text filled in, at any depth. The HTTP client encodes the
    result, so that no text can add a field."""
    if isinstance(template, str):
        return template % values
    if isinstance(template, list):
        return [_filled(item, values) for item in template]
    if isinstance(template, dict):
        return {name: _filled(item, values) for name, item in template.items()}
    return template
