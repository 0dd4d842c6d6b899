"""Which user names may be registered (BEHAVIOUR B1), and the drawing of generated ones (B2.5)."""

from __future__ import annotations

import string
from typing import Optional

import attr
from zope.interface import implementer

from regsys.config import RegistrationConfig
from regsys.errors import (
    Forbidden,
    InvalidUsername,
    NoFreeName,
    SessionFinished,
    UnknownToken,
    UsernameReserved,
    UsernameTaken,
)
from regsys.interfaces import IAccountStore, IAppservices, IAuth, INames
from regsys.model import MAX_USER_ID_BYTES, Secret, UserID

ALLOWED = frozenset(string.ascii_lowercase + string.digits + "._=-/+")
# More numbers than this in a row that are all taken or reserved: somebody reserves them all.
STEPS = 10_000

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def ascii_lower(name: str) -> str:
    """Lower-case ASCII letters and nothing else: no other character may become a letter (B1.1)."""
    return name.translate(_LOWER)


@implementer(INames)
@attr.frozen(kw_only=True)
class Usernames:
    server_name: str
    config: RegistrationConfig
    accounts: IAccountStore
    services: IAppservices
    auth: IAuth

    async def check(
        self,
        localpart: str,
        *,
        guest_access_token: Optional[Secret] = None,
        assigned_user_id: Optional[UserID] = None,
        early: bool = False,
        key: Optional[str] = None,
    ) -> Optional[UserID]:
        user_id = UserID(localpart, self.server_name)
        try:
            return await self._check(user_id, guest_access_token, assigned_user_id, early)
        except (UsernameTaken, UnknownToken):
            made = None if key is None else await self.accounts.outcome(key)
            if made is None or made.user_id != user_id:
                raise
            return None

    async def _check(
        self,
        user_id: UserID,
        guest_access_token: Optional[Secret],
        assigned_user_id: Optional[UserID],
        early: bool,
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
        silent = early and self.config.inhibit_user_in_use_error
        if not silent and await self.accounts.is_taken(localpart):
            raise UsernameTaken()
        if localpart.isdigit():
            raise InvalidUsername("Names of digits alone are kept for generated users.")
        return None

    def check_not_reserved(self, user_id: UserID, allowed_appservice: Optional[str] = None) -> None:
        notices = self.config.server_notices_localpart
        if notices is not None and user_id.name_key == notices.lower():
            raise UsernameReserved()
        if any(owner != allowed_appservice for owner in self.services.reserved_for(user_id)):
            raise UsernameReserved()

    async def draw(self) -> UserID:
        for _ in range(STEPS):
            localpart = str(await self.accounts.next_number())
            user_id = UserID(localpart, self.server_name)
            try:
                self.check_not_reserved(user_id)
            except UsernameReserved:
                continue
            if not await self.accounts.is_taken(localpart):
                return user_id
        raise NoFreeName()

    def _check_grammar(self, localpart: str) -> None:
        if not ALLOWED.issuperset(localpart):
            raise InvalidUsername("A user name consists of the characters a-z 0-9 . _ = - / +")
        if not localpart:
            raise InvalidUsername("A user name cannot be empty.")
        if localpart[0] == "_" and not self.config.allow_underscore_prefixed_localpart:
            raise InvalidUsername("A user name cannot begin with an underscore.")

    async def _check_guest(self, user_id: UserID, token: Secret) -> UserID:
        """The guest may register its own name, and no other (B1.7)."""
        requester = await self.auth.whose(token)
        if requester is None:
            raise UnknownToken()
        if not requester.is_guest or requester.user_id != user_id:
            raise Forbidden("A guest can only keep the user name that it has.")
        return user_id
