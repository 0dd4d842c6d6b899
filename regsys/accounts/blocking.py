"""Blocking: a server that is switched off or full takes no registrations (contract B9)."""

from __future__ import annotations

from typing import Iterable, Optional

import attr
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from regsys import clock
from regsys.config import BlockingConfig
from regsys.errors import ServerDisabled, ServerFull
from regsys.interfaces import IAccountStore, IBlocking, IMonthlyActiveUsers, IThreepidStore
from regsys.model import Registration, User, UserType


@implementer(IBlocking)
@attr.frozen(kw_only=True)
class Blocking:
    """Blocks as the configuration says.

    ``notices_localpart``: the server-notices user, who is never blocked; None if there is none.
    If ``users`` is None, there is no limit. If ``threepids`` is None, addresses cannot be looked
    up, and no user who logs in has a reserved one.

    The limit is not exact: registrations at the same moment, in any process, may each find the last
    place free. It is exceeded by those that are under way then, and by those that other processes
    have made since ``users`` last counted.
    """

    config: BlockingConfig
    notices_localpart: Optional[str]
    users: Optional[IMonthlyActiveUsers]
    accounts: IAccountStore
    threepids: Optional[IThreepidStore]
    clock: IReactorTime

    async def check(self, registration: Registration) -> None:
        if self._is_notices(registration.localpart):
            return
        self._check_open()
        addresses = [
            *((item.medium, item.address) for item in registration.threepids),
            *(("email", address) for address in registration.bind_emails),
        ]
        passes = (
            registration.make_guest
            or registration.user_type == UserType.SUPPORT
            or self._is_reserved(addresses)
        )
        if passes or not await self._is_full():
            return
        # This registration itself may have taken the last place, and be repeated (contract B8.4).
        if await self.accounts.made_by(registration.key) is None:
            raise ServerFull(self.config.admin_contact)

    async def check_login(self, user: User) -> None:
        if self._is_notices(user.user_id.localpart):
            return
        self._check_open()
        passes = (
            user.user_type == UserType.SUPPORT
            or self._is_in_trial(user)
            or (user.appservice_id is not None and not self.config.counts_services)
        )
        if passes or self.users is None or not await self._is_full():
            return
        if await self.users.is_active(user.user_id):
            return
        held = [] if self.threepids is None else await self.threepids.of_user(user.user_id)
        if not self._is_reserved((item.medium, item.address) for item in held):
            raise ServerFull(self.config.admin_contact)

    def _is_notices(self, localpart: Optional[str]) -> bool:
        notices = self.notices_localpart
        if notices is None or localpart is None:
            return False
        return notices.lower() == localpart.lower()

    def _check_open(self) -> None:
        if self.config.disabled:
            raise ServerDisabled(self.config.admin_contact, self.config.disabled_message)

    def _is_reserved(self, addresses: Iterable[tuple[str, str]]) -> bool:
        return not self.config.reserved.isdisjoint(addresses)

    def _is_in_trial(self, user: User) -> bool:
        config = self.config
        trial_ms = config.service_trial_ms.get(user.appservice_id or "", config.trial_ms)
        return user.created_ms + trial_ms > clock.now_ms(self.clock)

    async def _is_full(self) -> bool:
        most = self.config.max_users
        if most is None or self.users is None:
            return False
        return await self.users.count(most) >= most
