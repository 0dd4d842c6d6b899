"""Malicious bodies are each refused with a 400 and change nothing; and a flood of requests that
each write something cannot fill the disk (threat A20, A21)."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, ClassVar, Iterator, Mapping, Optional
from urllib.parse import urlencode

from regsys.json_body import NEVER_NULL
from regsys.threepids.validation_tokens import ValidationTokens
from tests.appservices import bridges
from tests.support.case import DUMMY, PASSWORD, SystemCase
from tests.support.client import V3, Answer
from tests.support.databases import InFile
from tests.support.scale import SCALE
from tests.support.validations import MAILS, REQUEST, SUBMIT

REGISTER = f"{V3}/register"
ALICE = {"type": "m.id.user", "user": "alice"}
AS_TOKEN = urlencode({"access_token": bridges.TOKEN})
Good = dict[str, tuple[str, dict[str, Any]]]

# Those that the user confirms by a stage.
CONFIRMED = ("devices", "password", "deactivation")
# Alice's address.
MINE = "alice@mail.example"
# The longest character, in UTF-8.
GRIN = "\N{GRINNING FACE}"
# Keys for which null is a wrong type, wherever they are known.
REQUIRED = NEVER_NULL | {"email", "client_secret", "send_attempt", "sid", "token"}
# How many unfinished sessions one address may have.
CAP = 200
# One of every JSON type but null, which counts as absent.
VALUES = (True, 1, 1.5, "text", ["text"], {"a": "text"})


class HostileCase(bridges.BridgeCase):
    options: ClassVar[Mapping[str, Any]] = {
        **MAILS,
        "regsys": {"rc_availability": False, "appservice_may_set_password": True},
    }

    def good(self) -> Good:
        """By name: a path and a valid body, with every key that the endpoint knows."""
        user = self.register("alice", refresh_token=True)
        guest = self.guest()
        session = self.challenge(password=PASSWORD)["session"]
        self.clock.advance(0)  # its hash is kept
        device = {"device_id": "PHONE", "initial_device_display_name": "my phone"}
        fields = {**device, "inhibit_login": False, "refresh_token": True, "password": PASSWORD}
        in_session = {**DUMMY, "session": session}
        upgrade = {
            "username": guest["user_id"][1:].partition(":")[0],
            "guest_access_token": guest["access_token"],
        }
        login = {**device, "type": "m.login.password", "password": PASSWORD, "identifier": ALICE}
        flat = {"type": "m.login.password", "password": PASSWORD, "user": "alice"}
        ghost = {"type": bridges.SERVICE, "username": "_irc_new", "user": "_irc_new"}
        ghost_login = {"type": bridges.SERVICE, "identifier": {**ALICE, "user": "ircbot"}}
        self.made("ircbot")
        ask = {"email": "a@mail.example", "client_secret": "secret", "send_attempt": 1}
        sid = self.client.post(REQUEST, ask).json["sid"]
        token = ValidationTokens(self.subsystem.process.macaroon_secret).token(sid, 1)
        own = {"type": "m.login.password", "password": PASSWORD, "identifier": ALICE}
        as_alice = urlencode({"access_token": user["access_token"]})
        self.change("INSERT INTO threepids VALUES ('email', ?, '@alice:test.example', 1, 1)", MINE)
        leaver = self.register("leaver")
        as_leaver = urlencode({"access_token": leaver["access_token"]})
        leaves = {**own, "identifier": {**ALICE, "user": "leaver"}}
        changed = {"new_password": "another horse", "logout_devices": False, "auth": own}
        return {
            "one shot": (REGISTER, {"username": "bob", "auth": DUMMY, **fields}),
            "session": (REGISTER, {"username": "carol", "auth": in_session, **fields}),
            "upgrade": (REGISTER, {"auth": DUMMY, **upgrade, **fields}),
            "guest": (f"{REGISTER}?kind=guest", {"initial_device_display_name": "my phone"}),
            "login": (f"{V3}/login", {"refresh_token": True, **login}),
            "old login": (f"{V3}/login", flat),
            "mail": (REQUEST, {**ask, "next_link": "https://next.example/"}),
            "token": (SUBMIT, {"sid": sid, "client_secret": "secret", "token": token}),
            "ghost": (f"{REGISTER}?{AS_TOKEN}", {**ghost, **fields, "display_name": "Alice"}),
            "ghost's login": (f"{V3}/login?{AS_TOKEN}", {**device, **ghost_login}),
            "reset mail": (f"{V3}/account/password/email/requestToken", {**ask, "email": MINE}),
            "devices": (f"{V3}/delete_devices?{as_alice}", {"devices": ["PHONE"], "auth": own}),
            "password": (f"{V3}/account/password?{as_alice}", changed),
            "deactivation": (
                f"{V3}/account/deactivate?{as_leaver}",
                {"erase": True, "auth": leaves},
            ),
            "refresh": (f"{V3}/refresh", {"refresh_token": user["refresh_token"]}),
        }

    def snapshot(self) -> Any:
        """The contents of all tables."""
        tables = self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {table: self.rows(f"SELECT * FROM {table}") for (table,) in tables}

    def assertAllRefused(
        self, good: Good, mutated: Iterator[tuple[str, Any]], *errors: str
    ) -> None:
        """Each body, to the path of the valid request of that name, is a 400 with one of the
        errcodes and changes nothing; then the valid requests succeed."""
        before = self.snapshot()
        count = 0
        for name, body in mutated:
            answer = self.client.post(good[name][0], body)
            self.clock.advance(0)
            self.assertEqual(answer.status, 400, f"{name}: {body!r}: {answer}")
            self.assertIn(answer.errcode, errors, f"{name}: {body!r}")
            count += 1
        self.assertEqual(self.snapshot(), before)
        self.assertGreater(count, len(good))
        for name, (path, body) in good.items():
            self.assertEqual(self.client.post(path, body).status, 200, name)


class BodyTests(HostileCase):
    def test_noStringTakesNULOrASurrogate(self) -> None:
        """NUL or a lone surrogate anywhere in any string or key of a valid body is a 400."""
        good = self.good()

        def mutated() -> Iterator[tuple[str, Any]]:
            for name, (_, body) in good.items():
                for bad in ("\0", "\ud800", "\udfff"):
                    for changed in _with_each_string(body, bad):
                        yield name, changed
                    yield name, {**body, "unknown": {"deep": [bad]}}
                    yield name, {**body, f"unknown{bad}": 1}

        self.assertAllRefused(good, mutated(), "M_INVALID_PARAM", "M_INVALID_USERNAME")

    def test_noKeyTakesAnotherType(self) -> None:
        """Each key with a value of each wrong type, null included if it is required, is a 400."""
        good = self.good()
        del good["guest"]  # all keys but one are ignored there

        def mutated() -> Iterator[tuple[str, Any]]:
            for name, (path, body) in good.items():
                required = REQUIRED | ({"type", "password"} if "login" in path else set())
                for key in body.keys() & required:
                    yield name, {**body, key: None}
                # A stage that fails is a 401 with its errcode, so what is in it is left alone.
                stage = {"auth": body["auth"]} if name in CONFIRMED else {}
                rest = {key: body[key] for key in body.keys() - stage.keys()}
                for value in VALUES:
                    for changed in _with_each_key(rest, value):
                        yield name, {**changed, **stage}
                    if stage and not isinstance(value, dict):
                        yield name, {**body, "auth": value}

        self.assertAllRefused(good, mutated(), "M_BAD_JSON")

    def test_notJSON(self) -> None:
        """Text that only resembles JSON is a 400, whatever the endpoint."""
        good = self.good()

        def mutated() -> Iterator[tuple[str, bytes]]:
            for name, (_, body) in good.items():
                text = json.dumps(body)
                for content in (
                    b"",
                    b"\xff",
                    text.encode("utf-8-sig"),
                    text.encode("utf-16"),
                    text.encode("utf-32"),
                    text[:-1].encode(),
                    (text + text).encode(),
                    (text[:-1] + ',"unknown":NaN}').encode(),
                    (text[:-1] + ',"unknown":-Infinity}').encode(),
                    (text[:-1] + ',"unknown":1e999}').encode(),
                    (text[:-1] + f',"unknown":{"9" * 5000}}}').encode(),
                    (text[:-1] + f',"unknown":{"[" * 30_000}{"]" * 30_000}}}').encode(),
                    (text[:-1] + f',"unknown":{"[" * 100}{"]" * 100}}}').encode(),
                    text.replace('"', "'").encode(),
                    text.replace(":", "\0:", 1).encode(),
                ):
                    yield name, content

        self.assertAllRefused(good, mutated(), "M_NOT_JSON")

    def test_notAnObject(self) -> None:
        """JSON that is no object is a 400."""
        good = self.good()
        mutated = (
            (name, json.dumps(value).encode()) for name in good for value in (None, *VALUES[:-1])
        )
        self.assertAllRefused(good, mutated, "M_BAD_JSON")

    def test_theLastOfDuplicateKeysWins(self) -> None:
        """Of duplicate keys the last counts, everywhere alike."""
        body = json.dumps({"username": "bob", "password": PASSWORD, "auth": DUMMY})
        twice = body.replace("{", '{"username": "carol", "password": null,', 1).encode()
        answer = self.client.post(REGISTER, twice)
        self.assertEqual(answer.json["user_id"], "@bob:test.example")


class FloodTests(SystemCase):
    def ask(self, session: Optional[str], number: int) -> Answer:
        """A request that writes as much as it can, as another client each time."""
        biggest = {
            "username": "a" * 240,
            "device_id": GRIN * 512,
            "initial_device_display_name": GRIN * 100,
            "password": PASSWORD,
        }
        auth = {} if session is None else {"auth": {"session": session}}
        path = f"{REGISTER}?{'a' * 900}"
        return self.client.post(path, {**biggest, **auth}, User_Agent=GRIN * 500 + str(number))

    def test_oneSession(self) -> None:
        """However many requests a session gets, from any clients, the allowed number of sessions
        stays below 5 MB."""
        session = self.ask(None, 0).json["session"]
        for number in range(1, 50):
            self.assertEqual(self.ask(session, number).status, 401)
        (row,) = self.rows("SELECT * FROM uia_sessions")
        self.assertLess(len(repr(row).encode()) * CAP, 5_000_000)

    def test_sessionsOfOneAddress(self) -> None:
        """One address's unfinished sessions stay below 5 MB, and their number is bounded."""
        self.system(database=InFile.database(self, self.clock))
        size = self.size()
        statuses = Counter[int]()
        session = None
        for number in range(500 * SCALE):  # threat A20 has ten thousand; a cap is a cap
            answer = self.ask(session if number % 2 else None, number)
            statuses[answer.status] += 1
            session = answer.json.get("session", session)
        self.assertEqual(self.counts()["uia_sessions"], CAP)
        self.assertEqual(statuses.keys(), {401, 429})
        self.assertLess(self.size() - size, 5_000_000)

    def size(self) -> int:
        """The size of the database in bytes."""
        pages, page_size = (self.rows(f"PRAGMA page_{what}")[0][0] for what in ("count", "size"))
        return int(pages * page_size)


def _with_each_string(value: Any, bad: str) -> Iterator[Any]:
    """The JSON value with ``bad`` in one of its strings, at its beginning, middle or end."""
    if isinstance(value, str):
        for place in (0, len(value) // 2, len(value)):
            yield value[:place] + bad + value[place:]
    elif isinstance(value, dict):
        for key, inside in value.items():
            yield from ({**value, key: changed} for changed in _with_each_string(inside, bad))


def _with_each_key(body: Mapping[str, Any], value: Any) -> Iterator[dict[str, Any]]:
    """The body with ``value`` under one of its keys, if that is of a wrong type."""
    for key, inside in body.items():
        if type(value) is not type(inside):
            yield {**body, key: value}
        if isinstance(inside, dict):
            yield from ({**body, key: changed} for changed in _with_each_key(inside, value))
