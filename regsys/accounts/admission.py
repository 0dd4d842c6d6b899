"""Whether a registration is admitted: the limit by address, spam checkers, rules about addresses,
blocking."""

from __future__ import annotations

from typing import Callable, Optional, Sequence

import attr
from zope.interface import implementer

from regsys.callbacks.registration import SpamChecks
from regsys.callbacks.threepids import ThreepidChanges
from regsys.errors import LimitExceeded, ThreepidDenied
from regsys.interfaces import IBlocking, Verdict
from regsys.interfaces.internal import ILimiter, IThreepidRules
from regsys.model import Registration, Threepid, User, UserID

# For the log: the client must not learn the reason.
DENIED = "a spam checker denied it"


@attr.frozen(kw_only=True)
class Admission:
    """Asks everything that may refuse a registration, but for the rules about names.

    ``key_of`` makes the limiter's key of an IP address (``regsys.model.networks.address_key``). A
    registration without an IP address has no limit. ``denied_ms`` is the ``retry_after_ms`` of a
    spam checker's refusal, which must look like the limit's.
    """

    limiter: ILimiter
    key_of: Callable[[str], str]
    spam: SpamChecks
    blocking: IBlocking
    threepids: IThreepidRules
    changes: ThreepidChanges
    denied_ms: int

    async def peek(self, address: Optional[str]) -> None:
        """Raise LimitExceeded if a registration from this address would be refused now."""
        if address:
            await self.limiter.peek(self.key_of(address))

    async def take(self, address: Optional[str]) -> None:
        """Count a registration against its address; LimitExceeded if the limit is reached."""
        if address:
            await self.limiter.take(self.key_of(address))

    async def give_back(self, address: Optional[str]) -> None:
        """Undo ``take``, for a registration that made no account."""
        if address:
            await self.limiter.give_back(self.key_of(address))

    async def check_spam(self, registration: Registration) -> Verdict:
        """The spam checkers' verdict, any but DENY: for that, LimitExceeded is raised, just as
        ``take`` would (contract B2.2). Raises Unavailable if a checker fails (contract B10.3)."""
        verdict, checker = await self.spam.decide(registration)
        # Nobody approves guests.
        waits = verdict is Verdict.NEEDS_APPROVAL
        if verdict is Verdict.DENY or (waits and registration.make_guest):
            raise LimitExceeded(self.denied_ms, reason=DENIED).by_rule(f"spam-check {checker}")
        return verdict

    async def check_threepids_and_blocking(self, registration: Registration) -> None:
        """Raise ThreepidDenied for the first address that is not allowed, then what blocking
        raises. A registration by an administrator is not blocked."""
        addresses = []
        if not registration.threepids_checked:
            addresses += [(item.medium, item.address) for item in registration.threepids]
        addresses += [("email", address) for address in registration.bind_emails]
        for medium, address in addresses:
            if not await self.threepids.is_allowed(medium, address, True):
                raise ThreepidDenied()
        if not registration.by_admin:
            await self.blocking.check(registration)

    async def check_additions(self, user_id: UserID, threepids: Sequence[Threepid]) -> None:
        """Ask the modules' callbacks whether an account of this name may have these identifiers
        (contract B10.4). Raises their objection, or Unavailable if a callback fails."""
        for threepid in threepids:
            await self.changes.check(user_id, threepid.medium, threepid.address, True)


@implementer(IBlocking)
class NoBlocking:
    """No blocking is configured: every registration and login is allowed."""

    async def check(self, registration: Registration) -> None:
        return

    async def check_login(self, user: User) -> None:
        return
