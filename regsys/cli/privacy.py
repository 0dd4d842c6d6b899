"""``regsys privacy export | erase``: each returns what to print."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Awaitable, Callable, Mapping

from regsys.accounts.allowed import COMMAND_LINE
from regsys.accounts.usernames import ascii_lower
from regsys.errors import RegistrationError, UserNotFound
from regsys.model import UserID
from regsys.model.audit import ERASED
from regsys.storage.personal_data import PersonalDataStore
from regsys.storage.profiles import ProfileStore
from regsys.wiring.subsystem import Subsystem

Action = Callable[[Subsystem, UserID, Namespace], Awaitable[str]]


async def _export(subsystem: Subsystem, user_id: UserID, arguments: Namespace) -> str:
    found = await PersonalDataStore(subsystem.process.database).of(user_id)
    return json.dumps({"user_id": str(user_id), **found}, indent=2, ensure_ascii=False)


async def _erase(subsystem: Subsystem, user_id: UserID, arguments: Namespace) -> str:
    if not arguments.yes:
        raise RegistrationError(
            f"this ends {user_id} for good, and nobody can have the name again: repeat it with"
            " --yes"
        )
    await subsystem.handler.deactivated(user_id, erase=True)
    await ProfileStore(subsystem.process.database).set_display_name(user_id, None)
    # Last: an entry of the erasure says that all of it was done. It names nobody.
    done = subsystem.audit.entries(by=COMMAND_LINE, what=ERASED)
    await subsystem.audit_entries.erase(user_id, done)
    return f"{user_id} is deactivated and erased. docs/privacy.md says what stays."


ACTIONS: Mapping[str, Action] = {"export": _export, "erase": _erase}


async def run(subsystem: Subsystem, server_name: str, arguments: Namespace) -> str:
    """RegistrationError if there is no such account here."""
    user_id = user_id_of(arguments.user, server_name)
    if await ProfileStore(subsystem.process.database).find(user_id) is None:
        raise UserNotFound(f"there is no user {user_id}")
    return await ACTIONS[arguments.action](subsystem, user_id, arguments)


def user_id_of(text: str, server_name: str) -> UserID:
    """Of a whole user ID, or of a name."""
    if not text.startswith("@"):
        return UserID(ascii_lower(text), server_name)
    try:
        user_id = UserID.parse(text)
    except ValueError:
        raise RegistrationError(f"{text!r} is no user ID: write @name:{server_name}") from None
    if user_id.server != server_name:
        raise RegistrationError(f"{user_id} is not of this server, {server_name}")
    return user_id
