"""Requests to a Synapse: one deadline each, and what becomes of answers that no call expects."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import Any, Mapping, Optional
from urllib.parse import urlsplit

import attr
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from regsys import deadlines
from regsys.config import DelegationConfig
from regsys.errors import HomeserverDidNothing, HomeserverUnavailable
from regsys.model import Client
from regsys.outbound.http import Answer, HTTPClient, JSONClient, NoAnswer, NotConnected
from regsys.outbound.persistent import PersistentClient

# One call. A client waits for several, and must have its answer within ten seconds.
ASK_S = 5.0
# Requests under way. If it stalls, it must not eat up our sockets, however many people wait.
AT_ONCE = 100
# While the homeserver cannot be asked, the time between two log lines.
LOG_EVERY_S = 30.0
MAX_TEXT = 300

log = Logger()


@attr.define(eq=False, kw_only=True)
class SynapseRequests:
    """Each request has a deadline of ASK_S, or of what the client's request has left. If no answer
    comes, that is HomeserverUnavailable, which is logged at most once in LOG_EVERY_S.
    ``keeps_connections``: one that was kept may be closed there just when it is used, so a request
    that loses its connection is sent once more: each is idempotent. ``url`` is what the URL has
    before the path, as far as ``http`` does not know it itself."""

    config: DelegationConfig
    http: JSONClient
    url: str
    keeps_connections: bool = False
    _logged_s: Optional[float] = attr.field(default=None, init=False)

    @classmethod
    def from_config(
        cls, config: DelegationConfig, http: HTTPClient, kept: Optional[PersistentClient] = None
    ) -> SynapseRequests:
        """By ``kept``; if that is None, by ``http``, with places of its own: no other server that
        stalls can take them."""
        if kept is None:
            return cls(config=config, http=http.apart(), url=config.url)
        path = urlsplit(config.url).path
        return cls(config=config, http=kept, url=path, keeps_connections=True)

    # --- Users -----------------------------------------------------------------------------

    async def ask(
        self,
        method: str,
        path: str,
        token: str,
        body: Optional[Mapping[str, Any]] = None,
        client: Optional[Client] = None,
    ) -> Answer:
        """Its answer to one request, of whatever status. ``client``: whose request it is that this
        passes on; None for one of regsys's own."""
        seconds = deadlines.seconds_for(ASK_S, self.http.clock.seconds())
        headers = {"Authorization": f"Bearer {token}", **_of_client(client)}
        sending = self._send(method, path, headers, body)
        asking: Deferred[Answer] = Deferred.fromCoroutine(sending)
        try:
            return await asking.addTimeout(seconds, self.http.clock, _too_slow)
        except NoAnswer as reason:
            found = self.unavailable(_name(path), str(reason))
            if isinstance(reason, NotConnected):
                raise HomeserverDidNothing(str(found)) from None
            raise found from None

    async def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: Optional[Mapping[str, Any]]
    ) -> Answer:
        try:
            return await self._send_once(method, path, headers, body)
        except NotConnected:
            raise
        except NoAnswer:
            if not self.keeps_connections:
                raise
        try:
            answer = await self._send_once(method, path, headers, body)
        except NotConnected as reason:
            raise NoAnswer(str(reason)) from None
        return attr.evolve(answer, is_repeated=True)

    async def _send_once(
        self, method: str, path: str, headers: Mapping[str, str], body: Optional[Mapping[str, Any]]
    ) -> Answer:
        url = f"{self.url}{path}"
        if body is None:
            return await self.http.get(url, {}, headers)
        return await self.http.send_json(method, url, body, headers)

    def check(self, call: str, answer: Answer, *expected: int) -> None:
        if answer.status not in expected:
            raise self.refused(call, answer)

    def json_object(self, call: str, answer: Answer) -> Mapping[str, Any]:
        """The answer's JSON object."""
        found = fields(answer)
        if found is None:
            raise self.unavailable(call, "the answer is no JSON object")
        return found

    def refused(self, call: str, answer: Answer) -> HomeserverUnavailable:
        """For an answer that no method expects."""
        found = fields(answer) or {}
        parts = (self.loggable(found.get(name)) for name in ("errcode", "error"))
        what = " ".join(part for part in parts if part)
        mend = ""
        if answer.status in (401, 403) and call in _CALLS:
            mend = (
                " — matrix_authentication_service.secret must be the same here and in the"
                " homeserver's file"
            )
        elif answer.status == 404 and call in _CALLS:
            mend = (
                " — the homeserver's file must have matrix_authentication_service enabled, and its"
                " listener the resource client"
            )
        return self.unavailable(call, f"{answer.status} {what}{mend}")

    def unavailable(self, call: str, reason: str) -> HomeserverUnavailable:
        now_s = self.http.clock.seconds()
        sentence = f"{self.config.url}: {call}: {reason}"
        if self._logged_s is None or not 0 <= now_s - self._logged_s < LOG_EVERY_S:
            self._logged_s = now_s
            log.error(
                "the homeserver cannot be told of accounts and logins: {reason}", reason=sentence
            )
        return HomeserverUnavailable(sentence)

    def loggable(self, text: object) -> Optional[str]:
        """Its text, for the log; None if it is not printable, or has the secret in it."""
        if not isinstance(text, str) or not text.isprintable() or len(text) > MAX_TEXT:
            return None
        return None if self.config.secret.reveal() in text else text


def connections(reactor: Any, config: DelegationConfig) -> PersistentClient:
    """Those to it, which are kept."""
    return PersistentClient.to_url(reactor, config.url, most_idle=AT_ONCE, at_once=AT_ONCE)


_CALLS = frozenset(
    "query_user provision_user is_localpart_available delete_user upsert_device delete_device"
    " sync_devices set_displayname unset_displayname allow_cross_signing_reset".split()
)


def fields(answer: Answer) -> Optional[Mapping[str, Any]]:
    """The JSON object of an answer; None if it is none."""
    try:
        content = answer.json()
    except NoAnswer:
        return None
    return content if isinstance(content, dict) else None


def errcode(answer: Answer) -> Optional[str]:
    code = (fields(answer) or {}).get("errcode")
    return code if isinstance(code, str) else None


def is_unknown(answer: Answer) -> bool:
    """Whether it says that there is no such user. Any other 404 is of something that does not serve
    this request: another server, or a process of the homeserver's that is not its main one."""
    return answer.status == 404 and errcode(answer) == "M_NOT_FOUND"


def _of_client(client: Optional[Client]) -> Mapping[str, str]:
    """Headers by which the homeserver counts and records the client, and not us. The address is the
    one that we have found out, never what the client has sent in this header."""
    if client is None:
        return {}
    found = {}
    with contextlib.suppress(ValueError):  # a Unix socket's has no address
        found["X-Forwarded-For"] = str(ipaddress.ip_address(client.address))
    if client.user_agent:
        found["User-Agent"] = client.user_agent.encode("ascii", "replace").decode()
    return found


def _name(path: str) -> str:
    """A path without its query, and without what precedes the name of a call."""
    return path.partition("?")[0].removeprefix("/_synapse/mas/")


def _too_slow(result: object, seconds: float) -> Failure:
    return Failure(NoAnswer(f"no answer within {seconds:g} s"))
