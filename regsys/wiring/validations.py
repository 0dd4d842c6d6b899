"""The validation of addresses, by mails and text messages."""

from __future__ import annotations

from typing import Optional

from jinja2 import Undefined

from regsys.client_api.signup import Signup
from regsys.client_api.signup_desk import SignupDesk
from regsys.config import EmailConfig
from regsys.http import Endpoint
from regsys.interfaces import ISmsSender, IStage, IValidationMails
from regsys.interfaces.internal import IPhoneValidation
from regsys.model import MailPurpose
from regsys.model.canonical_threepids import EMAIL, MSISDN
from regsys.model.networks import address_key
from regsys.outbound.sms import SmsGateway
from regsys.storage.signups import SignupStore
from regsys.storage.validation_messages import ValidationMessages
from regsys.templates import Templates
from regsys.threepids.addresses import AddressOwners, NewcomersThreepids
from regsys.threepids.phones import DelegatedPhones, OwnPhones, SmsCodeSender
from regsys.threepids.stages import DelegatedMsisdnStage, MsisdnStage
from regsys.threepids.validation import (
    SEND_MAIL,
    SEND_SMS,
    SUBMIT_PATHS,
    ValidationLimits,
    Validations,
)
from regsys.threepids.validation_mail import Deliver, Mails, ValidationMailSender
from regsys.threepids.validation_mailer import ValidationMailer
from regsys.threepids.validation_tokens import ValidationTokens
from regsys.uia.prerequisites import Prerequisites
from regsys.web.pages import Pages
from regsys.web.validation_pages import AddressPages, confirm_address
from regsys.wiring.parts import Parts
from regsys.wiring.stores import AccountStores

_SUBMIT_ENDPOINTS = (
    ("email_submit_token", MailPurpose.REGISTRATION),
    ("threepid_email_submit_token", MailPurpose.ADD_THREEPID),
    ("password_email_submit_token", MailPurpose.PASSWORD_RESET),
)


def validations(
    parts: Parts, stores: AccountStores, newcomers: NewcomersThreepids, signup: Signup
) -> Validations:
    """The sessions by which addresses are validated."""
    config, limits = parts.config, parts.config.limits
    prerequisites = None
    if config.threepids.mail_needs_stages:
        prerequisites = Prerequisites(uia=signup.uia, flows=signup.flows)
    return Validations(
        store=parts.stores.validations,
        newcomers=newcomers,
        tokens=ValidationTokens(parts.process.macaroon_secret),
        limits=ValidationLimits(
            client=parts.limits.by_address("validation client", limits.validation),
            mailbox=parts.limits.by_key("validation mailbox", limits.validation),
            attempts=parts.validation_attempts,
            total={
                EMAIL: parts.limits.by_key("all mails", limits.all_mails),
                MSISDN: parts.limits.by_key("all texts", limits.all_texts),
            },
            key_of=address_key,
        ),
        config=config.threepids,
        registration_open=config.registration.enabled,
        clock=parts.clock,
        start_jobs=parts.held_jobs.put,
        prerequisites=prerequisites,
        owners=_owners(stores),
    )


def desk(parts: Parts, validations: Validations, signup: Signup) -> SignupDesk:
    """For the operator who helps with registrations that are not finished."""
    database = parts.process.database
    return SignupDesk(
        store=SignupStore(database, (SEND_MAIL, SEND_SMS)),
        messages=ValidationMessages(database),
        validations=validations,
        jobs=parts.stores.jobs,
        flows=signup.flows,
        audit=parts.audit,
        clock=parts.clock,
    )


def _owners(stores: AccountStores) -> Optional[AddressOwners]:
    if stores.own is None:
        return None
    return AddressOwners(threepids=stores.own.threepids, users=stores.own.users)


def mailer(parts: Parts) -> Optional[ValidationMailer]:
    """What sends the mails; None if this process leaves them to others."""
    mails = _mails(parts)
    if mails is None:
        return None
    return ValidationMailer(
        store=parts.stores.validations,
        messages=ValidationMessages(parts.process.database),
        tokens=ValidationTokens(parts.process.macaroon_secret),
        mails=mails,
        public_baseurl=parts.config.public_baseurl,
        clock=parts.clock,
    )


def sms_code_sender(parts: Parts) -> Optional[SmsCodeSender]:
    """What sends the text messages; None if this process leaves them to others."""
    config, sender = parts.config, _sms_sender(parts)
    if sender is None:
        return None
    return SmsCodeSender(
        store=parts.stores.validations,
        messages=ValidationMessages(parts.process.database),
        tokens=ValidationTokens(parts.process.macaroon_secret),
        sender=sender,
        templates=Templates.load(config.public_baseurl, parts.template_directories),
        server_name=config.server_name,
        clock=parts.clock,
    )


def confirmation_pages(
    parts: Parts, stores: AccountStores, validations: Validations, pages: Pages
) -> list[Endpoint]:
    """Where the links in mails lead: those of registrations, of accounts, and of resets where we
    keep the passwords."""
    config = parts.config
    own = config.email.template_dir if config.email else None
    directories = [*parts.template_directories, *([own] if own else [])]
    # Templates that were written for a homeserver, where what is undefined is empty.
    theirs = Templates.load(config.public_baseurl, directories, Undefined, config.pages.brand)
    return [
        confirm_address(
            name,
            f"/{SUBMIT_PATHS[purpose]}",
            validations,
            AddressPages(
                pages=pages,
                theirs=theirs,
                chosen=config.email.templates if config.email else {},
                kind=purpose.value,
                server_name=config.server_name,
            ),
            # A mail scanner that opens the link must not let anybody set a password.
            on_get=config.threepids.confirm_on_get and purpose is not MailPurpose.PASSWORD_RESET,
        )
        for name, purpose in _SUBMIT_ENDPOINTS
        if purpose is not MailPurpose.PASSWORD_RESET or stores.own is not None
    ]


def phones(parts: Parts, validations: Validations) -> IPhoneValidation:
    """Validates phone numbers itself, or leaves it to an identity server."""
    phone_server = parts.phone_server
    return (
        OwnPhones(validations)
        if phone_server is None
        else DelegatedPhones(validations, phone_server)
    )


def msisdn_stage(parts: Parts) -> IStage:
    phone_server, store = parts.phone_server, parts.stores.validations
    if phone_server is None:
        return MsisdnStage(store=store, clock=parts.clock)
    return DelegatedMsisdnStage(
        phone_server=phone_server,
        store=store,
        attempts=parts.validation_attempts,
        clock=parts.clock,
    )


def _sms_sender(parts: Parts) -> Optional[ISmsSender]:
    """The embedder's, else the gateway that is configured, if any."""
    config = parts.config.phones.sms
    if parts.hooks.sms is not None or config is None or config.url is None:
        return parts.hooks.sms
    return SmsGateway(config=config, http=parts.process.http.apart())


def _mails(parts: Parts) -> Optional[IValidationMails]:
    """The embedder's, else the mail server that is configured, if any."""
    config = parts.config
    if parts.hooks.mails is not None or config.email is None:
        return parts.hooks.mails
    return ValidationMailSender(
        mails=composer(parts, config.email), deliver=delivery(parts, config.email)
    )


def composer(parts: Parts, email: EmailConfig) -> Mails:
    """What composes our mails."""
    config = parts.config
    return Mails.load(email, config.server_name, config.public_baseurl, parts.template_directories)


def delivery(parts: Parts, email: EmailConfig) -> Deliver:
    """What hands a mail to the mail server that is configured."""
    # Not above: Twisted's mail package installs a reactor when it is imported. An embedder may
    # install one of its own after it has imported us, and processes are forked before.
    from regsys.outbound.email import SMTPMailer

    return SMTPMailer.on(parts.clock, email, parts.config.server_name).send
