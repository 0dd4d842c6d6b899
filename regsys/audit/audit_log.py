"""The audit log, as those see it who have something to write.

``AuditLog`` is the log that is off, and says what its methods mean; ``WrittenAuditLog`` is on.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime

from regsys import clock, log_context
from regsys.audit.refusals import Refusals
from regsys.audit.rules import rule_of
from regsys.config import AuditConfig
from regsys.errors import RegistrationError
from regsys.model.audit import Allowed, AuditEntry
from regsys.model.networks import address_key, network_of
from regsys.storage.audit import AuditStore


class AuditLog:
    """Off: nothing is written."""

    is_on = False

    def allowed(
        self,
        rule: str,
        *,
        by: Optional[str] = None,
        address: Optional[str] = None,
        details: Optional[Mapping[str, Any]] = None,
    ) -> Optional[Allowed]:
        """What NewAccount.allowed is for an account that this rule allows; None if the log is off.
        ``address``: the client's; None for that of the request under way, if there is one."""
        return None

    def entries(
        self,
        *,
        by: Optional[str],
        what: str,
        user_id: Optional[object] = None,
        details: Optional[Mapping[str, Any]] = None,
    ) -> Sequence[AuditEntry]:
        """The entry of a change, for ``regsys.storage.audit.record(txn, entries)`` in the
        transaction that makes it; none if the log is off.

        ``by``: who changes it, ``@admin:server``, ``cli`` or a module's name; None if the person of
        the account does. ``what``: such as ``deactivated``. ``user_id``: the account that is
        changed; None if it is something else. ``details``: JSON, without secrets. The address is
        that of the request under way, if any.
        """
        return ()

    async def changed(
        self,
        *,
        by: Optional[str],
        what: str,
        user_id: Optional[object] = None,
        details: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """Write the entry of a change that has been made, in a transaction of its own. The
        arguments are those of ``entries``. Raises Unavailable."""

    def refused(self, error: RegistrationError, address: str) -> None:
        """A client at this address was refused, if this error is a refusal by a rule. It is written
        within seconds, in a batch."""

    def refused_by(self, rule: str, address: str) -> None:
        """As ``refused``, by a rule whose refusal is no error."""

    def start(self) -> None:
        """Begin to write refusals."""

    async def stop(self) -> None:
        """Write the refusals that wait."""


@attr.frozen(kw_only=True)
class WrittenAuditLog(AuditLog):
    """``addresses`` is how much of them is kept, as AuditConfig has it."""

    store: AuditStore
    refusals: Refusals
    addresses: str
    clock: IReactorTime

    is_on = True

    @classmethod
    def of(cls, config: AuditConfig, store: AuditStore, clock: IReactorTime) -> WrittenAuditLog:
        refusals = Refusals(store, clock)
        return cls(store=store, refusals=refusals, addresses=config.addresses, clock=clock)

    def allowed(
        self,
        rule: str,
        *,
        by: Optional[str] = None,
        address: Optional[str] = None,
        details: Optional[Mapping[str, Any]] = None,
    ) -> Optional[Allowed]:
        kept = self._kept(address or _of_request())
        return Allowed(rule=rule, by=by, address=kept, details=details or {})

    def entries(
        self,
        *,
        by: Optional[str],
        what: str,
        user_id: Optional[object] = None,
        details: Optional[Mapping[str, Any]] = None,
    ) -> Sequence[AuditEntry]:
        entry = AuditEntry(
            when_ms=clock.now_ms(self.clock),
            what=what,
            user_id=None if user_id is None else str(user_id),
            by=by,
            address=self._kept(_of_request()),
            details=details or {},
        )
        return (entry,)

    async def changed(
        self,
        *,
        by: Optional[str],
        what: str,
        user_id: Optional[object] = None,
        details: Optional[Mapping[str, Any]] = None,
    ) -> None:
        await self.store.add(self.entries(by=by, what=what, user_id=user_id, details=details))

    def refused(self, error: RegistrationError, address: str) -> None:
        rule = rule_of(error)
        if rule is not None:
            self.refused_by(rule, address)

    def refused_by(self, rule: str, address: str) -> None:
        # A client has all of its /64.
        self.refusals.add(rule, self._kept(address_key(address)))

    def start(self) -> None:
        self.refusals.start()

    async def stop(self) -> None:
        await self.refusals.stop()

    def _kept(self, address: Optional[str]) -> Optional[str]:
        if not address or self.addresses == "none":
            return None
        return network_of(address) if self.addresses == "network" else address


NO_AUDIT_LOG = AuditLog()


def _of_request() -> Optional[str]:
    request = log_context.current_request()
    return None if request is None else request.address
