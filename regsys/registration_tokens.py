"""Registration tokens: their administration, and their UIA stage (B8.8, B16.13)."""

from __future__ import annotations

import string
from typing import Any, AsyncGenerator, Callable, Mapping, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from regsys import clock
from regsys.audit.audit_log import NO_AUDIT_LOG, AuditLog
from regsys.errors import (
    InvalidParam,
    StageFailed,
    TokenNotFound,
)
from regsys.interfaces import IStage, StageContext, StagePage
from regsys.interfaces.internal import ILimiter
from regsys.json_body import MAX_INTEGER
from regsys.model import UIASession, token_text
from regsys.model.audit import AuditEntry, token_hint
from regsys.model.registration_tokens import TOKENS_A_PAGE, USES_A_PAGE, RegistrationToken, TokenUse
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.uia.stage_types import REGISTRATION_TOKEN

# Generated tokens have only these, so that none begins like an option or ends like a sentence.
PLAIN = string.ascii_letters + string.digits
ALPHABET = PLAIN + "._~-"
MAX_LENGTH = 64
DEFAULT_LENGTH = 16
MAX_NOTE = 500
# How often a generated token that exists already is generated again; of 62^16 this never happens.
TRIES = 10
# Who changes a token if nobody else is named: the program that embeds regsys.
PROGRAM = "program"


@attr.frozen(kw_only=True)
class RegistrationTokens:
    """The administration of tokens, and ``is_valid``, which any client may ask.

    Raises InvalidParam for every invalid value, TokenNotFound for a token that does not exist.
    ``by``: who changes it, for the audit log.
    """

    store: RegistrationTokenStore
    clock: IReactorTime
    audit: AuditLog = NO_AUDIT_LOG

    async def is_valid(self, token: str) -> bool:
        """Whether one more registration could begin with it."""
        now_ms = self.now_ms()
        found = await self.store.get(token, now_ms)
        return found is not None and found.is_valid(now_ms)

    async def create(
        self,
        *,
        token: Optional[str] = None,
        length: int = DEFAULT_LENGTH,
        settings: Mapping[str, Any],
        creator: Optional[str] = None,
        by: str = PROGRAM,
    ) -> RegistrationToken:
        """Create ``token``, or a random one of ``length`` characters. ``settings``: any of
        ``uses_allowed``, ``expiry_ms``, ``note``. ``creator``: the admin, or None."""
        self._check(settings)
        if not 0 < (length if token is None else len(token)) <= MAX_LENGTH:
            raise InvalidParam(f"A token has 1 to {MAX_LENGTH} characters.")
        if token is not None and not set(token) <= set(ALPHABET):
            raise InvalidParam("A token can contain only the characters A-Z a-z 0-9 . _ ~ -")
        for _ in range(TRIES if token is None else 1):
            new = RegistrationToken(
                token=token or token_text.random_letters(length, PLAIN),
                creator=creator,
                created_ms=self.now_ms(),
                **settings,
            )
            entries = self._entries(creator or by, "created", new.token, settings)
            if await self.store.create(new, entries):
                return new
        raise InvalidParam("There is already a token of that name.")

    async def get(self, token: str) -> RegistrationToken:
        found = await self.store.get(token, self.now_ms())
        if found is None:
            raise TokenNotFound()
        return found

    async def list(self, valid: Optional[bool] = None) -> Sequence[RegistrationToken]:
        """All tokens, or those that are valid (True) or not (False) now."""
        return [token async for page in self.pages(valid) for token in page]

    async def pages(
        self, valid: Optional[bool] = None
    ) -> AsyncGenerator[Sequence[RegistrationToken], None]:
        """As ``list``, up to TOKENS_A_PAGE at a time; pages may be empty."""
        now_ms = self.now_ms()
        after: Optional[RegistrationToken] = None
        while page := await self.store.list(now_ms, after, TOKENS_A_PAGE):
            yield [item for item in page if valid is None or item.is_valid(now_ms) is valid]
            after = page[-1]

    async def change(
        self, token: str, settings: Mapping[str, Any], by: str = PROGRAM
    ) -> RegistrationToken:
        """Set any of ``uses_allowed``, ``expiry_ms``, ``note``, ``revoked``; returns the token."""
        self._check(settings)
        entries = self._entries(by, "changed", token, settings)
        if not await self.store.change(token, settings, entries):
            raise TokenNotFound()
        return await self.get(token)

    async def delete(self, token: str, by: str = PROGRAM) -> None:
        if not await self.store.delete(token, self._entries(by, "deleted", token, {})):
            raise TokenNotFound()

    async def uses(self, token: str) -> Sequence[TokenUse]:
        """The accounts that were registered with it, also after it was deleted."""
        return [use async for page in self.pages_of_uses(token) for use in page]

    async def pages_of_uses(
        self, token: str, after: Optional[TokenUse] = None
    ) -> AsyncGenerator[Sequence[TokenUse], None]:
        """As ``uses``, up to USES_A_PAGE at a time, beginning after ``after``."""
        while page := await self.store.uses(token, after, USES_A_PAGE):
            yield page
            after = page[-1]

    async def first_uses(
        self, tokens: Sequence[str], at_most: int
    ) -> Mapping[str, Sequence[TokenUse]]:
        """Up to ``at_most`` first uses of each of these tokens; a token without any is left out."""
        return await self.store.first_uses(tokens, at_most)

    def _check(self, settings: Mapping[str, Any]) -> None:
        uses, expiry_ms = settings.get("uses_allowed"), settings.get("expiry_ms")
        if uses is not None and not 0 <= uses <= MAX_INTEGER:
            raise InvalidParam("'uses_allowed' must be a number from 0 upward, or null.")
        if expiry_ms is not None and not self.now_ms() < expiry_ms <= MAX_INTEGER:
            raise InvalidParam("'expiry_time' must lie in the future, in milliseconds.")
        note = settings.get("note") or ""
        if len(note) > MAX_NOTE or not note.isprintable():
            raise InvalidParam(f"'note' must be one line of at most {MAX_NOTE} characters.")

    def _entries(
        self, by: str, done: str, token: str, settings: Mapping[str, Any]
    ) -> Sequence[AuditEntry]:
        # A note may say anything, about anybody.
        told = {name: value for name, value in settings.items() if name != "note"}
        details = {"token": token_hint(token), **told}
        return self.audit.entries(by=by, what=f"token-{done}", details=details)

    def now_ms(self) -> int:
        """The time by which tokens expire."""
        return clock.now_ms(self.clock)


@implementer(IStage)
@attr.frozen(kw_only=True)
class RegistrationTokenStage:
    """``m.login.registration_token``: a token with a use left, which the session then reserves
    (contract B8.8). ``limiter`` and ``key_of`` limit how many tokens an address may try."""

    store: RegistrationTokenStore
    limiter: ILimiter
    key_of: Callable[[str], str]
    clock: IReactorTime

    type = REGISTRATION_TOKEN
    page = StagePage(template="stages/registration_token.html", fields={"token": "token"})

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return None

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        if not auth.get("session"):
            # The session reserves the use, so the client must be able to continue it.
            raise StageFailed("M_MISSING_PARAM", "'session' is missing.")
        if "token" not in auth:
            raise StageFailed("M_MISSING_PARAM", "'token' is missing.")
        token = auth["token"]
        if not isinstance(token, str):
            raise StageFailed("M_INVALID_PARAM", "'token' must be a string.")
        held = context.session.results.get(self.type)
        if held is not None and held != token:
            raise StageFailed("M_INVALID_PARAM", "This session already uses another token.")
        await self.limiter.take(self.key_of(context.client.address))
        now_ms = clock.now_ms(self.clock)
        session_id = context.session.session_id
        if not await self.store.reserve(token, session_id, now_ms):
            raise StageFailed("M_UNAUTHORIZED", "This registration token is not valid.")
        return token
