"""RegistrationHandler: the order of the steps of a registration, and what embedders call."""

from __future__ import annotations

import functools
from typing import Any, Callable, Mapping, Optional, Sequence

import attr
from twisted.logger import Logger

from regsys.accounts.admission import Admission
from regsys.accounts.appservice_account import Ghosts
from regsys.accounts.new_account import AccountPlanner
from regsys.accounts.post_consent import PostConsent
from regsys.accounts.usernames import Usernames
from regsys.credentials.hashing import HashingPool
from regsys.errors import NoFreeName, UsernameTaken
from regsys.interfaces import Verdict
from regsys.interfaces.internal import IJobPlanner, IRegistrationWriter
from regsys.model import (
    Created,
    DeviceRequest,
    Login,
    NewAccount,
    Registration,
    Secret,
    Threepid,
    UserID,
)
from regsys.model.accounts import Outcome
from regsys.storage.sessions import SessionStore

log = Logger()

# Lost races for generated names after which a registration is refused (contract B2.5).
LOST_RACES = 10


@attr.frozen(kw_only=True)
class RegistrationHandler:
    """Makes accounts and devices (contract B2, B4). Every refusal is one of ``regsys.errors``."""

    names: Usernames
    admission: Admission
    hasher: HashingPool
    planner: AccountPlanner
    ghosts: Ghosts
    planners: IJobPlanner
    writer: IRegistrationWriter
    post_consent: PostConsent
    sessions: SessionStore

    async def check_username(
        self,
        localpart: str,
        guest_access_token: Optional[Secret] = None,
        assigned_user_id: Optional[UserID] = None,
        early: bool = False,
        key: Optional[str] = None,
        guest_id: Optional[UserID] = None,
    ) -> Optional[UserID]:
        """Raise the first refusal of a name (contract B1), if any. Returns the guest who is to
        become a user, or None.

        ``assigned_user_id``: the name that the UIA session has already registered, or None.
        ``early``: the request does not complete a registration, so that with
        ``inhibit_user_in_use_error`` a taken name passes. ``key``: the registration's; a name that
        it has taken itself passes. ``guest_id``: a guest whose access token was checked earlier,
        and is not needed again.
        """
        return await self.names.check(
            localpart,
            guest_access_token=guest_access_token,
            assigned_user_id=assigned_user_id,
            early=early,
            key=key,
            guest_id=guest_id,
        )

    def check_user_id_not_appservice_exclusive(
        self, user_id: UserID, allowed_appservice: Optional[str] = None
    ) -> None:
        """Raise UsernameReserved for a name that only an application service other than
        ``allowed_appservice`` (its id) may use, or that the server keeps for itself."""
        self.names.check_not_reserved(user_id, allowed_appservice)

    async def check_registration_ratelimit(self, address: Optional[str]) -> None:
        """Raise LimitExceeded if a registration from this address would be refused now. If
        ``address`` is None, there is no limit."""
        await self.admission.peek(address)

    async def register_user(self, registration: Registration) -> Created:
        """Make the account, or find the one that ``registration.key`` has made.

        The order is that of contract B2.1: cheap checks that refuse much come first. What was
        taken from the address's limit is given back if no account was made.
        """
        await self.admission.take(registration)
        try:
            created = await self._register(registration)
        except BaseException:
            await self.admission.give_back(registration)
            raise
        if created.replayed:
            await self.admission.give_back(registration)
        else:
            log.info(
                "registered {user_id} (guest={guest}, admin={admin}) from {address}",
                user_id=str(created.user_id),
                guest=registration.make_guest,
                admin=registration.admin,
                address=registration.client.address if registration.client else None,
            )
        return created

    async def appservice_register(
        self,
        localpart: str,
        as_token: Optional[Secret],
        password: Optional[Secret] = None,
        display_name: Optional[str] = None,
        device: Optional[DeviceRequest] = None,
        threepids: Sequence[Threepid] = (),
    ) -> Created:
        """Make an account for the application service whose token this is (contract B3.2).

        No limit, spam checker or blocking is asked, and the only jobs are those for all accounts
        (``JobPlanners``). If ``device`` is None, there is no login. ``threepids``: those that the
        service vouches for. Raises MissingToken and UnknownToken, AppserviceLoginUnsupported for a
        device of a service whose users get none, InvalidUsername, UsernameReserved for a name that
        is not this service's, UsernameTaken, ThreepidInUse, ThreepidChangeRefused.
        """
        new = await self.ghosts.plan(localpart, as_token, password, display_name, device)
        if threepids:
            await self.admission.check_additions(new.user_id, threepids)
            new = attr.evolve(new, threepids=tuple(threepids))
        created = await self.register_with_store(new)
        log.info(
            "registered {user_id} for an application service (exclusive={exclusive})",
            user_id=str(created.user_id),
            exclusive=new.appservice_id is not None,
        )
        return created

    async def register_with_store(self, new: NewAccount) -> Created:
        """Write an account that has passed all checks, with the jobs that it brings."""
        jobs = tuple(self.planners.jobs_for(new))
        if jobs:
            new = attr.evolve(new, jobs=jobs)
        return await self.writer.create_account(new)

    async def repeat(self, outcome: Outcome) -> Created:
        """The answer that this outcome's key had, once more (contract B8.4)."""
        return await self.writer.repeat(outcome)

    async def register_device(
        self,
        user_id: UserID,
        device_id: Optional[str] = None,
        initial_display_name: Optional[str] = None,
        is_guest: bool = False,
        is_appservice_ghost: bool = False,
        auth_provider_id: Optional[str] = None,
        should_issue_refresh_token: bool = False,
        auth_provider_session_id: Optional[str] = None,
    ) -> Login:
        """Log in a device of an existing account (contract B4).

        If ``device_id`` is None, one is generated. Raises UserNotFound for an account that does not
        exist or is deactivated, AwaitingApproval for one of ours that waits for an administrator,
        InvalidParam for an unacceptable id or name.
        """
        request = DeviceRequest(
            device_id=device_id,
            display_name=initial_display_name,
            is_guest=is_guest,
            is_appservice_ghost=is_appservice_ghost,
            wants_refresh_token=should_issue_refresh_token,
            auth_provider_id=auth_provider_id,
            auth_provider_session_id=auth_provider_session_id,
        )
        return await self.writer.register_device(user_id, self.planner.device(user_id, request))

    async def post_registration_actions(
        self,
        user_id: UserID,
        auth_result: Mapping[str, Any],
        access_token: Optional[Secret] = None,
    ) -> None:
        """Do for an account that was made elsewhere what a registration here does (contract B6):
        add the addresses that were validated, record its consent, begin its jobs. Idempotent.

        ``auth_result`` maps each stage that was passed to its result: ``m.login.email.identity``
        and ``m.login.msisdn`` to {"medium", "address", "validated_at" (ms)}, ``m.login.terms`` to
        anything true. A result that lacks a key, or names another account's address, is skipped. If
        ``access_token`` is None, there is no login. Raises UserNotFound.
        """
        await self.writer.post_registration_actions(user_id, auth_result, access_token)

    async def post_consent_actions(self, user_id: UserID) -> None:
        """Begin the jobs that waited until this user accepted the policies (contract B6.3).
        Idempotent. For consents that regsys records this happens by itself."""
        await self.post_consent.post_consent_actions(user_id)

    async def deactivated(self, user_id: UserID) -> None:
        """Deactivate an account that regsys keeps: it loses its password, devices and tokens, and
        its name stays taken. An embedder calls this when its own account has been deactivated.

        Its addresses become free, the callbacks of removals are called, identity servers are asked
        to unbind, and its UIA and validation sessions are deleted. Idempotent: call it again if it
        raised.
        """
        await self.writer.deactivate(user_id)

    async def logged_out(self, user_id: UserID, device_id: Optional[str] = None) -> None:
        """Call this when a homeserver has removed this device (None: each of the user's) from its
        own list: the registration that logged it in no longer repeats its answer (contract B8.4).
        Idempotent. Where regsys keeps the devices, logging out does this by itself.
        """
        await self.sessions.end_replays(user_id, device_id)

    # --- the steps -----------------------------------------------------------------------

    async def _register(self, registration: Registration) -> Created:
        planned = self.planner.plan(registration)
        verdict = await self.admission.check_spam(registration)
        await self.admission.check_threepids_and_blocking(planned.registration)
        guest = None
        if registration.localpart is not None and not registration.name_checked:
            guest = await self._check_name(registration, registration.localpart)
        password_hash = registration.password_hash
        if registration.password is not None:
            password_hash = await self.hasher.hash(registration.password, registration.session_id)
        account = functools.partial(
            planned.account,
            password_hash=password_hash,
            shadow_banned=verdict is Verdict.SHADOW_BAN,
            upgrades_guest=guest is not None,
        )
        return await self._write(registration.localpart, account)

    async def _check_name(self, registration: Registration, localpart: str) -> Optional[UserID]:
        """Check the name. Returns the guest who is being upgraded, or None."""
        return await self.names.check(
            localpart,
            guest_access_token=registration.guest_access_token,
            key=registration.key,
            takes_over=registration.takes_over,
            guest_id=registration.guest_id,
        )

    async def _write(
        self, localpart: Optional[str], account: Callable[[UserID], NewAccount]
    ) -> Created:
        """Write the account under its name, or under a generated one, for which another
        registration may win the race."""
        if localpart is not None:
            return await self._write_as(account(UserID(localpart, self.names.server_name)))
        for _ in range(LOST_RACES):
            try:
                return await self._write_as(account(await self.names.draw()))
            except UsernameTaken:
                continue
        raise NoFreeName()

    async def _write_as(self, new: NewAccount) -> Created:
        # Not earlier: the callbacks get the name of the account that will have the address.
        if new.threepids:
            await self.admission.check_additions(new.user_id, new.threepids)
        return await self.register_with_store(new)
