"""Tokens of regsys's own, by which it acts as a user at the homeserver whose auth service it is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Optional

import attr
from twisted.internet.interfaces import IReactorTime

from regsys.model import Secret, UserID

PREFIX = "rsi_"
# A token is used within a minute of being made, and the homeserver keeps what it was told of it for
# no longer than it is valid.
MINUTE_S = 60


@attr.frozen
class InternalRequester:
    """As whom a token acts. ``valid_s``: for how many seconds more."""

    user_id: UserID
    is_admin: bool
    valid_s: int


@attr.frozen(kw_only=True)
class InternalTokens:
    """Self-contained and short-lived: nothing is stored, and each process knows those of the
    others. They are valid for introspection alone, not at our own endpoints. Two that are made in
    the same minute are the same, so that the homeserver asks once."""

    secret: bytes = attr.field(repr=False)
    clock: IReactorTime

    def make(self, user_id: UserID, is_admin: bool = False) -> Secret:
        """A token that acts as this user, without a device."""
        until_s = (int(self.clock.seconds()) // MINUTE_S + 2) * MINUTE_S
        content = json.dumps([str(user_id), is_admin, until_s], separators=(",", ":"))
        text = base64.urlsafe_b64encode(content.encode("utf-8")).decode("ascii").rstrip("=")
        return Secret(f"{PREFIX}{text}.{self._seal(text)}")

    def read(self, token: Secret) -> Optional[InternalRequester]:
        """None for a token that is not ours, or has expired."""
        text, _, seal = token.reveal().removeprefix(PREFIX).rpartition(".")
        if not hmac.compare_digest(seal.encode("utf-8"), self._seal(text).encode("ascii")):
            return None
        padded = text + "=" * (-len(text) % 4)
        user_id, is_admin, until_s = json.loads(base64.urlsafe_b64decode(padded))
        valid_s = until_s - int(self.clock.seconds())
        if valid_s <= 0:
            return None
        return InternalRequester(UserID.parse(user_id), is_admin, valid_s)

    def _seal(self, text: str) -> str:
        keyed = hmac.new(self.secret, f"internal token {text}".encode(), hashlib.sha256)
        return keyed.hexdigest()
