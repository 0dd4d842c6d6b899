"""What identity servers tell the world of our users."""

from __future__ import annotations

import secrets
from typing import Optional

import attr

from regsys.model.accounts import CLOCKS_APART_MS
from regsys.model.identity import Secret, UserID

# Longer than one question to a server takes.
ASKING_MS = 20_000


@attr.frozen(kw_only=True)
class IdentityServerSession:
    """The validation session at an identity server that proves an address."""

    sid: str = attr.field(repr=False)
    client_secret: Secret


@attr.frozen(kw_only=True)
class Binding:
    """Who asks ``id_server`` (``host`` or ``host:port``) for this address is told of this user.

    ``proof`` is what it was bound with, kept to unbind it with; None: a signature does that.
    ``binding_id`` is a new one each time that the address is bound. Until ``asked_until_ms`` the
    server may still be asked to bind it; 0: it has answered.
    """

    user_id: UserID
    medium: str
    address: str
    id_server: str
    proof: Optional[IdentityServerSession] = None
    binding_id: str = attr.field(factory=lambda: secrets.token_hex(12))
    asked_until_ms: int = 0

    def is_asked_for(self, now_ms: int) -> bool:
        """Whether its server may still be asked to bind it; what lies too far in the future was
        written by a wrong clock."""
        return 0 < self.asked_until_ms - now_ms <= ASKING_MS + CLOCKS_APART_MS
