"""Binds users' addresses at identity servers, and unbinds them (contract B7.10)."""

from __future__ import annotations

from typing import Awaitable, Callable, Iterable, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys import clock
from regsys.callbacks.threepids import BindingChanges
from regsys.errors import (
    Forbidden,
    IdentityServerForbidden,
    IdentityServerRefused,
    InvalidParam,
    ThreepidChangeRefused,
    Unavailable,
    UnknownToken,
)
from regsys.interfaces.internal import ILimiter
from regsys.model import Secret, UserID
from regsys.model.identity_server_bindings import ASKING_MS, Binding, IdentityServerSession
from regsys.storage.identity_server_bindings import BindingStore
from regsys.threepids.account import AccountThreepids
from regsys.threepids.addresses import canonical_threepid
from regsys.threepids.identity_server_unbinding import Unbinder
from regsys.threepids.servers import BindingServers

log = Logger()


@attr.frozen(kw_only=True)
class Bindings:
    """``limit``: how often an account may make us ask other servers. ``may_bind``: the
    ``enable_3pid_lookup`` option."""

    threepids: AccountThreepids
    store: BindingStore
    servers: BindingServers
    changes: BindingChanges
    unbinder: Unbinder
    limit: ILimiter
    clock: IReactorTime
    may_bind: bool = True

    async def bind(
        self,
        user_id: UserID,
        id_server: Optional[str],
        token: Secret,
        session: IdentityServerSession,
        is_here: Callable[[], Awaitable[bool]],
    ) -> None:
        """Have ``id_server``, or the configured one if it is None, bind the address that
        ``session`` has validated there. ``is_here`` returns whether the user's access token is
        still valid.

        Raises InvalidParam, MissingParam, IdentityServerForbidden, ThreepidChangeRefused,
        IdentityServerRefused or UnknownToken; then nothing is bound. After Unavailable the address
        may be bound.
        """
        if not self.may_bind:
            raise Forbidden("Addresses cannot be published from this server.")
        server = self.servers.named(id_server)
        await self.limit.take(str(user_id))
        medium, address = await self._validated_threepid(server, token, session)
        binding = Binding(
            user_id=user_id,
            medium=medium,
            address=address,
            id_server=server,
            session=session if self.servers.needs_session else None,
            asked_until_ms=clock.now_ms(self.clock) + ASKING_MS,
        )
        await self.changes.check(binding, True)
        # Stored before it is bound, so that it can be unbound even if the answer is lost or this
        # process dies. A deactivation from now on unbinds it, once the request to bind it has
        # ended; an earlier one did not, so the access token is checked again.
        is_new = await self.store.add(binding, clock.now_ms(self.clock))
        if not await is_here():
            await self.unbinder.unbind_eventually([binding])
            raise UnknownToken()
        try:
            await self.servers.bind(binding, token, session)
        except IdentityServerRefused:
            if is_new:
                await self.store.remove(binding.binding_id)
            raise
        await self.store.mark_answered(binding.binding_id)
        self.changes.updated(binding, True)

    async def unbind(
        self, user_id: UserID, medium: str, address: str, id_server: Optional[str]
    ) -> bool:
        """Have the address unbound at ``id_server``, or wherever it was bound for the user if that
        is None. False if nothing was bound, or if something stays bound for good.

        Raises InvalidParam for an invalid address or server, Unavailable if it may work later.
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
        """Remove the address, in any spelling, from the account, then have it unbound wherever it
        was bound for the user, and at ``id_server`` unless that is None. Returns whether all of
        that was done.

        Raises InvalidParam, LimitExceeded, ThreepidChangeRefused or Unavailable; then nothing was
        changed.
        """
        canonical = canonical_threepid(medium, address)
        known = await self._known(user_id, medium, canonical)
        asked, can_ask = known, True
        if id_server is not None:
            asked, can_ask = await self._with_named(id_server, known, user_id, medium, canonical)
        # Modules are asked before anything is written: if one fails, nothing must have changed.
        allowed = await self._unopposed(asked)
        for binding in allowed:
            if binding not in known:
                await self.store.add(binding, clock.now_ms(self.clock))  # its job looks it up
        jobs = self.unbinder.plan(allowed)
        if not await self.threepids.remove(user_id, medium, canonical, extra_jobs=jobs):
            await self.unbinder.begin(jobs)  # an address may be bound without being the account's
        done = await self.unbinder.try_now(jobs)
        return done and can_ask and len(allowed) == len(asked)

    async def _with_named(
        self, id_server: str, known: Sequence[Binding], user_id: UserID, medium: str, address: str
    ) -> tuple[Sequence[Binding], bool]:
        """The known bindings and the one at this server; False if that one cannot be unbound."""
        try:
            named = self._at(id_server, known, user_id, medium, address)
        except IdentityServerForbidden:
            return known, False
        if named in known:
            return known, True
        if self.servers.needs_session:
            return known, False  # we have no session of a binding that another server had made
        await self.limit.take(str(user_id))
        return [*known, named], True

    def _at(
        self, id_server: str, known: Sequence[Binding], user_id: UserID, medium: str, address: str
    ) -> Binding:
        """The binding at this server: a known one, or one that another server may have had made.
        Raises InvalidParam, IdentityServerForbidden."""
        name = self.servers.named(id_server)
        for binding in known:
            if binding.id_server == name:
                return binding
        return Binding(user_id=user_id, medium=medium, address=address, id_server=name)

    async def _known(self, user_id: UserID, medium: str, address: str) -> Sequence[Binding]:
        bindings = await self.store.of_user(user_id)
        return [item for item in bindings if (item.medium, item.address) == (medium, address)]

    async def _unopposed(self, bindings: Iterable[Binding]) -> Sequence[Binding]:
        """The bindings whose removal no module refuses."""
        unopposed = []
        for binding in bindings:
            try:
                await self.changes.check(binding, False)
            except ThreepidChangeRefused:
                continue
            unopposed.append(binding)
        return unopposed

    async def _validated_threepid(
        self, server: str, token: Secret, session: IdentityServerSession
    ) -> tuple[str, str]:
        """The medium and canonical address that the session has validated there."""
        medium, address = await self.servers.validated_threepid(server, token, session)
        try:
            return medium, canonical_threepid(medium, address)
        except InvalidParam:
            log.warn("identity server {server} has validated an invalid address", server=server)
            raise Unavailable("The identity server's answer makes no sense.") from None
