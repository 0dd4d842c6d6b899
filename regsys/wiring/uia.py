"""The UIA stages that a configuration offers, and what asks for them."""

from __future__ import annotations

from typing import Iterator, Mapping, Optional, Sequence

from regsys.accounts.handler import RegistrationHandler
from regsys.accounts.usernames import Usernames
from regsys.captcha.proof_of_work import ProofOfWork
from regsys.captcha.stages import CaptchaStage, ProofOfWorkStage
from regsys.client_api.credentials import PasswordCheck
from regsys.client_api.name_holds import NameHolds
from regsys.client_api.password_stage import PasswordStage
from regsys.client_api.register_flows import registration_flows, uses_tokens
from regsys.client_api.session_passwords import SessionPasswords
from regsys.client_api.signup import Signup
from regsys.config import CaptchaConfig
from regsys.consent import TermsStage, policies_json
from regsys.interfaces import IStage, IUserLookup
from regsys.interfaces.internal import ILimiter
from regsys.model.canonical_threepids import EMAIL, MSISDN
from regsys.model.login_types import PASSWORD
from regsys.model.networks import address_key
from regsys.outbound.captcha import SiteVerify
from regsys.registration_reason import ReasonStage
from regsys.registration_tokens import RegistrationTokenStage
from regsys.threepids.addresses import AddressOwners, NewcomersThreepids
from regsys.threepids.stages import DelegatedResetStage, EmailIdentityStage, ResetStage
from regsys.uia.confirmation import Confirmation
from regsys.uia.reauthentication import Reauthentication
from regsys.uia.sessions import Flow, UserInteractiveAuth
from regsys.uia.stage_types import CAPTCHAS, EMAIL_IDENTITY, MSISDN_STAGE, PROOF_OF_WORK, TERMS
from regsys.uia.stages import DummyStage
from regsys.wiring import threepids, validations
from regsys.wiring.parts import Parts
from regsys.wiring.stores import AccountStores, OwnTables


def signup(
    parts: Parts,
    handler: RegistrationHandler,
    names: Usernames,
    newcomers: NewcomersThreepids,
    token_limit: ILimiter,
    users: Optional[IUserLookup],
) -> Signup:
    """What POST /register asks."""
    stages = {stage.type: stage for stage in (*_ours(parts, token_limit), *parts.hooks.stages)}
    flows = parts.hooks.flows
    if flows is None:
        flows = registration_flows(parts.config)
    terms, config = stages[TERMS], parts.config.registration
    uia = _uia(parts, "flows", flows, stages)
    chosen = threepids.names(parts, names)
    return Signup(
        handler=handler,
        uia=uia,
        newcomers=newcomers,
        names=chosen,
        holds=NameHolds(
            uia=uia,
            # Where names follow from addresses, nobody gets the name that was asked for.
            enabled=config.hold_names and not chosen.threepids.may_replace,
            silent=config.inhibit_user_in_use_error,
        ),
        hashes=SessionPasswords(uia=uia, hasher=parts.process.hasher, clock=parts.clock),
        flows=flows,
        registration=config,
        passwords=parts.config.passwords,
        policies=terms.versions if isinstance(terms, TermsStage) else {},
        users=users,
        has_shadow=parts.config.shadow_server is not None,
    )


def reauthentication(
    parts: Parts, stores: AccountStores, passwords: Optional[PasswordCheck]
) -> Optional[Reauthentication]:
    """How users confirm a request: by password where we or modules check it, or by the embedder's
    flows."""
    stages = {stage.type: stage for stage in parts.hooks.stages}
    config, flows = parts.config.passwords, parts.hooks.confirmation_flows
    # Modules are loaded later: they may yet register a callback that checks passwords.
    others = bool(parts.config.modules.modules) or parts.hooks.logins.passwords.check_passwords
    checked = config.localdb_enabled or others
    if passwords is not None and config.reauth_enabled and checked:
        stages[PASSWORD] = PasswordStage(passwords=passwords)
        flows = flows or ((PASSWORD,),)
    if flows is None:
        return None
    return Reauthentication(
        uia=_uia(parts, "confirmation_flows", flows, stages),
        flows=flows,
        clock=parts.clock,
        timeout_ms=parts.config.sessions.confirmed_ms,
        may_confirm=(
            passwords.has_password
            if passwords is not None and all(PASSWORD in flow for flow in flows)
            else None
        ),
    )


def resets(parts: Parts, own: OwnTables) -> Optional[Confirmation]:
    """How a user who has forgotten the password confirms a new one; None if no address can be
    validated."""
    stages = {stage.type: stage for stage in _reset_stages(parts, own)}
    if not stages:
        return None
    flows = [(name,) for name in stages]
    return Confirmation(uia=_uia(parts, "resets", flows, stages), flows=flows)


def _reset_stages(parts: Parts, own: OwnTables) -> Iterator[IStage]:
    store, clock = parts.stores.validations, parts.clock
    if EMAIL in parts.config.threepids.addable:
        yield ResetStage(type=EMAIL_IDENTITY, medium=EMAIL, store=store, clock=clock)
    if MSISDN not in parts.config.threepids.addable:
        return
    if parts.phone_server is None:
        yield ResetStage(type=MSISDN_STAGE, medium=MSISDN, store=store, clock=clock)
    else:
        yield DelegatedResetStage(
            phone_server=parts.phone_server,
            owners=AddressOwners(threepids=own.threepids, users=own.users),
            store=store,
            attempts=parts.validation_attempts,
            clock=clock,
        )


def _uia(
    parts: Parts, field: str, flows: Sequence[Flow], stages: Mapping[str, IStage]
) -> UserInteractiveAuth:
    """ValueError for flows that these stages cannot complete; ``field`` is the field of Hooks."""
    if not flows or not all(flows):
        raise ValueError(f"hooks({field}=…): there must be a flow, and a stage in each flow")
    unknown = {name for flow in flows for name in flow} - stages.keys()
    if unknown:
        raise ValueError(
            f"hooks({field}=…): there is no stage {', '.join(sorted(unknown))}: there are"
            f" {', '.join(sorted(stages)) or 'none'}"
        )
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
    if config.approval.ask_reason:
        offered.append(ReasonStage())
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
