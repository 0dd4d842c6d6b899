"""NewAccount as JSON and back."""

from __future__ import annotations

import json
from typing import Any, Iterator

import attr
from twisted.trial.unittest import SynchronousTestCase

from regsys.accounts.embedded_writer import recovery_payload
from regsys.model import LoginTerms, NewAccount, NewDevice, Threepid
from regsys.model.account_json import account_json, parse_account
from regsys.model.approvals import ApprovalRequest
from regsys.model.audit import Allowed
from regsys.model.jobs import NewJob
from regsys.testing.contracts.case import NOW_MS, user
from tests.contracts.writer import logins

ALICE = user("alice")
TERMS = LoginTerms(
    device_id="PHONE",
    refreshable=True,
    valid_until_ms=NOW_MS + 1,
    refresh_until_ms=NOW_MS + 2,
    session_until_ms=NOW_MS + 3,
)
# No field has its default, but for what only a guest has.
WHOLE = NewAccount(
    key="key",
    user_id=ALICE,
    created_ms=NOW_MS,
    password_hash="a hash",
    upgrades_guest=True,
    admin=True,
    user_type="bot",
    approved=False,
    shadow_banned=True,
    display_name="Alice",
    appservice_id="irc",
    is_ghost=True,
    auth_provider_id="oidc",
    threepids=(Threepid("email", "alice@mail.example", NOW_MS),),
    vouched_emails=("alice@mail.example",),
    registration_token="token",
    consents={"privacy_policy": "1"},
    stages={"m.login.dummy": True, "org.example.door": {"door": ["front", 1.5, None]}},
    extra={"invitation": "i-1"},
    session_id="session",
    session_until_ms=NOW_MS + 4,
    suspended=True,
    shadow={"sealed": "a ciphertext", "bind_email": True},
    yields_to_holds=True,
    device=NewDevice(
        login=logins().issue(ALICE, TERMS, "key"),
        display_name="my phone",
        is_appservice_ghost=True,
        auth_provider_id="oidc",
        auth_provider_session_id="sid",
    ),
    allowed=Allowed(rule="flow", by="cli", address="192.0.2.0/24", details={"stages": ["a"]}),
    jobs=(NewJob(kind="greet", payload={"name": "Alice"}, job_id="job", dedup_key="greet alice"),),
    approval_request=ApprovalRequest(reason="why", address="192.0.2.1", languages=("de", "en")),
)
GUEST_TERMS = LoginTerms(device_id="guest_device", is_guest=True)
GUEST = NewAccount(
    key="key",
    user_id=ALICE,
    created_ms=NOW_MS,
    is_guest=True,
    device=NewDevice(login=logins().issue(ALICE, GUEST_TERMS, "key")),
)
# A user who was a guest is none. Whoever issues the login decides whether to keep what it is made
# with. A call is a matter between a worker and its master alone. No password was checked before a
# new account's login.
LEFT = [
    *("NewAccount.is_guest", "LoginTerms.is_guest", "Login.made_with"),
    *("NewDevice.call", "NewDevice.password_fingerprint", "NewAccount.call"),
]


def parsed(data: Any) -> NewAccount:
    """What another process makes of it."""
    return parse_account(json.loads(json.dumps(data)), logins().issue)


def defaults(value: Any) -> Iterator[str]:
    """The fields of an attrs value, and of those in it, that have their default."""
    for field in attr.fields(type(value)):
        found = getattr(value, field.name)
        if found == field.default:
            yield f"{type(value).__name__}.{field.name}"
        for part in found if isinstance(found, tuple) else (found,):
            if attr.has(type(part)):
                yield from defaults(part)


class RoundTripTests(SynchronousTestCase):
    def test_everyField(self) -> None:
        """Every field of an account, and of its device, addresses and jobs, survives."""
        left = list(defaults(WHOLE))
        self.assertEqual(left, LEFT, "give these fields of WHOLE another value")
        for new in (WHOLE, GUEST):
            self.assertEqual(parsed(account_json(new)), new)

    def test_defaults(self) -> None:
        """An account with as little as possible survives, and absent keys have their defaults."""
        least = NewAccount(key="key", user_id=ALICE, created_ms=NOW_MS)
        self.assertEqual(parsed(account_json(least)), least)
        needed = {"key": "key", "user_id": str(ALICE), "created_ms": NOW_MS}
        self.assertEqual(parsed(needed), least)

    def test_unknown(self) -> None:
        """Keys that a newer process may have added are ignored, wherever they are."""
        data = account_json(WHOLE)
        for part in (data, data["device"], data["terms"], data["jobs"][0], data["allowed"]):
            part["of a later version"] = 1
        self.assertEqual(parsed(data), WHOLE)

    def test_tokens(self) -> None:
        """No token is in it."""
        login = logins().issue(ALICE, TERMS, "key")
        assert login.refresh_token is not None
        text = json.dumps(account_json(WHOLE))
        for token in (login.access_token, login.refresh_token):
            self.assertNotIn(token.reveal(), text)


# The payload of a recovery job as the first versions have stored it.
STORED_FIRST = {
    "key": "key",
    "created_ms": NOW_MS,
    "is_guest": False,
    "upgrades_guest": True,
    "user_type": "bot",
    "shadow_banned": True,
    "appservice_id": "irc",
    "is_ghost": True,
    "auth_provider_id": "oidc",
    "display_name": "Alice",
    "vouched_emails": ["alice@mail.example"],
    "registration_token": "token",
    "consents": {"privacy_policy": "1"},
    "session_id": "session",
    "session_until_ms": NOW_MS + 4,
    "user_id": "@alice:contract.example",
    "threepids": [["email", "alice@mail.example", NOW_MS]],
    "terms": {
        "device_id": "PHONE",
        "is_guest": False,
        "refreshable": True,
        "valid_until_ms": NOW_MS + 1,
        "refresh_until_ms": NOW_MS + 2,
        "session_until_ms": NOW_MS + 3,
    },
    "device": {
        "display_name": "my phone",
        "is_appservice_ghost": True,
        "auth_provider_id": "oidc",
        "auth_provider_session_id": "sid",
    },
}


STORED = {
    **STORED_FIRST,
    "admin": True,
    "approved": False,
    "stages": {"m.login.dummy": True, "org.example.door": {"door": ["front", 1.5, None]}},
    "extra": {"invitation": "i-1"},
    "approval_request": {"reason": "why", "address": "192.0.2.1", "languages": ["de", "en"]},
    "suspended": True,
    "shadow": {"sealed": "a ciphertext", "bind_email": True},
    "allowed": {
        "rule": "flow",
        "by": "cli",
        "address": "192.0.2.0/24",
        "details": {"stages": ["a"]},
    },
}


class RecoveryTests(SynchronousTestCase):
    def test_stored(self) -> None:
        """A recovery job stores just this: no password hash, no token, and no field by accident."""
        self.assertEqual(json.loads(json.dumps(recovery_payload(WHOLE))), STORED)
        left_out = {"password_hash": None, "jobs": (), "yields_to_holds": False}
        self.assertEqual(parsed(STORED), attr.evolve(WHOLE, **left_out))

    def test_read(self) -> None:
        """What earlier versions have stored is read, but for what was left out."""
        left_out = {
            "suspended": False,
            "shadow": {},
            "password_hash": None,
            "admin": False,
            "approved": True,
            "stages": {},
            "approval_request": None,
            "extra": {},
            "jobs": (),
            "yields_to_holds": False,
            "allowed": None,
        }
        self.assertEqual(parsed(STORED_FIRST), attr.evolve(WHOLE, **left_out))
