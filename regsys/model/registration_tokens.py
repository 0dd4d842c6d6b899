"""Registration tokens (MSC3231, contract B8.8)."""

from __future__ import annotations

from typing import Optional

import attr

# How long a session holds a use of a token. After that the use is taken when the account is made,
# if one is left.
RESERVED_MS = 3600 * 1000

# How many tokens, and how many uses of a token, are read at a time, so that no other call waits
# for long.
TOKENS_A_PAGE = 200
USES_A_PAGE = 1000


@attr.frozen(kw_only=True)
class RegistrationToken:
    """A registration token (MSC3231, contract B8.8).

    If ``uses_allowed`` is None, there is no limit. ``pending`` counts the sessions that hold a use,
    ``completed`` the accounts made. If ``expiry_ms`` is None, the token never expires. A revoked
    token is not valid until it is un-revoked. ``creator``: the user ID of the administrator; None
    if the token was made on the command line.
    """

    token: str = attr.field(repr=False)
    uses_allowed: Optional[int] = None
    pending: int = 0
    completed: int = 0
    expiry_ms: Optional[int] = None
    revoked: bool = False
    note: Optional[str] = None
    creator: Optional[str] = None
    created_ms: int = 0

    def is_valid(self, now_ms: int) -> bool:
        """Whether one more registration may begin with it."""
        expired = self.expiry_ms is not None and self.expiry_ms <= now_ms
        used_up = self.uses_allowed is not None and (
            self.pending + self.completed >= self.uses_allowed
        )
        return not (self.revoked or expired or used_up)


@attr.frozen
class TokenUse:
    """An account that was registered with a token."""

    user_id: str
    used_ms: int
