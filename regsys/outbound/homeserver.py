"""A homeserver's client-server API, asked as one of its application services.

The requests are those of the Matrix specification v1.18: the as_token in the Authorization
header, ``?user_id=`` for whom we act.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Awaitable, Mapping, Optional, Sequence, TypeVar
from urllib.parse import quote, urlencode

import attr
from twisted.internet.defer import Deferred, DeferredLock, DeferredSemaphore
from twisted.python.failure import Failure

from regsys.config import HomeserverConfig
from regsys.errors import RoomRefused
from regsys.model import UserID
from regsys.outbound.http import Answer, HTTPClient, NoAnswer

# The longest that a single request may take: a join of a large room is slow.
DEADLINE_S = 15.0
# The servers that are in a large room make a long list.
BODY_LIMIT = 1024 * 1024
# So many requests at once, however many people register; the rest wait for their turn.
AT_ONCE = 50
MAX_TEXT = 300
# Of so many users it is remembered that the homeserver has them.
MAX_KNOWN = 1000

# What an operator should do about it.
_MEND: Mapping[Optional[str], str] = {
    "M_EXCLUSIVE": "in the registration file that the homeserver reads, give namespaces.users a "
    "regex that matches this user ID, and see that no other service's exclusive one does",
    "M_UNKNOWN_TOKEN": "let the homeserver read a registration file with the as_token of "
    "regsys.homeserver, and start it anew",
    "M_LIMIT_EXCEEDED": "write rate_limited: false into the registration file that the "
    "homeserver reads",
    "M_CONSENT_NOT_GIVEN": "the homeserver wants consent to policies of its own: ask for them "
    "here instead, where people register",
}

_T = TypeVar("_T")


class HomeserverRefused(RoomRefused):
    """It has answered, and not with a yes. If ``errcode`` is None, there was none."""

    def __init__(self, text: str, status: int, errcode: Optional[str]) -> None:
        super().__init__(text)
        self.status = status
        self.errcode = errcode


class HomeserverSilent(RoomRefused):
    """It has not answered, not in time, or with what makes no sense."""


@attr.define(eq=False, kw_only=True)
class Homeserver:
    """``server_name`` is that of our users, and the homeserver's own."""

    config: HomeserverConfig
    server_name: str
    http: HTTPClient
    _places: DeferredSemaphore = attr.field(
        factory=lambda: DeferredSemaphore(AT_ONCE), init=False, repr=False
    )
    _known: OrderedDict[UserID, None] = attr.field(factory=OrderedDict, init=False)
    _turns: dict[UserID, DeferredLock] = attr.field(factory=dict, init=False)

    @classmethod
    def of(cls, config: HomeserverConfig, server_name: str, http: HTTPClient) -> Homeserver:
        """One that takes none of ``http``'s places, and has bounds of its own."""
        own = attr.evolve(http, deadline_s=DEADLINE_S, body_limit=BODY_LIMIT)
        return cls(config=config, server_name=server_name, http=own)

    async def ask(
        self,
        method: str,
        path: Sequence[str],
        body: Optional[Mapping[str, Any]] = None,
        *,
        acting: Optional[UserID] = None,
        about: Optional[UserID] = None,
        query: Sequence[tuple[str, str]] = (),
    ) -> Mapping[str, Any]:
        """What it answers with a 200. ``path``: the segments after ``/_matrix/client``; if
        ``acting`` is None, the service itself, not one of its users; a refusal then names the one
        whom it is ``about``.

        Raises HomeserverRefused and HomeserverSilent.
        """
        pairs = [*query, *([("user_id", str(acting))] if acting else [])]
        url = "/".join([f"{self.config.url}/_matrix/client", *(quote(part, "") for part in path)])
        headers = {"Authorization": f"Bearer {self.config.as_token.reveal()}"}
        asked = _plain(f"{method} {'/'.join(path)} for {acting or about or 'the service itself'}")
        await self._places.acquire()
        try:
            if body is None:
                answer = await self.http.get(url, pairs, headers)
            else:
                whole = f"{url}?{urlencode(pairs)}" if pairs else url
                answer = await self.http.send_json(method, whole, body, headers)
            if answer.status != 200:
                raise self._refusal(asked, answer)
            said = answer.json()
        except NoAnswer as reason:
            raise HomeserverSilent(f"{self.config.url}: {asked}: {reason}") from None
        finally:
            self._places.release()
        if not isinstance(said, dict):
            raise HomeserverSilent(f"{self.config.url}: {asked}: the answer is no object")
        return said

    async def act(
        self, acting: UserID, method: str, path: Sequence[str], body: Any = None, **query: Any
    ) -> Mapping[str, Any]:
        """The same for one of our users, who is made known there first."""
        await self.introduce(acting)
        try:
            return await self.ask(method, path, body, acting=acting, **query)
        except HomeserverRefused as refusal:
            if refusal.errcode == "M_FORBIDDEN":
                # Perhaps because it has been set up anew, and does not know him any more.
                self._known.pop(acting, None)
            raise

    async def within(self, seconds: float, asked: Awaitable[_T]) -> _T:
        """What comes of all that is asked there, waiting for turns included; HomeserverSilent, and
        nothing more is asked, if that takes longer."""

        def too_slow(result: object, timeout: float) -> Failure:
            return Failure(HomeserverSilent(f"{self.config.url}: no answer in {timeout:g} s"))

        begun: Any = asked
        asking: Deferred[_T] = Deferred.fromCoroutine(begun)
        return await asking.addTimeout(seconds, self.http.clock, too_slow)

    async def introduce(self, user_id: UserID) -> None:
        """Make the account there, unless an earlier job has: that there was none is known from
        before the name was given out here. One request at a time for each user: the jobs of a
        newcomer begin together."""
        lock = self._turns.setdefault(user_id, DeferredLock())
        await lock.acquire()
        try:
            if user_id not in self._known:
                await self._register(user_id)
                self._known[user_id] = None
                if len(self._known) > MAX_KNOWN:
                    self._known.popitem(last=False)
        finally:
            lock.release()
            if not lock.locked:
                self._turns.pop(user_id, None)

    async def _register(self, user_id: UserID) -> None:
        body = {
            "type": "m.login.application_service",
            "username": user_id.localpart,
            "inhibit_login": True,
        }
        try:
            await self.ask("POST", ("v3", "register"), body, about=user_id)
        except HomeserverRefused as refusal:
            if refusal.errcode != "M_USER_IN_USE":
                raise

    def _refusal(self, asked: str, answer: Answer) -> HomeserverRefused:
        try:
            said = answer.json()
        except NoAnswer:
            said = None
        told = said if isinstance(said, dict) else {}
        errcode, text = (self._shown(told.get(name)) for name in ("errcode", "error"))
        what = " ".join(str(part) for part in (answer.status, errcode, text) if part)
        mend = _MEND.get(errcode)
        sentence = f"{self.config.url}: {asked}: {what}{f' — {mend}' if mend else ''}"
        return HomeserverRefused(sentence, answer.status, errcode)

    def _shown(self, text: object) -> Optional[str]:
        """Text of its own as an operator may read it; None if it is none, or has our token."""
        if not isinstance(text, str) or not text.isprintable() or len(text) > MAX_TEXT:
            return None
        return None if self.config.as_token.reveal() in text else text


def _plain(text: str) -> str:
    """For one line of a log: some names of bridges have anything in them."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
