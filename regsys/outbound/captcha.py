"""Captcha services: the ``siteverify`` call that reCAPTCHA, hCaptcha and Turnstile share (B8.7)."""

from __future__ import annotations

from typing import Any, Mapping

import attr
from twisted.logger import Logger

from regsys.errors import Unavailable
from regsys.model import Secret
from regsys.outbound.http import HTTPClient, NoAnswer

# Codes that speak of us or of the service, not of the person: nobody could pass. Only those that
# no client can bring about, or it could fill our log.
NOT_THEIR_FAULT: Mapping[str, str] = {
    "missing-input-secret": "it got no private key: set one",
    "invalid-input-secret": "it does not know our private key: mend it",
    "internal-error": "it has an error of its own",
}

_log = Logger()


@attr.frozen(kw_only=True)
class SiteVerify:
    """``url``: where the service answers; ``secret``: our private key there.

    Yes and no are taken only from an answer that says so plainly. Anything else is
    Unavailable, with a line in the log: no captcha is passed because its service is down.
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
            return _verdict(answer.json())
        except NoAnswer as reason:
            _log.error(
                "captcha service {url} cannot be asked, so nobody passes: {reason}",
                url=self.url,
                reason=str(reason),
            )
            raise Unavailable("The captcha cannot be checked now: try again shortly.") from None


def _verdict(said: Any) -> bool:
    """Whether it said yes; NoAnswer if it said neither yes nor no."""
    if not isinstance(said, dict) or not isinstance(said.get("success"), bool):
        raise NoAnswer("the answer says neither yes nor no")
    codes = said.get("error-codes")
    if not said["success"] and isinstance(codes, list):
        for code, meaning in NOT_THEIR_FAULT.items():
            if code in codes:
                raise NoAnswer(meaning)
    success: bool = said["success"]
    return success
