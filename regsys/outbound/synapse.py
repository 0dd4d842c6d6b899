"""What a Synapse offers the auth service that its accounts are left to: the calls under
``/_synapse/mas/`` that we use, with the secret that both have (contract B17).

What each answers was measured: docs/synapse.md has the table, and the tests of
``tests/outbound/test_synapse.py`` run against a Synapse and against the double.
"""

from __future__ import annotations

import contextlib
import ipaddress
from typing import Any, Mapping, Optional, Sequence
from urllib.parse import urlencode, urlsplit

import attr
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from regsys import deadlines
from regsys.config import DelegationConfig
from regsys.errors import (
    HomeserverDidNothing,
    HomeserverRefusal,
    HomeserverUnavailable,
    InvalidUsername,
    RegistrationError,
    UnknownToken,
    UsernameReserved,
)
from regsys.model import Client, Secret, UserID
from regsys.model.provisioning import Provisioned
from regsys.outbound.http import Answer, HTTPClient, JSONClient, NoAnswer, NotConnected
from regsys.outbound.persistent import PersistentClient

# One call. A client waits for several, and must have its answer within ten seconds.
ASK_S = 5.0
# Requests under way. If it stalls, it must not eat up our sockets, however many people wait.
AT_ONCE = 100
# While the homeserver cannot be asked, the time between two log lines.
LOG_EVERY_S = 30.0
MAX_TEXT = 300
# It was asked, and has refused to look at the request.
_REFUSED = (401, 403, 404, 429)

log = Logger()


@attr.define(eq=False, kw_only=True)
class Synapse:
    """Each call has a deadline of ASK_S, or of what its request has left. What is not an answer
    that the method documents is HomeserverUnavailable, logged at most once in LOG_EVERY_S.
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
    ) -> Synapse:
        """By ``kept``; if that is None, by ``http``, with places of its own: no other server that
        stalls can take them."""
        if kept is None:
            return cls(config=config, http=http.apart(), url=config.url)
        path = urlsplit(config.url).path
        return cls(config=config, http=kept, url=path, keeps_connections=True)

    # --- Users -----------------------------------------------------------------------------

    async def is_free(self, user_id: UserID) -> bool:
        """Whether this user could be made there: its grammar, its application services and all of
        its users are asked. UsernameReserved, InvalidUsername."""
        answer = await self._get("is_localpart_available", user_id)
        if answer.status == 200:
            return True
        if errcode(answer) == "M_USER_IN_USE":
            return False
        raise self._name_refused("is_localpart_available", answer)

    async def exists(self, user_id: UserID) -> bool:
        """Whether it has a user of this name, whoever has made it. Errors as ``is_free``."""
        return not await self.is_free(user_id)

    async def provision_user(self, user_id: UserID) -> Provisioned:
        """Make the user if there is none; a user who exists is not changed. UsernameReserved,
        InvalidUsername; HomeserverDidNothing if it is certain that this call makes no user."""
        answer = await self._post("provision_user", user_id)
        # M_USER_IN_USE: somebody else has made it between this call's own look and its write.
        if errcode(answer) == "M_USER_IN_USE" or self._is_done("provision_user", answer):
            if answer.status == 201:
                return Provisioned.MADE
            return Provisioned.UNCLEAR if answer.is_repeated else Provisioned.THERE
        refusal = self._name_refused("provision_user", answer)
        if answer.status in _REFUSED and not answer.is_repeated:
            raise HomeserverDidNothing(str(refusal))
        raise refusal

    async def set_emails(self, user_id: UserID, addresses: Sequence[str]) -> None:
        """Replace the user's addresses. Synapse takes each away from whoever else has it: send only
        what our own unique key says is this user's."""
        body = {"set_emails": list(addresses)}
        self._check("provision_user", await self._post("provision_user", user_id, body), 200)

    async def query_user(self, user_id: UserID) -> Optional[Mapping[str, Any]]:
        """``display_name``, ``is_suspended``, ``is_deactivated`` and more; None if there is no such
        user."""
        answer = await self._get("query_user", user_id)
        if is_unknown(answer):
            return None
        self._check("query_user", answer, 200)
        return self.json_object("query_user", answer)

    async def set_displayname(self, user_id: UserID, name: str) -> None:
        answer = await self._post("set_displayname", user_id, {"displayname": name})
        self._check("set_displayname", answer, 200)

    async def unset_displayname(self, user_id: UserID) -> None:
        self._check("unset_displayname", await self._post("unset_displayname", user_id), 200)

    async def delete_user(self, user_id: UserID, erase: bool) -> None:
        """Deactivate the user. Idempotent; a user whom it does not know is no error."""
        answer = await self._post("delete_user", user_id, {"erase": erase})
        if not is_unknown(answer):
            self._check("delete_user", answer, 200)

    async def allow_cross_signing_reset(self, user_id: UserID) -> None:
        """For ten minutes the user may replace their cross-signing keys."""
        answer = await self._post("allow_cross_signing_reset", user_id)
        self._check("allow_cross_signing_reset", answer, 200)

    async def register_ghost(
        self, body: Mapping[str, Any], as_token: Secret, client: Client
    ) -> UserID:
        """Pass on an application service's POST /register, which only the homeserver can do: its
        auth service makes no users in exclusive namespaces. HomeserverRefusal."""
        path = "/_matrix/client/v3/register"
        answer = await self.ask("POST", path, as_token.reveal(), body, client)
        found = self.json_object("register", answer)
        if answer.status == 200:
            try:
                return UserID.parse(str(found.get("user_id")))
            except ValueError:
                raise self.unavailable("register", "the answer has no user_id") from None
        code, text = found.get("errcode"), found.get("error")
        if not 400 <= answer.status < 500 or not isinstance(code, str):
            raise self.refused("register", answer)
        raise HomeserverRefusal(answer.status, code, self._loggable(text))

    async def capabilities(self, token: Secret, client: Client) -> Mapping[str, Any]:
        """What it tells the user of this token that clients can do there. UnknownToken, which it
        may say of a token for two minutes after it was told so."""
        path = "/_matrix/client/v3/capabilities"
        answer = await self.ask("GET", path, token.reveal(), None, client)
        if errcode(answer) == "M_UNKNOWN_TOKEN":
            raise UnknownToken()
        self._check("capabilities", answer, 200)
        found = self.json_object("capabilities", answer).get("capabilities")
        if not isinstance(found, dict):
            raise self.unavailable("capabilities", "the answer has no capabilities")
        return found

    # --- Devices ---------------------------------------------------------------------------

    async def upsert_device(
        self, user_id: UserID, device_id: str, display_name: Optional[str] = None
    ) -> bool:
        """Make the device if there is none; False if it does not know the user. If
        ``display_name`` is None, the device keeps its own."""
        named = {} if display_name is None else {"display_name": display_name}
        body = {"device_id": device_id, **named}
        answer = await self._post("upsert_device", user_id, body)
        if is_unknown(answer):
            return False
        self._check("upsert_device", answer, 200, 201)
        return True

    async def delete_device(self, user_id: UserID, device_id: str) -> None:
        """From now on no token of this device is valid there, whatever answer it has cached. A
        device or user whom it does not know is no error."""
        answer = await self._post("delete_device", user_id, {"device_id": device_id})
        if not is_unknown(answer):
            self._check("delete_device", answer, 204)

    async def sync_devices(self, user_id: UserID, device_ids: Sequence[str]) -> None:
        """Make those that it lacks, and delete all others: only for an account that was not usable
        there until now, as it would delete the device of a login that is just being made."""
        answer = await self._post("sync_devices", user_id, {"devices": list(device_ids)})
        self._check("sync_devices", answer, 200)

    # --- Requests --------------------------------------------------------------------------

    async def _get(self, call: str, user_id: UserID) -> Answer:
        query = urlencode({"localpart": user_id.localpart})
        return await self.ask("GET", f"/_synapse/mas/{call}?{query}", self._secret)

    async def _post(
        self, call: str, user_id: UserID, more: Optional[Mapping[str, Any]] = None
    ) -> Answer:
        body = {"localpart": user_id.localpart, **(more or {})}
        return await self.ask("POST", f"/_synapse/mas/{call}", self._secret, body)

    @property
    def _secret(self) -> str:
        return self.config.secret.reveal()

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

    def json_object(self, call: str, answer: Answer) -> Mapping[str, Any]:
        """The answer's JSON object."""
        found = fields(answer)
        if found is None:
            raise self.unavailable(call, "the answer is no JSON object")
        return found

    def refused(self, call: str, answer: Answer) -> HomeserverUnavailable:
        """For an answer that no method expects."""
        found = fields(answer) or {}
        parts = (self._loggable(found.get(name)) for name in ("errcode", "error"))
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

    def _is_done(self, call: str, answer: Answer) -> bool:
        """Whether it has done what the call asks for. Another server may answer 200, too."""
        if answer.status not in (200, 201):
            return False
        self.json_object(call, answer)
        return True

    def _check(self, call: str, answer: Answer, *expected: int) -> None:
        if answer.status not in expected:
            raise self.refused(call, answer)

    def _name_refused(self, call: str, answer: Answer) -> RegistrationError:
        if answer.status == 400:
            code = errcode(answer)
            if code == "M_EXCLUSIVE":
                return UsernameReserved()
            # One of its refusals has a small letter in the middle.
            if (code or "").upper() == "M_INVALID_USERNAME":
                return InvalidUsername()
        return self.refused(call, answer)

    def _loggable(self, text: object) -> Optional[str]:
        """Its text, for the log; None if it is not printable, or has the secret in it."""
        if not isinstance(text, str) or not text.isprintable() or len(text) > MAX_TEXT:
            return None
        return None if self._secret in text else text


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
