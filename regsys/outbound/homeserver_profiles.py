"""Profiles on the homeserver beside us, or whose auth service we are, which put new users into its
user directory."""

from __future__ import annotations

from typing import Optional

import attr
from zope.interface import implementer

from regsys.interfaces import IUserDirectory
from regsys.model import UserID
from regsys.outbound.homeserver import Homeserver, HomeserverRefused
from regsys.outbound.synapse import Synapse

# Well below the job's lease, see ``homeserver_rooms.STEPS_S``.
DEADLINE_S = 30.0
# The account data that keeps a user out of the user directory (contract B12.2).
HIDE = "im.vector.hide_profile"


async def hide(homeserver: Homeserver, user_id: UserID) -> None:
    where = ("v3", "user", str(user_id), "account_data", HIDE)
    await homeserver.act(user_id, "PUT", where, {"hide_profile": True})


@implementer(IUserDirectory)
@attr.frozen(kw_only=True)
class SynapseDirectory:
    """The profiles of a Synapse whose auth service we are: it makes each with the account, by the
    localpart, and lets us change the display name whoever may change their own."""

    homeserver: Homeserver
    synapse: Synapse

    async def profile_created(
        self, user_id: UserID, display_name: Optional[str], hidden: bool
    ) -> None:
        await self.homeserver.within(DEADLINE_S, self._change(user_id, display_name, hidden))

    async def _change(self, user_id: UserID, display_name: Optional[str], hidden: bool) -> None:
        if hidden:
            await hide(self.homeserver, user_id)
        if display_name in (None, user_id.localpart):
            return
        there = await self.synapse.query_user(user_id)
        # Any other name has been chosen by the user since.
        if there is not None and there.get("display_name") in (None, "", user_id.localpart):
            await self.synapse.set_displayname(user_id, str(display_name))


@implementer(IUserDirectory)
@attr.frozen
class HomeserverDirectory:
    """Creates new users' profiles there (contract B2.7)."""

    homeserver: Homeserver

    async def profile_created(
        self, user_id: UserID, display_name: Optional[str], hidden: bool
    ) -> None:
        await self.homeserver.within(DEADLINE_S, self._create(user_id, display_name, hidden))

    async def _create(self, user_id: UserID, display_name: Optional[str], hidden: bool) -> None:
        await self.homeserver.introduce(user_id)
        if hidden:
            # Before the display name, by which the user could be found.
            await hide(self.homeserver, user_id)
        if display_name is None:
            return
        path = ("v3", "profile", str(user_id), "displayname")
        # Many homeservers begin with the localpart. Any other name has been chosen by the user:
        # this may be a job's second try, or one that waited for the homeserver for a day.
        present = await self._present_name(user_id, path)
        if present != display_name and present in (None, "", user_id.localpart):
            await self.homeserver.act(user_id, "PUT", path, {"displayname": display_name})

    async def _present_name(self, user_id: UserID, path: tuple[str, ...]) -> object:
        try:
            return (await self.homeserver.act(user_id, "GET", path)).get("displayname")
        except HomeserverRefused as refusal:
            if refusal.status == 404:
                return None
            raise


@attr.frozen
class HomeserverProfiles:
    """The profiles of our users there."""

    homeserver: Homeserver

    async def find(self, user_id: UserID) -> Optional[tuple[Optional[str], Optional[str]]]:
        """Display name and address of the avatar; None if there is no such user."""
        # As nobody in particular: acting as a user would create one who does not exist.
        asking = self.homeserver.ask("GET", ("v3", "profile", str(user_id)), about=user_id)
        try:
            found = await self.homeserver.within(DEADLINE_S, asking)
        except HomeserverRefused as refusal:
            if refusal.status == 404:
                return None
            raise
        return _text(found.get("displayname")), _text(found.get("avatar_url"))

    async def set_display_name(self, user_id: UserID, name: Optional[str]) -> None:
        """None: the user has none."""
        path = ("v3", "profile", str(user_id), "displayname")
        asking = self.homeserver.act(user_id, "PUT", path, {"displayname": name or ""})
        await self.homeserver.within(DEADLINE_S, asking)


@attr.frozen
class SynapseProfiles:
    """Those of a Synapse whose auth service we are."""

    synapse: Synapse

    async def find(self, user_id: UserID) -> Optional[tuple[Optional[str], Optional[str]]]:
        """As HomeserverProfiles.find."""
        found = await self.synapse.query_user(user_id)
        if found is None:
            return None
        return _text(found.get("display_name")), _text(found.get("avatar_url"))

    async def set_display_name(self, user_id: UserID, name: Optional[str]) -> None:
        """None: the user has none."""
        if name is None:
            await self.synapse.unset_displayname(user_id)
        else:
            await self.synapse.set_displayname(user_id, name)


def _text(found: object) -> Optional[str]:
    return found if isinstance(found, str) and found else None
