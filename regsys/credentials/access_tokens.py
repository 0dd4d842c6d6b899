"""Issues, refreshes and checks access tokens (contract B4)."""

from __future__ import annotations

import secrets
from typing import Any, Mapping, Optional

import attr
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from regsys import clock, json_body
from regsys.config import TokensConfig
from regsys.errors import Forbidden, InvalidParam, UnknownToken
from regsys.interfaces import IAuth, IUserLookup
from regsys.model import (
    GUEST_DEVICE_ID,
    DeviceRequest,
    Login,
    LoginTerms,
    Requester,
    Secret,
    UserID,
    token_text,
)
from regsys.model.devices import StoredLogin
from regsys.model.typed import check_type
from regsys.storage.devices import DeviceStore

MAX_DEVICE_ID = 512
MAX_DISPLAY_NAME = 100


def earliest(*moments: Optional[int]) -> Optional[int]:
    """The earliest of these times that is not None; None if all are."""
    return min((moment for moment in moments if moment is not None), default=None)


def parse_device_request(body: Mapping[str, Any]) -> DeviceRequest:
    """The device that a request asks for. Raises BadJSON for wrong types, InvalidParam for values
    that are too long."""
    return DeviceRequest(
        device_id=json_body.string(body, "device_id", limit=MAX_DEVICE_ID),
        display_name=json_body.string(body, "initial_device_display_name", limit=MAX_DISPLAY_NAME),
        wants_refresh_token=json_body.boolean(body, "refresh_token"),
    )


def parse_login_request(body: Mapping[str, Any]) -> Optional[DeviceRequest]:
    """As ``parse_device_request``; None if the request has ``inhibit_login``."""
    device = parse_device_request(body)
    return None if json_body.boolean(body, "inhibit_login") else device


@attr.frozen(kw_only=True)
class Logins:
    """Computes the terms of logins and issues their tokens. The tokens are derived from an
    idempotency key and the server's ``secret``."""

    config: TokensConfig
    secret: bytes = attr.field(repr=False)
    guests: GuestTokens
    clock: IReactorTime

    def terms(self, request: DeviceRequest, *, is_guest: bool = False) -> LoginTerms:
        """The terms of the requested login from now on: its device id and lifetimes. ``is_guest``:
        the account is a guest's.

        Raises InvalidParam for a device id or display name that is too long, Forbidden for a guest
        if sessions must end (contract B4.2)."""
        if len(request.device_id or "") > MAX_DEVICE_ID:
            raise InvalidParam(f"A device ID may have at most {MAX_DEVICE_ID} characters.")
        if len(request.display_name or "") > MAX_DISPLAY_NAME:
            raise InvalidParam(
                f"A device's display name may have at most {MAX_DISPLAY_NAME} characters."
            )
        if is_guest:
            if self.config.session_lifetime_ms is not None:
                # A guest's self-contained token cannot expire (contract B4.2).
                raise Forbidden("Guests are not welcome on this server.")
            return LoginTerms(device_id=GUEST_DEVICE_ID, is_guest=True)
        device_id = request.device_id or token_text.random_letters(10, token_text.CAPITALS)
        refreshes = (
            request.wants_refresh_token
            and self.config.refreshable_access_token_lifetime_ms is not None
        )
        return self.lifetimes(device_id, refreshes, self._after(self.config.session_lifetime_ms))

    def lifetimes(
        self, device_id: str, refreshes: bool, session_until_ms: Optional[int]
    ) -> LoginTerms:
        """The terms from now on; no lifetime exceeds the session's end (contract B4.4)."""
        config = self.config
        if refreshes:
            access_ms = config.refreshable_access_token_lifetime_ms
            refresh_until_ms = earliest(
                self._after(config.refresh_token_lifetime_ms), session_until_ms
            )
        else:
            access_ms = config.nonrefreshable_access_token_lifetime_ms
            refresh_until_ms = None
        return LoginTerms(
            device_id=device_id,
            refreshable=refreshes,
            valid_until_ms=earliest(self._after(access_ms), session_until_ms),
            refresh_until_ms=refresh_until_ms,
            session_until_ms=session_until_ms,
        )

    def issue(self, user_id: UserID, terms: LoginTerms, key: str) -> Login:
        """The tokens for these terms. The same arguments give the same tokens (contract B4.7)."""
        if terms.is_guest:
            nonce = token_text.derived_letters(self.secret, "guest", key, 16, token_text.SYMBOLS)
            return Login(terms=terms, access_token=self.guests.make(user_id, nonce))
        letters = token_text.derived_letters(self.secret, "access", key, 20)
        access = Secret(token_text.access_token(user_id.localpart, letters))
        refresh: Optional[Secret] = None
        if terms.refreshable:
            letters = token_text.derived_letters(self.secret, "refresh", key, 20)
            refresh = Secret(token_text.refresh_token(user_id.localpart, letters))
        made_with = Secret(key) if self.config.keeps_keys else None
        return Login(terms=terms, access_token=access, refresh_token=refresh, made_with=made_with)

    def _after(self, lifetime_ms: Optional[int]) -> Optional[int]:
        return None if lifetime_ms is None else clock.now_ms(self.clock) + lifetime_ms


@attr.frozen(kw_only=True)
class GuestTokens:
    """The self-contained tokens of guests: macaroons, version 1 (contract B4.2)."""

    server_name: str
    secret: bytes = attr.field(repr=False)

    def make(self, user_id: UserID, nonce: str) -> Secret:
        from pymacaroons import MACAROON_V1, Macaroon

        macaroon = Macaroon(
            location=self.server_name, identifier="key", key=self.secret, version=MACAROON_V1
        )
        for caveat in (
            "gen = 1",
            "type = access",
            f"user_id = {user_id}",
            f"nonce = {nonce}",
            "guest = true",
        ):
            macaroon.add_first_party_caveat(caveat)
        return Secret(macaroon.serialize())

    def read(self, token: Secret) -> Optional[UserID]:
        """The guest of a token of ours; None for any other token. The caller checks whether the
        guest still exists."""
        from pymacaroons import Macaroon, Verifier

        try:
            macaroon = Macaroon.deserialize(token.reveal())
            caveats = [caveat.caveat_id for caveat in macaroon.caveats]
            user_id = next(item[10:] for item in caveats if item.startswith("user_id = "))
            verifier = Verifier()
            for exact in ("gen = 1", "type = access", f"user_id = {user_id}", "guest = true"):
                verifier.satisfy_exact(exact)
            verifier.satisfy_general(lambda caveat: caveat.startswith("nonce = "))
            verifier.verify(macaroon, self.secret)
            return UserID.parse(user_id) if "guest = true" in caveats else None
        except Exception:
            # The parser may raise anything for arbitrary bytes: this is no token of ours.
            return None


@implementer(IAuth)
@attr.frozen(kw_only=True)
class TokenAuth:
    """Looks up the users of the tokens that regsys itself has issued, or has adopted from another
    server, which may have any form."""

    logins: DeviceStore
    accounts: IUserLookup
    guests: GuestTokens
    clock: IReactorTime

    async def whose(self, token: Secret) -> Optional[Requester]:
        check_type("token", token, Secret)
        # A guest's token says itself whose it is; adopted tokens of users may be macaroons, too.
        guest = None if token.reveal().startswith("syt_") else self.guests.read(token)
        if guest is not None:
            return await self._guest(guest)
        login = await self.logins.by_access(token_text.token_hash(token.reveal()))
        if login is None or login.deactivated:
            return None
        check_live(login, login.terms.valid_until_ms, clock.now_ms(self.clock))
        if login.replaces is not None:
            await self.logins.confirm(login.access_hash)
        return Requester(
            user_id=login.user_id,
            device_id=login.terms.device_id,
            is_admin=login.admin,
            valid_until_ms=login.terms.valid_until_ms,
        )

    async def _guest(self, user_id: UserID) -> Optional[Requester]:
        user = await self.accounts.find(user_id.localpart)
        if user is None or not user.is_guest or user.deactivated or user.user_id != user_id:
            return None
        return Requester(user_id=user.user_id, device_id=GUEST_DEVICE_ID, is_guest=True)


def check_live(login: StoredLogin, until_ms: Optional[int], now: int) -> None:
    """Raise UnknownToken if the pair is spent or has expired (contract B4.6)."""
    session_ends = login.terms.session_until_ms
    if login.spent or (until_ms is not None and until_ms <= now):
        raise UnknownToken(soft_logout=session_ends is None or session_ends > now)


@attr.frozen(kw_only=True)
class Refresher:
    """Exchanges a refresh token for a new pair (contract B4.6)."""

    logins: Logins
    store: DeviceStore
    clock: IReactorTime

    async def refresh(self, token: Secret) -> Login:
        """The new pair. The old pair is spent once one of the new tokens was used; until then the
        same refresh token may be used again. Raises UnknownToken."""
        old = await self.store.by_refresh(token_text.token_hash(token.reveal()))
        if old is None or old.deactivated:
            raise UnknownToken()
        check_live(old, old.terms.refresh_until_ms, clock.now_ms(self.clock))
        if self.logins.config.refreshable_access_token_lifetime_ms is None:
            raise UnknownToken(soft_logout=True)
        if old.replaces is not None:
            await self.store.confirm(old.access_hash)
        terms = self.logins.lifetimes(old.terms.device_id, True, old.terms.session_until_ms)
        new = self.logins.issue(old.user_id, terms, secrets.token_hex(16))
        if not await self.store.succeed(old.access_hash, old.user_id, new):
            # A concurrent request has spent it.
            raise UnknownToken(soft_logout=True)
        return new
