"""What administrators do to accounts that regsys keeps: each change goes through here."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping, Optional, Sequence

import attr
from twisted.logger import Logger

from regsys.accounts.approvals import Approvals
from regsys.audit.audit_log import AuditLog
from regsys.credentials.hashing import HashingPool
from regsys.errors import (
    GuestForbidden,
    PasswordChangeDisabled,
    ThreepidInUse,
    UserDeactivated,
    UserNotFound,
)
from regsys.model import Created, Registration, Secret, Threepid, UserID
from regsys.model.administration import AccountChange, UserEntry
from regsys.model.devices import ALL_DEVICES, WhichDevices
from regsys.storage.account_changes import AccountChangeStore, Entries
from regsys.storage.devices import DeviceStore
from regsys.storage.user_lists import UserListStore
from regsys.threepids.account import AccountThreepids
from regsys.threepids.identity_server_bindings import Bindings

log = Logger()

# What the audit log calls a change, by the field that is changed.
ACTS: Mapping[str, str] = {
    "password": "password-set",
    "admin": "admin-set",
    "user_type": "user-type-set",
    "display_name": "display-name-set",
    "external_ids": "external-id-set",
}


@attr.frozen(kw_only=True)
class Administration:
    """``by`` is who makes a change: an administrator's user ID, or CLI. Each has an entry in the
    audit log, in its transaction or right after it. What logs devices out also tells the homeserver
    whose auth service this is, as if the user had done it.

    ``register``, ``end_account``: RegistrationHandler.register_user and .deactivated, which a
    worker has its master do. If ``hasher`` is None, accounts have no passwords here. Each method
    that takes a user ID raises UserNotFound for a user who is not here.
    """

    users: UserListStore
    changes: AccountChangeStore
    devices: DeviceStore
    threepids: AccountThreepids
    bindings: Bindings
    approvals: Approvals
    audit: AuditLog
    register: Callable[[Registration], Awaitable[Created]]
    end_account: Callable[[UserID, bool], Awaitable[bool]]
    hasher: Optional[HashingPool]

    async def hash_of(self, password: Secret) -> str:
        """The hash that the account is to get. Raises PasswordChangeDisabled."""
        if self.hasher is None:
            raise PasswordChangeDisabled()
        return await self.hasher.hash(password)

    async def create(self, registration: Registration, by: str) -> None:
        """Make an account, which is ``by_admin``. Raises as RegistrationHandler.register_user."""
        created = await self.register(attr.evolve(registration, by_admin=True, made_by=by))
        log.info("{by} has made {user_id}", by=by, user_id=str(created.user_id))

    async def change(self, change: AccountChange) -> Sequence[str]:
        """As AccountChangeStore.write."""
        changed = await self.changes.write(change, self._entries(change))
        if changed:
            log.info(
                "{by} has changed {user_id}: {fields}",
                by=change.by,
                user_id=str(change.user_id),
                fields=", ".join(changed),
            )
        return changed

    async def set_password(
        self,
        user_id: UserID,
        password: Secret,
        by: str,
        *,
        ends_logins: bool = True,
        keeps_device: Optional[str] = None,
    ) -> None:
        """``ends_logins``, ``keeps_device``: as in AccountChange. No policy is checked. Raises as
        ``change``, and PasswordChangeDisabled."""
        await self.active(user_id)
        await self.change(
            AccountChange(
                user_id=user_id,
                by=by,
                password_hash=await self.hash_of(password),
                ends_logins=ends_logins,
                keeps_device=keeps_device,
            )
        )

    async def set_admin(self, user_id: UserID, admin: bool, by: str) -> bool:
        """Whether this has changed it. Raises as ``change``."""
        return bool(await self.change(AccountChange(user_id=user_id, by=by, admin=admin)))

    async def set_approved(self, user_id: UserID, approved: bool, by: str) -> bool:
        """Whether this has changed it. Raises as Approvals.approve and .withdraw."""
        found = await self.existing(user_id)
        if found.deactivated and found.approved is approved:
            return False
        if approved:
            return (await self.approvals.approve(user_id, by)).is_new
        return await self.approvals.withdraw(user_id, by)

    async def log_out(
        self, user_id: UserID, device_ids: Optional[Sequence[str]], by: str
    ) -> Sequence[str]:
        """Log these devices out, or all if ``device_ids`` is None. Returns those that there were.
        Raises GuestForbidden for a guest: its token is valid as long as the guest exists."""
        if (await self.existing(user_id)).is_guest:
            raise GuestForbidden("A guest cannot be logged out, but be deactivated.")
        which = ALL_DEVICES if device_ids is None else WhichDevices.of(device_ids)
        ended = await self.devices.end(user_id, which)
        if ended:
            log.info(
                "{by} has logged out {user_id} ({count} devices)",
                by=by,
                user_id=str(user_id),
                count=len(ended),
            )
            await self._tell(user_id, by, "logged-out", {"devices": len(ended)})
        return ended

    async def deactivate(self, user_id: UserID, erase: bool, by: str) -> bool:
        """As RegistrationHandler.deactivated: ``erase`` also removes the display name."""
        found = await self.existing(user_id)
        log.info("{by} deactivates {user_id}", by=by, user_id=str(user_id))
        unbound = await self.end_account(user_id, erase)
        if not found.deactivated or (erase and not found.erased):
            await self._tell(user_id, by, "deactivated", {"erase": erase})
        return unbound

    async def check_threepids(self, user_id: UserID, wanted: Sequence[Threepid]) -> None:
        """Raise ThreepidInUse if another account has one of these now: an address is never
        moved."""
        for item in wanted:
            owner = await self.threepids.store.owner_of(item.medium, item.address)
            if owner not in (None, user_id):
                raise ThreepidInUse()

    async def set_threepids(self, user_id: UserID, wanted: Sequence[Threepid], by: str) -> bool:
        """Give the account these addresses (canonical), which need no validation, and no others;
        whether this has changed something. Each address is a transaction: repeat it if it raised.

        Those that are removed are unbound where they were bound. Raises UserDeactivated,
        GuestForbidden, ThreepidInUse, ThreepidDenied, ThreepidChangeRefused.
        """
        held = {(item.medium, item.address) for item in await self.threepids.of_user(user_id)}
        asked = {(item.medium, item.address): item for item in wanted}
        if held == asked.keys():
            return False
        if (await self.active(user_id)).is_guest:
            raise GuestForbidden("A guest has no address.")
        await self.check_threepids(user_id, wanted)
        for key in asked.keys() - held:
            await self.threepids.vouch(user_id, asked[key])
        for medium, address in held - asked.keys():
            await self.bindings.delete(user_id, medium, address)
        log.info("{by} has changed the addresses of {user_id}", by=by, user_id=str(user_id))
        counts = {"added": len(asked.keys() - held), "removed": len(held - asked.keys())}
        await self._tell(user_id, by, "addresses-set", counts)
        return True

    async def existing(self, user_id: UserID) -> UserEntry:
        """The account. Raises UserNotFound."""
        found = await self.users.find(user_id)
        if found is None:
            raise UserNotFound()
        return found

    async def active(self, user_id: UserID) -> UserEntry:
        """As ``existing``; UserDeactivated if it is deactivated."""
        found = await self.existing(user_id)
        if found.deactivated:
            raise UserDeactivated()
        return found

    def _entries(self, change: AccountChange) -> Entries:
        details: Mapping[str, Mapping[str, Any]] = {
            "admin": {"admin": change.admin},
            "password": {"ends_logins": change.ends_logins},
        }
        return {
            field: self.audit.entries(
                by=change.by, what=act, user_id=change.user_id, details=details.get(field)
            )
            for field, act in ACTS.items()
        }

    async def _tell(self, user_id: UserID, by: str, what: str, details: Mapping[str, Any]) -> None:
        await self.audit.changed(by=by, what=what, user_id=user_id, details=details)
