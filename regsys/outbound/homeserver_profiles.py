"""The profiles of a homeserver beside us, by which its user directory learns of newcomers."""

from __future__ import annotations

from typing import Optional

import attr
from zope.interface import implementer

from regsys.interfaces import IUserDirectory
from regsys.model import UserID
from regsys.outbound.homeserver import Homeserver, HomeserverRefused

# Well below the lease of the job that tells, see ``rooms.STEPS_S``.
TELL_S = 30.0
# The account data by which homeservers know that nobody shall find a user (contract B12.2).
HIDE = "im.vector.hide_profile"


@implementer(IUserDirectory)
@attr.frozen
class HomeserverDirectory:
    """Puts newcomers and their display names there (contract B2.7)."""

    homeserver: Homeserver

    async def profile_created(
        self, user_id: UserID, display_name: Optional[str], hidden: bool
    ) -> None:
        await self.homeserver.within(TELL_S, self._tell(user_id, display_name, hidden))

    async def _tell(self, user_id: UserID, display_name: Optional[str], hidden: bool) -> None:
        await self.homeserver.introduce(user_id)
        if hidden:
            # Before the name is there to be found.
            where = ("v3", "user", str(user_id), "account_data", HIDE)
            await self.homeserver.act(user_id, "PUT", where, {"hide_profile": True})
        if display_name is None:
            return
        path = ("v3", "profile", str(user_id), "displayname")
        # Many homeservers begin with the localpart. Any other name is a person's own by now:
        # this may be a job's second try, or one that waited for the homeserver for a day.
        shown = await self._shown(user_id, path)
        if shown != display_name and shown in (None, "", user_id.localpart):
            await self.homeserver.act(user_id, "PUT", path, {"displayname": display_name})

    async def _shown(self, user_id: UserID, path: tuple[str, ...]) -> object:
        try:
            return (await self.homeserver.act(user_id, "GET", path)).get("displayname")
        except HomeserverRefused as refusal:
            if refusal.status == 404:
                return None
            raise
