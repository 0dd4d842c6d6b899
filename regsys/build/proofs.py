"""The proving of addresses that a configuration puts on offer."""

from __future__ import annotations

from typing import Optional

from regsys.build.parts import Parts
from regsys.interfaces import IPhoneProofs, IPhoneProver, IStage, IValidationMails
from regsys.mails import Mails, ValidationPost
from regsys.outbound.email import SMTPMailer
from regsys.outbound.identity import IdentityServer
from regsys.phones import DelegatedPhones, OwnPhones
from regsys.ratelimit import address_key
from regsys.threepid_stages import DelegatedMsisdnStage
from regsys.threepids import NewcomersThreepids
from regsys.validation import (
    SEND_MAIL,
    ValidationLimits,
    ValidationMailer,
    Validations,
    ValidationTokens,
)


def validations(parts: Parts, newcomers: NewcomersThreepids) -> Validations:
    """The dialogue by which addresses are proven; what it writes down to be sent, is sent."""
    config, store, limit = parts.config, parts.stores.validations, parts.limit
    tokens, rate = ValidationTokens(parts.backend.macaroon_secret), config.limits.validation
    mails = _mails(parts)
    if mails is not None:
        mailer = ValidationMailer(
            store=store,
            tokens=tokens,
            mails=mails,
            public_baseurl=config.public_baseurl,
            clock=parts.clock,
        )
        parts.runner.add_handlers({SEND_MAIL: mailer.send})
    limits = ValidationLimits(
        client=limit(rate), mailbox=limit(rate), submitted=limit(rate), key_of=address_key
    )
    return Validations(
        store=store,
        newcomers=newcomers,
        tokens=tokens,
        limits=limits,
        config=config.threepids,
        registration_open=config.registration.enabled,
        clock=parts.clock,
        start_jobs=parts.runner.start_jobs,
    )


def phones(parts: Parts, validations: Validations) -> IPhoneProofs:
    """The dialogue by which phone numbers are proven."""
    prover = _prover(parts)
    return OwnPhones(validations) if prover is None else DelegatedPhones(validations, prover)


def msisdn_stage(parts: Parts) -> IStage:
    prover = _prover(parts)
    assert prover is not None
    return DelegatedMsisdnStage(prover=prover, store=parts.stores.validations)


def _prover(parts: Parts) -> Optional[IPhoneProver]:
    """The other server that proves phone numbers, if one is configured."""
    url = parts.config.phones.identity_server
    return None if url is None else IdentityServer(url=url, http=parts.backend.http)


def _mails(parts: Parts) -> Optional[IValidationMails]:
    """What sends mails: the embedder's, else a mail server, if one is configured; None: this
    process leaves them to others."""
    config = parts.config
    if parts.hooks.mails is not None or config.email is None:
        return parts.hooks.mails
    return ValidationPost(
        mails=Mails.load(
            config.email, config.server_name, config.public_baseurl, parts.template_directories
        ),
        mailer=SMTPMailer.on(parts.clock, config.email, config.server_name),
    )
