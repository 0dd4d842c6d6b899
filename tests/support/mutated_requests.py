"""Requests with random mutations, for tests.test_fuzz (hypothesis)."""

from __future__ import annotations

import json
from typing import Any, Callable, Iterator, Mapping, Sequence
from urllib.parse import quote_from_bytes

import attr
from hypothesis import strategies as st

from tests.appservices import bridges
from tests.doubles.synapse import SECRET as SHARED_SECRET
from tests.support.case import DUMMY, PASSWORD
from tests.support.client import V3
from tests.support.validations import REQUEST, STAGE, SUBMIT

# Placeholders, in any part of a request, for values that only the test knows.
PLACEHOLDERS = (
    *("<session>", "<access>", "<refresh>", "<guest>", "<guest name>", "<new name>", "<admin>"),
    *("<sid>", "<number>", "<phone sid>", "<user>"),
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
VALIDATED = {"threepid_creds": {"sid": "<sid>", "client_secret": "secret"}}
BY_EMAIL = {"type": "m.id.thirdparty", "medium": "email", "address": "a@mail.example"}
BY_PHONE = {"type": "m.id.phone", "country": "DE", "phone": "0151 12345678"}
MAIL = {"email": "<new name>@mail.example", "client_secret": "secret", "send_attempt": 1}
NUMBER = {"phone_number": "<number>", "country": "DE", "client_secret": "secret", "send_attempt": 1}
OF_PHONE = {"sid": "<phone sid>", "client_secret": "secret"}
SECRET = "an introspection secret of tests"
CONFIRM = {"type": PASSWORD_LOGIN, "identifier": BY_NAME, "password": PASSWORD}
THREEPIDS = f"{V3}/account/3pid"
CHANGE = f"{V3}/account/password"
# That of the user whose token BEARER is.
OWN = {**CONFIRM, "identifier": {**BY_NAME, "user": "<user>"}}
SUBMIT_NUMBER = "/_matrix/client/unstable/add_threepid/msisdn/submit_token"
MSISDN = "m.login.msisdn"
BEARER = (b"Authorization", b"Bearer <access>")
ADMIN = (b"Authorization", b"Bearer <admin>")
SERVICE = (b"Authorization", b"Bearer " + bridges.TOKEN.encode())
BRIDGE = bridges.SERVICE
GHOST = {**USER, "type": BRIDGE, "display_name": "Alice"}
TOKENS = "/_synapse/admin/v1/registration_tokens"
JOBS = "/_regsys/v1/jobs"
ADMINISTRATION = "/_synapse/admin"
OF_USER = "@<user>:test.example"
TOKEN = {
    "token": "<new name>",
    "length": 16,
    "uses_allowed": 1,
    "expiry_time": 10**13,
    "note": "for somebody",
    "revoked": False,
}

# As administrators make or change one.
ACCOUNT = {
    "password": "another horse",
    "logout_devices": False,
    "displayname": "Alice",
    "admin": False,
    "approved": True,
    "deactivated": False,
    "locked": False,
    "user_type": "bot",
    "threepids": [{"medium": "email", "address": "<new name>@mail.example"}],
    "external_ids": [{"auth_provider": "oidc", "external_id": "<new name>"}],
}


@attr.frozen
class Request:
    method: str
    path: str
    body: Mapping[str, Any] = attr.field(factory=dict)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    write: Callable[[str], bytes] = str.encode

    def encoded(self, values_now: Mapping[str, str]) -> bytes:
        """Its bytes, with the placeholders replaced."""
        content = fill(self.write(json.dumps(self.body)), values_now)
        lines = [f"{self.method} {self.path} HTTP/1.1".encode(), b"Host: test.example"]
        lines += [name + b": " + value for name, value in self.headers]
        lines += [b"Content-Length: %d" % len(content), b"", b""]
        return fill(b"\r\n".join(lines), values_now) + content


# Valid requests, to be mutated.
VALID = (
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
    Request("POST", REGISTER, {**USER, "auth": {"type": STAGE, **SESSION, **VALIDATED}}),
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
    Request(
        "POST", f"{THREEPIDS}/add", {**VALIDATED["threepid_creds"], "auth": CONFIRM}, (BEARER,)
    ),
    Request("POST", f"{THREEPIDS}/delete", BY_EMAIL, (BEARER,)),
    Request("POST", f"{THREEPIDS}/unbind", {**BY_EMAIL, "id_server": "id.example"}, (BEARER,)),
    Request(
        "POST",
        f"{THREEPIDS}/bind",
        {"id_server": "id.example", "id_access_token": "t", "sid": "1", "client_secret": "secret"},
        (BEARER,),
    ),
    Request(
        "POST",
        CHANGE,
        {"new_password": "another horse", "logout_devices": False, "auth": OWN},
        (BEARER,),
    ),
    Request(
        "POST", CHANGE, {"new_password": "another horse", "auth": {"type": STAGE, **VALIDATED}}
    ),
    Request("POST", f"{CHANGE}/email/requestToken", MAIL),
    Request("POST", f"{CHANGE}/msisdn/requestToken", NUMBER),
    Request(
        "POST",
        f"{V3}/account/deactivate",
        {"erase": True, "id_server": "id.example", "auth": OWN},
        (BEARER,),
    ),
    Request("GET", f"{V3}/devices", {}, (BEARER,)),
    Request("PUT", f"{V3}/devices/PHONE", {"display_name": "another phone"}, (BEARER,)),
    Request("DELETE", f"{V3}/devices/PHONE", {"auth": OWN}, (BEARER,)),
    Request("POST", f"{V3}/delete_devices", {"devices": ["PHONE", "TV"], "auth": OWN}, (BEARER,)),
    Request("GET", f"{V3}/capabilities", {}, (BEARER,)),
    Request("GET", f"{V3}/pushers", {}, (BEARER,)),
    Request("GET", f"{JOBS}?limit=10", {}, (ADMIN,)),
    *(
        Request("GET", f"{ADMINISTRATION}/{path}", {}, (ADMIN,))
        for path in (
            "v2/users?name=a&limit=2&from=1&order_by=displayname&dir=b",
            "v3/users?user_id=a&guests=false&deactivated=true&not_user_type=bot",
            f"v2/users/{OF_USER}",
            f"v2/users/{OF_USER}/devices",
            f"v1/whois/{OF_USER}",
            "v1/threepid/email/users/a@mail.example",
        )
    ),
    Request("PUT", f"{ADMINISTRATION}/v2/users/@<new name>:test.example", ACCOUNT, (ADMIN,)),
    Request("PUT", f"{ADMINISTRATION}/v2/users/{OF_USER}", ACCOUNT, (ADMIN,)),
    Request("PUT", f"{ADMINISTRATION}/v1/users/{OF_USER}/admin", {"admin": True}, (ADMIN,)),
    Request("POST", f"{ADMINISTRATION}/v1/deactivate/{OF_USER}", {"erase": True}, (ADMIN,)),
    Request(
        "POST",
        f"{ADMINISTRATION}/v1/reset_password/{OF_USER}",
        {"new_password": "another horse", "logout_devices": False},
        (ADMIN,),
    ),
    Request(
        "POST",
        f"{ADMINISTRATION}/v2/users/{OF_USER}/delete_devices",
        {"devices": ["PHONE"]},
        (ADMIN,),
    ),
    Request("DELETE", f"{ADMINISTRATION}/v2/users/{OF_USER}/devices/PHONE", {}, (ADMIN,)),
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

SHARED = (b"Authorization", b"Bearer " + SHARED_SECRET.encode())
PAGE = "/_matrix/static/client/account/"
# Those of the auth service of a homeserver.
DELEGATED = (
    Request("POST", "/oauth2/introspect", {}, (SHARED,), lambda text: b"token=<access>"),
    Request("POST", "/oauth2/introspect", {}, (SHARED,), lambda text: b"token=<refresh>&token=x"),
    Request("POST", "/oauth2/introspect", {}, (SHARED,), lambda text: b"token=%ff\xff%00"),
    Request("GET", "/.well-known/openid-configuration"),
    Request("GET", PAGE),
    Request("POST", PAGE, write=lambda text: b"user=<user>&password=correct+horse"),
    Request("POST", PAGE, write=lambda text: b"user=a%40x.example&password=%00&password=x"),
    Request("POST", PAGE, write=lambda text: b"user=%ff\xff&password=x"),
    Request("POST", REGISTER, {**USER, "auth": DUMMY}),
    Request("POST", REGISTER, {**USER, "type": BRIDGE, "inhibit_login": True}, (SHARED,)),
    Request("POST", f"{V3}/login", {**USER, "type": PASSWORD_LOGIN, "identifier": BY_NAME}),
    Request("POST", f"{V3}/logout", {}, (BEARER,)),
    *(it for it in VALID if it.path.startswith((CHANGE, f"{V3}/account/deactivate"))),
    *(it for it in VALID if it.path.startswith((f"{V3}/de", f"{V3}/capabilities"))),
)

text = st.text(st.characters(exclude_categories=()), max_size=12)
strings = text | st.sampled_from(
    [
        *PLACEHOLDERS,
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
    | st.floats()  # NaN and the infinities, which are not JSON
    | strings,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strings, inner, max_size=3),
    max_leaves=6,
)
# In the place of a value of the body: another one, or none.
mutations = st.just(...) | strings | values
ELSEWHERE = (("auth",), ("auth", "session"), ("guest_access_token",), ("new", "\0"))
mutated_headers = st.tuples(
    st.sampled_from([b"Authorization", b"X-Forwarded-For", b"User-Agent", b"Content-Type"]),
    st.sampled_from([b"Bearer <access>", b"Bearer <guest>", b"Bearer", b"::1", b"192.0.2.1"])
    | st.binary(max_size=30).map(lambda value: value.translate(None, b"\r\n\0")),
)
mutated_queries = st.tuples(
    st.sampled_from(
        ["kind", "username", "access_token", "kind[]", "token", "valid", "limit", "user_id", ""]
    ),
    st.sampled_from([b"user", b"guest", b"<access>", b"alice", b"%", b"\0"])
    | st.binary(max_size=12),
).map(lambda pair: f"?{pair[0]}={quote_from_bytes(pair[1], safe='<>')}")
ENCODINGS: tuple[Callable[[str], bytes], ...] = (
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
def requests(draw: Any, valid_ones: Sequence[Request] = VALID) -> Request:
    """A valid request with one or several mutations, or none."""

    def sometimes(strategy: Any, otherwise: Any) -> Any:
        return draw(strategy) if draw(st.integers(0, 5)) == 3 else otherwise

    valid = draw(st.sampled_from(valid_ones))
    method = sometimes(st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS"]), valid.method)
    body = valid.body
    for place in draw(st.lists(st.sampled_from([*places(body), *ELSEWHERE]), max_size=2)):
        body = mutate(body, place, draw(mutations))
    path = sometimes(mutated_queries.map(lambda query: valid.path + query), valid.path)
    return Request(
        method,
        sometimes(st.sampled_from(["/", "//..%2f", f"{valid.path}/"]), path),
        body,
        (*valid.headers, sometimes(mutated_headers, (b"Accept", b"*/*"))),
        sometimes(
            st.sampled_from(ENCODINGS) | st.binary(max_size=50).map(lambda raw: lambda text: raw),
            valid.write,
        ),
    )


def places(body: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The keys of the body and of the objects in it, each with those above it."""
    for key, value in body.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *below) for below in places(value))


def mutate(body: Mapping[str, Any], place: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The body with ``value`` in this place; ``...`` removes it."""
    key, *below = place
    if below:
        inside = body.get(key)
        value = mutate(inside if isinstance(inside, dict) else {}, tuple(below), value)
    new = {**body, key: value}
    return {name: value for name, value in new.items() if value is not ...}


def fill(data: bytes, values_now: Mapping[str, str]) -> bytes:
    for mark, value in values_now.items():
        data = data.replace(mark.encode(), value.encode())
    return data
