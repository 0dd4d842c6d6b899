"""How long logins last, and the key of guests' tokens."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.config.values import MINUTE_MS, Reader
from regsys.model import Secret


@attr.frozen(kw_only=True)
class TokensConfig:
    """Lifetimes of sessions and tokens, in milliseconds; None if they do not end (contract B4).

    If ``refreshable_access_token_lifetime_ms`` is None, there are no refresh tokens. If
    ``macaroon_secret_key`` is None, a key is generated and kept in the database. ``keeps_keys``:
    what tokens are made with is kept, so that the homeserver can get them back one day (with the
    key of the file: our tables alone cannot make them).
    """

    macaroon_secret_key: Optional[Secret] = None
    session_lifetime_ms: Optional[int] = None
    refreshable_access_token_lifetime_ms: Optional[int] = 5 * MINUTE_MS
    nonrefreshable_access_token_lifetime_ms: Optional[int] = None
    refresh_token_lifetime_ms: Optional[int] = None
    keeps_keys: bool = False


_TOKENS = TokensConfig()


def read_tokens(reader: Reader) -> TokensConfig:
    session = reader.duration("session_lifetime")
    refreshable, nonrefreshable, refresh = (
        _read_lifetime(reader, name, session)
        for name in (
            "refreshable_access_token_lifetime",
            "nonrefreshable_access_token_lifetime",
            "refresh_token_lifetime",
        )
    )
    if "refreshable_access_token_lifetime" not in reader.data:
        refreshable = _TOKENS.refreshable_access_token_lifetime_ms
    key = reader.secret("macaroon_secret_key")
    if key is None:
        reader.warnings.append(
            "macaroon_secret_key is not set: a key is made once and kept in the database. "
            "Set it where several servers must know the same key, or to keep it elsewhere."
        )
    return TokensConfig(
        macaroon_secret_key=key,
        session_lifetime_ms=session,
        refreshable_access_token_lifetime_ms=refreshable,
        nonrefreshable_access_token_lifetime_ms=nonrefreshable,
        refresh_token_lifetime_ms=refresh,
        keeps_keys=key is not None and reader.peek("regsys.homeserver.delegated") is True,
    )


def _read_lifetime(reader: Reader, name: str, session_ms: Optional[int]) -> Optional[int]:
    lifetime = reader.duration(name)
    if lifetime is not None and session_ms is not None and lifetime > session_ms:
        reader.problem(
            name,
            "longer than session_lifetime, which ends every session",
            "shorten it, or lengthen session_lifetime",
            reader.data[name],
        )
    return lifetime
