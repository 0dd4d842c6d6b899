"""What administrators do to accounts, where regsys keeps them."""

from __future__ import annotations

from typing import Iterator

from regsys.accounts.administration import Administration
from regsys.accounts.handler import RegistrationHandler
from regsys.http import Endpoint
from regsys.interfaces import IAuth
from regsys.storage.account_changes import AccountChangeStore
from regsys.storage.user_details import UserDetailsStore
from regsys.storage.user_lists import UserListStore
from regsys.threepids.identity_server_bindings import Bindings
from regsys.web import admin_changes, admin_devices, admin_users
from regsys.wiring.foundation import Foundation
from regsys.wiring.parts import Parts
from regsys.wiring.stores import OwnTables


def administration(
    base: Foundation,
    own: OwnTables,
    bindings: Bindings,
    handler: RegistrationHandler,
) -> Administration:
    parts, database = base.parts, base.parts.process.database
    return Administration(
        users=UserListStore(database),
        changes=AccountChangeStore(database, own.devices.ended, own.devices.logged_out),
        devices=own.devices,
        threepids=bindings.threepids,
        bindings=bindings,
        approvals=base.approvals(own),
        audit=parts.audit,
        register=handler.register_user,
        end_account=handler.deactivated,
        hasher=parts.process.hasher if parts.config.passwords.localdb_enabled else None,
    )


def endpoints(
    parts: Parts,
    own: OwnTables,
    administration: Administration,
    auth: IAuth,
) -> Iterator[Endpoint]:
    """Those that administrators' tools know. As the auth service of a homeserver regsys has none
    of them: that has all of them itself, for the same accounts."""
    database, config = parts.process.database, parts.config
    users = admin_users.Users(
        server_name=config.server_name,
        auth=auth,
        lists=administration.users,
        details=UserDetailsStore(database),
    )
    yield from admin_users.endpoints(users, own.threepids, own.external_ids)
    yield from admin_changes.endpoints(
        admin_changes.Changes(
            users=users,
            administration=administration,
            user_types=config.registration.user_types,
            clock=parts.clock,
        )
    )
    yield from admin_devices.endpoints(users, administration, own.devices, own.pushers)
