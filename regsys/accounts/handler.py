"""RegistrationHandler: what endpoints and embedders call."""

from __future__ import annotations

import functools
from typing import Any, Callable, Mapping, Optional, Sequence, Union

import attr
from twisted.logger import Logger

from regsys.accounts.admission import Admission
from regsys.accounts.appservice_account import Ghosts
from regsys.accounts.new_account import AccountPlanner, canonical_emails, canonical_threepids
from regsys.accounts.post_consent import PostConsent
from regsys.accounts.registration_fields import registration_of
from regsys.accounts.shadow_server import ShadowServer
from regsys.accounts.steps import Steps
from regsys.accounts.usernames import Usernames
from regsys.credentials.hashing import HashingPool
from regsys.errors import InvalidParam
from regsys.interfaces.internal import IRegistrationWriter
from regsys.model import (
    Created,
    DeviceRequest,
    Login,
    NewAccount,
    Registration,
    Secret,
    Threepid,
    User,
    UserID,
)
from regsys.model.accounts import Outcome
from regsys.model.typed import check_type
from regsys.storage.sessions import SessionStore

log = Logger()

_STEPS: Any = attr.Factory(
    lambda self: Steps(
        names=self._names,
        admission=self._admission,
        hasher=self.hasher,
        planner=self._planner,
        writer=self._writer,
    ),
    takes_self=True,
)


@attr.frozen(kw_only=True)
class RegistrationHandler:
    """Makes accounts and devices (contract B2, B4). Every refusal is one of ``regsys.errors``; a
    call that is wrong in itself is a TypeError or ValueError. A user ID may be a UserID or its
    text. ``hasher`` hashes and verifies passwords, for a /login of your own."""

    hasher: HashingPool
    _names: Usernames
    _admission: Admission
    _planner: AccountPlanner
    _ghosts: Ghosts
    _writer: IRegistrationWriter
    _post_consent: PostConsent
    _sessions: SessionStore
    _told_of_logouts: Callable[[UserID, Sequence[Optional[str]]], None] = lambda user_id, ids: None
    _shadow: Optional[ShadowServer] = None
    _steps: Steps = attr.field(init=False, default=_STEPS, repr=False)

    async def check_username(
        self,
        localpart: str,
        guest_access_token: Optional[Secret] = None,
        assigned_user_id: Union[UserID, str, None] = None,
        early: bool = False,
        key: Optional[str] = None,
        guest_id: Union[UserID, str, None] = None,
        asked_before: bool = False,
        by_admin: bool = False,
    ) -> Optional[UserID]:
        """Raise the first refusal of a name (contract B1), if any. Returns the guest who is to
        become a user, or None.

        ``assigned_user_id``: the name that the UIA session has already registered, or None.
        ``early``: the request does not complete a registration, so that with
        ``inhibit_user_in_use_error`` a taken name passes. ``key``: the registration's; a name that
        it has taken itself passes. ``guest_id``: a guest whose access token was checked earlier,
        and is not needed again. ``asked_before``: this name was checked in an earlier request of
        the same registration. ``by_admin``: an administrator chooses the name, so that the
        rules of ``regsys: {names}`` do not apply.
        """
        check_type("localpart", localpart, str)
        check_type("guest_access_token", guest_access_token, Secret, type(None))
        return await self._names.check(
            localpart,
            guest_access_token=guest_access_token,
            assigned_user_id=None if assigned_user_id is None else UserID.of(assigned_user_id),
            early=early,
            key=key,
            guest_id=None if guest_id is None else UserID.of(guest_id),
            asked_before=asked_before,
            by_admin=by_admin,
        )

    def check_user_id_not_appservice_exclusive(
        self, user_id: Union[UserID, str], allowed_appservice: Optional[str] = None
    ) -> None:
        """Raise UsernameReserved for a name that only an application service other than
        ``allowed_appservice`` (its id) may use, or that the server keeps for itself."""
        self._names.check_not_reserved(UserID.of(user_id), allowed_appservice)

    async def check_registration_ratelimit(self, address: Optional[str]) -> None:
        """Raise LimitExceeded if a registration from this IP address would be refused now. This
        only looks, and counts nothing: ``count_registration`` does. If ``address`` is None, there
        is no limit."""
        check_type("address", address, str, type(None))
        await self._admission.peek(address)

    async def count_registration(self, address: Optional[str]) -> None:
        """Count one registration against the limit of this IP address; LimitExceeded, and nothing
        is counted, if the limit is reached. If ``address`` is None, there is no limit. For accounts
        that you create without regsys: its own registrations are counted already."""
        check_type("address", address, str, type(None))
        await self._admission.take(address)

    async def register_user(
        self, registration: Optional[Registration] = None, /, **fields: Any
    ) -> Created:
        """Make the account, or find the one that ``registration.key`` has made.

        Instead of a Registration its fields may be given: ``register_user(localpart="alice")``. A
        retry of a call whose outcome is not known needs the same ``key``. A key is drawn if none
        is given, and then nobody can retry. A key is a secret: a call with it gets the account's
        login again. InvalidParam if it has made the account of another name than ``localpart``.

        The order is that of contract B2.1: cheap checks that refuse much come first. What was
        taken from the address's limit is given back if no account was made.
        """
        asked = registration_of(registration, fields)
        address = asked.client.address if asked.client else None
        created = await self._steps.counted(address, functools.partial(self._steps.register, asked))
        if not created.replayed:
            log.info(
                "registered {user_id} (guest={guest}, admin={admin}) from {address}",
                user_id=str(created.user_id),
                guest=asked.make_guest,
                admin=asked.admin,
                address=address,
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
        key: Optional[str] = None,
    ) -> Created:
        """Make an account for the application service whose token this is (contract B3.2).

        No limit, spam checker or blocking is asked, and the only jobs are those for all accounts
        (``JobPlanners``). If ``device`` is None, there is no login. ``threepids``: those that the
        service vouches for. With a ``key`` the call is idempotent: the same service, name and key
        again find the account that they have made, and its login. The key of another name, of
        another service or of ``register_user`` finds nothing. Raises MissingToken and UnknownToken,
        AppserviceLoginUnsupported for a device of a service whose users get none, InvalidUsername,
        UsernameReserved for a name that is not this service's, UsernameTaken, InvalidParam,
        ThreepidInUse, ThreepidChangeRefused.
        """
        check_type("localpart", localpart, str)
        check_type("key", key, str, type(None))
        if key == "":
            raise ValueError("appservice_register: key must not be empty: leave it out")
        check_type("as_token", as_token, Secret, type(None))
        check_type("password", password, Secret, type(None))
        vouched = canonical_threepids(threepids)
        new = await self._ghosts.plan(localpart, as_token, password, display_name, device, key)
        created = await self._steps.write(attr.evolve(new, threepids=vouched))
        if not created.replayed:
            log.info(
                "registered {user_id} for an application service (exclusive={exclusive})",
                user_id=str(created.user_id),
                exclusive=new.appservice_id is not None,
            )
        return created

    async def register_with_store(self, new: NewAccount, address: Optional[str] = None) -> Created:
        """Write an account that has passed all checks, with the jobs that it brings. Its addresses
        are brought to canonical form; InvalidParam for one that has none.

        ``address``: the client's IP address, if the account counts against the limit of
        registrations. LimitExceeded if that is reached; what was taken is given back if no account
        was made, or an earlier call with the key has made it. If it is None, there is no limit.
        InvalidParam if the key has made the account of another name.
        """
        check_type("new", new, NewAccount)
        check_type("address", address, str, type(None))
        if new.threepids:
            new = attr.evolve(
                new,
                threepids=canonical_threepids(new.threepids),
                vouched_emails=canonical_emails(new.vouched_emails),
            )
        new = self._planner.finished(new, address)
        return await self._steps.counted(
            address, functools.partial(self._steps.store_as_named, new)
        )

    async def repeat(self, outcome: Outcome) -> Created:
        """The answer that this outcome's key had, once more (contract B8.4)."""
        return await self._writer.repeat(outcome)

    async def register_device(
        self,
        user_id: Union[UserID, str],
        device_id: Optional[str] = None,
        initial_display_name: Optional[str] = None,
        is_guest: Optional[bool] = None,
        is_appservice_ghost: bool = False,
        auth_provider_id: Optional[str] = None,
        should_issue_refresh_token: bool = False,
        auth_provider_session_id: Optional[str] = None,
    ) -> Login:
        """Log in a device of an existing account (contract B4).

        If ``device_id`` is None, one is generated. If ``is_guest`` is None, it is as the account
        says; an embedded regsys without ``users`` takes the account for a user's then. Raises
        UserNotFound for an account that does not exist or is deactivated, AwaitingApproval for one
        of ours that waits for an administrator, InvalidParam for an unacceptable id or name, as
        clients send them, and for an ``is_guest`` that contradicts the account.
        """
        for sent in (device_id, initial_display_name):
            if not isinstance(sent, (str, type(None))):
                raise InvalidParam("The ID and the display name of a device must be strings.")
        check_type("is_guest", is_guest, bool, type(None))
        account = UserID.of(user_id)
        request = DeviceRequest(
            device_id=device_id,
            display_name=initial_display_name,
            is_appservice_ghost=is_appservice_ghost,
            wants_refresh_token=should_issue_refresh_token,
            auth_provider_id=auth_provider_id,
            auth_provider_session_id=auth_provider_session_id,
        )
        guest = await self._planner.is_guest(account, is_guest)
        return await self._log_in(account, request, guest)

    async def log_in(self, user: User, request: DeviceRequest) -> Login:
        """As ``register_device``, for an account that was just looked up, and is not looked up
        again. LoginFailed if its password has been changed since: then whoever has shown the old
        one gets no device. An application service shows none."""
        if not isinstance(user, User):
            raise TypeError(
                f"log_in(user): a {type(user).__name__} is no User, the account as it was looked"
                " up: register_device takes a user ID"
            )
        check_type("request", request, DeviceRequest)
        shown = None if request.is_appservice_ghost else user.password_fingerprint
        return await self._log_in(user.user_id, request, user.is_guest, shown)

    async def post_registration_actions(
        self,
        user_id: Union[UserID, str],
        auth_result: Optional[Mapping[str, Any]] = None,
        access_token: Optional[Secret] = None,
    ) -> None:
        """Do for an account that was made elsewhere what a registration here does (contract B6):
        add the addresses that were validated, record its consent, begin its jobs. Idempotent.

        ``auth_result`` maps each stage that was passed to its result: ``m.login.email.identity``
        and ``m.login.msisdn`` to {"medium", "address", "validated_at" (ms)}, ``m.login.terms`` to
        anything true; None if no stage was passed. A result that lacks a key, or names another
        account's address, is skipped. If ``access_token`` is None, there is no login. Raises
        UserNotFound.
        """
        passed = {} if auth_result is None else auth_result
        check_type("auth_result", passed, Mapping)
        check_type("access_token", access_token, Secret, type(None))
        await self._writer.post_registration_actions(UserID.of(user_id), passed, access_token)

    async def post_consent_actions(self, user_id: Union[UserID, str]) -> None:
        """Begin the jobs that waited until this user accepted the policies (contract B6.3).
        Idempotent. For consents that regsys records this happens by itself."""
        await self._post_consent.post_consent_actions(UserID.of(user_id))

    async def shadow_register(
        self,
        localpart: str,
        display_name: Optional[str] = None,
        auth_result: Optional[Mapping[str, Any]] = None,
        params: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """Have the shadow server register an account that was made elsewhere, by a job (contract
        B12.1). For the accounts of ``register_user`` this happens by itself. Idempotent.

        ``auth_result``: as in ``post_registration_actions``. ``params``, of the client's request:
        ``password`` (a Secret), ``device_id``, ``initial_device_display_name``, ``bind_email`` and
        ``bind_msisdn``. UserNotFound; ValueError if there is no ``shadow_server``.
        """
        check_type("localpart", localpart, str)
        if self._shadow is None:
            raise ValueError("shadow_register: the configuration has no shadow_server")
        user_id = UserID(localpart, self._names.server_name)
        await self._shadow.begin(user_id, display_name, auth_result or {}, params or {})

    async def deactivated(self, user_id: Union[UserID, str], erase: bool = False) -> bool:
        """Deactivate an account that regsys keeps: it loses its password, devices and tokens, and
        its name stays taken. An embedder calls this when its own account has been deactivated.

        Its addresses become free, the callbacks of removals are called, identity servers are asked
        to unbind, and its UIA and validation sessions are deleted. ``erase``: the user wants what
        was sent to be erased. Whether something was bound, and identity servers have unbound all
        of it. Idempotent: call it again if it raised.
        """
        check_type("erase", erase, bool)
        return await self._writer.deactivate(UserID.of(user_id), erase)

    async def logged_out(
        self, user_id: Union[UserID, str], device_id: Optional[str] = None
    ) -> None:
        """Call this when a homeserver has removed this device (None: each of the user's) from its
        own list: the registration that logged it in no longer repeats its answer (contract B8.4),
        and the callbacks ``hooks.logins.ended`` are called. Where regsys keeps the devices, logging
        out does this by itself.
        """
        await self._sessions.end_replays(UserID.of(user_id), device_id)
        self._told_of_logouts(UserID.of(user_id), [device_id])

    async def _log_in(
        self,
        user_id: UserID,
        request: DeviceRequest,
        is_guest: bool,
        password_fingerprint: Optional[str] = None,
    ) -> Login:
        device = self._planner.device(user_id, request, is_guest)
        device = attr.evolve(device, password_fingerprint=password_fingerprint)
        return await self._writer.register_device(user_id, device)
