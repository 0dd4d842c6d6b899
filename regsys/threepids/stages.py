"""The UIA stages of third-party identifiers (contract B7.7, B8.5)."""

from __future__ import annotations

import re
from typing import Any, Mapping, Optional, TypeGuard

import attr
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from regsys import clock
from regsys.errors import StageFailed, sentence
from regsys.interfaces import IStage, StageContext
from regsys.model import MailPurpose, Threepid, UIASession
from regsys.model.canonical_threepids import is_canonical
from regsys.model.threepids import VALIDATED_MS, Validation
from regsys.storage.validations import ValidationStore
from regsys.threepids.addresses import AddressOwners
from regsys.threepids.attempts import ValidationAttempts
from regsys.threepids.servers import PhoneValidationServer
from regsys.uia.stage_types import EMAIL_IDENTITY, MSISDN_STAGE

# A sid or client secret, of ours or of another server (contract B7.4).
_OPAQUE = re.compile(r"[0-9A-Za-z.=_-]{0,255}")
_NO_NUMBER = sentence("This phone number has not been confirmed yet, or not for this registration.")


def threepids_in(results: Mapping[str, Any]) -> tuple[Threepid, ...]:
    """The identifiers in the results of a session's stages."""
    items = [results.get(stage) for stage in (EMAIL_IDENTITY, MSISDN_STAGE)]
    return tuple(
        Threepid(item["medium"], item["address"], item["validated_at_ms"]) for item in items if item
    )


@implementer(IStage)
@attr.frozen(kw_only=True)
class EmailIdentityStage:
    """``m.login.email.identity``: claims a validated session of ours for the UIA session (contract
    B7.7).

    A client that presents another validation session replaces the earlier one.
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
        validation = await self.store.get(sid, now_ms)
        if not (
            self._is_validated(validation, client_secret)
            and await self.store.claim(sid, session.session_id, session.expires_ms)
        ):
            changed = remembered is not None and remembered["sid"] != sid
            waits_for = sid if self._is_of(validation, client_secret) else None
            raise StageFailed("M_UNAUTHORIZED", self.refusal, undoes=changed, sid=waits_for)
        assert validation is not None
        return {
            "sid": sid,
            "medium": validation.medium,
            "address": validation.address,
            "validated_at_ms": validation.validated_ms,
        }

    def _is_validated(self, validation: Optional[Validation], client_secret: str) -> bool:
        return self._is_of(validation, client_secret) and validation.validated_ms is not None

    def _is_of(self, validation: Optional[Validation], client_secret: str) -> TypeGuard[Validation]:
        """Whether it is one of our validation sessions, and this is its client secret."""
        if validation is None or validation.medium != self.medium:
            return False
        return validation.is_known_to(client_secret)


class MsisdnStage(EmailIdentityStage):
    """``m.login.msisdn`` where we send the codes: the same for phone numbers."""

    type = MSISDN_STAGE
    medium = "msisdn"
    page = None
    refusal = _NO_NUMBER


@implementer(IStage)
@attr.frozen(kw_only=True)
class DelegatedMsisdnStage:
    """``m.login.msisdn`` where another server validates phone numbers: claims its validated session
    for the UIA session (contract B7.8, threat A6). The claim is stored for as long as the session
    is valid, so that it cannot be used twice.

    The other server is asked within the limit of ``attempts``, which counts failures only.
    """

    phone_server: PhoneValidationServer
    store: ValidationStore
    attempts: ValidationAttempts
    clock: IReactorTime

    type = MSISDN_STAGE
    page = None

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return None

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        sid, client_secret = _credentials(auth)
        async with self.attempts.counted(context.client):
            return await self._adopt(sid, client_secret, context.session)

    async def _adopt(self, sid: str, client_secret: str, session: UIASession) -> Any:
        threepid = await self.phone_server.validated_threepid(sid, client_secret)
        validated_ms = 0 if threepid is None else threepid.validated_at_ms
        until_ms = validated_ms + VALIDATED_MS
        if not (
            threepid is not None
            and until_ms > clock.now_ms(self.clock)
            # In another spelling the same number could belong to two accounts.
            and is_canonical(threepid.medium, threepid.address)
            and await self.store.adopt(
                threepid, session.session_id, max(until_ms, session.expires_ms)
            )
        ):
            remembered = session.results.get(self.type)
            changed = remembered is not None and remembered["sid"] != sid
            raise StageFailed("M_UNAUTHORIZED", _NO_NUMBER, undoes=changed)
        return {
            "sid": sid,
            "medium": threepid.medium,
            "address": threepid.address,
            "validated_at_ms": threepid.validated_at_ms,
        }


@implementer(IStage)
@attr.frozen(kw_only=True)
class ResetStage:
    """``m.login.email.identity`` or ``m.login.msisdn`` of a user who has forgotten the password:
    presents a session of ours that was begun, and validated, for this alone (threat A6).

    No UIA session claims it, because clients come without one: the transaction that changes the
    password uses it up. So one that is used up passes, and that transaction refuses it.
    """

    type: str
    medium: str
    store: ValidationStore
    clock: IReactorTime

    page = None

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return None

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        sid, client_secret = _creds(auth)
        found = await self.store.get(sid, clock.now_ms(self.clock))
        if (
            found is None
            or found.medium != self.medium
            or found.purpose is not MailPurpose.PASSWORD_RESET
            or found.user_id is None
            or found.validated_ms is None
            or not found.is_known_to(client_secret)
        ):
            raise _not_confirmed(self.medium)
        return {"sid": sid, "user_id": str(found.user_id)}


@implementer(IStage)
@attr.frozen(kw_only=True)
class DelegatedResetStage:
    """The same for phone numbers that another server validates. What was validated there is stored
    here for this purpose, so that it cannot be used for another one, nor twice."""

    phone_server: PhoneValidationServer
    owners: AddressOwners
    store: ValidationStore
    attempts: ValidationAttempts
    clock: IReactorTime

    type = MSISDN_STAGE
    page = None

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return None

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        sid, client_secret = _creds(auth)
        async with self.attempts.counted(context.client):
            threepid = await self.phone_server.validated_threepid(sid, client_secret)
            validated_ms = 0 if threepid is None else threepid.validated_at_ms
            until_ms = validated_ms + VALIDATED_MS
            if (
                threepid is None
                or until_ms <= clock.now_ms(self.clock)
                or not is_canonical(threepid.medium, threepid.address)
            ):
                raise _not_confirmed("msisdn")
            owner = await self.owners.active_owner(threepid.medium, threepid.address)
            if owner is None:
                raise _not_confirmed("msisdn")
            kept = await self.store.adopt_for_reset(owner, threepid, until_ms)
            return {"sid": kept, "user_id": str(owner)}


def _not_confirmed(medium: str) -> StageFailed:
    if medium == "email":
        text = sentence("This email address has not been confirmed yet, or not for a new password.")
    else:
        text = sentence("This phone number has not been confirmed yet, or not for a new password.")
    return StageFailed("M_UNAUTHORIZED", text)


def _credentials(auth: Mapping[str, Any]) -> tuple[str, str]:
    """The sid and the client secret of ``threepid_creds``."""
    if not auth.get("session"):
        # The UIA session claims the validation session: if it were a new one, whose id the client
        # does not know, the validation would be lost with it.
        raise StageFailed("M_MISSING_PARAM", "'session' is missing.")
    return _creds(auth)


def _creds(auth: Mapping[str, Any]) -> tuple[str, str]:
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
