"""Registration by a secret that administrators share with the server (contract B13, B16.14).

A nonce is a signed timestamp, so that asking for one costs the server no memory; only one
that has been tried becomes a row, until its time is over.
"""

from __future__ import annotations

import hmac
from typing import Optional

import attr
from twisted.internet.interfaces import IReactorTime

from regsys import clock
from regsys.errors import Forbidden, InvalidNonce
from regsys.model import Secret, token_text
from regsys.storage.nonces import NonceStore

LIFETIME_MS = 60_000


@attr.frozen(kw_only=True)
class SharedSecret:
    """``secret`` is shared with administrators; ``server_secret`` signs our nonces."""

    secret: Secret
    server_secret: bytes = attr.field(repr=False)
    nonces: NonceStore
    clock: IReactorTime

    def new_nonce(self) -> str:
        """Good for one attempt within a minute, in any process of this server."""
        body = f"{clock.now_ms(self.clock)}.{token_text.random_letters(16)}"
        return f"{body}.{self._signature(body)}"

    async def check(
        self,
        *,
        nonce: str,
        mac: str,
        username: str,
        password: Secret,
        admin: bool,
        user_type: Optional[str] = None,
    ) -> None:
        """Return if the caller knows the secret; the nonce is used up either way.

        ``username`` is as it was sent. Raises InvalidNonce for one that is not ours, too
        old or used, Forbidden for a wrong ``mac``.
        """
        made_ms = self._made_ms(nonce)
        if made_ms is None or not 0 <= clock.now_ms(self.clock) - made_ms < LIFETIME_MS:
            raise InvalidNonce()
        if not await self.nonces.use(nonce, made_ms + LIFETIME_MS):
            raise InvalidNonce()
        parts = [nonce, username, password.reveal(), "admin" if admin else "notadmin"]
        if user_type is not None:
            parts.append(user_type)
        key = self.secret.reveal().encode("utf-8")
        wanted = hmac.new(key, "\0".join(parts).encode("utf-8"), "sha1").hexdigest()
        if not hmac.compare_digest(wanted.encode("ascii"), mac.encode("utf-8")):
            raise Forbidden("The mac does not fit: is it made with this server's shared secret?")

    def _made_ms(self, nonce: str) -> Optional[int]:
        """When a nonce of ours was made; None if it is not one."""
        body, _, signature = nonce.rpartition(".")
        if not hmac.compare_digest(self._signature(body).encode(), signature.encode("utf-8")):
            return None
        return int(body.partition(".")[0])

    def _signature(self, body: str) -> str:
        return token_text.derived_letters(self.server_secret, "nonce", body, 20)
