"""What existing accounts do with their third-party identifiers (contract B7.10, B10.4)."""

from __future__ import annotations

from typing import Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime

from regsys import clock
from regsys.callbacks.threepids import ThreepidChanges
from regsys.errors import (
    GuestForbidden,
    ThreepidChangesDisabled,
    ThreepidDenied,
    ThreepidNotProven,
)
from regsys.interfaces import IThreepidRules, IThreepidStore
from regsys.model import (
    VALIDATED_MS,
    AccountThreepid,
    Client,
    NewJob,
    Requester,
    Threepid,
    UserID,
    Validation,
)
from regsys.storage.validations import ValidationStore
from regsys.threepids.addresses import canonical_threepid, is_canonical
from regsys.threepids.attempts import ProofAttempts
from regsys.threepids.changes import ThreepidWriter
from regsys.threepids.servers import PhoneValidationServer


@attr.frozen(kw_only=True)
class AccountThreepids:
    """``may_change``: people may change what their accounts have (``enable_3pid_changes``).
    ``prover``: the other server that proves phone numbers, None: there is none; it is asked within
    the limit of ``attempts``."""

    store: IThreepidStore
    writer: ThreepidWriter
    validations: ValidationStore
    rules: IThreepidRules
    changes: ThreepidChanges
    attempts: ProofAttempts
    clock: IReactorTime
    may_change: bool = True
    prover: Optional[PhoneValidationServer] = None

    async def of_user(self, user_id: UserID) -> Sequence[AccountThreepid]:
        """What the user has, the oldest first."""
        return await self.store.of_user(user_id)

    def check_changeable(self, requester: Optional[Requester]) -> None:
        """Raise ThreepidChangesDisabled or GuestForbidden where nothing may be changed. If
        ``requester`` is None, it is not known yet whose account it is about."""
        if not self.may_change:
            raise ThreepidChangesDisabled()
        if requester is not None and requester.is_guest:
            raise GuestForbidden()

    async def proof(
        self, user_id: UserID, sid: str, client_secret: str, client: Client
    ) -> Validation:
        """What proves an address for this account; ThreepidNotProven if nothing does, or it has
        been used up for an address that the account does not have any more."""
        found = await self.validations.get(sid, clock.now_ms(self.clock))
        if found is None:
            found = await self._delegated(user_id, sid, client_secret, client)
        elif not found.is_known_to(client_secret):
            raise ThreepidNotProven()
        if found.validated_ms is None or not found.for_account:
            raise ThreepidNotProven()
        # Asked for without an access token: it belongs to the account that first brings it.
        if found.user_id is None and await self.validations.claim_for(user_id, sid):
            found = attr.evolve(found, user_id=user_id)
        if found.user_id != user_id:
            raise ThreepidNotProven()
        owner = self.store.owner_of
        if found.used and await owner(found.medium, found.address) != user_id:
            raise ThreepidNotProven()
        return found

    async def _delegated(
        self, user_id: UserID, sid: str, client_secret: str, client: Client
    ) -> Validation:
        """What the other server has proven of late; it belongs to the account that first brings
        it. That is remembered for as long as the proof is good, so that it is good once."""
        if self.prover is None:
            raise ThreepidNotProven()
        async with self.attempts.counted(client):
            proof = await self.prover.proven(sid, client_secret)
            if proof is None or not is_canonical(proof.medium, proof.address):
                raise ThreepidNotProven()
            until_ms = proof.validated_at_ms + VALIDATED_MS
            if until_ms <= clock.now_ms(self.clock):
                raise ThreepidNotProven()
            adopted = await self.validations.adopt_for(user_id, proof, until_ms)
            if adopted is None:
                raise ThreepidNotProven()
            return adopted

    async def add(self, user_id: UserID, sid: str, client_secret: str, client: Client) -> None:
        """Add the address that the user has proven, once. Idempotent while the user has it.

        Raises ThreepidNotProven, ThreepidDenied, ThreepidChangeRefused, ThreepidInUse; then
        nothing was written.
        """
        proof = await self.proof(user_id, sid, client_secret, client)
        if proof.used:
            return
        assert proof.validated_ms is not None
        medium, address = proof.medium, proof.address
        if not await self.rules.is_allowed(medium, address, False):
            raise ThreepidDenied()
        await self.changes.check(user_id, medium, address, True)
        threepid = Threepid(medium, address, proof.validated_ms)
        await self.writer.add(user_id, threepid)
        # Afterwards, so that who is cut off in between need not prove the address anew: nobody
        # else could use what is left.
        await self.validations.use(proof.sid)

    async def remove(
        self, user_id: UserID, medium: str, address: str, also: Sequence[NewJob] = ()
    ) -> bool:
        """Take an identifier, in any spelling, from the account; False if it does not have it.
        ``also``: jobs that are written with the removal.

        Raises InvalidParam for what is no address, ThreepidChangeRefused if somebody objects.
        """
        canonical = canonical_threepid(medium, address)
        await self.changes.check(user_id, medium, canonical, False)
        return await self.writer.remove(user_id, medium, canonical, also)
