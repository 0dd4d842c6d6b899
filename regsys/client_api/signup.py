"""The dialogue of POST /register, without HTTP: returns Registered or Challenge (contract B13)."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence, Union

import attr
from twisted.internet.defer import Deferred

from regsys import clock, json_body
from regsys.accounts.handler import RegistrationHandler
from regsys.accounts.shadow_server import BINDS
from regsys.client_api.chosen_names import ChosenNames
from regsys.client_api.name_holds import NameHolds, asked_localpart
from regsys.client_api.register_request import RegisterRequest
from regsys.client_api.session_passwords import SessionPasswords
from regsys.config import PasswordsConfig, RegistrationConfig
from regsys.credentials.passwords import check_policy
from regsys.errors import (
    AwaitingApproval,
    GuestsNotWelcome,
    InvalidParam,
    InvalidRegistrationToken,
    MissingParam,
    PasswordNeededAgain,
    RegistrationDisabled,
    RegistrationError,
    StageFailed,
    Unrecognized,
    UsernameHeld,
)
from regsys.interfaces import IStage, IUserLookup
from regsys.model import (
    Challenge,
    Client,
    Created,
    DeviceRequest,
    Registration,
    Secret,
    UIASession,
    UserID,
)
from regsys.threepids.addresses import NewcomersThreepids
from regsys.threepids.stages import threepids_in
from regsys.uia.sessions import Auth, Flow, Progress, UserInteractiveAuth
from regsys.uia.stage_types import REGISTRATION_TOKEN, TERMS

METHOD = "POST"


@attr.frozen(kw_only=True)
class SignupRequest:
    """One POST /register. ``uri`` is path and query as sent; ``access_token`` is None if none was
    sent. ``languages``: the client's, the preferred one first. ``gone`` fires when the client has
    disconnected; None if that is not known."""

    kind: str
    body: Mapping[str, Any] = attr.field(repr=False)
    uri: str
    client: Client
    access_token: Optional[Secret] = None
    languages: Sequence[str] = ()
    gone: Optional[Deferred[Any]] = attr.field(default=None, eq=False, repr=False)


@attr.frozen(kw_only=True)
class Registered:
    """The account is created. ``created.login`` is None after ``inhibit_login``."""

    created: Created


@attr.frozen(kw_only=True)
class _Turn:
    """A request with its session, which an earlier request has stored if ``is_stored``.
    ``known_name``: the user name that an earlier request asked for, and that was checked then."""

    request: SignupRequest
    wanted: RegisterRequest
    password: Optional[Secret]
    auth: Auth
    session: UIASession
    is_stored: bool
    known_name: Optional[str] = None


@attr.frozen(kw_only=True)
class Signup:
    """``flows``: those on offer, each a tuple of stages (B8.6). ``policies`` maps the name of each
    policy to the version that must be accepted. Without ``users`` a repeated answer does not say
    that the account waits for approval. ``has_shadow``: a shadow server is told of accounts."""

    handler: RegistrationHandler
    uia: UserInteractiveAuth
    newcomers: NewcomersThreepids
    names: ChosenNames
    holds: NameHolds
    hashes: SessionPasswords
    flows: Sequence[Flow]
    registration: RegistrationConfig
    passwords: PasswordsConfig
    policies: Mapping[str, str] = attr.field(factory=dict)
    users: Optional[IUserLookup] = None
    has_shadow: bool = False

    def stages_in_flows(self) -> Sequence[IStage]:
        """The stages that are part of some flow."""
        names = dict.fromkeys(name for flow in self.flows for name in flow)
        return [self.uia.stages[name] for name in names]

    async def attempt(self, request: SignupRequest) -> Union[Registered, Challenge]:
        """One request of the dialogue. The checks have the order of contract B13, except that a
        finished session repeats its answer before any stage is tried."""
        await self.handler.check_registration_ratelimit(request.client.address)
        if request.kind == "guest":
            return await self._guest(request)
        if request.kind != "user":
            raise Unrecognized("There is no such kind of registration.")
        wanted = RegisterRequest.from_body(
            request.body, self.names.asks_modules, keeps_binds=self.has_shadow
        )
        if request.access_token is not None:
            raise InvalidParam("Registering takes no access token: leave it out.")
        if not self.registration.enabled:
            raise RegistrationDisabled()
        password = self._password(request.body)
        auth = Auth.from_body(request.body)
        if auth.session_id is None:
            session = self.uia.begin(METHOD, request.uri, request.client, wanted.session_params)
            return await self._dialogue(
                _Turn(
                    request=request,
                    wanted=wanted,
                    password=password,
                    auth=auth,
                    session=session,
                    is_stored=False,
                )
            )
        async with self.uia.turn(auth.session_id, request.gone):
            session = await self.uia.find(auth.session_id, METHOD, request.uri)
            known_name = asked_localpart(session)
            if not wanted.empty:
                session = attr.evolve(session, params=wanted.session_params)
            return await self._dialogue(
                _Turn(
                    request=request,
                    wanted=wanted,
                    password=password,
                    auth=auth,
                    session=self.hashes.with_password_id(session, password),
                    is_stored=True,
                    known_name=known_name,
                )
            )

    async def _guest(self, request: SignupRequest) -> Registered:
        if not self.registration.allow_guest_access:
            raise GuestsNotWelcome()
        name = json_body.string(request.body, "initial_device_display_name")
        registration = Registration(
            make_guest=True,
            client=request.client,
            device=DeviceRequest(display_name=name),
        )
        return Registered(created=await self.handler.register_user(registration))

    def _password(self, body: Mapping[str, Any]) -> Optional[Secret]:
        """The password, checked against the policy; None if it is missing or empty (B16.6)."""
        password = json_body.string(body, "password", limit=json_body.MAX_PASSWORD)
        if not password:
            return None
        check_policy(self.passwords.policy, password)
        return Secret(password)

    async def _dialogue(self, turn: _Turn) -> Union[Registered, Challenge]:
        """Take a session as far as this request allows: to the account, or to a challenge."""
        session, finished, guest = turn.session, turn.session.finished, None
        # Where names are derived, that of a finished session may differ from the requested one.
        if finished is None or not self.names.may_replace:
            guest = await self._check(turn, finished.user_id if finished else None)
        if finished is not None:
            device = turn.wanted.device(session.params)
            return await self._registered(await self.handler.repeat(finished), device)
        if guest is not None:
            # Store which guest has sent its token, not the token (B2.4).
            session = attr.evolve(session, guest_id=guest)
        attempted = await self.uia.attempt(session, turn.auth, turn.request.client)
        progress = self._with_current_terms(attempted)
        if not progress.completes(self.flows):
            if turn.is_stored:
                if not (await self._save(turn, session, progress) or self.holds.silent):
                    raise UsernameHeld()
            else:
                # A session that completes at once is not stored, and needs no password id.
                session = self.hashes.with_password_id(session, turn.password)
                session = await self.holds.store(session, progress)
            self.hashes.hash_soon(session, turn.password)
            return self.uia.challenge(session, progress, self.flows, asked=turn.auth.given)
        try:
            return await self._complete(self._registration(turn, session, progress, guest), session)
        except RegistrationError as error:
            if isinstance(error, InvalidRegistrationToken):
                # It has expired or was revoked since its stage was passed.
                failure = StageFailed(error.errcode, error.text)
                progress = progress.undone(REGISTRATION_TOKEN, failure)
            # The session goes on, with the stages that it has passed (B16.1).
            if turn.is_stored:
                await self._save(turn, session, progress)
                self.hashes.hash_soon(session, turn.password)
            if progress.failure is None:
                raise
            return self.uia.challenge(session, progress, self.flows, asked=True)

    def _with_current_terms(self, progress: Progress) -> Progress:
        """The same, but the terms must be accepted again if a policy's version has changed."""
        if not self.policies or progress.results.get(TERMS) in (None, self.policies):
            return progress
        return attr.evolve(progress, results={**progress.results, TERMS: None})

    async def _check(self, turn: _Turn, registered: Optional[UserID]) -> Optional[UserID]:
        """Check the user name before any stage is tried. ``registered``: the account that the
        session has made already. Returns the guest who is to become a user, or None."""
        session, token = turn.session, turn.wanted.guest_access_token
        localpart = asked_localpart(session)
        if localpart is not None:
            return await self.handler.check_username(
                localpart,
                guest_access_token=token,
                assigned_user_id=registered,
                early=True,
                # Another process may have finished this session since it was looked up.
                key=session.session_id if turn.is_stored else None,
                guest_id=session.guest_id,
                asked_before=localpart == turn.known_name,
            )
        if token is not None:
            raise MissingParam("'username' must name the guest who is to become a user.")
        return None

    def _registration(
        self, turn: _Turn, session: UIASession, progress: Progress, guest: Optional[UserID]
    ) -> Registration:
        """The registration that the session asks for, with this request's password."""
        request, wanted = turn.request, turn.wanted
        return Registration(
            key=session.session_id,
            session_id=session.session_id if turn.is_stored else None,
            localpart=asked_localpart(session),
            password=turn.password,
            guest_access_token=wanted.guest_access_token,
            guest_id=guest,
            client=request.client,
            clients=tuple(dict.fromkeys((*session.clients, request.client))),
            languages=tuple(request.languages),
            device=wanted.device(session.params),
            registration_token=progress.results.get(REGISTRATION_TOKEN),
            consents=self.policies if TERMS in progress.completed else {},
            stages={stage: progress.results[stage] for stage in progress.completed},
            threepids=threepids_in(progress.results),
            # _check has looked the name up, unless it must not tell that a name is taken.
            name_checked=not self.registration.inhibit_user_in_use_error
            and session.guest_id is None,
            threepids_checked=True,  # by _complete
            binds=tuple(name for name in BINDS if session.params.get(name) is True),
        )

    async def _complete(self, registration: Registration, session: UIASession) -> Registered:
        for threepid in registration.threepids:
            await self.newcomers.check_allowed(threepid.medium, threepid.address)
        if registration.password is None:
            session = await self.hashes.with_hash(session)
            if session.finished is not None:
                # Another process has finished it meanwhile.
                created = await self.handler.repeat(session.finished)
                return await self._answer(created, registration)
            if session.password_hash is None:
                raise _no_password(session)
            registration = attr.evolve(registration, password_hash=session.password_hash)
        registration = await self.names.with_names(registration, session.params)
        await self.newcomers.check_free(registration.threepids, registration.key)
        created = await self.handler.register_user(registration)
        return await self._answer(created, registration)

    async def _answer(self, created: Created, registration: Registration) -> Registered:
        asked = registration.localpart
        # A name that was chosen for the client may be another one each time.
        if asked not in (None, created.user_id.localpart) and not self.names.asks_modules:
            # Another request of this session has asked for another name.
            await self.handler.check_username(asked, assigned_user_id=created.user_id)
        return await self._registered(created, registration.device)

    async def _registered(self, created: Created, device: Optional[DeviceRequest]) -> Registered:
        """The answer. ``device``: the one that the client has asked for; None for no login."""
        if self.registration.requires_approval:
            raise AwaitingApproval()
        # A module may have decided that this one account waits: then it has no login.
        if device is not None and created.login is None and await self._waits(created):
            raise AwaitingApproval()
        return Registered(created=created)

    async def _waits(self, created: Created) -> bool:
        """Whether this account, which has no login, waits for approval. The request that has made
        it may have asked for none."""
        if not created.replayed:
            return True
        user = None if self.users is None else await self.users.find(created.user_id.localpart)
        return user is not None and not user.approved

    async def _save(self, turn: _Turn, session: UIASession, progress: Progress) -> bool:
        """False if another session holds the name by now."""
        # A new password removes the earlier one's hash: else another process could complete the
        # session with that before the new hash is stored.
        return await self.uia.sessions.save(
            session.session_id,
            turn.request.client,
            session.params,
            progress.results,
            password_id=None if turn.password is None else session.password_id,
            hashing_until_ms=session.hashing_until_ms,
            guest_id=session.guest_id,
            hold=self.holds.wanted(session),
            failure=progress.failed_at(clock.now_ms(self.uia.clock)),
        )


def _no_password(session: UIASession) -> MissingParam:
    if session.password_id is not None:
        return PasswordNeededAgain()
    return MissingParam("'password' is missing.")
