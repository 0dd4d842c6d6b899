"""Captcha services: the ``siteverify`` call that reCAPTCHA, hCaptcha and Turnstile share (B8.7)."""

from __future__ import annotations

from typing import Any, Mapping

import attr
from twisted.logger import Logger

from regsys.errors import Unavailable
from regsys.model import Secret
from regsys.outbound.http import HTTPClient, NoAnswer

# Error codes that are about our configuration or the service, not about the response: nobody could
# pass. Only codes that no client can cause, or clients could fill our log.
SERVICE_ERRORS: Mapping[str, str] = {
    "missing-input-secret": "it got no private key: set one",
    "invalid-input-secret": "it does not know our private key: mend it",
    "internal-error": "it has an error of its own",
}

_log = Logger()


@attr.frozen(kw_only=True)
class SiteVerify:
    """``url``: the service's endpoint; ``secret``: our private key there.

    Only a well-formed answer counts as yes or no. Anything else is Unavailable, with a log line: no
    captcha is passed because its service is down.
    """

    url: str
    secret: Secret
    http: HTTPClient

    async def verify(self, response: str, address: str) -> bool:
        """Whether this response, from a browser at ``address``, is a solution. Asking may use it
        up. Raises Unavailable if the service does not say; then the response may be tried again."""
        fields = {"secret": self.secret.reveal(), "response": response, "remoteip": address}
        try:
            answer = await self.http.post_form(self.url, fields)
            if answer.status != 200:
                raise NoAnswer(f"the status is {answer.status}")
            return _is_success(answer.json())
        except NoAnswer as reason:
            _log.error(
                "captcha service {url} cannot be asked, so nobody passes: {reason}",
                url=self.url,
                reason=str(reason),
            )
            raise Unavailable("The captcha cannot be checked now: try again shortly.") from None


def _is_success(answer: Any) -> bool:
    """The answer's ``success``; NoAnswer if it has none, or an error code of SERVICE_ERRORS."""
    success = answer.get("success") if isinstance(answer, dict) else None
    if not isinstance(success, bool):
        raise NoAnswer("the answer says neither yes nor no")
    codes = answer.get("error-codes")
    if not success and isinstance(codes, list):
        for code, meaning in SERVICE_ERRORS.items():
            if code in codes:
                raise NoAnswer(meaning)
    return success
