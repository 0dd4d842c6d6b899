"""The stages that third-party identifiers are proven by (contract B7.7, B8.5)."""

from __future__ import annotations

import re
from typing import Any, Mapping, Optional

import attr
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from regsys import clock
from regsys.errors import StageFailed, sentence
from regsys.interfaces import IStage, StageContext
from regsys.model import VALIDATED_MS, Threepid, UIASession, Validation
from regsys.storage.validations import ValidationStore
from regsys.threepids.addresses import is_canonical
from regsys.threepids.attempts import ProofAttempts
from regsys.threepids.servers import PhoneValidationServer
from regsys.uia.stage_types import EMAIL_IDENTITY, MSISDN_STAGE

# A sid and a client secret, ours and other servers' (B7.4).
_OPAQUE = re.compile(r"[0-9A-Za-z.=_-]{0,255}")
_NO_NUMBER = sentence("This phone number has not been confirmed yet, or not for this registration.")


def proven(results: Mapping[str, Any]) -> tuple[Threepid, ...]:
    """The identifiers that the stages passed have found."""
    found = [results.get(stage) for stage in (EMAIL_IDENTITY, MSISDN_STAGE)]
    return tuple(
        Threepid(item["medium"], item["address"], item["validated_at_ms"]) for item in found if item
    )


@implementer(IStage)
@attr.frozen(kw_only=True)
class EmailIdentityStage:
    """``m.login.email.identity``: a session of ours has proven an address, and belongs to this
    dialogue from now on (B7.7). It is remembered which.

    A client that brings another validation session means another address: the earlier is dropped.
    """

    store: ValidationStore
    clock: IReactorTime

    type = EMAIL_IDENTITY
    medium = "email"
    page = None
    refusal = sentence(
        "This email address has not been confirmed yet, or not for this registration."
    )

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return None

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        sid, client_secret = _credentials(auth)
        session = context.session
        remembered = session.results.get(self.type)
        now_ms = clock.now_ms(self.clock)
        found = await self.store.get(sid, now_ms)
        if not (
            self._is_proven(found, client_secret)
            and await self.store.claim(sid, session.session_id, session.expires_ms)
        ):
            changed = remembered is not None and remembered["sid"] != sid
            raise StageFailed("M_UNAUTHORIZED", self.refusal, undoes=changed)
        assert found is not None
        return {
            "sid": sid,
            "medium": found.medium,
            "address": found.address,
            "validated_at_ms": found.validated_ms,
        }

    def _is_proven(self, found: Optional[Validation], client_secret: str) -> bool:
        if found is None or found.medium != self.medium or found.validated_ms is None:
            return False
        return found.is_known_to(client_secret)


class MsisdnStage(EmailIdentityStage):
    """``m.login.msisdn``, where we send the codes: the same, but for the medium."""

    type = MSISDN_STAGE
    medium = "msisdn"
    page = None
    refusal = _NO_NUMBER


@implementer(IStage)
@attr.frozen(kw_only=True)
class DelegatedMsisdnStage:
    """``m.login.msisdn``, where another server proves phone numbers: what it says has been proven
    belongs to this dialogue from now on (B7.8, threat A6). That is remembered for as long as the
    proof is good, and it is good for as long as a dialogue may last: so it is good once.

    That server is asked within the limit of ``attempts``, of which only what proves nothing counts.
    """

    prover: PhoneValidationServer
    store: ValidationStore
    attempts: ProofAttempts
    clock: IReactorTime

    type = MSISDN_STAGE
    page = None

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return None

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        sid, client_secret = _credentials(auth)
        async with self.attempts.counted(context.client):
            return await self._proven(sid, client_secret, context.session)

    async def _proven(self, sid: str, client_secret: str, session: UIASession) -> Any:
        proof = await self.prover.proven(sid, client_secret)
        until_ms = 0 if proof is None else proof.validated_at_ms + VALIDATED_MS
        if not (
            proof is not None
            and until_ms > clock.now_ms(self.clock)
            # Another form of a number would be a second one of the same phone.
            and is_canonical(proof.medium, proof.address)
            and await self.store.adopt(proof, session.session_id, max(until_ms, session.expires_ms))
        ):
            remembered = session.results.get(self.type)
            changed = remembered is not None and remembered["sid"] != sid
            raise StageFailed("M_UNAUTHORIZED", _NO_NUMBER, undoes=changed)
        return {
            "sid": sid,
            "medium": proof.medium,
            "address": proof.address,
            "validated_at_ms": proof.validated_at_ms,
        }


def _credentials(auth: Mapping[str, Any]) -> tuple[str, str]:
    """The sid and the client secret of ``threepid_creds``."""
    if not auth.get("session"):
        # The proof becomes the session's: one that nobody can come back to would take it along.
        raise StageFailed("M_MISSING_PARAM", "'session' is missing.")
    credentials = auth.get("threepid_creds")
    if "threepid_creds" not in auth:
        raise StageFailed("M_MISSING_PARAM", "'threepid_creds' is missing.")
    if not isinstance(credentials, dict):
        raise StageFailed("M_INVALID_PARAM", "'threepid_creds' must be an object.")
    values = []
    for key in ("sid", "client_secret"):
        if key not in credentials:
            raise StageFailed("M_MISSING_PARAM", f"'threepid_creds.{key}' is missing.")
        if not isinstance(credentials[key], str):
            raise StageFailed("M_INVALID_PARAM", f"'threepid_creds.{key}' must be a string.")
        if not _OPAQUE.fullmatch(credentials[key]):
            raise StageFailed("M_INVALID_PARAM", f"'threepid_creds.{key}' is not valid.")
        values.append(credentials[key])
    return values[0], values[1]
