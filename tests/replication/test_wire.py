"""The bodies and answers of the calls, of every shape that is in use."""

from __future__ import annotations

import json
from typing import Any

import attr
from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import BadJSON, InvalidParam, RegistrationError
from regsys.model import Created, DeviceRequest, LoginTerms, NewDevice, Secret, UserID
from regsys.model.accounts import password_fingerprint
from regsys.model.replication import ReplicationCall
from regsys.replication import wire
from regsys.testing.contracts.case import NOW_MS, login
from tests.contracts.writer import logins
from tests.replication import fixtures


def call_of(name: str, body: Any, user_id: str = str(fixtures.ALICE)) -> ReplicationCall:
    return ReplicationCall(
        name=name, user_id=user_id, call_id="abcdefghij", fingerprint=wire.fingerprint(body)
    )


def parsed(body: Any, approved: bool = True, user_id: str = str(fixtures.ALICE)) -> Any:
    """The account of a ``register_user``, as it comes over the wire."""
    call = call_of(wire.REGISTER_USER, body, user_id)
    sent = json.loads(json.dumps(body))
    return wire.parse_account_body(sent, call, logins().issue, NOW_MS, approved)


class PathTests(SynchronousTestCase):
    def test_path(self) -> None:
        """The user ID and the call's id are one segment each, whatever is in them."""
        for user_id, segment in (
            (fixtures.ALICE, fixtures.ALICE_PATH),
            (UserID("a/b c%é", "x.example:8448"), "%40a%2Fb%20c%25%C3%A9%3Ax.example%3A8448"),
        ):
            self.assertEqual(
                wire.path_of("register_user", user_id, "a/b"),
                f"/_synapse/replication/register_user/{segment}/a%2Fb",
            )


class FingerprintTests(SynchronousTestCase):
    def test_canonical(self) -> None:
        """Neither the order of keys nor the position of streams makes it another body."""
        body = {"b": [1, "é"], "a": None}
        same = {"a": None, "_INT_STREAM_POS": {"streams": {"caches": 1}}, "b": [1, "é"]}
        self.assertEqual(wire.fingerprint(body), wire.fingerprint(same))
        for other in ({"b": [1, "e"], "a": None}, {"b": [1, "é"]}, {}):
            self.assertNotEqual(wire.fingerprint(body), wire.fingerprint(other))


class RegisterUserTests(SynchronousTestCase):
    def test_ours(self) -> None:
        """Our workers send all ten keys, and with them the whole account, but for its tokens."""
        body = json.loads(json.dumps(wire.account_body(fixtures.OURS)))
        self.assertEqual(body, fixtures.OUR_ACCOUNT)
        assert fixtures.OURS.device is not None
        token = fixtures.OURS.device.login.access_token.reveal()
        self.assertNotIn(token, json.dumps(body))

    def test_parseOurs(self) -> None:
        """The master gets the account as it was, and counts it no second time."""
        sent = parsed(fixtures.OUR_ACCOUNT)
        self.assertEqual(attr.evolve(sent.account, call=None), fixtures.OURS)
        self.assertEqual((sent.counted_at, sent.planned), (None, True))
        self.assertEqual(sent.account.call.call_id, "abcdefghij")

    def test_newest(self) -> None:
        """The ten keys of 1.163."""
        sent = parsed(fixtures.NEWEST_ACCOUNT)
        new = sent.account
        self.assertEqual((sent.counted_at, sent.planned), ("198.51.100.7", False))
        self.assertEqual(new.key, "register_user abcdefghij")
        found = (new.user_id, new.created_ms, new.password_hash, new.display_name)
        self.assertEqual(found, (fixtures.ALICE, NOW_MS, "$2b$12$hash", "Alice"))
        self.assertTrue(new.shadow_banned and new.approved)
        self.assertIsNone(new.device)

    def test_newestFlags(self) -> None:
        """Every flag of the ten keys reaches the account."""
        self.assertTrue(parsed({"make_guest": True}).account.is_guest)
        self.assertTrue(parsed({"was_guest": True}).account.upgrades_guest)
        self.assertTrue(parsed({"admin": True}).account.admin)
        self.assertEqual(parsed({"user_type": "bot"}).account.user_type, "bot")
        ghost = parsed({"appservice_id": "irc"}).account
        self.assertEqual((ghost.appservice_id, ghost.is_ghost), ("irc", True))
        self.assertFalse(parsed({"approved": False}).account.approved)

    def test_first(self) -> None:
        """The eight keys of the first workers: what they do not say has its default."""
        new = parsed(fixtures.FIRST_ACCOUNT).account
        self.assertEqual((new.password_hash, new.shadow_banned), ("$2b$12$hash", False))
        self.assertTrue(new.approved)
        self.assertFalse(parsed(fixtures.FIRST_ACCOUNT, approved=False).account.approved)
        admin = {**fixtures.FIRST_ACCOUNT, "admin": True}
        self.assertTrue(parsed(admin, approved=False).account.approved)

    def test_refused(self) -> None:
        """What is no account is refused as the sender's mistake, and nothing of it is quoted."""
        ours = fixtures.OUR_ACCOUNT["account"]
        cases: list[tuple[type[RegistrationError], Any]] = [
            (BadJSON, {"password_hash": 5}),
            (BadJSON, {"admin": "yes"}),
            (BadJSON, {"address": 1}),
            (BadJSON, {"account": "alice"}),
            (BadJSON, {"account": {}}),
            (BadJSON, {"account": {**ours, "admin": "hush"}}),
            (BadJSON, {"account": {**ours, "device": "hush"}}),
            (BadJSON, {"account": {**ours, "threepids": [1]}}),
            (BadJSON, {"account": {**ours, "allowed": "hush"}}),
            (BadJSON, {"account": {**ours, "allowed": {"rule": 1}}}),
            (BadJSON, {"account": {**ours, "user_id": "alice"}}),
            (BadJSON, {"account": {**ours, "created_ms": 2**63}}),
            (BadJSON, {"account": {**ours, "session_until_ms": -1}}),
            (BadJSON, {"account": {**ours, "threepids": [["email", "a@b", 2**63]]}}),
            (BadJSON, {"account": {**ours, "terms": {**ours["terms"], "valid_until_ms": 2**63}}}),
            (InvalidParam, {"account": {**ours, "user_id": "@bob:contract.example"}}),
            (InvalidParam, {"make_guest": True, "admin": True}),
        ]
        for error, body in cases:
            refused = self.assertRaises(error, parsed, body)
            self.assertNotIn("hush", refused.text)
        for user_id in ("alice", "@alice", "@:contract.example", f"@{'a' * 255}:x"):
            self.assertRaises(InvalidParam, parsed, {}, user_id=user_id)

    def test_answer(self) -> None:
        """Our answer has the login's terms, and no token: the worker computes the same ones."""
        assert fixtures.OURS.device is not None
        login = fixtures.OURS.device.login
        created = Created(user_id=fixtures.ALICE, login=login, replayed=True)
        answer = json.loads(json.dumps(wire.created_answer(created)))
        self.assertEqual(answer, fixtures.OUR_ACCOUNT_ANSWER)
        self.assertNotIn(login.access_token.reveal(), json.dumps(answer))
        found = wire.parse_created(answer, fixtures.OURS, logins().issue)
        self.assertEqual(found, created)

    def test_answerWithoutLogin(self) -> None:
        created = Created(user_id=fixtures.ALICE)
        answer = wire.created_answer(created)
        self.assertEqual(wire.parse_created(answer, fixtures.OURS, logins().issue), created)

    def test_foreignAnswer(self) -> None:
        """A foreign master says nothing of the login."""
        for answer in ({}, {"_INT_STREAM_POS": {"caches": 5}}):
            self.assertIsNone(wire.parse_created(answer, fixtures.OURS, logins().issue))

    def test_senselessAnswer(self) -> None:
        for answer in ({"user_id": 5}, {"user_id": "alice"}, {"user_id": "@a:b", "terms": {}}):
            self.assertRaises(ValueError, wire.parse_created, answer, fixtures.OURS, logins().issue)


class DeviceTests(SynchronousTestCase):
    def test_body(self) -> None:
        """We send all seven keys; the device's id is ours, so that a retry has the same one."""
        device = NewDevice(
            login=logins().issue(fixtures.ALICE, fixtures.TERMS, "key"), display_name="my phone"
        )
        self.assertEqual(wire.device_body(device), fixtures.NEWEST_DEVICE)

    def test_newest(self) -> None:
        request = DeviceRequest(
            device_id="PHONE", display_name="my phone", wants_refresh_token=True
        )
        self.assertEqual(wire.parse_device_body(fixtures.NEWEST_DEVICE), (request, False, None))

    def test_password(self) -> None:
        """Which password was checked arrives with the device, and is no hash of it."""
        device = NewDevice(
            login=login("PHONE"), password_fingerprint=password_fingerprint("$2b$12$hash")
        )
        body = wire.device_body(device)
        self.assertEqual(wire.parse_device_body(body)[2], device.password_fingerprint)
        self.assertNotIn("$2b$", str(body))

    def test_first(self) -> None:
        """The three keys of the first workers."""
        expected = (DeviceRequest(), False, None)
        self.assertEqual(wire.parse_device_body(fixtures.FIRST_DEVICE), expected)
        self.assertRaises(BadJSON, wire.parse_device_body, {"is_guest": 1})

    def test_answers(self) -> None:
        """An answer has the terms, or the lifetime, or neither."""
        login = logins().issue(fixtures.ALICE, fixtures.TERMS, "key")
        device = NewDevice(login=login)
        self.assertEqual(wire.parse_login(wire.login_answer(login), device), login)
        newest = wire.parse_login(fixtures.NEWEST_DEVICE_ANSWER, device)
        self.assertEqual(newest.terms, fixtures.TERMS)
        self.assertEqual(newest.refresh_token, Secret("syr_YWxpY2U_abc"))
        first = wire.parse_login(fixtures.FIRST_DEVICE_ANSWER, device)
        self.assertEqual(first.terms, LoginTerms(device_id="ABCDEFGHIJ"))
        self.assertEqual((first.access_token, first.refresh_token), (Secret("MDAxabc"), None))

    def test_senselessAnswers(self) -> None:
        device = NewDevice(login=logins().issue(fixtures.ALICE, fixtures.TERMS, "key"))
        for answer in ({}, {"device_id": "A"}, {"device_id": 1, "access_token": "a"}):
            self.assertRaises(ValueError, wire.parse_login, answer, device)


class PostRegisterTests(SynchronousTestCase):
    def test_roundTrip(self) -> None:
        found = wire.parse_post_register_body(fixtures.POST_REGISTER)
        self.assertEqual(found[1], Secret("syt_YWxpY2U_abc"))
        self.assertEqual(wire.post_register_body(*found), fixtures.POST_REGISTER)

    def test_null(self) -> None:
        """Both may be null, or absent."""
        for body in ({}, {"auth_result": None, "access_token": None}):
            self.assertEqual(wire.parse_post_register_body(body), ({}, None))
