"""The bindings of our users' addresses at identity servers."""

from __future__ import annotations

import secrets
from typing import Optional

import attr

from regsys.model.accounts import CLOCKS_APART_MS
from regsys.model.identity import Secret, UserID

# Longer than a request to a server can take.
ASKING_MS = 20_000


@attr.frozen(kw_only=True)
class IdentityServerSession:
    """A validation session at an identity server."""

    sid: str = attr.field(repr=False)
    client_secret: Secret


@attr.frozen(kw_only=True)
class Binding:
    """Lookups of the address at ``id_server`` (``host`` or ``host:port``) lead to the user.

    ``session``: the session that it was bound with, kept to unbind it; None if the homeserver's
    signature does that. ``binding_id`` is new each time the address is bound. Until
    ``asked_until_ms`` the server may still be asked to bind it; 0 if it has answered.
    """

    user_id: UserID
    medium: str
    address: str
    id_server: str
    session: Optional[IdentityServerSession] = None
    binding_id: str = attr.field(factory=lambda: secrets.token_hex(12))
    asked_until_ms: int = 0

    def is_asked_for(self, now_ms: int) -> bool:
        """Whether the request to bind it may still be under way. A time that is too far in the
        future was written by a wrong clock."""
        return 0 < self.asked_until_ms - now_ms <= ASKING_MS + CLOCKS_APART_MS
