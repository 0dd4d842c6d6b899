"""From a registration to the account about to be written, with its jobs (contract B2.0, B2.3)."""

from __future__ import annotations

import secrets
from typing import Any, Iterable, Mapping, Optional

import attr
from twisted.internet.interfaces import IReactorTime

from regsys import clock
from regsys.accounts import allowed
from regsys.accounts.shadow_server import ShadowServer
from regsys.audit.audit_log import NO_AUDIT_LOG, AuditLog
from regsys.config import NewcomersConfig, RegistrationConfig
from regsys.credentials.access_tokens import Logins
from regsys.errors import InvalidParam, UserNotFound
from regsys.interfaces import IUserLookup
from regsys.interfaces.internal import IJobPlanner
from regsys.model import (
    DeviceRequest,
    LoginTerms,
    NewAccount,
    NewDevice,
    Registration,
    Threepid,
    UserID,
)
from regsys.model.approvals import ApprovalRequest
from regsys.model.canonical_threepids import EMAIL, canonical_threepid
from regsys.storage.devices import check_guest
from regsys.threepids.validation import MAX_LANGUAGE, MAX_LANGUAGES
from regsys.uia.stage_types import REASON


@attr.frozen(kw_only=True)
class AccountPlanner:
    """Plans accounts, their jobs and their devices. If ``users`` is None, accounts cannot be looked
    up. ``replay_window_ms``: how long a finished UIA session repeats its answer. If ``shadow`` is
    None, there is no parallel server. ``audit``: what has each account's entry. If ``newcomers`` is
    None, nobody is suspended."""

    config: RegistrationConfig
    logins: Logins
    jobs: IJobPlanner
    users: Optional[IUserLookup]
    clock: IReactorTime
    replay_window_ms: int = 600_000
    shadow: Optional[ShadowServer] = None
    audit: AuditLog = NO_AUDIT_LOG
    newcomers: Optional[NewcomersConfig] = None

    def plan(self, registration: Registration) -> PlannedAccount:
        """The account, all but its name. Raises InvalidParam for an unknown user type and for an
        address without a canonical form, and what Logins.terms raises for the device that was
        asked for."""
        registration = self._completed(registration)
        user_type, device = registration.user_type, registration.device
        if user_type is not None and user_type not in self.config.user_types:
            raise InvalidParam(f"There is no user type {user_type!r} here.")
        terms = None
        if device is not None:
            terms = self.logins.terms(device, is_guest=registration.make_guest)
        approved = self._approved(registration)
        return PlannedAccount(
            planner=self,
            registration=registration,
            approved=approved,
            terms=terms if approved else None,
        )

    def _completed(self, registration: Registration) -> Registration:
        """With the default user type if it names none, and with its addresses in canonical form."""
        user_type = registration.user_type or self.config.default_user_type
        threepids = canonical_threepids(registration.threepids)
        emails = canonical_emails(registration.bind_emails)
        asked = (user_type, threepids, emails)
        if asked == (registration.user_type, registration.threepids, registration.bind_emails):
            return registration
        return attr.evolve(
            registration, user_type=user_type, threepids=threepids, bind_emails=emails
        )

    def with_jobs(self, new: NewAccount) -> NewAccount:
        """The same account with the jobs that it brings."""
        jobs = tuple(self.jobs.jobs_for(new))
        return attr.evolve(new, jobs=jobs) if jobs else new

    def finished(self, new: NewAccount, address: Optional[str]) -> NewAccount:
        """The same account, which others have checked, with what the audit log says of it."""
        reason = allowed.of_finished(self.audit, new, address)
        return new if reason is new.allowed else attr.evolve(new, allowed=reason)

    async def is_guest(self, user_id: UserID, asked: Optional[bool]) -> bool:
        """Whether this is a guest's account: as ``users`` says; as the caller has ``asked`` if
        there is no ``users``. InvalidParam if the two differ, UserNotFound."""
        if self.users is None:
            return bool(asked)
        user = await self.users.find(user_id.localpart)
        if user is None or user.user_id != user_id or user.deactivated:
            raise UserNotFound()
        if asked is not None:
            check_guest(asked, user.is_guest)
        return user.is_guest

    def device(self, user_id: UserID, request: DeviceRequest, is_guest: bool) -> NewDevice:
        """A device for an account that exists; raises as Logins.terms does."""
        terms = self.logins.terms(request, is_guest=is_guest)
        return NewDevice.from_request(
            request, self.logins.issue(user_id, terms, secrets.token_hex(16))
        )

    def _approved(self, registration: Registration) -> bool:
        if registration.approved is not None:
            return registration.approved
        waits = self.config.requires_approval and not registration.make_guest
        return not waits or registration.admin or registration.by_admin


@attr.frozen(kw_only=True)
class PlannedAccount:
    """``registration`` is what was asked for, with the default user type if it names none. If
    ``terms`` is None, there is no login: none was asked for, or the account waits for approval."""

    planner: AccountPlanner
    registration: Registration
    approved: bool
    terms: Optional[LoginTerms]

    def waiting(self) -> PlannedAccount:
        """The same account, which waits for approval; an administrator's, or one that an
        administrator makes, never does."""
        if self.registration.admin or self.registration.by_admin:
            return self
        return attr.evolve(self, approved=False, terms=None)

    def account(
        self,
        user_id: UserID,
        *,
        password_hash: Optional[str],
        shadow_banned: bool,
        upgrades_guest: bool,
    ) -> NewAccount:
        """The account under this name, which its tokens and its default display name contain."""
        asked = self.registration
        created_ms = clock.now_ms(self.planner.clock)
        validated = {item.address for item in asked.threepids}
        vouched = tuple(item for item in asked.bind_emails if item not in validated)
        return NewAccount(
            key=asked.key,
            user_id=user_id,
            created_ms=created_ms,
            password_hash=password_hash,
            is_guest=asked.make_guest,
            upgrades_guest=upgrades_guest,
            admin=asked.admin,
            user_type=asked.user_type,
            approved=self.approved,
            shadow_banned=shadow_banned,
            # A guest who becomes a user keeps its profile.
            display_name=None if upgrades_guest else asked.display_name or user_id.localpart,
            auth_provider_id=asked.auth_provider_id,
            threepids=(
                *asked.threepids,
                *(Threepid("email", address, created_ms) for address in vouched),
            ),
            vouched_emails=vouched,
            registration_token=asked.registration_token,
            consents=asked.consents,
            stages=asked.stages,
            extra=asked.extra,
            session_id=asked.session_id,
            session_until_ms=created_ms + self.planner.replay_window_ms,
            suspended=self._is_suspended(),
            shadow=self._shadow(),
            yields_to_holds=self.planner.config.hold_names
            and not (asked.by_admin or asked.make_guest or upgrades_guest),
            device=self._device(user_id),
            approval_request=None if self.approved else self._approval_request(),
            allowed=allowed.of_registration(
                self.planner.audit, asked, self.approved, upgrades_guest
            ),
        )

    def _approval_request(self) -> ApprovalRequest:
        asked, reason = self.registration, self.registration.stages.get(REASON)
        return ApprovalRequest(
            reason=reason if isinstance(reason, str) else None,
            address=None if asked.client is None else asked.client.address,
            languages=tuple(tag[:MAX_LANGUAGE] for tag in asked.languages[:MAX_LANGUAGES]),
        )

    def _is_suspended(self) -> bool:
        """Whether it must not speak at the homeserver yet. Nobody suspends whom an administrator
        makes, or says to be approved."""
        asked, config = self.registration, self.planner.newcomers
        if config is None or not self.approved or asked.approved is not None:
            return False
        if asked.make_guest or asked.admin or asked.by_admin:
            return False
        return not (config.or_with_address and asked.threepids)

    def _shadow(self) -> Mapping[str, Any]:
        shadow = self.planner.shadow
        if shadow is None or self.registration.make_guest:
            return {}
        return shadow.terms_of(self.registration)

    def _device(self, user_id: UserID) -> Optional[NewDevice]:
        if self.registration.device is None or self.terms is None:
            return None
        login = self.planner.logins.issue(user_id, self.terms, self.registration.key)
        return NewDevice.from_request(self.registration.device, login)


def canonical_threepids(threepids: Iterable[Threepid]) -> tuple[Threepid, ...]:
    """These in canonical form, each address once; InvalidParam for one that has none."""
    found: dict[tuple[str, str], Threepid] = {}
    for item in threepids:
        address = canonical_threepid(item.medium, item.address)
        found.setdefault((item.medium, address), attr.evolve(item, address=address))
    return tuple(found.values())


def canonical_emails(addresses: Iterable[str]) -> tuple[str, ...]:
    """As ``canonical_threepids``."""
    return tuple(dict.fromkeys(canonical_threepid(EMAIL, address) for address in addresses))
