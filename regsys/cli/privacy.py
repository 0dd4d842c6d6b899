"""``regsys privacy export | erase``: each returns what to print."""

from __future__ import annotations

from argparse import Namespace
from typing import Awaitable, Callable, Mapping

from regsys.cli.names import user_id_of
from regsys.cli.tables import json_text
from regsys.errors import RegistrationError, UserNotFound
from regsys.model import UserID
from regsys.model.administration import CLI
from regsys.model.audit import ERASED
from regsys.storage.approvals import ApprovalStore
from regsys.storage.personal_data import PersonalDataStore
from regsys.storage.profiles import ProfileStore
from regsys.wiring.subsystem import Subsystem

Action = Callable[[Subsystem, UserID, Namespace], Awaitable[str]]


async def _export(subsystem: Subsystem, user_id: UserID, arguments: Namespace) -> str:
    found = await PersonalDataStore(subsystem.process.database).of(user_id)
    return json_text({"user_id": str(user_id), **found})


async def _erase(subsystem: Subsystem, user_id: UserID, arguments: Namespace) -> str:
    if not arguments.yes:
        raise RegistrationError(
            f"this ends {user_id} for good, and nobody can have the name again: repeat it with"
            " --yes"
        )
    assert subsystem.administration is not None  # commands run over our own tables
    await subsystem.administration.deactivate(user_id, True, CLI)
    await ApprovalStore(subsystem.process.database).forget(user_id)
    # Last: an entry of the erasure says that all of it was done. It names nobody.
    done = subsystem.audit.entries(by=CLI, what=ERASED)
    await subsystem.audit_entries.erase(user_id, done)
    return f"{user_id} is deactivated and erased. docs/privacy.md says what stays."


ACTIONS: Mapping[str, Action] = {"export": _export, "erase": _erase}


async def run(subsystem: Subsystem, server_name: str, arguments: Namespace) -> str:
    """RegistrationError if there is no such account here."""
    user_id = user_id_of(arguments.user, server_name)
    if await ProfileStore(subsystem.process.database).find(user_id) is None:
        raise UserNotFound(f"there is no user {user_id}")
    return await ACTIONS[arguments.action](subsystem, user_id, arguments)
