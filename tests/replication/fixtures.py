"""What workers send, as measured: of a homeserver's release 1.163, of the first workers (2020), and
of ours. A released version's fixture is never edited: a new version gets one of its own."""

from __future__ import annotations

from typing import Any, Mapping

from regsys.model import LoginTerms, NewAccount, NewDevice, Threepid
from regsys.model.audit import Allowed
from regsys.model.jobs import NewJob
from regsys.testing.contracts.case import NOW_MS, user
from tests.contracts.writer import logins

SECRET = "the secret of master and workers"
ALICE = user("alice")
ALICE_PATH = "%40alice%3Acontract.example"

Body = Mapping[str, Any]

NEWEST_ACCOUNT: Body = {
    "password_hash": "$2b$12$hash",
    "was_guest": False,
    "make_guest": False,
    "appservice_id": None,
    "create_profile_with_displayname": "Alice",
    "admin": False,
    "user_type": None,
    "address": "198.51.100.7",
    "shadow_banned": True,
    "approved": True,
    "_INT_STREAM_POS": {"instance_name": "worker1", "streams": {"caches": 58}},
}
NEWEST_DEVICE: Body = {
    "device_id": "PHONE",
    "initial_display_name": "my phone",
    "is_guest": False,
    "is_appservice_ghost": False,
    "should_issue_refresh_token": True,
    "auth_provider_id": None,
    "auth_provider_session_id": None,
}
NEWEST_DEVICE_ANSWER: Body = {
    "device_id": "PHONE",
    "access_token": "syt_YWxpY2U_abc",
    "valid_until_ms": NOW_MS + 300_000,
    "refresh_token": "syr_YWxpY2U_abc",
    "_INT_STREAM_POS": {"caches": 59, "events": 7},
}
FIRST_ACCOUNT: Body = {
    "password_hash": "$2b$12$hash",
    "was_guest": False,
    "make_guest": False,
    "appservice_id": None,
    "create_profile_with_displayname": "Alice",
    "admin": False,
    "user_type": None,
    "address": "198.51.100.7",
}
FIRST_DEVICE: Body = {
    "device_id": None,
    "initial_display_name": None,
    "is_guest": False,
}
FIRST_DEVICE_ANSWER: Body = {"device_id": "ABCDEFGHIJ", "access_token": "MDAxabc"}
POST_REGISTER: Body = {
    "auth_result": {
        "m.login.email.identity": {
            "medium": "email",
            "address": "alice@mail.example",
            "validated_at": NOW_MS,
            "client_secret": "abc",
        }
    },
    "access_token": "syt_YWxpY2U_abc",
}

TERMS = LoginTerms(device_id="PHONE", refreshable=True, valid_until_ms=NOW_MS + 300_000)
OURS = NewAccount(
    key="key",
    user_id=ALICE,
    created_ms=NOW_MS,
    password_hash="$2b$12$hash",
    shadow_banned=True,
    display_name="Alice",
    threepids=(Threepid("email", "alice@mail.example", NOW_MS),),
    registration_token="token",
    stages={"m.login.dummy": True},
    session_id="session",
    session_until_ms=NOW_MS + 4,
    device=NewDevice(login=logins().issue(ALICE, TERMS, "key"), display_name="my phone"),
    jobs=(NewJob(kind="greet", payload={"name": "Alice"}, job_id="job", dedup_key="greet alice"),),
    allowed=Allowed(rule="flow", address="192.0.2.0/24", details={"stages": ["m.login.dummy"]}),
)
# 0.1 sends this for OURS.
OUR_ACCOUNT: Body = {
    "password_hash": "$2b$12$hash",
    "was_guest": False,
    "make_guest": False,
    "appservice_id": None,
    "create_profile_with_displayname": "Alice",
    "admin": False,
    "user_type": None,
    "address": None,
    "shadow_banned": True,
    "approved": True,
    "account": {
        "key": "key",
        "user_id": "@alice:contract.example",
        "created_ms": NOW_MS,
        "password_hash": "$2b$12$hash",
        "is_guest": False,
        "upgrades_guest": False,
        "admin": False,
        "user_type": None,
        "approved": True,
        "shadow_banned": True,
        "display_name": "Alice",
        "appservice_id": None,
        "is_ghost": False,
        "auth_provider_id": None,
        "threepids": [["email", "alice@mail.example", NOW_MS]],
        "vouched_emails": [],
        "registration_token": "token",
        "consents": {},
        "stages": {"m.login.dummy": True},
        "extra": {},
        "session_id": "session",
        "session_until_ms": NOW_MS + 4,
        "yields_to_holds": False,
        "suspended": False,
        "shadow": {},
        "approval_request": None,
        "jobs": [
            {
                "kind": "greet",
                "payload": {"name": "Alice"},
                "job_id": "job",
                "dedup_key": "greet alice",
            }
        ],
        "allowed": {
            "rule": "flow",
            "by": None,
            "address": "192.0.2.0/24",
            "details": {"stages": ["m.login.dummy"]},
        },
        "terms": {
            "device_id": "PHONE",
            "is_guest": False,
            "refreshable": True,
            "valid_until_ms": NOW_MS + 300_000,
            "refresh_until_ms": None,
            "session_until_ms": None,
        },
        "device": {
            "display_name": "my phone",
            "is_appservice_ghost": False,
            "auth_provider_id": None,
            "auth_provider_session_id": None,
        },
    },
    "rate_taken": True,
}
OUR_ACCOUNT_ANSWER: Body = {
    "user_id": "@alice:contract.example",
    "terms": {
        "device_id": "PHONE",
        "is_guest": False,
        "refreshable": True,
        "valid_until_ms": NOW_MS + 300_000,
        "refresh_until_ms": None,
        "session_until_ms": None,
    },
    "replayed": True,
}
