"""Dialogues of user-interactive authentication."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr

from regsys.model.accounts import Outcome
from regsys.model.identity import Client, UserID


@attr.frozen(kw_only=True)
class UIASession:
    """A dialogue under way (contract B8.1-4): what it was asked, and what has been passed.

    ``user_id`` is set on account endpoints only. ``params`` are the remembered parameters
    of the request, never its password. ``results`` maps a stage passed to what it found.
    ``password_mark`` stands for the latest password that came, and ``password_hash`` is of that
    one: None until it is made. ``hashing_until_ms``: until then a process may be making it; None:
    no process is. ``guest_id``: the guest whose access token a request has shown. ``address`` is
    whose cap of open sessions it counts for, ``site`` the /48 that this is in, None: in none.
    ``held_name`` is kept for this session. ``outcome`` is set once it has made its account.
    """

    session_id: str
    method: str
    uri: str
    created_ms: int
    expires_ms: int
    address: str = ""
    site: Optional[str] = None
    user_id: Optional[UserID] = None
    params: Mapping[str, Any] = attr.field(factory=dict)
    password_mark: Optional[str] = None
    password_hash: Optional[str] = attr.field(default=None, repr=False)
    hashing_until_ms: Optional[int] = None
    guest_id: Optional[UserID] = None
    results: Mapping[str, Any] = attr.field(factory=dict)
    clients: tuple[Client, ...] = ()
    held_name: Optional[str] = None
    outcome: Optional[Outcome] = None

    @property
    def finished(self) -> Optional[Outcome]:
        """What it has made; None while it is under way."""
        return self.outcome if self.outcome is not None and self.outcome.finished else None


@attr.frozen(kw_only=True)
class Challenge:
    """What a client still has to do: the body of a 401."""

    session_id: str
    flows: tuple[tuple[str, ...], ...]
    params: Mapping[str, Mapping[str, Any]]
    completed: Optional[tuple[str, ...]] = None
    errcode: Optional[str] = None
    error: Optional[str] = None
