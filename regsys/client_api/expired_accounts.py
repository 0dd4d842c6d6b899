"""Accounts that have expired: modules decide which have (contract B10.2)."""

from __future__ import annotations

from typing import Awaitable, Optional

import attr
from zope.interface import implementer

from regsys.callbacks.logins import ExpiryChecks
from regsys.interfaces import IAuth
from regsys.model import Requester, Secret


@implementer(IAuth)
@attr.frozen(kw_only=True)
class UnexpiredAuth:
    """Whose a token is, as ``auth`` says; AccountExpired if the account has expired, Unavailable if
    a callback fails."""

    auth: IAuth
    expiry: ExpiryChecks

    def whose(self, token: Secret) -> Awaitable[Optional[Requester]]:
        # Without callbacks this is no further step of each request.
        return self._checked(token) if self.expiry.hooks else self.auth.whose(token)

    async def _checked(self, token: Secret) -> Optional[Requester]:
        requester = await self.auth.whose(token)
        if requester is not None:
            await self.expiry.check(requester.user_id)
        return requester
