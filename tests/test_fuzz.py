"""Whatever arrives, in generated requests and byte streams: no 5xx, no failure in the log, and a
refused request leaves no row but its own session (THREATS A20, A21, F3).

The same examples each time, so that a failure is the change's own; with REGSYS_TEST_SCALE
above 1 other ones each time.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Iterator, Mapping, Optional
from urllib.parse import quote_from_bytes

import attr
from hypothesis import given
from hypothesis import strategies as st
from treq.testing import RequestTraversalAgent
from twisted.web.resource import Resource

from regsys import http
from tests.appservices import bridges
from tests.case import DUMMY, PASSWORD
from tests.client import V3
from tests.http.wire import Wire
from tests.proofs import MAILS, REQUEST, STAGE, SUBMIT
from tests.scale import examples

# What only the test knows takes the place of these, in whatever part of a request.
LIVE = (
    *("<session>", "<access>", "<refresh>", "<guest>", "<guest name>", "<new name>", "<admin>"),
    *("<sid>", "<number>", "<phone sid>"),
)
USER = {
    "username": "<new name>",
    "password": PASSWORD,
    "device_id": "PHONE",
    "initial_device_display_name": "my phone",
    "inhibit_login": False,
    "refresh_token": True,
}
REGISTER = f"{V3}/register"
PASSWORD_LOGIN = "m.login.password"
BY_NAME = {"type": "m.id.user", "user": "alice"}
BY_TOKEN = {"type": "m.login.registration_token", "token": "welcome"}
SESSION = {"session": "<session>"}
PROVEN = {"threepid_creds": {"sid": "<sid>", "client_secret": "secret"}}
BY_EMAIL = {"type": "m.id.thirdparty", "medium": "email", "address": "a@mail.example"}
BY_PHONE = {"type": "m.id.phone", "country": "DE", "phone": "0151 12345678"}
MAIL = {"email": "<new name>@mail.example", "client_secret": "secret", "send_attempt": 1}
NUMBER = {"phone_number": "<number>", "country": "DE", "client_secret": "secret", "send_attempt": 1}
OF_PHONE = {"sid": "<phone sid>", "client_secret": "secret"}
SECRET = "an introspection secret of tests"
CONFIRM = {"type": PASSWORD_LOGIN, "identifier": BY_NAME, "password": PASSWORD}
THREEPIDS = f"{V3}/account/3pid"
SUBMIT_NUMBER = "/_matrix/client/unstable/add_threepid/msisdn/submit_token"
MSISDN = "m.login.msisdn"
BEARER = (b"Authorization", b"Bearer <access>")
ADMIN = (b"Authorization", b"Bearer <admin>")
SERVICE = (b"Authorization", b"Bearer " + bridges.TOKEN.encode())
BRIDGE = bridges.SERVICE
GHOST = {**USER, "type": BRIDGE, "display_name": "Alice"}
TOKENS = "/_synapse/admin/v1/registration_tokens"
JOBS = "/_regsys/v1/jobs"
TOKEN = {
    "token": "<new name>",
    "length": 16,
    "uses_allowed": 1,
    "expiry_time": 10**13,
    "note": "for somebody",
    "revoked": False,
}


@attr.frozen
class Request:
    method: str
    path: str
    body: Mapping[str, Any] = attr.field(factory=dict)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    write: Callable[[str], bytes] = str.encode

    def encoded(self, live: Mapping[str, str]) -> bytes:
        """The bytes of it, with what is known only now in its place."""
        content = filled(self.write(json.dumps(self.body)), live)
        lines = [f"{self.method} {self.path} HTTP/1.1".encode(), b"Host: test.example"]
        lines += [name + b": " + value for name, value in self.headers]
        lines += [b"Content-Length: %d" % len(content), b"", b""]
        return filled(b"\r\n".join(lines), live) + content


# Requests that go through, to be spoilt.
GOOD = (
    Request("POST", REGISTER, {**USER, "auth": DUMMY}),
    Request("POST", REGISTER, {**USER}),
    Request("POST", REGISTER, {**USER, "auth": {**DUMMY, "session": "<session>"}}),
    Request("POST", REGISTER, {"auth": {**DUMMY, "session": "<session>"}}),
    Request("POST", f"{REGISTER}?kind=guest", {"initial_device_display_name": "my phone"}),
    Request(
        "POST",
        REGISTER,
        {**USER, "username": "<guest name>", "guest_access_token": "<guest>", "auth": DUMMY},
    ),
    Request("GET", f"{REGISTER}/available?username=somebody"),
    Request("POST", f"{V3}/login", {**USER, "type": PASSWORD_LOGIN, "identifier": BY_NAME}),
    Request("POST", REQUEST, {**MAIL, "next_link": "https://next.example/"}),
    Request("POST", SUBMIT, {"sid": "<sid>", "client_secret": "secret", "token": "ABCDEFGH"}),
    Request("GET", f"{SUBMIT}?sid=<sid>&client_secret=secret&token=x"),
    Request("POST", SUBMIT, write=lambda text: b"sid=<sid>&client_secret=secret&token=ABCDEFGH"),
    Request("POST", REGISTER, {**USER, "auth": {"type": STAGE, **SESSION, **PROVEN}}),
    Request(
        "POST", f"{REGISTER}/msisdn/requestToken", {**NUMBER, "next_link": "https://n.example/"}
    ),
    Request("POST", SUBMIT_NUMBER, {**OF_PHONE, "token": "12345678"}),
    Request("POST", f"{THREEPIDS}/msisdn/requestToken", NUMBER, (BEARER,)),
    Request(
        "POST",
        REGISTER,
        {**USER, "auth": {"type": MSISDN, **SESSION, "threepid_creds": OF_PHONE}},
    ),
    Request("POST", f"{V3}/login", {**USER, "type": PASSWORD_LOGIN, "identifier": BY_EMAIL}),
    Request("POST", f"{V3}/login", {**USER, "type": PASSWORD_LOGIN, "identifier": BY_PHONE}),
    Request("POST", f"{V3}/refresh", {"refresh_token": "<refresh>"}),
    Request("GET", f"{V3}/account/whoami", {}, (BEARER,)),
    Request("GET", THREEPIDS, {}, (BEARER,)),
    Request("POST", f"{THREEPIDS}/email/requestToken", MAIL, (BEARER,)),
    Request("POST", f"{THREEPIDS}/add", {**PROVEN["threepid_creds"], "auth": CONFIRM}, (BEARER,)),
    Request("POST", f"{THREEPIDS}/delete", BY_EMAIL, (BEARER,)),
    Request("POST", f"{THREEPIDS}/unbind", {**BY_EMAIL, "id_server": "id.example"}, (BEARER,)),
    Request(
        "POST",
        f"{THREEPIDS}/bind",
        {"id_server": "id.example", "id_access_token": "t", "sid": "1", "client_secret": "secret"},
        (BEARER,),
    ),
    Request("GET", f"{V3}/pushers", {}, (BEARER,)),
    Request("GET", f"{JOBS}?limit=10", {}, (ADMIN,)),
    Request("POST", f"{JOBS}/retry", {}, (ADMIN,)),
    Request("POST", f"{JOBS}/<new name>/retry", {}, (ADMIN,)),
    Request("POST", REGISTER, {**USER, "auth": {**BY_TOKEN, **SESSION}}),
    Request("GET", "/_matrix/client/v1/register/m.login.registration_token/validity?token=welcome"),
    Request("POST", f"{TOKENS}/new", TOKEN, (ADMIN,)),
    Request("PUT", f"{TOKENS}/welcome", {**TOKEN, "uses_allowed": None}, (ADMIN,)),
    Request("GET", f"{TOKENS}?valid=true", {}, (ADMIN,)),
    Request("GET", f"{TOKENS}/welcome?details=true", {}, (ADMIN,)),
    Request("DELETE", f"{TOKENS}/<new name>", {}, (ADMIN,)),
    Request("POST", f"{V3}/logout", {}, (BEARER,)),
    Request("POST", REGISTER, GHOST, (SERVICE,)),
    Request("POST", REGISTER, {**GHOST, "user": "<new name>"}, (SERVICE,)),
    Request("POST", f"{V3}/login", {**USER, "type": BRIDGE, "user": "<new name>"}, (SERVICE,)),
    Request("GET", f"{V3}/account/whoami?user_id=@alice:test.example", {}, (SERVICE,)),
    Request(
        "POST",
        "/_regsys/v1/introspect",
        {},
        ((b"Authorization", b"Bearer " + SECRET.encode()),),
        lambda text: b"token=<access>",
    ),
)

text = st.text(st.characters(exclude_categories=()), max_size=12)
strings = text | st.sampled_from(
    [
        *LIVE,
        "",
        "alice",
        "\N{KELVIN SIGN}elvin",
        "_x",
        "1",
        "\0",
        "\ud800",
        "a" * 513,
        "@alice:test.example",
        "m.login.dummy",
    ]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()  # NaN and the infinities, which are no JSON
    | strings,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strings, inner, max_size=3),
    max_leaves=6,
)
# In the place of what a body has: something else, or nothing.
spoils = st.just(...) | strings | values
ELSEWHERE = (("auth",), ("auth", "session"), ("guest_access_token",), ("new", "\0"))
spoiled_headers = st.tuples(
    st.sampled_from([b"Authorization", b"X-Forwarded-For", b"User-Agent", b"Content-Type"]),
    st.sampled_from([b"Bearer <access>", b"Bearer <guest>", b"Bearer", b"::1", b"192.0.2.1"])
    | st.binary(max_size=30).map(lambda value: value.translate(None, b"\r\n\0")),
)
spoiled_queries = st.tuples(
    st.sampled_from(
        ["kind", "username", "access_token", "kind[]", "token", "valid", "limit", "user_id", ""]
    ),
    st.sampled_from([b"user", b"guest", b"<access>", b"alice", b"%", b"\0"])
    | st.binary(max_size=12),
).map(lambda pair: f"?{pair[0]}={quote_from_bytes(pair[1], safe='<>')}")
WRITTEN: tuple[Callable[[str], bytes], ...] = (
    lambda text: text.encode("utf-8-sig"),
    lambda text: text.encode("utf-16"),
    lambda text: text.encode()[:-1],
    lambda text: text.encode() * 2,
    lambda text: text.replace("{", '{"username": 1, "auth": 2,', 1).encode(),
    lambda text: b"[" * 50_000 + text.encode(),
    lambda text: text.encode().replace(b'"', b'\\"', 1),
    lambda text: text.encode() + b" " * 65_536,
)


@st.composite
def requests(draw: Any) -> Request:
    """A good request, spoilt in one or several ways, or in none."""

    def sometimes(strategy: Any, otherwise: Any) -> Any:
        return draw(strategy) if draw(st.integers(0, 5)) == 3 else otherwise

    good = draw(st.sampled_from(GOOD))
    method = sometimes(st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS"]), good.method)
    body = good.body
    for place in draw(st.lists(st.sampled_from([*places(body), *ELSEWHERE]), max_size=2)):
        body = spoil(body, place, draw(spoils))
    path = sometimes(spoiled_queries.map(lambda query: good.path + query), good.path)
    return Request(
        method,
        sometimes(st.sampled_from(["/", "//..%2f", f"{good.path}/"]), path),
        body,
        (*good.headers, sometimes(spoiled_headers, (b"Accept", b"*/*"))),
        sometimes(
            st.sampled_from(WRITTEN) | st.binary(max_size=50).map(lambda raw: lambda text: raw),
            good.write,
        ),
    )


def places(body: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The keys of the body and of the objects in it, each with those above it."""
    for key, value in body.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *below) for below in places(value))


def spoil(body: Mapping[str, Any], place: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The body with ``value`` in this place; ``...`` empties it."""
    key, *below = place
    if below:
        inside = body.get(key)
        value = spoil(inside if isinstance(inside, dict) else {}, tuple(below), value)
    new = {**body, key: value}
    return {name: value for name, value in new.items() if value is not ...}


def filled(data: bytes, live: Mapping[str, str]) -> bytes:
    for mark, value in live.items():
        data = data.replace(mark.encode(), value.encode())
    return data


class Refusing(Resource):
    """An identity server that says no, and what else a stranger may say."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        request.setResponseCode(403)
        return json.dumps({"errcode": "M_FORBIDDEN", "error": "\0\ud800\r\n"}).encode()


class FuzzTests(bridges.BridgeCase):
    services = (bridges.registration(namespaces={"users": [{"regex": "@", "exclusive": False}]}),)
    options = {  # noqa: RUF012 (BridgeCase declares it)
        **MAILS,
        "agent": RequestTraversalAgent(Refusing()),
        "enable_registration_token_3pid_bypass": True,
        "rc_registration_token_validity": {"per_second": 1000, "burst_count": 1000},
        "regsys": {
            "rc_availability": False,
            "sessions_per_ip": 100_000,
            "introspection_secret": SECRET,
            "sms": {"enabled": True},
            "appservice_may_set_password": True,
        },
    }

    def setUp(self) -> None:
        super().setUp()
        self.resource = self.subsystem.resource(client_address=http.first_forwarded)
        self.number = 0
        self.admin = self.register("alice")["access_token"]
        self.change("UPDATE users SET admin = TRUE")
        self.wait(self.subsystem.registration_tokens.create(token="welcome", settings={}))
        self.live = self.newcomers()

    def newcomers(self) -> dict[str, str]:
        """A user, a guest and a session, none of them used yet."""
        self.number += 1
        user = self.register(f"user{self.number}", refresh_token=True)
        guest = self.guest()
        session = self.challenge(password=PASSWORD)["session"]
        self.clock.advance(1)
        name = guest["user_id"][1:].partition(":")[0]
        tokens = (user["access_token"], user["refresh_token"], guest["access_token"])
        newcomer = f"newcomer{self.number}"
        mail = {**MAIL, "email": f"{newcomer}@mail.example", "client_secret": "secret"}
        sid = self.client.post(REQUEST, mail).json["sid"]
        number = f"0151 {10_000_000 + self.number}"
        asked = {**NUMBER, "phone_number": number}
        phone = self.client.post(f"{REGISTER}/msisdn/requestToken", asked).json["sid"]
        self.change("UPDATE validations SET validated_ms = 1 WHERE sid IN (?, ?)", sid, phone)
        found = (session, *tokens, name, newcomer, self.admin, sid, number, phone)
        return dict(zip(LIVE, found, strict=True))

    def send(self, request: Request) -> tuple[int, Optional[Any]]:
        """The status and the JSON of what is answered; None for a page, or no body."""
        answer = Wire(self.resource).send(request.encoded(self.live))
        self.assertTrue(answer.startswith(b"HTTP/1.1 "), answer)
        head, _, body = answer.partition(b"\r\n\r\n")
        is_json = body and b"application/json" in head
        return int(head.split()[1]), json.loads(body) if is_json else None

    @examples(1500)
    @given(requests())
    def test_requests(self, request: Request) -> None:
        """Every request is answered as one that went through, or refused without a trace."""
        before = self.counts()
        status, body = self.send(request)
        self.clock.advance(1)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertLess(status, 500)
        if status < 400:
            if request.method == "POST":
                self.live = self.newcomers()
            return
        if body is not None:
            self.assertIn("session" if "flows" in body else "errcode", body)
        before["uia_sessions"] += (
            status == 401 and self.counts()["uia_sessions"] > before["uia_sessions"]
        )
        self.assertEqual(self.counts(), before)

    @examples(400)
    @given(
        st.lists(
            st.builds(Request.encoded, requests(), st.just({}))
            | st.binary(max_size=40)
            | st.sampled_from(
                [
                    b"\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"Transfer-Encoding: gzip\r\n",
                    b"Content-Length: -1\r\n",
                    b"Content-Length: 99999999999999999999\r\n",
                    b"Expect: 100-continue\r\n",
                    b"POST /_matrix/client/v3/register HTTP/1.0\r\n",
                    b"GET * HTTP/9.9\r\n\r\n",
                    b"ffffffffffffffff\r\n",
                    b"0\r\n\r\n",
                    b" folded: header\r\n",
                    b"A" * 20_000,
                ]
            ),
            max_size=6,
        ),
        st.integers(1, 400),
    )
    def test_byteStreams(self, pieces: list[bytes], step: int) -> None:
        """Bytes that are no requests are refused or cut off; nothing fails over them."""
        wire = Wire(self.resource)
        stream = b"".join(pieces)
        answers = b""
        for start in range(0, len(stream), step):
            answers += wire.send(stream[start : start + step])
            if wire.closed:
                break
        wire.hang_up()
        self.clock.advance(1)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertNotIn(b"HTTP/1.1 5", answers)
