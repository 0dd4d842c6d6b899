"""The writer of a worker, which has the master write."""

from __future__ import annotations

import hashlib
from typing import Any, Awaitable, Callable, Mapping, Optional

import attr
from twisted.logger import Logger
from zope.interface import implementer

from regsys.interfaces.internal import IRegistrationWriter
from regsys.model import Created, Login, NewAccount, NewDevice, Secret, UserID
from regsys.model.account_json import Issue
from regsys.model.accounts import Outcome
from regsys.model.json_values import json_object
from regsys.replication import wire
from regsys.replication.sender import Sender, new_call_id

log = Logger()

# Makes the account, or only its row: then None, and the rest follows by further calls.
MakeRow = Callable[[NewAccount], Awaitable[Optional[Created]]]


@attr.frozen(kw_only=True)
class RowByCall:
    """Has the master make the account. One of ours makes all of it, another program only its
    row."""

    sender: Sender
    issue: Issue

    async def __call__(self, new: NewAccount) -> Optional[Created]:
        # An id for each call, not for each key: a retry of the client's has another time and
        # another hash in its body, and our master knows it by its key.
        return await self.sender.call(
            wire.REGISTER_USER,
            new.user_id,
            new_call_id(),
            wire.account_body(new),
            lambda answer: wire.parse_created(answer, new, self.issue),
        )


@implementer(IRegistrationWriter)
@attr.frozen(kw_only=True)
class RemoteWriter:
    """``make_row`` is what differs from one kind of master to another. ``issue`` makes the logins
    that the master has stored: both have the same secret."""

    sender: Sender
    make_row: MakeRow
    issue: Issue

    async def create_account(self, new: NewAccount) -> Created:
        created = await self.make_row(new)
        if created is not None:
            return created
        log.warn("the master is not regsys: {user_id} is made by three calls", user_id=new.user_id)
        login = None
        if new.device is not None:
            login = await self._log_in(new.user_id, new.device, _derived("device", new.key))
        if not (new.is_guest or new.is_ghost):
            await self._post_register(
                new.user_id,
                wire.auth_result_of(new),
                None if login is None else login.access_token,
                _derived("post_register", new.key),
            )
        return Created(user_id=new.user_id, login=login)

    async def repeat(self, outcome: Outcome) -> Created:
        login = None
        if outcome.terms is not None:
            login = self.issue(outcome.user_id, outcome.terms, outcome.key)
        return Created(user_id=outcome.user_id, login=login, replayed=True)

    async def register_device(self, user_id: UserID, device: NewDevice) -> Login:
        return await self._log_in(user_id, device, new_call_id())

    async def post_registration_actions(
        self, user_id: UserID, auth_result: Mapping[str, Any], access_token: Optional[Secret]
    ) -> None:
        found = {stage: it for stage, it in auth_result.items() if it is not None}
        json_object("auth_result", found)
        await self._post_register(user_id, found, access_token, new_call_id())

    async def deactivate(self, user_id: UserID, erase: bool = False) -> bool:
        body = {"erase": erase}
        return await self.sender.call(wire.DEACTIVATE, user_id, new_call_id(), body, wire.unbound)

    async def _log_in(self, user_id: UserID, device: NewDevice, call_id: str) -> Login:
        return await self.sender.call(
            wire.REGISTER_DEVICE,
            user_id,
            call_id,
            wire.device_body(device),
            lambda answer: wire.parse_login(answer, device),
        )

    async def _post_register(
        self, user_id: UserID, found: Mapping[str, Any], token: Optional[Secret], call_id: str
    ) -> None:
        body = wire.post_register_body(found, token)
        await self.sender.call(wire.POST_REGISTER, user_id, call_id, body, _nothing)


def _derived(purpose: str, key: str) -> str:
    """The id of a call that belongs to this key. It tells nothing of the key, which may be a
    session's id."""
    return hashlib.sha256(f"{purpose} {key}".encode()).hexdigest()[:32]


def _nothing(answer: Mapping[str, Any]) -> None:
    pass
