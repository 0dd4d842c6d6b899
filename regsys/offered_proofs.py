"""The proving of addresses that a configuration puts on offer."""

from __future__ import annotations

from typing import Any, Callable, Optional

from regsys.backend import Backend
from regsys.config import Config, Rate
from regsys.interfaces import ILimiter, IValidationMails, IValidationStore
from regsys.jobs import JobRunner
from regsys.ratelimit import address_key
from regsys.threepids import NewcomersThreepids
from regsys.validation import (
    SEND_MAIL,
    ValidationLimits,
    ValidationMailer,
    Validations,
    ValidationTokens,
)


def offered_proofs(
    config: Config,
    backend: Backend,
    clock: Any,
    *,
    store: IValidationStore,
    newcomers: NewcomersThreepids,
    mails: Optional[IValidationMails],
    limit: Callable[[Rate], ILimiter],
    runner: JobRunner,
) -> Validations:
    """``mails`` sends what is written down to be sent; None: this process leaves it to others."""
    tokens, rate = ValidationTokens(backend.macaroon_secret), config.limits.validation
    if mails is not None:
        mailer = ValidationMailer(
            store=store,
            tokens=tokens,
            mails=mails,
            public_baseurl=config.public_baseurl,
            clock=clock,
        )
        runner.add_handlers({SEND_MAIL: mailer.send})
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
        clock=clock,
        start_jobs=runner.start_jobs,
    )
