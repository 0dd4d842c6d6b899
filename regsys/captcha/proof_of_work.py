"""A proof of work by the visitor's computer in place of a captcha service: ALTCHA's protocol.

No third party learns of the visitor, and the server stores nothing: a challenge is derived from
our secret, the session and its expiry, so a solution is valid for its own session only (threat
A25). The protocol: https://altcha.org/docs/v2/proof-of-work/

The PyPI package ``altcha`` is not used: it reads the system's clock, and the client's copy of the
challenge decides how much work a check takes. Here only the number, the expiry and the signature of
a response are read, and a check derives one key at most.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any, Mapping

import attr
from twisted.internet.interfaces import IReactorTime

from regsys.errors import StageFailed
from regsys.model import token_text

LIFETIME_S = 3600
# One number in 16³ solves a challenge.
KEY_PREFIX = "000"
HEX = "0123456789abcdef"
MAX_COUNTER = 2**32 - 1


@attr.frozen(kw_only=True)
class ProofOfWork:
    """``secret``: the server's. ``difficulty``: rounds of PBKDF2 for each number tried."""

    secret: bytes = attr.field(repr=False)
    difficulty: int
    clock: IReactorTime

    def challenge(self, session_id: str) -> Mapping[str, Any]:
        """A challenge for this session, as ALTCHA's widget takes it."""
        return self._challenge(session_id, int(self.clock.seconds()) + LIFETIME_S)

    def check(self, session_id: str, response: str) -> None:
        """Raise StageFailed unless the widget's payload solves a challenge of this session."""
        signature, expires_s, counter = _read(response)
        challenge = self._challenge(session_id, expires_s)
        # Only we can sign a challenge, so the client had it from us.
        if not hmac.compare_digest(challenge["signature"].encode(), signature):
            raise StageFailed(
                "M_UNAUTHORIZED", "This solves another challenge: solve the one of this session."
            )
        if expires_s <= self.clock.seconds():
            raise StageFailed("M_UNAUTHORIZED", "This challenge is too old: solve a new one.")
        if not (0 <= counter <= MAX_COUNTER and solves(challenge["parameters"], counter)):
            raise StageFailed("M_UNAUTHORIZED", "This does not solve the challenge.")

    def _challenge(self, session_id: str, expires_s: int) -> Mapping[str, Any]:
        letters = self._secret_letters(f"{session_id} {expires_s}", 64, HEX)
        # In alphabetical order, in which the protocol signs them.
        parameters = {
            "algorithm": "PBKDF2/SHA-256",
            "cost": self.difficulty,
            "expiresAt": expires_s,
            "keyLength": 32,
            "keyPrefix": KEY_PREFIX,
            "nonce": letters[:32],
            "salt": letters[32:],
        }
        text = json.dumps(parameters, separators=(",", ":"))
        signature = hmac.new(self.signing_key, text.encode(), hashlib.sha256).hexdigest()
        return {"parameters": parameters, "signature": signature}

    @property
    def signing_key(self) -> bytes:
        """The protocol's ``hmac_secret``, with which its other implementations can check, too."""
        return self._secret_letters("signature", 43, token_text.BASE62).encode()

    def _secret_letters(self, key: str, length: int, alphabet: str) -> str:
        return token_text.derived_letters(self.secret, "proof of work", key, length, alphabet)


def solves(parameters: Mapping[str, Any], counter: int) -> bool:
    """Whether the key that is derived from this number begins with the challenge's prefix."""
    password = bytes.fromhex(parameters["nonce"]) + counter.to_bytes(4, "big")
    salt = bytes.fromhex(parameters["salt"])
    rounds, length = parameters["cost"], parameters["keyLength"]
    key = hashlib.pbkdf2_hmac("sha256", password, salt, rounds, length).hex()
    return key.startswith(parameters["keyPrefix"])


def _read(response: str) -> tuple[bytes, int, int]:
    """A payload's signature, expiry in seconds and number. StageFailed if it is no payload."""
    try:
        payload = json.loads(base64.b64decode(response, validate=True))
        signature = payload["challenge"]["signature"].encode("utf-8", "replace")
        expires_s = payload["challenge"]["parameters"]["expiresAt"]
        counter = payload["solution"]["counter"]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        expires_s = counter = None
    if type(expires_s) is not int or type(counter) is not int:
        raise StageFailed("M_INVALID_PARAM", "'response' is not what ALTCHA's widget makes.")
    return signature, expires_s, counter
