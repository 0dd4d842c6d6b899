"""Having identity servers tell the world whose an address is, and no longer (contract B7.10)."""

from __future__ import annotations

from typing import Awaitable, Callable, Iterable, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys import clock
from regsys.errors import (
    Forbidden,
    IdentityServerForbidden,
    IdentityServerRefused,
    InvalidParam,
    ThreepidChangeRefused,
    Unavailable,
    UnknownToken,
)
from regsys.interfaces import IBindingChanges, IIdentityServers, ILimiter
from regsys.model import ASKING_MS, Binding, IdentityServerSession, Secret, UserID
from regsys.storage.identity_server_bindings import BindingStore
from regsys.threepids.account import AccountThreepids
from regsys.threepids.addresses import canonical_threepid
from regsys.threepids.identity_server_unbinding import Unbinder

log = Logger()


@attr.frozen(kw_only=True)
class Bindings:
    """``limit`` is an account's, for whatever makes us ask other servers. ``may_bind``: see
    ``enable_3pid_lookup``."""

    held: AccountThreepids
    store: BindingStore
    servers: IIdentityServers
    changes: IBindingChanges
    unbinder: Unbinder
    limit: ILimiter
    clock: IReactorTime
    may_bind: bool = True

    async def bind(
        self,
        user_id: UserID,
        id_server: Optional[str],
        token: Secret,
        proof: IdentityServerSession,
        is_here: Callable[[], Awaitable[bool]],
    ) -> None:
        """Have ``id_server`` (None: the configured one) bind what ``proof`` has proven there.
        ``is_here`` tells whether it is still the user who asks.

        Raises InvalidParam, MissingParam, IdentityServerForbidden, ThreepidChangeRefused,
        IdentityServerRefused and UnknownToken, then nothing is bound; Unavailable, then perhaps.
        """
        if not self.may_bind:
            raise Forbidden("Addresses cannot be published from this server.")
        server = self.servers.named(id_server)
        await self.limit.take(str(user_id))
        medium, address = await self._proven(server, token, proof)
        binding = Binding(
            user_id=user_id,
            medium=medium,
            address=address,
            id_server=server,
            proof=proof if self.servers.needs_proof else None,
            asked_until_ms=clock.now_ms(self.clock) + ASKING_MS,
        )
        await self.changes.check(binding, True)
        # Before it is bound, so that it is unbound whatever becomes of the answer, or of us: who is
        # deactivated from now on has it among what is unbound, once the server is not asked any
        # more. Who was before has not.
        is_new = await self.store.add(binding, clock.now_ms(self.clock))
        if not await is_here():
            await self.unbinder.let_go([binding])
            raise UnknownToken()
        try:
            await self.servers.bind(binding, token, proof)
        except IdentityServerRefused:
            if is_new:
                await self.store.remove(binding.binding_id)
            raise
        await self.store.mark_answered(binding.binding_id)
        self.changes.updated(binding, True)

    async def unbind(
        self, user_id: UserID, medium: str, address: str, id_server: Optional[str]
    ) -> bool:
        """Have the address unbound at ``id_server`` (None: wherever we have had it bound). False:
        nothing was bound, or not all of it has been unbound, and that will not change.

        Raises InvalidParam for what is no address or server, Unavailable if it may work later.
        """
        canonical = canonical_threepid(medium, address)
        known = await self._known(user_id, medium, canonical)
        if id_server is not None:
            try:
                known = [self._at(id_server, known, user_id, medium, canonical)]
            except IdentityServerForbidden:
                return False
        allowed = await self._unopposed(known)
        if not allowed:
            return False
        await self.limit.take(str(user_id))
        return await self.unbinder.unbind(allowed) and len(allowed) == len(known)

    async def delete(
        self, user_id: UserID, medium: str, address: str, id_server: Optional[str] = None
    ) -> bool:
        """Take the address, in any spelling, from the account, then have it unbound wherever we
        had it bound, and at ``id_server``, None: nowhere else; whether all of that was done.

        Raises InvalidParam, LimitExceeded, ThreepidChangeRefused and Unavailable; then nothing
        was changed.
        """
        canonical = canonical_threepid(medium, address)
        known = await self._known(user_id, medium, canonical)
        asked, can_ask = known, True
        if id_server is not None:
            asked, can_ask = await self._with_named(id_server, known, user_id, medium, canonical)
        # Asked before anything is written: a module that fails must leave all as it was.
        allowed = await self._unopposed(asked)
        for binding in allowed:
            if binding not in known:
                await self.store.add(binding, clock.now_ms(self.clock))  # its job looks it up
        jobs = self.unbinder.plan(allowed)
        if not await self.held.remove(user_id, medium, canonical, also=jobs):
            await self.unbinder.begin(jobs)  # what it does not have may be bound all the same
        done = await self.unbinder.try_now(jobs)
        return done and can_ask and len(allowed) == len(asked)

    async def _with_named(
        self, id_server: str, known: Sequence[Binding], user_id: UserID, medium: str, address: str
    ) -> tuple[Sequence[Binding], bool]:
        """The known bindings and the one at this server; False: that one cannot be undone."""
        try:
            named = self._at(id_server, known, user_id, medium, address)
        except IdentityServerForbidden:
            return known, False
        if named in known:
            return known, True
        if self.servers.needs_proof:
            return known, False  # there is none of what somebody else had bound
        await self.limit.take(str(user_id))
        return [*known, named], True

    def _at(
        self, id_server: str, known: Sequence[Binding], user_id: UserID, medium: str, address: str
    ) -> Binding:
        """The binding at this server: a known one, or one that others may have had made. Raises
        InvalidParam, IdentityServerForbidden."""
        name = self.servers.named(id_server)
        for binding in known:
            if binding.id_server == name:
                return binding
        return Binding(user_id=user_id, medium=medium, address=address, id_server=name)

    async def _known(self, user_id: UserID, medium: str, address: str) -> Sequence[Binding]:
        found = await self.store.of_user(user_id)
        return [item for item in found if (item.medium, item.address) == (medium, address)]

    async def _unopposed(self, bindings: Iterable[Binding]) -> Sequence[Binding]:
        """Those that no module wants to be kept."""
        found = []
        for binding in bindings:
            try:
                await self.changes.check(binding, False)
            except ThreepidChangeRefused:
                continue
            found.append(binding)
        return found

    async def _proven(
        self, server: str, token: Secret, proof: IdentityServerSession
    ) -> tuple[str, str]:
        """Medium and address, in its one form."""
        medium, address = await self.servers.proven(server, token, proof)
        try:
            return medium, canonical_threepid(medium, address)
        except InvalidParam:
            log.warn("identity server {server} has proven what is no address", server=server)
            raise Unavailable("The identity server's answer makes no sense.") from None
