"""The stages of user-interactive authentication that a configuration puts on offer."""

from __future__ import annotations

from typing import Any

from regsys.backend import Backend
from regsys.captchas import CaptchaStage, ProofOfWorkStage
from regsys.config import CaptchaConfig, Config
from regsys.consent import offer
from regsys.flows import CAPTCHAS, PROOF_OF_WORK, uses_tokens
from regsys.interfaces import (
    ILimiter,
    INonceStore,
    IRegistrationTokenStore,
    IStage,
    IValidationStore,
)
from regsys.outbound.captcha import SiteVerify
from regsys.proof_of_work import ProofOfWork
from regsys.ratelimit import address_key
from regsys.stages import DummyStage, RegistrationTokenStage, TermsStage
from regsys.threepid_stages import EmailIdentityStage


def offered_stages(
    config: Config,
    backend: Backend,
    clock: Any,
    *,
    tokens: IRegistrationTokenStore,
    token_limit: ILimiter,
    used: INonceStore,
    validations: IValidationStore,
) -> list[IStage]:
    """Those of ours; ``used`` remembers the captcha responses that have been."""
    offered: list[IStage] = [DummyStage(), TermsStage(offer(config.terms, config.public_baseurl))]
    if config.captcha is not None:
        offered.append(_captcha(config.captcha, backend, clock, used))
    if uses_tokens(config.registration):
        offered.append(
            RegistrationTokenStage(
                store=tokens, limiter=token_limit, key_of=address_key, clock=clock
            )
        )
    if "email" in config.threepids.offered:
        offered.append(EmailIdentityStage(store=validations, clock=clock))
    return offered


def _captcha(chosen: CaptchaConfig, backend: Backend, clock: Any, used: INonceStore) -> IStage:
    stage = CAPTCHAS[chosen.kind]
    if stage == PROOF_OF_WORK:
        secret = backend.macaroon_secret
        work = ProofOfWork(secret=secret, difficulty=chosen.difficulty, clock=clock)
        return ProofOfWorkStage(work)
    url, private_key = chosen.siteverify_api, chosen.private_key
    return CaptchaStage(
        type=stage,
        public_key=chosen.public_key,
        verifier=SiteVerify(url=url, secret=private_key, http=backend.http),
        used=used,
        clock=clock,
    )
