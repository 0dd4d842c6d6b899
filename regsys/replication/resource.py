"""The master's side: the resource that workers call (contract B11.2-4)."""

from __future__ import annotations

import hmac
from typing import Any, Awaitable, Callable, Collection, Mapping, Optional, Protocol

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys import clock, json_body
from regsys.errors import RegistrationError, WrongCall, WrongReplicationSecret
from regsys.http import Call, Endpoint, Reply
from regsys.http.reply import refusal
from regsys.interfaces.internal import IRegistrationWriter
from regsys.model import Created, DeviceRequest, LoginTerms, NewAccount, NewDevice, Secret, UserID
from regsys.model.account_json import Issue
from regsys.model.accounts import CallOutcome
from regsys.model.replication import ReplicationCall
from regsys.replication import wire
from regsys.replication.refusals import refusal_body

# Workers' own ids have ten letters or 32 digits.
MAX_CALL_ID = 256

log = Logger()


class Calls(Protocol):
    """``ReplicationCallStore``."""

    async def find(self, call: ReplicationCall) -> Optional[CallOutcome]: ...

    async def keep(self, call: ReplicationCall, now_ms: int) -> None: ...


@attr.frozen(kw_only=True)
class MasterCalls:
    """Does what workers ask for, with ``writer``.

    ``count_and_register`` makes an account that no worker has counted or planned jobs for: the
    address it counts for is its second argument. ``terms`` and ``issue`` are those of Logins.
    ``approved``: whether an account is that a worker says nothing about. ``look_for_jobs`` looks
    for jobs of these kinds that workers have left. ``finish_device`` goes on with a login that an
    earlier try of a call has written; None if there is nothing to go on with.
    """

    secret: Secret
    server_name: str
    writer: IRegistrationWriter
    count_and_register: Callable[[NewAccount, Optional[str]], Awaitable[Created]]
    terms: Callable[[DeviceRequest, bool], LoginTerms]
    issue: Issue
    approved: bool
    look_for_jobs: Callable[[Collection[str]], None]
    calls: Calls
    clock: IReactorTime
    finish_device: Optional[Callable[[UserID, str], Awaitable[None]]] = None

    def endpoint(self) -> Endpoint:
        paths = tuple(f"{wire.PREFIX}/{name}/{{user_id}}/{{call_id}}" for name in wire.NAMES)
        return Endpoint("replication", (*paths, wire.RUN_JOBS_PATH), {"POST": self._post})

    async def _post(self, call: Call) -> Reply:
        try:
            return Reply(await self._answer(call))
        except RegistrationError as error:
            # As elsewhere, with the error's kind for a worker of ours.
            return attr.evolve(refusal(error), body=refusal_body(error))

    async def _answer(self, call: Call) -> Mapping[str, Any]:
        self._check_secret(call)
        if call.path == wire.RUN_JOBS_PATH:
            self.look_for_jobs(wire.parse_kinds(call.object()))
            return {}
        name = call.path.removeprefix(f"{wire.PREFIX}/").partition("/")[0]
        user_id, call_id = call.path_args["user_id"], call.path_args["call_id"]
        if len(call_id) > MAX_CALL_ID:
            raise WrongCall(f"The id of a call has at most {MAX_CALL_ID} characters.")
        account = wire.parse_user_id(user_id)
        if account.server != self.server_name:
            raise WrongCall("The path names a user of another server.")
        body = call.object()
        sent = ReplicationCall(
            name=name, user_id=user_id, call_id=call_id, fingerprint=wire.fingerprint(body)
        )
        if name == wire.REGISTER_USER:
            return await self._register_user(sent, body)
        if name == wire.REGISTER_DEVICE:
            return await self._register_device(sent, account, body)
        answer: dict[str, Any] = {}
        # Idempotent by itself: kept when it is done, so that it is done at least once.
        if await self.calls.find(sent) is None:
            if name == wire.POST_REGISTER:
                found, token = wire.parse_post_register_body(body)
                await self.writer.post_registration_actions(account, found, token)
            else:
                erase = json_body.boolean(body, "erase")
                answer["unbound"] = await self.writer.deactivate(account, erase)
            await self.calls.keep(sent, clock.now_ms(self.clock))
        return answer

    def _check_secret(self, call: Call) -> None:
        """Only the header counts: a query is logged on the way."""
        given = call.access_token
        if given is None or b"access_token" in call.query_args:
            raise WrongReplicationSecret()
        right = self.secret.reveal().encode("utf-8")
        if not hmac.compare_digest(given.reveal().encode("utf-8"), right):
            log.warn(
                "a worker at {address} has another worker_replication_secret than this process",
                address=call.client.address,
            )
            raise WrongReplicationSecret()

    async def _register_user(
        self, call: ReplicationCall, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        now_ms = clock.now_ms(self.clock)
        sent = wire.parse_account_body(body, call, self.issue, now_ms, self.approved)
        if sent.planned and sent.counted_at is None:
            created = await self.writer.create_account(sent.account)
        else:
            created = await self.count_and_register(sent.account, sent.counted_at)
        if not created.replayed:
            # The worker's own log has a line, too.
            log.debug("registered {user_id} for a worker", user_id=str(created.user_id))
        elif await self.calls.find(call) is not None:
            # It was this very call that has made the account: it gets the same answer again.
            created = attr.evolve(created, replayed=False)
        return wire.created_answer(created)

    async def _register_device(
        self, call: ReplicationCall, user_id: UserID, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        request, is_guest, fingerprint = wire.parse_device_body(body)
        earlier = await self.calls.find(call)
        if earlier is not None and earlier.terms is not None:
            if self.finish_device is not None:
                await self.finish_device(user_id, earlier.terms.device_id)
            return wire.login_answer(self.issue(user_id, earlier.terms, wire.key_of(call)))
        login = self.issue(user_id, self.terms(request, is_guest), wire.key_of(call))
        device = attr.evolve(
            NewDevice.from_request(request, login), call=call, password_fingerprint=fingerprint
        )
        return wire.login_answer(await self.writer.register_device(user_id, device))
