"""What becomes of each user of a Synapse, and of what it has: rules alone, without a database."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Iterator, Mapping, Optional, Sequence, Union

import attr

from regsys.adoption.synapse import Batch, SynapseToken, SynapseUser
from regsys.errors import InvalidParam
from regsys.model import UserID
from regsys.model.canonical_threepids import canonical_threepid
from regsys.model.identity import masked
from regsys.model.token_text import token_hash

BCRYPT = re.compile(r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}")
REGISTERED_TODAY = re.compile(r"[a-z0-9._=/+-]+")
# Longer numbers were not drawn from a sequence.
MOST_DIGITS = 15

# (a key of FINDINGS, a detail without anything secret)
Finding = tuple[str, str]


@attr.frozen
class Columns:
    """What is taken over of an account's row, and compared later."""

    password_hash: Optional[str] = attr.field(repr=False)
    is_guest: bool = attr.field(converter=bool)
    admin: bool = attr.field(converter=bool)
    user_type: Optional[str]
    approved: bool = attr.field(converter=bool)
    shadow_banned: bool = attr.field(converter=bool)

    @property
    def mark(self) -> str:
        """A digest, from which no password can be guessed: the hash's salt is not in it."""
        return hashlib.sha256(repr(self.values).encode("utf-8")).hexdigest()

    @property
    def values(self) -> tuple[Any, ...]:
        """In the order of the fields, which is that of the columns in our statements."""
        return attr.astuple(self, recurse=False)


@attr.frozen(kw_only=True)
class AdoptedLogin:
    """A row of ``logins``."""

    access_hash: str
    refresh_hash: Optional[str]
    device_id: str
    valid_until_ms: Optional[int]
    refresh_until_ms: Optional[int]
    session_until_ms: Optional[int]
    replaces: Optional[str]
    adopted_id: int


@attr.frozen(kw_only=True)
class AdoptedAddress:
    medium: str
    address: str
    validated_ms: int
    added_ms: int
    is_respelled: bool


@attr.frozen(kw_only=True)
class AdoptedUser:
    """An account as it will be ours. ``devices``: display names by device ID. ``token_ids``: of all
    its access tokens there. ``is_in_use``: whether somebody can log in to it there. ``findings``:
    what an operator should know if it is adopted."""

    user_id: UserID
    columns: Columns
    is_deactivated: bool
    is_locked: bool
    appservice_id: Optional[str]
    created_ms: int
    upgraded_ms: Optional[int]
    seen_ms: Optional[int]
    consent: Optional[tuple[str, int]]
    devices: Mapping[str, Optional[str]]
    logins: Sequence[AdoptedLogin]
    addresses: Sequence[AdoptedAddress]
    token_ids: frozenset[int]
    is_in_use: bool
    findings: Sequence[Finding]

    @property
    def last_token(self) -> int:
        return max(self.token_ids, default=0)

    @property
    def number(self) -> Optional[int]:
        """The number that its name is; None for another name."""
        name = self.user_id.localpart
        is_number = name.isascii() and name.isdigit() and len(name) <= MOST_DIGITS
        return int(name) if is_number else None


@attr.frozen(kw_only=True)
class Rules:
    """``requires_approval``: whether new accounts wait for approval here."""

    server_name: str
    requires_approval: bool

    def adopted(self, user: SynapseUser, batch: Batch) -> Union[AdoptedUser, str]:
        """How a user is adopted, or the finding for which it cannot be at all."""
        try:
            user_id = UserID.parse(user.name)
        except ValueError:
            return "no_user_id"
        if not user_id.localpart or not is_text(user.name):
            return "no_user_id"
        if user_id.server != self.server_name:
            return "foreign"
        return self._adopted(user, user_id, batch)

    def _adopted(self, user: SynapseUser, user_id: UserID, batch: Batch) -> AdoptedUser:
        is_of_sso = user.name in batch.of_sso
        findings: list[Finding] = list(_remarks(user, user_id.localpart, is_of_sso))
        tokens = batch.tokens.get(user.name, ())
        found = batch.devices.get(user.name, ())
        devices: dict[str, Optional[str]] = {}
        logins: Sequence[AdoptedLogin] = ()
        addresses: Sequence[AdoptedAddress] = ()
        if not user.deactivated:
            devices = {item.device_id: _clean(item.display_name) for item in found}
            devices.pop("", None)
            logins = [*_logins(tokens, devices, findings)]
            addresses = [*_addresses(user.name, batch, findings)]
        seen_ms = max((item.seen_ms or 0 for item in found), default=0)
        created_ms = (user.created_s or 0) * 1000
        return AdoptedUser(
            user_id=user_id,
            columns=self._columns(user),
            is_deactivated=user.deactivated,
            is_locked=user.locked,
            appservice_id=user.appservice_id or None,
            created_ms=created_ms,
            upgraded_ms=None if user.upgraded_s is None else user.upgraded_s * 1000,
            # Only guests: those that are idle for long may be deactivated.
            seen_ms=(seen_ms or None) if user.is_guest else None,
            consent=_consent(user, created_ms),
            devices=devices,
            logins=logins,
            addresses=addresses,
            token_ids=frozenset(token.id for token in tokens),
            is_in_use=bool(user.password_hash or tokens),
            findings=findings,
        )

    def _columns(self, user: SynapseUser) -> Columns:
        hashed = user.password_hash or ""
        has_password = BCRYPT.fullmatch(hashed) and not user.deactivated
        return Columns(
            password_hash=hashed if has_password else None,
            is_guest=user.is_guest,
            admin=user.admin and not user.is_guest,
            user_type=_clean(user.user_type) or None,
            # Where nobody asks for approval, nobody could give it.
            approved=user.approved or not self.requires_approval,
            shadow_banned=user.shadow_banned,
        )


def _remarks(user: SynapseUser, localpart: str, is_of_sso: bool) -> Iterator[Finding]:
    # Application services name their users as they like.
    if not REGISTERED_TODAY.fullmatch(localpart) and not user.appservice_id:
        yield "old_name", ""
    if user.deactivated:
        return
    if user.password_hash and not BCRYPT.fullmatch(user.password_hash):
        yield "unknown_hash", ""
    elif is_of_sso and not user.password_hash:
        yield "sso", ""


def _logins(
    tokens: Sequence[SynapseToken],
    devices: Mapping[str, Optional[str]],
    findings: list[Finding],
) -> Iterator[AdoptedLogin]:
    """The tokens that are alive. A pair that was refreshed is alive until the new pair is used, as
    with ours (contract B4.6)."""
    by_refresh = {token.refresh_id: token for token in tokens if token.refresh_id is not None}
    replaced: dict[Optional[int], SynapseToken] = {}
    alive = []
    for token in tokens:
        if token.puppets is not None:
            findings.append(("puppet_token", f"as {token.puppets}"))
            continue
        if token.device_id is None or token.device_id not in devices:
            findings.append(("no_device", ""))
            continue
        if token.next_id is not None:
            successor = by_refresh.get(token.next_id)
            if successor is None or successor.used or successor.next_id is not None:
                continue
            replaced[token.next_id] = token
        alive.append(token)
    for token in alive:
        earlier = None if token.refresh_id is None else replaced.get(token.refresh_id)
        assert token.device_id is not None
        yield AdoptedLogin(
            access_hash=token_hash(token.token),
            refresh_hash=None if token.refresh_token is None else token_hash(token.refresh_token),
            device_id=token.device_id,
            valid_until_ms=token.valid_until_ms,
            refresh_until_ms=token.refresh_until_ms,
            session_until_ms=token.session_until_ms,
            replaces=None if earlier is None else token_hash(earlier.token),
            adopted_id=token.id,
        )


def _addresses(name: str, batch: Batch, findings: list[Finding]) -> Iterator[AdoptedAddress]:
    for item in batch.threepids.get(name, ()):
        try:
            address = canonical_threepid(item.medium, item.address)
        except InvalidParam:
            findings.append(("no_address", item.medium))
            continue
        if address != item.address:
            findings.append(("respelled", masked(address)))
        yield AdoptedAddress(
            medium=item.medium,
            address=address,
            validated_ms=item.validated_ms,
            added_ms=item.added_ms,
            is_respelled=address != item.address,
        )


def _consent(user: SynapseUser, created_ms: int) -> Optional[tuple[str, int]]:
    if not user.consent_version or not is_text(user.consent_version):
        return None
    return user.consent_version, user.consent_ms or created_ms


def is_text(text: str) -> bool:
    """Whether both databases store it: valid Unicode without NUL."""
    try:
        return b"\0" not in text.encode("utf-8")
    except UnicodeEncodeError:
        return False


def _clean(text: Optional[str]) -> Optional[str]:
    """The text, or None if it cannot be stored."""
    return text if text is not None and is_text(text) else None
