"""The kinds of jobs: what plans them and in which order, and what runs them. docs/jobs.md lists
them for operators."""

from __future__ import annotations

from typing import Mapping, Optional, Protocol, Sequence

import attr

from regsys.accounts.auto_join import AUTO_JOIN, AutoJoiner, AutoJoinPlanner
from regsys.accounts.followers import FollowerNotice
from regsys.accounts.homeserver_emails import SEND_EMAILS, HomeserverEmails
from regsys.accounts.monthly_active_users import COUNT_USER, ReservedUsers
from regsys.accounts.post_consent import PostConsent
from regsys.accounts.post_registration_jobs import (
    ADD_PUSHER,
    TELL_DIRECTORY,
    DirectoryNotice,
    EmailPusher,
    JobPlanners,
)
from regsys.accounts.registration_notice import TELL_OF_ACCOUNT, RegistrationNotice
from regsys.accounts.shadow_server import SHADOW_REGISTER, ShadowServer
from regsys.config import Config
from regsys.consent import AFTER_CONSENT
from regsys.interfaces.internal import IJobPlanner
from regsys.jobs import Handler
from regsys.model.jobs import Job
from regsys.outbound.homeserver_profiles import HomeserverDirectory, SynapseDirectory
from regsys.outbound.shadow_server import ShadowServerClient
from regsys.storage.encryption import Encryptor
from regsys.threepids.changes import TELL_OF_ADDRESS, AddressNotice
from regsys.threepids.identity_server_unbinding import UNBIND
from regsys.threepids.validation import SEND_MAIL, SEND_SMS
from regsys.wiring import validations
from regsys.wiring.parts import Parts
from regsys.wiring.stores import AccountStores


@attr.frozen(kw_only=True)
class RegistrationJobs:
    """What runs the jobs that follow registrations, and ``planners``, which plan them. A part is
    None if the configuration or the embedder has nothing that it could ask."""

    directory: Optional[DirectoryNotice]
    accounts: RegistrationNotice
    addresses: AddressNotice
    reserved: Optional[ReservedUsers]
    auto_join: Optional[AutoJoinPlanner]
    auto_joiner: Optional[AutoJoiner]
    email_pusher: Optional[EmailPusher]
    emails: Optional[HomeserverEmails]
    shadow: Optional[ShadowServer]
    followers: Sequence[FollowerNotice]
    planners: JobPlanners


def handlers(
    parts: Parts,
    planned: RegistrationJobs,
    post_consent: PostConsent,
    of_writer: Mapping[str, Optional[Handler]],
) -> Mapping[str, Optional[Handler]]:
    """Every kind of job with what runs it; None if this process leaves the kind to others.
    ``of_writer``: the kinds of whoever writes accounts.

    A kind is run also if the configuration plans no more of it, for jobs that exist already.
    """
    mailer, sender = validations.mailer(parts), validations.sms_code_sender(parts)
    return {
        TELL_DIRECTORY: _run_of(planned.directory),
        TELL_OF_ACCOUNT: planned.accounts.run,
        TELL_OF_ADDRESS: planned.addresses.run,
        COUNT_USER: _run_of(planned.reserved),
        AUTO_JOIN: _run_of(planned.auto_joiner),
        ADD_PUSHER: _run_of(planned.email_pusher),
        AFTER_CONSENT: post_consent.run,
        SEND_MAIL: None if mailer is None else mailer.send,
        SEND_SMS: None if sender is None else sender.send,
        UNBIND: parts.unbinder.run,
        SEND_EMAILS: _run_of(planned.emails),
        SHADOW_REGISTER: _run_of(planned.shadow),
        **of_writer,
        # Kinds of their own, ``tell_follower:<name>``.
        **{follower.kind: follower.run for follower in planned.followers},
    }


def registration_jobs(parts: Parts, stores: AccountStores) -> RegistrationJobs:
    config = parts.config
    directory = _directory_notice(parts, stores)
    accounts = RegistrationNotice(parts.hooks.accounts.made)
    addresses = AddressNotice(parts.hooks.threepid_changes, stores.owners)
    reserved = None
    if config.blocking.reserved and stores.active_users is not None:
        reserved = ReservedUsers(reserved=config.blocking.reserved, users=stores.active_users)
    auto_join = None
    if config.rooms.auto_join:
        policies = [*config.terms.at_registration]
        auto_join = AutoJoinPlanner(config=config.rooms, policies=policies)
    email_pusher = None if stores.pushers is None else EmailPusher(stores.pushers)
    emails = None
    if parts.delegation is not None and stores.owners is not None:
        emails = parts.delegation.emails(stores.owners)
    shadow = _shadow_server(parts, stores)
    followers = tuple(FollowerNotice(item) for item in parts.hooks.followers)
    adds_pushers = config.email is not None and config.email.notifies_newcomers
    return RegistrationJobs(
        directory=directory,
        accounts=accounts,
        addresses=addresses,
        reserved=reserved,
        auto_join=auto_join,
        auto_joiner=_auto_joiner(parts, stores),
        email_pusher=email_pusher,
        emails=emails,
        shadow=shadow,
        followers=followers,
        planners=JobPlanners(
            for_all=(*_present(directory, accounts, addresses, emails), *followers),
            for_people=_present(
                reserved, auto_join, email_pusher if adds_pushers else None, shadow
            ),
        ),
    )


def warnings(config: Config, *, has_rooms: bool, has_sms_sender: bool) -> Sequence[str]:
    """Which jobs will wait, for the operator at each start. ``has_sms_sender``: the embedder
    brought an ISmsSender."""
    sentences, sms = [], config.phones.sms
    if config.rooms.auto_join and not has_rooms:
        sentences.append(
            "auto_join_rooms is set, but there is no homeserver to ask: newcomers are NOT joined "
            "to any room. Their jobs wait until regsys.homeserver names one (regsys jobs)."
        )
    if sms is not None and sms.url is None and not has_sms_sender:
        sentences.append(
            "regsys.sms is enabled, but has no url: codes for phone numbers are NOT sent. They "
            "wait until it names a gateway."
        )
    return sentences


class _Runs(Protocol):
    async def run(self, job: Job) -> None: ...


def _run_of(part: Optional[_Runs]) -> Optional[Handler]:
    return None if part is None else part.run


def _present(*planners: Optional[IJobPlanner]) -> Sequence[IJobPlanner]:
    return tuple(planner for planner in planners if planner is not None)


def _directory_notice(parts: Parts, stores: AccountStores) -> Optional[DirectoryNotice]:
    """None if there is no user directory."""
    shown = parts.config.registration.in_directory
    if stores.directory is not None:
        return DirectoryNotice(stores.directory, shown, users=stores.users)
    if parts.homeserver is not None and parts.delegation is not None:
        made = SynapseDirectory(homeserver=parts.homeserver, synapse=parts.delegation.synapse)
        return DirectoryNotice(made, shown, users=stores.users, knows_localparts=True)
    if parts.homeserver is not None:
        # Names in exclusive namespaces are made there by their services.
        beside = HomeserverDirectory(parts.homeserver)
        return DirectoryNotice(beside, shown, of_ghosts=False, users=stores.users)
    return None


def _shadow_server(parts: Parts, stores: AccountStores) -> Optional[ShadowServer]:
    config = parts.config.shadow_server
    if config is None:
        return None
    return ShadowServer(
        # Its own places: if it stalls, it takes none of any other server's.
        server=ShadowServerClient(config=config, http=parts.process.http.apart()),
        server_name=config.server_name,
        encryptor=Encryptor(parts.process.macaroon_secret),
        users=stores.users,
        jobs=parts.stores.jobs,
        start_jobs=parts.held_jobs.put,
        clock=parts.clock,
    )


def _auto_joiner(parts: Parts, stores: AccountStores) -> Optional[AutoJoiner]:
    if stores.rooms is None:
        return None
    return AutoJoiner(
        rooms=stores.rooms,
        server_state=parts.stores.server_state,
        users=stores.users,
        config=parts.config.rooms,
        server_name=parts.config.server_name,
    )
