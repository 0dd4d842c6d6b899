"""Registration with a secret that administrators share with the server (contract B13, B16.14).

A nonce is a signed timestamp, so that requesting one costs no memory. Only a nonce that has been
used becomes a row, until it expires.
"""

from __future__ import annotations

import hmac
from typing import Optional

import attr
from twisted.internet.interfaces import IReactorTime

from regsys import clock
from regsys.errors import InvalidNonce, WrongMac
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
        """A nonce for one attempt within a minute, valid in all processes of this server."""
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
        """Check that the client knows the secret; the nonce is used up either way.

        ``username``: as it was sent. Raises InvalidNonce for a nonce that is not ours, expired or
        used, WrongMac for a wrong ``mac``.
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
            raise WrongMac()

    def _made_ms(self, nonce: str) -> Optional[int]:
        """When the nonce was made; None if it is not ours."""
        body, _, signature = nonce.rpartition(".")
        if not hmac.compare_digest(self._signature(body).encode(), signature.encode("utf-8")):
            return None
        return int(body.partition(".")[0])

    def _signature(self, body: str) -> str:
        return token_text.derived_letters(self.server_secret, "nonce", body, 20)
