"""A homeserver's client-server API, used as one of its application services.

The requests are those of the Matrix specification v1.18: the as_token is in the Authorization
header, and ``?user_id=`` names the user as whom we act.
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

# The longest time for a single request: joining a large room is slow.
DEADLINE_S = 15.0
# The list of a large room's servers is long.
BODY_LIMIT = 1024 * 1024
# Requests at a time, however many users register; the rest wait for their turn.
AT_ONCE = 50
MAX_TEXT = 300
# How many users we remember as known to the homeserver.
MAX_KNOWN = 1000

# What an operator should do about an error, by its errcode.
_MEND: Mapping[Optional[str], str] = {
    "M_EXCLUSIVE": "in the registration file that the homeserver reads, give namespaces.users a "
    "regex that matches this user ID, and see that no other service's exclusive one does",
    "M_UNKNOWN_TOKEN": "let the homeserver read a registration file with the as_token of "
    "regsys.homeserver, and start it anew",
    "M_LIMIT_EXCEEDED": "write rate_limited: false into the registration file that the "
    "homeserver reads",
    "M_CONSENT_NOT_GIVEN": "the homeserver wants consent to policies of its own: ask for them "
    "here instead, at registration",
}

_T = TypeVar("_T")


class HomeserverRefused(RoomRefused):
    """The homeserver has answered with an error. ``errcode`` is None if there was none."""

    def __init__(self, text: str, status: int, errcode: Optional[str]) -> None:
        super().__init__(text)
        self.status = status
        self.errcode = errcode


class HomeserverSilent(RoomRefused):
    """The homeserver has not answered, not in time, or not with JSON that we can use."""


@attr.define(eq=False, kw_only=True)
class Homeserver:
    """``server_name``: the homeserver's, and that of our users."""

    config: HomeserverConfig
    server_name: str
    http: HTTPClient
    _places: DeferredSemaphore = attr.field(
        factory=lambda: DeferredSemaphore(AT_ONCE), init=False, repr=False
    )
    _known: OrderedDict[UserID, None] = attr.field(factory=OrderedDict, init=False)
    _turns: dict[UserID, DeferredLock] = attr.field(factory=dict, init=False)

    @classmethod
    def from_config(
        cls, config: HomeserverConfig, server_name: str, http: HTTPClient
    ) -> Homeserver:
        """With limits of its own: its requests take none of ``http``'s places."""
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
        """The JSON object of a 200. ``path``: the segments after ``/_matrix/client``. ``acting``:
        the user as whom we act; None for the service itself. An error's text then names the user
        ``about`` whom the request is.

        Raises HomeserverRefused and HomeserverSilent.
        """
        pairs = [*query, *([("user_id", str(acting))] if acting else [])]
        url = "/".join([f"{self.config.url}/_matrix/client", *(quote(part, "") for part in path)])
        headers = {"Authorization": f"Bearer {self.config.as_token.reveal()}"}
        request = _plain(f"{method} {'/'.join(path)} for {acting or about or 'the service itself'}")
        await self._places.acquire()
        try:
            if body is None:
                answer = await self.http.get(url, pairs, headers)
            else:
                whole = f"{url}?{urlencode(pairs)}" if pairs else url
                answer = await self.http.send_json(method, whole, body, headers)
            if answer.status != 200:
                raise self._refusal(request, answer)
            content = answer.json()
        except NoAnswer as reason:
            raise HomeserverSilent(f"{self.config.url}: {request}: {reason}") from None
        finally:
            self._places.release()
        if not isinstance(content, dict):
            raise HomeserverSilent(f"{self.config.url}: {request}: the answer is no object")
        return content

    async def act(
        self, acting: UserID, method: str, path: Sequence[str], body: Any = None, **query: Any
    ) -> Mapping[str, Any]:
        """``ask`` as one of our users, whose account is created there first."""
        await self.introduce(acting)
        try:
            return await self.ask(method, path, body, acting=acting, **query)
        except HomeserverRefused as refusal:
            if refusal.errcode == "M_FORBIDDEN":
                # Perhaps its database is a new one, and the account is gone.
                self._known.pop(acting, None)
            raise

    async def within(self, seconds: float, asked: Awaitable[_T]) -> _T:
        """The result of ``asked``, within a deadline for all of its requests, waiting for a place
        included. After the deadline it is cancelled: HomeserverSilent."""

        def too_slow(result: object, timeout: float) -> Failure:
            return Failure(HomeserverSilent(f"{self.config.url}: no answer in {timeout:g} s"))

        begun: Any = asked
        asking: Deferred[_T] = Deferred.fromCoroutine(begun)
        return await asking.addTimeout(seconds, self.http.clock, too_slow)

    async def introduce(self, user_id: UserID) -> None:
        """Create the account there, unless an earlier job has: there was none before the name was
        given out here. One request at a time for each user, as the jobs of a new account begin
        together."""
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

    def _refusal(self, request: str, answer: Answer) -> HomeserverRefused:
        try:
            content = answer.json()
        except NoAnswer:
            content = None
        fields = content if isinstance(content, dict) else {}
        errcode, text = (self._loggable(fields.get(name)) for name in ("errcode", "error"))
        what = " ".join(str(part) for part in (answer.status, errcode, text) if part)
        mend = _MEND.get(errcode)
        sentence = f"{self.config.url}: {request}: {what}{f' — {mend}' if mend else ''}"
        return HomeserverRefused(sentence, answer.status, errcode)

    def _loggable(self, text: object) -> Optional[str]:
        """The homeserver's text, for the log; None if it is not printable, or has our token."""
        if not isinstance(text, str) or not text.isprintable() or len(text) > MAX_TEXT:
            return None
        return None if self.config.as_token.reveal() in text else text


def _plain(text: str) -> str:
    """The text on one log line: a bridge's names may have any character in them."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
