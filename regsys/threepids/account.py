"""Adding and removing an account's third-party identifiers (contract B7.10, B10.4)."""

from __future__ import annotations

from typing import Callable, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime

from regsys import clock
from regsys.callbacks.threepids import ThreepidChanges
from regsys.errors import (
    GuestForbidden,
    ThreepidChangesDisabled,
    ThreepidDenied,
    ThreepidNotValidated,
)
from regsys.interfaces import IThreepidStore
from regsys.interfaces.internal import IThreepidRules
from regsys.model import AccountThreepid, Client, MailPurpose, Requester, Threepid, UserID
from regsys.model.canonical_threepids import canonical_threepid, is_canonical
from regsys.model.jobs import NewJob
from regsys.model.threepids import VALIDATED_MS, Validation
from regsys.storage.validations import ValidationStore
from regsys.threepids.attempts import ValidationAttempts
from regsys.threepids.changes import ThreepidWriter
from regsys.threepids.servers import PhoneValidationServer


@attr.frozen(kw_only=True)
class AccountThreepids:
    """``may_change``: users may change their identifiers (``enable_3pid_changes``).
    ``phone_server``: the server that validates phone numbers for us, asked within the limit of
    ``attempts``; None if there is none. ``jobs_with_address``: the jobs that a validated identifier
    brings."""

    store: IThreepidStore
    writer: ThreepidWriter
    validations: ValidationStore
    rules: IThreepidRules
    changes: ThreepidChanges
    attempts: ValidationAttempts
    clock: IReactorTime
    may_change: bool = True
    phone_server: Optional[PhoneValidationServer] = None
    jobs_with_address: Callable[[UserID], Sequence[NewJob]] = lambda user_id: ()

    async def of_user(self, user_id: UserID) -> Sequence[AccountThreepid]:
        """The user's identifiers, the oldest first."""
        return await self.store.of_user(user_id)

    def check_changeable(self, requester: Optional[Requester]) -> None:
        """Raise ThreepidChangesDisabled or GuestForbidden if the requester may not change
        identifiers. If ``requester`` is None, the account is not known yet."""
        if not self.may_change:
            raise ThreepidChangesDisabled()
        if requester is not None and requester.is_guest:
            raise GuestForbidden()

    async def validation_for(
        self, user_id: UserID, sid: str, client_secret: str, client: Client
    ) -> Validation:
        """The validated session for this account. Raises ThreepidNotValidated if there is none, or
        if it is used up and the account does not have its address any more."""
        validation = await self.validations.get(sid, clock.now_ms(self.clock))
        if validation is None:
            validation = await self._delegated(user_id, sid, client_secret, client)
        elif not validation.is_known_to(client_secret):
            raise ThreepidNotValidated()
        is_to_add = validation.purpose is MailPurpose.ADD_THREEPID
        if validation.validated_ms is None or not is_to_add:
            raise ThreepidNotValidated()
        # Requested without an access token: the first account that presents it gets it.
        if validation.user_id is None and await self.validations.claim_for(user_id, sid):
            validation = attr.evolve(validation, user_id=user_id)
        if validation.user_id != user_id:
            raise ThreepidNotValidated()
        owner = self.store.owner_of
        if validation.used and await owner(validation.medium, validation.address) != user_id:
            raise ThreepidNotValidated()
        return validation

    async def _delegated(
        self, user_id: UserID, sid: str, client_secret: str, client: Client
    ) -> Validation:
        """The other server's validated session, which the first account that presents it gets. It
        is stored for as long as it is valid, so that it cannot be used twice."""
        if self.phone_server is None:
            raise ThreepidNotValidated()
        async with self.attempts.counted(client):
            validated = await self.phone_server.validated_threepid(sid, client_secret)
            if validated is None or not is_canonical(validated.medium, validated.address):
                raise ThreepidNotValidated()
            until_ms = validated.validated_at_ms + VALIDATED_MS
            if until_ms <= clock.now_ms(self.clock):
                raise ThreepidNotValidated()
            adopted = await self.validations.adopt_for(user_id, validated, until_ms)
            if adopted is None:
                raise ThreepidNotValidated()
            return adopted

    async def add(self, user_id: UserID, sid: str, client_secret: str, client: Client) -> None:
        """Add the address of a validated session to the account. Idempotent while the account has
        the address.

        Raises ThreepidNotValidated, ThreepidDenied, ThreepidChangeRefused, ThreepidInUse; then
        nothing was written.
        """
        validation = await self.validation_for(user_id, sid, client_secret, client)
        if validation.used:
            return
        assert validation.validated_ms is not None
        medium, address = validation.medium, validation.address
        if not await self.rules.is_allowed(medium, address, False):
            raise ThreepidDenied()
        await self.changes.check(user_id, medium, address, True)
        threepid = Threepid(medium, address, validation.validated_ms)
        await self.writer.add(user_id, threepid, self.jobs_with_address(user_id))
        # Used up afterwards, so that after a crash in between the user need not validate the
        # address again. No other account could use the session.
        await self.validations.use(validation.sid)

    async def vouch(self, user_id: UserID, threepid: Threepid) -> bool:
        """Add an address (canonical) for which an administrator vouches; False if the account has
        it. Raises as ``add``, and UserNotFound."""
        if not await self.rules.is_allowed(threepid.medium, threepid.address, False):
            raise ThreepidDenied()
        await self.changes.check(user_id, threepid.medium, threepid.address, True)
        return await self.writer.add(user_id, threepid)

    async def remove(
        self, user_id: UserID, medium: str, address: str, extra_jobs: Sequence[NewJob] = ()
    ) -> bool:
        """Remove an identifier, in any spelling, from the account; False if the account does not
        have it. ``extra_jobs``: jobs that are written with the removal.

        Raises InvalidParam for an invalid address, ThreepidChangeRefused if a module objects.
        """
        canonical = canonical_threepid(medium, address)
        await self.changes.check(user_id, medium, canonical, False)
        return await self.writer.remove(user_id, medium, canonical, extra_jobs)
