"""Sessions of user-interactive authentication (UIA)."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr

from regsys.model.accounts import Outcome
from regsys.model.identity import Client, UserID

# How long a session lives that makes no account.
SESSION_LIFETIME_MS = 48 * 3600 * 1000
# How long a user name is held for the session that has named it, where names are held.
HOLD_MS = 600_000
# How many names the sessions of one address may hold at a time.
MOST_HELD = 20


@attr.frozen(kw_only=True)
class UIASession:
    """A UIA session (contract B8.1-4): the request's parameters, and the stages that were passed.

    ``user_id`` is set on account endpoints only. ``params``: the request's parameters, without the
    password. ``results``: the result of each passed stage. ``password_id`` identifies the latest
    password, and ``password_hash`` is its hash, or None until it is made. ``hashing_until_ms``: the
    end of the lease under which a process makes the hash; None if no process does. ``guest_id``:
    the guest whose access token a request had. ``address``: the IP address whose cap of open
    sessions it counts for; ``site``: the /48 of that address, if it has one. ``held_name``: the
    user name that is held for the session, until ``held_until_ms`` (``regsys.hold_names``).
    ``carried_out``: the request that the session is for has been carried out. ``outcome`` is set
    once it has made its account.
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
    password_id: Optional[str] = None
    password_hash: Optional[str] = attr.field(default=None, repr=False)
    hashing_until_ms: Optional[int] = None
    guest_id: Optional[UserID] = None
    results: Mapping[str, Any] = attr.field(factory=dict)
    clients: tuple[Client, ...] = ()
    held_name: Optional[str] = None
    held_until_ms: Optional[int] = None
    carried_out: bool = False
    outcome: Optional[Outcome] = None

    @property
    def finished(self) -> Optional[Outcome]:
        """The outcome of the session's registration; None while it is under way."""
        return self.outcome if self.outcome is not None and self.outcome.finished else None


@attr.frozen(kw_only=True)
class NameHold:
    """A session asks at ``now_ms`` for this user name to be held until ``until_ms``; for none if
    ``name`` is None."""

    name: Optional[str]
    now_ms: int

    @property
    def until_ms(self) -> int:
        return self.now_ms + HOLD_MS


@attr.frozen(kw_only=True)
class StageFailure:
    """At ``failed_ms`` this stage of a session has failed, with this ``errcode`` and ``text``.
    ``sid``: the validation session that it was shown, if its client secret was right."""

    stage: str
    failed_ms: int
    errcode: str
    text: str
    sid: Optional[str] = None


@attr.frozen(kw_only=True)
class Challenge:
    """The stages that a client still has to pass: the body of a 401."""

    session_id: str
    flows: tuple[tuple[str, ...], ...]
    params: Mapping[str, Mapping[str, Any]]
    completed: Optional[tuple[str, ...]] = None
    errcode: Optional[str] = None
    error: Optional[str] = None
