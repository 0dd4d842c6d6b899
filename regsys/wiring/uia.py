"""The UIA stages that a configuration offers, and what asks for them."""

from __future__ import annotations

from typing import Mapping, Optional, Sequence

from regsys.accounts.handler import RegistrationHandler
from regsys.captcha.proof_of_work import ProofOfWork
from regsys.captcha.stages import CaptchaStage, ProofOfWorkStage
from regsys.client_api.credentials import PASSWORD, PasswordCheck
from regsys.client_api.password_stage import PasswordStage
from regsys.client_api.register_flows import registration_flows, uses_tokens
from regsys.client_api.session_passwords import SessionPasswords
from regsys.client_api.signup import Signup
from regsys.config import CaptchaConfig
from regsys.consent import TermsStage, policies_json
from regsys.interfaces import IStage
from regsys.interfaces.internal import ILimiter
from regsys.model.networks import address_key
from regsys.outbound.captcha import SiteVerify
from regsys.registration_tokens import RegistrationTokenStage
from regsys.threepids.addresses import NewcomersThreepids
from regsys.threepids.stages import EmailIdentityStage
from regsys.uia.reauthentication import Reauthentication
from regsys.uia.sessions import Flow, UserInteractiveAuth
from regsys.uia.stage_types import CAPTCHAS, PROOF_OF_WORK, TERMS
from regsys.uia.stages import DummyStage
from regsys.wiring import threepids, validations
from regsys.wiring.parts import Parts


def signup(
    parts: Parts,
    handler: RegistrationHandler,
    newcomers: NewcomersThreepids,
    token_limit: ILimiter,
) -> Signup:
    """What POST /register asks."""
    stages = {stage.type: stage for stage in (*_ours(parts, token_limit), *parts.hooks.stages)}
    flows = parts.hooks.flows
    if flows is None:
        flows = registration_flows(parts.config)
    terms = stages[TERMS]
    uia = _uia(parts, flows, stages)
    return Signup(
        handler=handler,
        uia=uia,
        newcomers=newcomers,
        names=threepids.names(parts, handler.names),
        hashes=SessionPasswords(uia=uia, hasher=parts.process.hasher, clock=parts.clock),
        flows=flows,
        registration=parts.config.registration,
        passwords=parts.config.passwords,
        policies=terms.versions if isinstance(terms, TermsStage) else {},
    )


def reauthentication(
    parts: Parts, passwords: Optional[PasswordCheck]
) -> Optional[Reauthentication]:
    """How users confirm a request: by password where we have it, or by the embedder's flows."""
    stages = {stage.type: stage for stage in parts.hooks.stages}
    config, flows = parts.config.passwords, parts.hooks.confirmation_flows
    if passwords is not None and config.reauth_enabled and config.localdb_enabled:
        stages[PASSWORD] = PasswordStage(passwords=passwords)
        flows = flows or ((PASSWORD,),)
    if flows is None:
        return None
    return Reauthentication(
        uia=_uia(parts, flows, stages),
        flows=flows,
        clock=parts.clock,
        timeout_ms=parts.config.sessions.confirmed_ms,
    )


def _uia(parts: Parts, flows: Sequence[Flow], stages: Mapping[str, IStage]) -> UserInteractiveAuth:
    """ValueError for flows that these stages cannot complete."""
    unknown = {name for flow in flows for name in flow} - stages.keys()
    if unknown or not flows or not all(flows):
        raise ValueError(f"flows need stages that exist; unknown: {sorted(unknown)}")
    return UserInteractiveAuth(
        sessions=parts.stores.sessions,
        stages=stages,
        clock=parts.clock,
        key_of=address_key,
        per_address=parts.config.sessions.per_address,
    )


def _ours(parts: Parts, token_limit: ILimiter) -> list[IStage]:
    config = parts.config
    offered: list[IStage] = [
        DummyStage(),
        TermsStage(policies_json(config.terms, config.public_baseurl)),
    ]
    if config.captcha is not None:
        offered.append(_captcha(parts, config.captcha))
    if uses_tokens(config.registration):
        offered.append(
            RegistrationTokenStage(
                store=parts.stores.registration_tokens,
                limiter=token_limit,
                key_of=address_key,
                clock=parts.clock,
            )
        )
    # Also where no flow asks for it: a client may register with a validated number (B16.2).
    if "msisdn" in config.threepids.addable:
        offered.append(validations.msisdn_stage(parts))
    if "email" in config.threepids.offered:
        offered.append(EmailIdentityStage(store=parts.stores.validations, clock=parts.clock))
    return offered


def _captcha(parts: Parts, chosen: CaptchaConfig) -> IStage:
    stage, process = CAPTCHAS[chosen.kind], parts.process
    if stage == PROOF_OF_WORK:
        secret = process.macaroon_secret
        work = ProofOfWork(secret=secret, difficulty=chosen.difficulty, clock=parts.clock)
        return ProofOfWorkStage(work)
    url, private_key = chosen.siteverify_api, chosen.private_key
    return CaptchaStage(
        type=stage,
        public_key=chosen.public_key,
        verify=SiteVerify(url=url, secret=private_key, http=process.http.apart()).verify,
        use_once=parts.stores.nonces.use,
        clock=parts.clock,
    )
