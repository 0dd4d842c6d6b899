"""POST /account/password without HTTP: a user changes the password, or resets a forgotten one."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Union

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys import clock, json_body
from regsys.audit.audit_log import AuditLog
from regsys.client_api.credentials import PasswordCheck
from regsys.client_api.password_stage import FINGERPRINT
from regsys.credentials.hashing import HashingPool
from regsys.errors import (
    Forbidden,
    GuestForbidden,
    MissingParam,
    PasswordChangeDisabled,
    ThreepidNotValidated,
    UnknownSession,
)
from regsys.model import Challenge, Secret, UserID, token_text
from regsys.model.accounts import NewPassword
from regsys.model.login_types import PASSWORD
from regsys.storage.users import UserStore
from regsys.uia.confirmation import Confirmation, ConfirmationRequest, Confirmed
from regsys.uia.reauthentication import Reauthentication, ReauthenticationRequest
from regsys.uia.sessions import SESSION_ID_LETTERS

log = Logger()


@attr.frozen(kw_only=True)
class PasswordChanges:
    """``reauthentication`` is how a user who is logged in confirms the change; None if users have
    no passwords here. ``resets`` is how one who has forgotten it does; None if no address can be
    validated. ``secret`` is the server's."""

    users: UserStore
    passwords: PasswordCheck
    hasher: HashingPool
    reauthentication: Optional[Reauthentication]
    resets: Optional[Confirmation]
    clock: IReactorTime
    replay_window_ms: int
    audit: AuditLog
    secret: bytes = attr.field(repr=False)

    @property
    def enabled(self) -> bool:
        """Whether there are passwords that can be changed."""
        return self.reauthentication is not None

    async def change(self, request: ReauthenticationRequest) -> Optional[Challenge]:
        """A user who is logged in changes the password: None once it is changed. Raises
        PasswordChangeDisabled, GuestForbidden, PasswordRefused for a password that the policy does
        not allow, LimitExceeded, and as UserStore.change_password."""
        if self.reauthentication is None:
            raise PasswordChangeDisabled()
        if request.requester.is_guest:
            raise GuestForbidden()
        wanted = self._wanted(request.body)

        async def carry_out(confirmed: Confirmed) -> None:
            shown = confirmed.results.get(PASSWORD)
            await self._write(
                wanted,
                confirmed,
                request.requester.user_id,
                confirmed_by=shown.get(FINGERPRINT) if isinstance(shown, Mapping) else None,
                device_id=request.requester.device_id,
            )

        return _challenge(await self.reauthentication.carry_out(request, carry_out))

    async def reset(self, request: ConfirmationRequest) -> Optional[Challenge]:
        """A user who has forgotten the password sets a new one, confirmed by an address. Raises as
        ``change``."""
        if not self.enabled:
            raise PasswordChangeDisabled()
        if self.resets is None:
            raise Forbidden("Nobody can confirm a forgotten password by an address here.")
        wanted = self._wanted(request.body)

        async def carry_out(confirmed: Confirmed) -> None:
            (proof,) = [it for it in confirmed.results.values() if it is not None][:1]
            user_id = UserID.parse(proof["user_id"])
            await self._write(wanted, confirmed, user_id, reset_sid=proof["sid"])

        begun = attr.evolve(request, session_id=self._session_id(request))
        return _challenge(await self.resets.confirm(begun, carry_out))

    def _wanted(self, body: Mapping[str, Any]) -> _Wanted:
        """What the body asks for. The policy is checked before anything is to be confirmed."""
        given = json_body.string(body, "new_password", limit=json_body.MAX_PASSWORD)
        logout = json_body.boolean(body, "logout_devices", default=True)
        password = None if given is None else Secret(given)
        if password is not None:
            self.passwords.check_policy(password)
        return _Wanted(password=password, ends_logins=logout)

    async def _write(
        self,
        wanted: _Wanted,
        confirmed: Confirmed,
        user_id: UserID,
        *,
        confirmed_by: Optional[str] = None,
        device_id: Optional[str] = None,
        reset_sid: Optional[str] = None,
    ) -> None:
        password = wanted.required()
        key = confirmed.session_id or reset_sid
        # Under this key the pool knows the password again: a repeated request hashes nothing.
        new = NewPassword(
            user_id=user_id,
            password_hash=await self.hasher.hash(password, key),
            confirmed_by=confirmed_by,
            device_id=device_id,
            ends_logins=wanted.ends_logins,
            session_id=confirmed.session_id,
            session_until_ms=clock.now_ms(self.clock) + self.replay_window_ms,
            reset_sid=reset_sid,
        )
        if await self.users.change_password(new):
            log.info(
                "changed the password of {user_id} (reset={reset}, others logged out={logout})",
                user_id=str(user_id),
                reset=reset_sid is not None,
                logout=wanted.ends_logins,
            )
            await self.audit.changed(
                by=None,
                what="password-set",
                user_id=user_id,
                details={"ends_logins": wanted.ends_logins},
            )
        elif not await self._has(new, password):
            # What confirmed another password must not confirm this one.
            raise UnknownSession() if confirmed.session_id else ThreepidNotValidated()

    async def _has(self, new: NewPassword, password: Secret) -> bool:
        """Whether the account has this password, from an earlier try of this request."""
        user = await self.users.find(new.user_id.localpart)
        if user is None or user.password_hash is None:
            return False
        same = user.password_hash == new.password_hash
        return same or await self.hasher.verify(password, user.password_hash)

    def _session_id(self, request: ConfirmationRequest) -> Optional[str]:
        """The same for all requests with one validation session: apps ask every few seconds
        whether it is validated yet, each time without a session, and must not fill the table."""
        auth = json_body.mapping(request.body, "auth") or {}
        creds = auth.get("threepid_creds")
        if not isinstance(creds, Mapping):
            return None
        sid, client_secret = creds.get("sid"), creds.get("client_secret")
        if not (isinstance(sid, str) and isinstance(client_secret, str)):
            return None
        key = "\0".join([request.method, request.uri, sid, client_secret])
        return token_text.derived_letters(self.secret, "reset", key, SESSION_ID_LETTERS)


@attr.frozen(kw_only=True)
class _Wanted:
    """``password`` is None if the request has none, as the first of a dialogue may."""

    password: Optional[Secret]
    ends_logins: bool

    def required(self) -> Secret:
        if self.password is None or not self.password.reveal():
            raise MissingParam("'new_password' is missing.")
        return self.password


def _challenge(answer: Union[Confirmed, Challenge]) -> Optional[Challenge]:
    return answer if isinstance(answer, Challenge) else None
