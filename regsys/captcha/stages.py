"""The UIA stages of captcha services and of the proof of work (B8.7, threat A25).

Services differ in the stage's type, in the page that shows them and in the URL that verifies them.
An ``auth`` dict has the same key for all: ``response``.
"""

from __future__ import annotations

import hashlib
from typing import Any, Awaitable, Callable, Mapping, Optional

import attr
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from regsys import clock
from regsys.captcha.proof_of_work import ProofOfWork
from regsys.errors import StageFailed
from regsys.interfaces import IStage, StageContext, StagePage
from regsys.model import UIASession
from regsys.uia.stage_types import HCAPTCHA, PROOF_OF_WORK, RECAPTCHA, TURNSTILE

# Characters: the longest known responses of services have some two thousand.
MAX_RESPONSE = 16 * 1024
# A payload of the proof of work has some five hundred.
MAX_PAYLOAD = 4 * 1024
# Services refuse a response themselves after some minutes.
REMEMBERED_MS = 3600 * 1000

# What each service needs of a page's Content-Security-Policy, as it documents:
# https://developers.google.com/recaptcha/docs/faq
# https://docs.hcaptcha.com/#content-security-policy-settings
# https://developers.cloudflare.com/turnstile/reference/content-security-policy/
PAGES: Mapping[str, StagePage] = {
    RECAPTCHA: StagePage(
        template="stages/recaptcha.html",
        fields={"g-recaptcha-response": "response"},
        sources={
            "script-src": (
                "https://www.recaptcha.net/recaptcha/",
                "https://www.gstatic.com/recaptcha/",
            ),
            "frame-src": (
                "https://www.recaptcha.net/recaptcha/",
                "https://recaptcha.net/recaptcha/",
            ),
        },
    ),
    HCAPTCHA: StagePage(
        template="stages/hcaptcha.html",
        fields={"h-captcha-response": "response"},
        sources=dict.fromkeys(
            ("script-src", "frame-src", "style-src", "connect-src"),
            ("https://hcaptcha.com", "https://*.hcaptcha.com"),
        ),
    ),
    TURNSTILE: StagePage(
        template="stages/turnstile.html",
        fields={"cf-turnstile-response": "response"},
        sources={
            "script-src": ("https://challenges.cloudflare.com",),
            "frame-src": ("https://challenges.cloudflare.com",),
        },
    ),
}


@implementer(IStage)
@attr.frozen(kw_only=True)
class CaptchaStage:
    """A captcha whose service verifies the ``response``. ``type`` is one of PAGES.

    ``verify(response, address)`` says whether a response from this IP address is a solution, or
    raises Unavailable; asking may use the response up. A response passes one session: services see
    to that themselves, but ``use_once(fingerprint, until_ms)`` makes it certain for all processes.
    It is False for a response that another session has passed with.
    """

    type: str
    public_key: str
    verify: Callable[[str, str], Awaitable[bool]]
    use_once: Callable[[str, int], Awaitable[bool]]
    clock: IReactorTime

    @property
    def page(self) -> Optional[StagePage]:
        return PAGES[self.type]

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return {"public_key": self.public_key}

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        response = _response(auth, MAX_RESPONSE)
        fingerprint = hashlib.sha256(f"{self.type} {response}".encode()).hexdigest()
        if context.session.results.get(self.type) == fingerprint:
            # This session has passed with it, but the client has not got the answer.
            return fingerprint
        refused = StageFailed("M_UNAUTHORIZED", "The captcha was not solved: try another one.")
        if not await self.verify(response, context.client.address):
            raise refused
        # Only now: a response that could not be verified must not be used up.
        until_ms = clock.now_ms(self.clock) + REMEMBERED_MS
        if not await self.use_once(fingerprint, until_ms):
            raise refused
        return fingerprint


@implementer(IStage)
@attr.frozen
class ProofOfWorkStage:
    """``org.regsys.altcha``: a proof of work by the visitor's computer.

    ``params`` is the challenge, and ``response`` the payload, of ALTCHA's widget.
    """

    work: ProofOfWork

    type = PROOF_OF_WORK
    page = StagePage(
        template="stages/altcha.html",
        fields={"altcha": "response"},
        sources={"script-src": ("'self'",), "worker-src": ("'self'",)},
    )

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return self.work.challenge(session.session_id)

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        self.work.check(context.session.session_id, _response(auth, MAX_PAYLOAD))
        return True


def _response(auth: Mapping[str, Any], at_most: int) -> str:
    """The ``response`` of an ``auth`` dict; StageFailed if it is missing or malformed."""
    response = auth.get("response", "")
    if response == "":
        raise StageFailed("M_CAPTCHA_NEEDED", "Solve the captcha, and send its 'response'.")
    if not isinstance(response, str):
        raise StageFailed("M_INVALID_PARAM", "'response' must be a string.")
    if len(response) > at_most:
        raise StageFailed("M_INVALID_PARAM", "'response' is too long.")
    return response
