"""The same account on a parallel server, the shadow server (contract B12.1)."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Protocol, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from regsys import clock
from regsys.errors import ShadowServerRefused, UserNotFound
from regsys.interfaces import IUserLookup
from regsys.interfaces.internal import IJobPlanner
from regsys.jobs import NotYet
from regsys.model import NewAccount, Registration, Secret, UserID
from regsys.model.canonical_threepids import EMAIL, MSISDN
from regsys.model.jobs import Job, NewJob
from regsys.model.json_values import json_object
from regsys.model.login_types import APPLICATION_SERVICE
from regsys.model.typed import check_type
from regsys.storage.encryption import Encryptor
from regsys.storage.jobs import JobStore
from regsys.uia.stage_types import EMAIL_IDENTITY, MSISDN_STAGE

SHADOW_REGISTER = "shadow_register"
# What is encrypted, so that no other text of ours decrypts as one of these.
PURPOSE = "a password for the shadow server"
# The parameters of POST /register that the shadow server is told, with their types.
BINDS = ("bind_email", "bind_msisdn")
PARAMS: Mapping[str, type] = {
    "password": Secret,
    "device_id": str,
    "initial_device_display_name": str,
    **dict.fromkeys(BINDS, bool),
}
# How long a refused account is tried, so that the operator can mend what it is refused for. Then
# its password must not be kept any longer.
GIVE_UP_MS = 7 * 24 * 3600 * 1000
# How often it is looked whether an account has been approved.
APPROVED_S = 900.0

_STAGE_OF = {EMAIL: EMAIL_IDENTITY, MSISDN: MSISDN_STAGE}

log = Logger()


class ParallelServer(Protocol):
    """``outbound/shadow_server.py``."""

    async def register(self, body: Mapping[str, Any]) -> Optional[str]: ...


@implementer(IJobPlanner)
@attr.frozen(kw_only=True)
class ShadowServer:
    """Registers people's accounts there, each by a job of the account's own transaction. Those of
    guests and application services are not: so two servers may be each other's shadow.

    ``server_name``: what user IDs there end with; None if that is not known. If ``users`` is None,
    accounts cannot be looked up, and none is known to wait for approval.
    """

    server: ParallelServer
    server_name: Optional[str]
    encryptor: Encryptor
    users: Optional[IUserLookup]
    jobs: JobStore
    start_jobs: Callable[[Sequence[NewJob]], None]
    clock: IReactorTime

    def terms_of(self, asked: Registration) -> Mapping[str, Any]:
        """What it is told of this registration, besides the account's names, the password
        encrypted."""
        device = asked.device
        params: dict[str, Any] = dict.fromkeys(asked.binds, True)
        if asked.password is not None:
            params["password"] = asked.password
        if device is not None:
            params["device_id"] = device.device_id
            params["initial_device_display_name"] = device.display_name
        return self._terms(_auth_result(asked), params)

    def _terms(self, auth_result: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
        terms = {name: params[name] for name in PARAMS if params.get(name) is not None}
        password = terms.pop("password", None)
        if password is not None:
            terms["sealed"] = self.encryptor.encrypt(password.reveal(), PURPOSE)
        now_ms = clock.now_ms(self.clock)
        return {**terms, "auth_result": dict(auth_result), "until_ms": now_ms + GIVE_UP_MS}

    def jobs_for(self, new: NewAccount) -> Sequence[NewJob]:
        if not new.shadow:
            return ()
        return (_job(new.user_id, new.display_name, new.shadow),)

    def jobs_after_consent(self, user_id: UserID) -> Sequence[NewJob]:
        return ()

    async def begin(
        self,
        user_id: UserID,
        display_name: Optional[str],
        auth_result: Mapping[str, Any],
        params: Mapping[str, Any],
    ) -> None:
        """Write the job for an account that was made elsewhere. Idempotent. UserNotFound; TypeError
        for a wrong type."""
        check_type("display_name", display_name, str, type(None))
        check_type("auth_result", auth_result, Mapping)
        check_type("params", params, Mapping)
        for name, kind in PARAMS.items():
            check_type(f"params[{name!r}]", params.get(name), kind, type(None))
        if self.users is not None and await self.users.find(user_id.localpart) is None:
            raise UserNotFound()
        terms = self._terms(json_object("auth_result", auth_result), params)
        jobs = (_job(user_id, display_name, terms),)
        self.start_jobs(await self.jobs.begin(jobs, clock.now_ms(self.clock)))

    async def run(self, job: Job) -> None:
        """The handler of SHADOW_REGISTER jobs."""
        user_id = UserID.parse(job.payload["user_id"])
        if not await self._is_wanted(user_id):
            return
        try:
            there = await self.server.register(self._body(user_id, job.payload))
        except ShadowServerRefused as refusal:
            if clock.now_ms(self.clock) < job.payload["until_ms"]:
                raise
            log.error(
                "{user_id} is not on the shadow server, and is not tried any more: {reason}",
                user_id=str(user_id),
                reason=str(refusal),
            )
            return
        self._report(user_id, there, job)

    async def _is_wanted(self, user_id: UserID) -> bool:
        """Whether the account is still there. NotYet if it waits for approval: there it could log
        in."""
        user = None if self.users is None else await self.users.find(user_id.localpart)
        if user is None:
            return self.users is None
        if not user.deactivated and not user.approved:
            raise NotYet(APPROVED_S)
        return not user.deactivated

    def _body(self, user_id: UserID, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        body = {name: payload[name] for name in PARAMS if name in payload}
        sealed = payload.get("sealed")
        if sealed is not None:
            password = self.encryptor.decrypt(sealed, PURPOSE)
            if password is None:
                log.error(
                    "{user_id} gets no password on the shadow server: macaroon_secret_key has"
                    " changed since the registration",
                    user_id=str(user_id),
                )
            else:
                body["password"] = password
        if payload["display_name"] is not None:
            body["display_name"] = payload["display_name"]
        return {
            "type": APPLICATION_SERVICE,
            "username": user_id.localpart,
            **dict.fromkeys(BINDS, False),
            **body,
            "auth_result": payload["auth_result"],
            "inhibit_login": False,
        }

    def _report(self, user_id: UserID, there: Optional[str], job: Job) -> None:
        if there is None:
            if not job.is_late:
                log.warn(
                    "the shadow server has a user of the name of {user_id} already",
                    user_id=str(user_id),
                )
        elif self.server_name and there != f"@{user_id.localpart}:{self.server_name}":
            log.error(
                "the shadow server has registered {user_id} as {there}: see shadow_server.hs",
                user_id=str(user_id),
                there=there,
            )


def _job(user_id: UserID, display_name: Optional[str], terms: Mapping[str, Any]) -> NewJob:
    return NewJob(
        kind=SHADOW_REGISTER,
        payload={"user_id": str(user_id), "display_name": display_name, **terms},
        # Also if the homeserver that embeds us asks for an account of ours once more.
        dedup_key=f"{SHADOW_REGISTER} {user_id}",
    )


def _auth_result(asked: Registration) -> Mapping[str, Any]:
    """The stages that were passed, in the shape of ``post_registration_actions``: addresses with
    the time of their validation; of others that they were passed, and no token."""
    found: dict[str, Any] = dict.fromkeys(asked.stages, True)
    for item in asked.threepids:
        found[_STAGE_OF.get(item.medium, item.medium)] = {
            "medium": item.medium,
            "address": item.address,
            "validated_at": item.validated_at_ms,
        }
    return found
