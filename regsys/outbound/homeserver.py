"""A homeserver's client-server API, used as one of its application services or as its auth service.

The requests are those of the Matrix specification v1.18. For an application service the as_token is
in the Authorization header, and ``?user_id=`` names the user as whom it acts; an auth service shows
a token of its own for that user.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Awaitable, Callable, Mapping, Optional, Protocol, Sequence, TypeVar
from urllib.parse import quote, urlencode

import attr
from twisted.internet.defer import Deferred, DeferredLock, DeferredSemaphore
from twisted.python.failure import Failure

from regsys.config import HomeserverConfig
from regsys.errors import RoomRefused
from regsys.model import Secret, UserID
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


class Access(Protocol):
    """As what we act. ``creates_users``: users must be created there first. ``secret`` is shown in
    no log line; None if there is none that lasts."""

    @property
    def creates_users(self) -> bool: ...

    @property
    def secret(self) -> Optional[str]: ...

    async def credentials(
        self, acting: Optional[UserID]
    ) -> tuple[Optional[Secret], Sequence[tuple[str, str]]]:
        """The token for a request as this user, and what the query says of it. If ``acting`` is
        None, it does not matter who asks. Without a token nobody can."""


@attr.frozen
class AppserviceAccess:
    """As an application service, which the homeserver knows by its ``as_token``."""

    as_token: Secret
    creates_users: bool = attr.field(default=True, init=False)

    @property
    def secret(self) -> Optional[str]:
        return self.as_token.reveal()

    async def credentials(
        self, acting: Optional[UserID]
    ) -> tuple[Optional[Secret], Sequence[tuple[str, str]]]:
        return self.as_token, [("user_id", str(acting))] if acting else []


@attr.define(eq=False, kw_only=True)
class AuthServiceAccess:
    """As the auth service, which has made the users there. ``anybody``: a user whom the homeserver
    knows, by whom it is asked what any user may know."""

    token_of: Callable[[UserID], Secret]
    anybody: Callable[[], Awaitable[Optional[UserID]]]
    creates_users: bool = attr.field(default=False, init=False)
    secret: Optional[str] = attr.field(default=None, init=False)
    _latest: Optional[UserID] = attr.field(default=None, init=False)

    async def credentials(
        self, acting: Optional[UserID]
    ) -> tuple[Optional[Secret], Sequence[tuple[str, str]]]:
        self._latest = acting or self._latest or await self.anybody()
        return None if self._latest is None else self.token_of(self._latest), ()


@attr.define(eq=False, kw_only=True)
class Homeserver:
    """``server_name``: the homeserver's, and that of our users."""

    url: str
    server_name: str
    http: HTTPClient
    access: Access
    _places: DeferredSemaphore = attr.field(
        factory=lambda: DeferredSemaphore(AT_ONCE), init=False, repr=False
    )
    _known: OrderedDict[UserID, None] = attr.field(factory=OrderedDict, init=False)
    _turns: dict[UserID, DeferredLock] = attr.field(factory=dict, init=False)

    @classmethod
    def from_config(
        cls, config: HomeserverConfig, server_name: str, http: HTTPClient
    ) -> Homeserver:
        """As one of its application services."""
        return cls.acting_by(AppserviceAccess(config.as_token), config.url, server_name, http)

    @classmethod
    def acting_by(cls, access: Access, url: str, server_name: str, http: HTTPClient) -> Homeserver:
        """With limits of its own: its requests take none of ``http``'s places."""
        own = attr.evolve(http, deadline_s=DEADLINE_S, body_limit=BODY_LIMIT)
        return cls(url=url, server_name=server_name, http=own, access=access)

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
        the user as whom we act; None if it does not matter. An error's text then names the user
        ``about`` whom the request is.

        Raises HomeserverRefused and HomeserverSilent.
        """
        token, named = await self.access.credentials(acting)
        pairs = [*query, *named]
        url = "/".join([f"{self.url}/_matrix/client", *(quote(part, "") for part in path)])
        headers = {} if token is None else {"Authorization": f"Bearer {token.reveal()}"}
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
            raise HomeserverSilent(f"{self.url}: {request}: {reason}") from None
        finally:
            self._places.release()
        if not isinstance(content, dict):
            raise HomeserverSilent(f"{self.url}: {request}: the answer is no object")
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
            return Failure(HomeserverSilent(f"{self.url}: no answer in {timeout:g} s"))

        begun: Any = asked
        asking: Deferred[_T] = Deferred.fromCoroutine(begun)
        return await asking.addTimeout(seconds, self.http.clock, too_slow)

    async def introduce(self, user_id: UserID) -> None:
        """Create the account there, unless that is done: by an earlier job (there was none before
        the name was given out here), or by us as the auth service. One request at a time for each
        user, as the jobs of a new account begin together."""
        if not self.access.creates_users:
            return
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
        sentence = f"{self.url}: {request}: {what}{f' — {mend}' if mend else ''}"
        return HomeserverRefused(sentence, answer.status, errcode)

    def _loggable(self, text: object) -> Optional[str]:
        """The homeserver's text, for the log; None if it is not printable, or has our token."""
        if not isinstance(text, str) or not text.isprintable() or len(text) > MAX_TEXT:
            return None
        secret = self.access.secret
        return None if secret is not None and secret in text else text


def _plain(text: str) -> str:
    """The text on one log line: a bridge's names may have any character in them."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
