"""Which user names may be registered (contract B1), and generated names (contract B2.5)."""

from __future__ import annotations

import string
from typing import Awaitable, Callable, Optional

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys import clock
from regsys.accounts.name_rules import NameRules
from regsys.config import RegistrationConfig
from regsys.errors import (
    AllNamesReserved,
    Forbidden,
    InvalidUsername,
    SessionFinished,
    Unavailable,
    UnknownToken,
    UsernameHeld,
    UsernameReserved,
    UsernameTaken,
)
from regsys.interfaces import IAccountStore, IAppservices, IAuth
from regsys.model import Secret, UserID
from regsys.model.identity import MAX_USER_ID_BYTES

ALLOWED = frozenset(string.ascii_lowercase + string.digits + "._=-/+")
# After so many numbers in a row that are taken or reserved, a namespace must reserve them all.
STEPS = 10_000
# For so long no number is tried after that: each try costs a write, and any client may ask.
GAVE_UP_S = 60.0
# The homeserver is asked about so many numbers for one name; the next request goes on from there.
ASKED_AT_ONCE = 500
# One number of each length: if all of these are reserved, trying more is useless.
NUMBERS = tuple("1234567890123456789"[:length] for length in range(1, 20))

log = Logger()

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def ascii_lower(name: str) -> str:
    """With ASCII letters in lower case. No other character may become a letter (contract B1.1)."""
    return name.translate(_LOWER)


@attr.define(eq=False, kw_only=True)
class Usernames:
    """The rules of names, asked in this order: grammar, reservations, length, the operator's
    ``rules``, who has it, who holds it (B1).
    ``exists_elsewhere``: whether a homeserver beside us has an account of this user ID, or
    Unavailable; None if there is no such homeserver. ``number_prefix``: what generated names begin
    with, before their number. ``decided_elsewhere``: the account is made there before its client is
    answered, so that asking once in a registration is enough. ``holder_of(name, now_ms)``: the UIA
    session that holds a name; None if names are not held."""

    server_name: str
    config: RegistrationConfig
    accounts: IAccountStore
    services: IAppservices
    auth: IAuth
    clock: IReactorTime
    rules: NameRules
    exists_elsewhere: Optional[Callable[[UserID], Awaitable[bool]]] = None
    number_prefix: str = ""
    decided_elsewhere: bool = False
    holder_of: Optional[Callable[[str, int], Awaitable[Optional[str]]]] = None
    # The services that the log has named already.
    _logged: set[str] = attr.field(init=False, factory=set, repr=False)
    _gave_up_s: Optional[float] = attr.field(init=False, default=None, repr=False)

    async def check(
        self,
        localpart: str,
        *,
        guest_access_token: Optional[Secret] = None,
        assigned_user_id: Optional[UserID] = None,
        early: bool = False,
        key: Optional[str] = None,
        takes_over: bool = False,
        guest_id: Optional[UserID] = None,
        asked_before: bool = False,
        by_admin: bool = False,
    ) -> Optional[UserID]:
        """Raise the first refusal of a name (contract B1), if any.

        ``assigned_user_id``: the name that the UIA session has already registered. ``early``: the
        request does not complete, so that with ``inhibit_user_in_use_error`` a taken name
        passes. ``key``: the registration's; a name that it holds passes, and one that it has taken
        itself, since the answer may have been lost, or another process may be about to give it.
        ``takes_over``: an administrator says that the account of this name at a homeserver beside
        us belongs to the same person. ``guest_id``: a guest whose access token was checked
        earlier, and is not needed again. Whether it still is a guest is decided in the account's
        transaction.
        ``asked_before``: the name was free in an earlier request of the same registration.
        ``by_admin``: an administrator chooses the name, and neither the operator's rules nor holds
        apply.

        Returns the guest who is being upgraded, or None.
        """
        user_id = UserID(localpart, self.server_name)
        silent = early and self.config.inhibit_user_in_use_error
        checked_guest = guest_id if guest_id == user_id else None
        try:
            guest = await self._check(
                user_id, guest_access_token, assigned_user_id, silent, checked_guest, by_admin
            )
            # A guest's own account is known to be ours.
            if guest is None and assigned_user_id is None and not (silent or takes_over):
                if not by_admin:
                    await self._check_hold(localpart, key)
                # Last, because it costs the most.
                if not (asked_before and self.decided_elsewhere):
                    await self.check_elsewhere(user_id)
            return guest
        except (UsernameTaken, UnknownToken, UsernameReserved, InvalidUsername):
            # The last two as well: the rules may have changed since the account was made.
            if not await self.has_made(key, user_id):
                raise
            return None

    async def has_made(self, key: Optional[str], user_id: UserID) -> bool:
        """Whether this idempotency key has made the account of this user."""
        return key is not None and await self.accounts.made_by(key) == user_id

    async def _check(
        self,
        user_id: UserID,
        guest_access_token: Optional[Secret],
        assigned_user_id: Optional[UserID],
        silent: bool,
        guest_id: Optional[UserID],
        by_admin: bool,
    ) -> Optional[UserID]:
        localpart = user_id.localpart
        self._check_grammar(localpart)
        if assigned_user_id is not None:
            if assigned_user_id != user_id:
                raise SessionFinished()
            return None
        self.check_not_reserved(user_id)
        if user_id.is_too_long:
            raise InvalidUsername(f"A user ID may have at most {MAX_USER_ID_BYTES} bytes.")
        if guest_access_token is not None:
            return await self._check_guest(user_id, guest_access_token)
        if guest_id is not None:
            return guest_id
        # Not earlier: a guest keeps its generated name, which nobody has chosen.
        if not by_admin:
            self.rules.check(localpart)
        if not silent and await self.accounts.is_taken(localpart):
            raise UsernameTaken()
        if localpart.isdigit():
            raise InvalidUsername("Names made up of digits only are kept for generated users.")
        return None

    def check_not_reserved(self, user_id: UserID, allowed_appservice: Optional[str] = None) -> None:
        """Raise UsernameReserved for the server-notices user, and for names of application services
        other than ``allowed_appservice`` (an id) (contract B1.5)."""
        notices = self.config.server_notices_localpart
        if notices is not None and user_id.name_key == notices.lower():
            raise UsernameReserved()
        if any(owner != allowed_appservice for owner in self.services.reserved_for(user_id)):
            raise UsernameReserved()

    async def _check_hold(self, localpart: str, key: Optional[str]) -> None:
        """Raise UsernameHeld for a name that a session other than ``key`` holds."""
        if self.holder_of is not None:
            holder = await self.holder_of(localpart, clock.now_ms(self.clock))
            if holder not in (None, key):
                raise UsernameHeld()

    async def check_elsewhere(self, user_id: UserID) -> None:
        """Raise UsernameTaken for a name that a homeserver beside us has, Unavailable if it does
        not answer."""
        if self.exists_elsewhere is not None and await self.exists_elsewhere(user_id):
            raise UsernameTaken()

    async def draw(self) -> UserID:
        """The next generated name that is neither taken nor reserved (contract B2.5). Raises
        AllNamesReserved if there is none."""
        now_s = self.clock.seconds()
        if self._gave_up_s is not None and 0 <= now_s - self._gave_up_s < GAVE_UP_S:
            raise AllNamesReserved()
        asked = 0
        for step in range(STEPS):
            localpart = f"{self.number_prefix}{await self.accounts.next_number()}"
            if self._is_reserved(localpart):
                if step == 0 and all(self._is_reserved(self.number_prefix + n) for n in NUMBERS):
                    break
            elif not await self.accounts.is_taken(localpart):
                user_id = UserID(localpart, self.server_name)
                if self.exists_elsewhere is None or not await self.exists_elsewhere(user_id):
                    return user_id
                asked += 1
                if asked == ASKED_AT_ONCE:
                    # A later try goes on after these numbers.
                    raise Unavailable()
        self._gave_up_s = self.clock.seconds()
        self._log_reserved(localpart)
        raise AllNamesReserved()

    def _is_reserved(self, localpart: str) -> bool:
        try:
            self.check_not_reserved(UserID(localpart, self.server_name))
        except UsernameReserved:
            return True
        return False

    def _log_reserved(self, localpart: str) -> None:
        """Log once which services reserve this name."""
        reserving = self.services.reserved_for(UserID(localpart, self.server_name))
        services = ", ".join(sorted(reserving)) or "none"
        if services in self._logged:
            return
        self._logged.add(services)
        log.error(
            "no user name can be generated: {localpart}, like the numbers before it, is taken or "
            "kept for application services ({services}). Guests and registrations "
            "without a name are REFUSED until namespaces leave some numbers to others",
            localpart=localpart,
            services=services,
        )

    def _check_grammar(self, localpart: str) -> None:
        if not ALLOWED.issuperset(localpart):
            raise InvalidUsername("A user name can contain only the characters a-z 0-9 . _ = - / +")
        if not localpart:
            raise InvalidUsername("A user name cannot be empty.")
        if localpart[0] == "_" and not self.config.allow_underscore_prefixed_localpart:
            raise InvalidUsername("A user name cannot begin with an underscore.")

    async def _check_guest(self, user_id: UserID, token: Secret) -> UserID:
        """A guest may register its own name, and no other (contract B1.7)."""
        requester = await self.auth.whose(token)
        if requester is None:
            raise UnknownToken()
        if not requester.is_guest or requester.user_id != user_id:
            raise Forbidden("A guest can only keep the user name that it has.")
        return user_id
