"""Hooks for changes of an account's 3PIDs, here and at identity servers (contract B10.4)."""

from __future__ import annotations

from typing import Awaitable, Callable, Optional, Union

import attr
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime

from regsys.callbacks.base import CallbackList, Hook, Notices, log, plain_text
from regsys.errors import ThreepidChangeRefused
from regsys.model import UserID
from regsys.model.identity_server_bindings import Binding

# check_user_third_party_identifier(user_id, medium, address, adding): before an address is added to
# an account, or removed. Returns None to allow it, else (errcode, sentence for the user), with None
# for the default errcode of B10.4.
Objection = Optional[tuple[Optional[str], str]]
ThreepidCheck = Callable[[str, str, str, bool], Union[Objection, Awaitable[Objection]]]
# on_add_user_third_party_identifier(user_id, medium, address), on_remove_…: afterwards. The result
# is ignored.
ThreepidNotice = Callable[[str, str, str], object]
# check_identity_server_binding(id_server, user_id, medium, address, bound): before an identity
# server is asked to bind the address to the user, or (not ``bound``) to unbind it. Returns as
# above.
BindingCheck = Callable[[str, str, str, str, bool], Union[Objection, Awaitable[Objection]]]
# on_update_identity_server_binding, with the same arguments: afterwards.
BindingNotice = Callable[[str, str, str, str, bool], object]


class _Checks(CallbackList[Hook]):
    """Hooks that may object to a change."""

    answers = "None, or a tuple of an errcode (or None) and a sentence"

    async def check(self, default: str, *args: object) -> None:
        """Raise the first objection, with the ``default`` errcode if it has none; the checks after
        it are not called."""
        objection = await self.first(_as_objection, *args)
        if objection is not None:
            errcode, text = objection
            raise ThreepidChangeRefused(errcode or default, text)


def _as_objection(answer: object) -> Objection:
    if answer is None:
        return None
    if isinstance(answer, tuple) and len(answer) == 2:
        errcode, text = answer
        if isinstance(text, str) and (errcode is None or isinstance(errcode, str)):
            return None if errcode is None else plain_text(errcode), text
    raise ValueError("neither None nor an errcode and a sentence")


class ThreepidChecks(_Checks[ThreepidCheck]):
    moment = "check_user_third_party_identifier"


class ThreepidAdditions(Notices[ThreepidNotice]):
    moment = "on_add_user_third_party_identifier"


class ThreepidRemovals(Notices[ThreepidNotice]):
    moment = "on_remove_user_third_party_identifier"


@attr.define(kw_only=True, eq=False)
class OldAdditions(Notices[ThreepidNotice]):
    """The old name of ThreepidAdditions, for modules that do not know the new one."""

    moment = "on_threepid_bind"

    _warned: set[str] = attr.field(init=False, factory=set)

    def notify_except(
        self, newer: CallbackList[ThreepidNotice], *args: object
    ) -> list[Deferred[None]]:
        """As ``notify``, without the modules that have registered the ``newer`` hook."""
        up_to_date = {module for module, _ in newer.hooks}
        chosen = [pair for pair in self.hooks if pair[0] not in up_to_date]
        for module in sorted({module for module, _ in chosen} - self._warned):
            self._warned.add(module)
            log.warn(
                "module {module} registers {moment}, which is an old name: it should register "
                "{newer}",
                module=module,
                moment=self.moment,
                newer=newer.moment,
            )
        return self.notify_these(chosen, *args)


class BindingChecks(_Checks[BindingCheck]):
    moment = "check_identity_server_binding"


class BindingUpdates(Notices[BindingNotice]):
    moment = "on_update_identity_server_binding"


@attr.frozen(kw_only=True)
class ThreepidChanges:
    """The callbacks before and after an account gains or loses a 3PID."""

    checks: ThreepidChecks
    additions: ThreepidAdditions
    removals: ThreepidRemovals
    old_additions: OldAdditions

    @classmethod
    def on(cls, clock: IReactorTime) -> ThreepidChanges:
        """Without any callback yet."""
        return cls(
            checks=ThreepidChecks(clock=clock),
            additions=ThreepidAdditions(clock=clock),
            removals=ThreepidRemovals(clock=clock),
            old_additions=OldAdditions(clock=clock),
        )

    async def check(self, user_id: UserID, medium: str, address: str, adding: bool) -> None:
        """Raises ThreepidChangeRefused if a callback objects, Unavailable if one cannot be asked.
        ``adding``: the account is to gain the address, else to lose it."""
        default = "M_THREEPID_DENIED" if adding else "M_FORBIDDEN"
        await self.checks.check(default, str(user_id), medium, address, adding)

    def has_listeners(self) -> bool:
        """Whether a callback is called after additions."""
        return bool(self.additions.hooks or self.old_additions.hooks)

    async def tell(self, user_id: UserID, medium: str, address: str, added: bool) -> None:
        """Call the callbacks for an address that the account has gained, or (not ``added``) lost.
        Returns when all have returned; the failure of one is logged, and the others are called."""
        args = (str(user_id), medium, address)
        if added:
            notified = self.additions.notify(*args)
            notified += self.old_additions.notify_except(self.additions, *args)
        else:
            notified = self.removals.notify(*args)
        await DeferredList(notified)


@attr.frozen(kw_only=True)
class BindingChanges:
    """The callbacks before and after an identity server binds or unbinds an address."""

    checks: BindingChecks
    updates: BindingUpdates

    @classmethod
    def on(cls, clock: IReactorTime) -> BindingChanges:
        """Without any callback yet."""
        return cls(checks=BindingChecks(clock=clock), updates=BindingUpdates(clock=clock))

    async def check(self, binding: Binding, bound: bool) -> None:
        """Raises ThreepidChangeRefused if a callback objects, Unavailable if one cannot be asked.
        ``bound``: the address is to be bound, else to be unbound."""
        await self.checks.check("M_THREEPID_DENIED", *_arguments(binding), bound)

    def updated(self, binding: Binding, bound: bool) -> None:
        """Call the callbacks for an address that is bound now, or (not ``bound``) unbound. They
        can neither fail nor delay the caller."""
        self.updates.notify(*_arguments(binding), bound)


def _arguments(binding: Binding) -> tuple[str, str, str, str]:
    return binding.id_server, str(binding.user_id), binding.medium, binding.address
