"""Auto-join rooms: which users join which rooms, and how (contract B5).

Each room is a job of its own, so that a room that fails delays no other, and no registration.
"""

from __future__ import annotations

from typing import Collection, Optional, Sequence

import attr
from zope.interface import implementer

from regsys.config import RoomsConfig
from regsys.config.rooms import PUBLIC
from regsys.errors import RoomRefused, RoomTaken
from regsys.interfaces import IRooms, IUserLookup
from regsys.interfaces.internal import IJobPlanner
from regsys.model import FoundRoom, NewAccount, NewRoom, User, UserID
from regsys.model.jobs import Job, NewJob
from regsys.storage.server_state import ServerStateStore

AUTO_JOIN = "auto_join"


@implementer(IJobPlanner)
@attr.frozen(kw_only=True)
class AutoJoinPlanner:
    """Plans the jobs of a new account: none for users of application services, and for guests
    only if the configuration says so.

    Support users and bots join, but create no room. ``policies``: the names of those that a user
    must have accepted before the jobs begin.
    """

    config: RoomsConfig
    policies: Collection[str] = ()

    def jobs_for(self, new: NewAccount) -> Sequence[NewJob]:
        if new.suspended:
            # It could not join: its rooms come when it is released.
            return ()
        if new.appservice_id is not None or (new.is_guest and not self.config.for_guests):
            return ()
        if any(policy not in new.consents for policy in self.policies):
            return ()
        return self._jobs(new.user_id)

    def jobs_after_consent(self, user_id: UserID) -> Sequence[NewJob]:
        return self._jobs(user_id) if self.policies else ()

    def jobs_after_release(self, user_id: UserID) -> Sequence[NewJob]:
        """Those of a newcomer who was suspended, and has accepted the policies."""
        return self._jobs(user_id)

    def _jobs(self, user_id: UserID) -> Sequence[NewJob]:
        # A user who joined as a guest is not joined again: a room that they left stays left.
        dedup_key, payload = f"auto-join {user_id}", {"user_id": str(user_id)}
        return [
            NewJob(kind=AUTO_JOIN, payload={**payload, "room": room}, dedup_key=dedup_key)
            for room in self.config.auto_join
        ]


@attr.frozen(kw_only=True)
class AutoJoiner:
    """Joins one user to one room, and creates the room first if this user is to be its creator.

    Idempotent: what an earlier attempt or another process has done is left as it is. If
    ``users`` is None, users cannot be looked up, and all are treated as ordinary users.
    """

    rooms: IRooms
    server_state: ServerStateStore
    users: Optional[IUserLookup]
    config: RoomsConfig
    server_name: str

    async def run(self, job: Job) -> None:
        """The handler of AUTO_JOIN jobs. Raises RoomRefused with the room's name if it failed."""
        user_id, name = UserID.parse(job.payload["user_id"]), job.payload["room"]
        try:
            user = None if self.users is None else await self.users.find(user_id.localpart)
            if user is None or self._is_welcome(user):
                await self._join(user_id, user, name)
            else:
                await self._create_without(user, name)
        except RoomRefused as refusal:
            raise RoomRefused(f"{name}: {refusal}") from refusal
        except Exception as error:  # whatever an IRooms raises, the log names the room
            raise RoomRefused(f"{name}: {type(error).__name__}: {error}") from error

    def _is_welcome(self, user: User) -> bool:
        """Whether the user is still to join: the job may be old, and a user of an application
        service may have accepted policies, too."""
        if user.deactivated or user.appservice_id is not None:
            return False
        return self.config.for_guests or not user.is_guest

    async def _join(self, user_id: UserID, user: Optional[User], name: str) -> None:
        room = await self.rooms.find(name)
        if room is None and await self._may_make(user_id, user, name):
            if await self._make(user_id, name):
                return
            room = await self.rooms.find(name)
        if room is None:
            raise RoomRefused("there is no such room")
        # Without a member on this server a room's join rules cannot be read, nor users invited.
        if room.resident and not await self.rooms.is_public(room):
            await self._invite(user_id, room)
        await self.rooms.join(user_id, room)

    async def _create_without(self, user: User, name: str) -> None:
        """A deactivated user joins no room. But no later user will be the first one, so the room
        that this user was to create is created without them, if there is a configured creator."""
        if self.config.if_missing or not await self._may_make(user.user_id, user, name):
            return
        creator = await self._inviter()
        if creator is not None and await self.rooms.find(name) is None:
            await self._create(creator, name)

    async def _may_make(self, user_id: UserID, user: Optional[User], name: str) -> bool:
        """Whether a room that does not exist is to be created for this user."""
        is_ours = name.startswith("#") and name.partition(":")[2] == self.server_name
        if not (self.config.autocreate and is_ours):
            return False
        if self.config.if_missing:
            return self.config.inviter is not None or user is None or user.is_real
        return await self.server_state.first_real_user() == user_id

    async def _make(self, user_id: UserID, name: str) -> bool:
        """Create the room with the user in it; False if another process created it first."""
        creator = await self._inviter() or user_id
        is_listed = self.config.preset != PUBLIC and creator != user_id
        made = await self._create(creator, name, *((user_id,) if is_listed else ()))
        if made is not None and creator != user_id:
            await self.rooms.join(user_id, made)
        return made is not None

    async def _create(self, creator: UserID, name: str, *invited: UserID) -> Optional[FoundRoom]:
        """The room that was created; None if another process created it first."""
        new = NewRoom(
            alias=name,
            preset=self.config.preset,
            invited=invited,
            federated=self.config.federated,
        )
        try:
            return await self.rooms.create(creator, new)
        except RoomTaken:
            return None

    async def _invite(self, user_id: UserID, room: FoundRoom) -> None:
        inviter = await self._inviter()
        if inviter is None:
            raise RoomRefused(
                "it is not public, or its join rules cannot be read, and nobody can invite: "
                "set auto_join_mxid_localpart to somebody who is in it"
            )
        if inviter != user_id:
            await self.rooms.invite(inviter, user_id, room)

    async def _inviter(self) -> Optional[UserID]:
        """The user of auto_join_mxid_localpart; None if none is configured."""
        if self.config.inviter is None:
            return None
        inviter = UserID(self.config.inviter, self.server_name)
        if self.users is not None:
            user = await self.users.find(inviter.localpart)
            if user is None or user.deactivated:
                raise RoomRefused(f"{inviter} (auto_join_mxid_localpart) has no account: make one")
            return user.user_id
        return inviter
