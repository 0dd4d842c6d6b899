"""What follows when a registration is over (contract B6)."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys import clock
from regsys.consent import Consents
from regsys.errors import InvalidParam, ThreepidInUse, UnknownToken, UserNotFound
from regsys.interfaces import IAccountStore, IAuth, IThreepidStore
from regsys.interfaces.internal import IJobPlanner
from regsys.json_body import MAX_INTEGER
from regsys.model import Login, LoginTerms, NewAccount, NewDevice, Secret, Threepid, UserID
from regsys.model.identity import masked
from regsys.model.jobs import NewJob
from regsys.storage.jobs import JobStore
from regsys.threepids.addresses import canonical_threepid
from regsys.threepids.changes import held_key
from regsys.uia.stage_types import EMAIL_IDENTITY, MSISDN_STAGE, TERMS

log = Logger()


@attr.frozen(kw_only=True)
class PostRegistration:
    """For accounts of our own and of a homeserver. If ``threepids`` is None, owners of addresses
    cannot be looked up, and no address is added."""

    accounts: IAccountStore
    auth: IAuth
    threepids: Optional[IThreepidStore]
    consents: Consents
    planners: IJobPlanner
    jobs: JobStore
    start_jobs: Callable[[Sequence[NewJob]], None]
    clock: IReactorTime

    async def post_registration_actions(
        self, user_id: UserID, auth_result: Mapping[str, Any], access_token: Optional[Secret]
    ) -> None:
        """As IRegistrationWriter.post_registration_actions."""
        if not await self.accounts.is_taken(user_id.localpart):
            raise UserNotFound()
        accepted = self._accepted(auth_result.get(TERMS))
        device = await self._device(user_id, access_token)
        held = [item for item in threepids_in(auth_result) if await self._is_held(user_id, item)]
        if accepted:
            await self.consents.record(user_id, accepted)
        account = NewAccount(
            key=f"after {user_id}",
            user_id=user_id,
            created_ms=clock.now_ms(self.clock),
            is_guest=device is not None and device.login.terms.is_guest,
            threepids=tuple(held),
            consents=accepted,
            device=device,
        )
        jobs = self.planners.jobs_for(account)
        if jobs:
            self.start_jobs(await self.jobs.begin(jobs, clock.now_ms(self.clock)))

    def _accepted(self, result: Any) -> Mapping[str, str]:
        """The policies that were accepted: what our stage says; if another stage was passed, all
        that are required."""
        if isinstance(result, Mapping):
            return {str(policy): str(version) for policy, version in result.items()}
        required = self.consents.terms.at_registration if result else {}
        return {name: policy.version for name, policy in required.items()}

    async def _device(self, user_id: UserID, token: Optional[Secret]) -> Optional[NewDevice]:
        """The device of the account's login; None if there was none or it has been logged out."""
        if token is None:
            return None
        try:
            requester = await self.auth.whose(token)
        except UnknownToken:
            requester = None
        if requester is None or requester.user_id != user_id or requester.device_id is None:
            log.info("the login of {user_id} has ended", user_id=str(user_id))
            return None
        terms = LoginTerms(device_id=requester.device_id, is_guest=requester.is_guest)
        return NewDevice(login=Login(terms=terms, access_token=token))

    async def _is_held(self, user_id: UserID, threepid: Threepid) -> bool:
        """Whether the user has the address. It is added if no account has it, but not if the user
        has had it before: they may have removed it since."""
        if self.threepids is None:
            return True
        medium, address = threepid.medium, threepid.address
        key = held_key(user_id, medium, address)
        if await self.jobs.has_key(key):
            return await self.threepids.owner_of(medium, address) == user_id
        try:
            await self.threepids.add(user_id, threepid, clock.now_ms(self.clock))
        except ThreepidInUse:
            log.warn(
                "{address} was validated for {user_id}, and belongs to another account",
                address=masked(address),
                user_id=str(user_id),
            )
            return False
        await self.jobs.add_key(key)
        return True


def threepids_in(auth_result: Mapping[str, Any]) -> Sequence[Threepid]:
    """The identifiers that stages have validated. A result that is none is skipped and logged."""
    threepids = []
    for stage, medium in ((EMAIL_IDENTITY, "email"), (MSISDN_STAGE, "msisdn")):
        if stage not in auth_result:
            continue
        threepid = _threepid(medium, auth_result[stage])
        if threepid is None:
            log.warn("the result of {stage} is no identifier: skipped", stage=stage)
        else:
            threepids.append(threepid)
    return threepids


def _threepid(medium: str, result: Any) -> Optional[Threepid]:
    if not isinstance(result, Mapping) or result.get("medium") != medium:
        return None
    address, validated_ms = result.get("address"), result.get("validated_at")
    if not isinstance(address, str) or type(validated_ms) is not int:
        return None
    if not 0 <= validated_ms <= MAX_INTEGER:
        return None
    try:
        return Threepid(medium, canonical_threepid(medium, address), validated_ms)
    except InvalidParam:
        return None
