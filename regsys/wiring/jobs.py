"""What follows a registration: each capability plans its jobs, and its handler carries them out."""

from __future__ import annotations

from typing import Optional

from regsys.accounts.auto_join import AUTO_JOIN, AutoJoiner, AutoJoinPlanner
from regsys.accounts.post_registration_jobs import (
    ADD_PUSHER,
    TELL_DIRECTORY,
    DirectoryNotice,
    EmailPusher,
)
from regsys.interfaces import IPushers, IRooms, IThreepidStore, IUserDirectory, IUserLookup
from regsys.outbound.homeserver_profiles import HomeserverDirectory
from regsys.threepids.changes import TELL_OF_ADDRESS, AddressNotice
from regsys.wiring.parts import Parts


def notices(
    parts: Parts,
    owners: Optional[IThreepidStore],
    users: Optional[IUserLookup],
    own: Optional[IUserDirectory],
) -> None:
    """The user directory is told of profiles, modules are told of addresses. ``owners`` and
    ``users`` are looked at by jobs that come late; None: nothing is. ``own`` is the embedder's
    directory."""
    directory = _directory_notice(parts, users, own)
    if directory is not None:
        parts.planners.notices.append(directory)
        parts.runner.add_handlers({TELL_DIRECTORY: directory.run})
    addresses = AddressNotice(parts.hooks.threepid_changes, owners)
    parts.planners.notices.append(addresses)
    parts.runner.add_handlers({TELL_OF_ADDRESS: addresses.run})


def _directory_notice(
    parts: Parts, users: Optional[IUserLookup], own: Optional[IUserDirectory]
) -> Optional[DirectoryNotice]:
    """None: there is no user directory."""
    shown = parts.config.registration.in_directory
    if own is not None:
        return DirectoryNotice(own, shown, users=users)
    if parts.homeserver is not None:
        # Names that a service alone may have there are not ours to make.
        beside = HomeserverDirectory(parts.homeserver)
        return DirectoryNotice(beside, shown, of_ghosts=False, users=users)
    return None


def rooms(parts: Parts, rooms: Optional[IRooms], users: Optional[IUserLookup]) -> None:
    """Newcomers join the rooms that are configured. If ``rooms`` is None, their jobs wait."""
    config = parts.config.rooms
    if config.auto_join:
        policies = [*parts.config.terms.at_registration]
        parts.planners.parts.append(AutoJoinPlanner(config=config, policies=policies))
    if rooms is not None:
        # Also where no room is configured any more: what was planned before is carried out.
        joiner = AutoJoiner(
            rooms=rooms,
            server_state=parts.stores.server_state,
            users=users,
            config=config,
            server_name=parts.config.server_name,
        )
        parts.runner.add_handlers({AUTO_JOIN: joiner.run})


def pushers(parts: Parts, pushers: Optional[IPushers]) -> None:
    """Newcomers have email pushers, where that is configured. None if pushers are not kept."""
    if pushers is None:
        return
    pusher, email = EmailPusher(pushers), parts.config.email
    # Also where it is not configured any more: what was planned before is carried out.
    parts.runner.add_handlers({ADD_PUSHER: pusher.run})
    if email is not None and email.notifies_newcomers:
        parts.planners.parts.append(pusher)
