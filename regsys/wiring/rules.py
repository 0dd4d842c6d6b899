"""What the endpoints ask: one instance of each rule, over whichever stores there are."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.accounts.administration import Administration
from regsys.accounts.handler import RegistrationHandler
from regsys.accounts.post_consent import PostConsent
from regsys.client_api.appservice import AppserviceRequests
from regsys.client_api.credentials import PasswordCheck
from regsys.client_api.signup import Signup
from regsys.consent import Consents
from regsys.interfaces import IBlocking
from regsys.interfaces.internal import ILimiter, IPhoneValidation, IRegistrationWriter
from regsys.registration_tokens import RegistrationTokens
from regsys.threepids.identity_server_bindings import Bindings
from regsys.threepids.validation import Validations
from regsys.uia.reauthentication import Reauthentication
from regsys.wiring import accounts, activity, administration, threepids, uia, validations
from regsys.wiring.foundation import Foundation


@attr.frozen(kw_only=True)
class Rules:
    """If ``passwords`` is None, no password is compared. If ``reauthentication`` is None, no stage
    lets a user confirm a request. If ``bindings`` is None, nobody changes the addresses of accounts
    here. If ``administration`` is None, accounts are not ours. If ``newcomers`` is None, nobody is
    suspended. ``token_limit`` is that of guesses at registration tokens."""

    handler: RegistrationHandler
    blocking: IBlocking
    consents: Consents
    tokens: RegistrationTokens
    token_limit: ILimiter
    signup: Signup
    appservices: AppserviceRequests
    validations: Validations
    phones: IPhoneValidation
    passwords: Optional[PasswordCheck]
    reauthentication: Optional[Reauthentication]
    bindings: Optional[Bindings]
    administration: Optional[Administration]


def rules(base: Foundation, writer: IRegistrationWriter, post_consent: PostConsent) -> Rules:
    parts, stores = base.parts, base.stores
    blocking = activity.blocking(parts, stores)
    names = accounts.names(parts, stores)
    handler = accounts.handler(base, names, writer, post_consent, blocking)
    token_limit = parts.limits.by_address("token validity", parts.config.limits.token_validity)
    newcomers = threepids.newcomers(parts, stores)
    signup = uia.signup(parts, handler, names, newcomers, token_limit, stores.users)
    sessions = validations.validations(parts, stores, newcomers, signup)
    passwords = accounts.password_check(parts, stores)
    bindings, administered = None, None
    if stores.addresses is not None:
        held = threepids.of_accounts(parts, stores.addresses, base.newcomers)
        bindings = threepids.bindings(parts, held)
        if stores.own is not None:
            administered = administration.administration(base, stores.own, bindings, handler)
    return Rules(
        handler=handler,
        blocking=blocking,
        consents=base.consents,
        tokens=RegistrationTokens(
            store=parts.stores.registration_tokens, clock=parts.clock, audit=parts.audit
        ),
        token_limit=token_limit,
        signup=signup,
        appservices=accounts.appservices(parts, stores, handler, blocking),
        validations=sessions,
        phones=validations.phones(parts, sessions),
        passwords=passwords,
        reauthentication=uia.reauthentication(parts, stores, passwords),
        bindings=bindings,
        administration=administered,
    )
