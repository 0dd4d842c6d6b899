"""The values that tests put into the stores of ours: sessions, tokens, addresses, jobs."""

from __future__ import annotations

from typing import Any

from regsys.model import Client, NewAccount, Secret, UIASession
from regsys.model.identity_server_bindings import Binding, IdentityServerSession
from regsys.model.jobs import NewJob
from regsys.model.registration_tokens import RESERVED_MS, RegistrationToken
from regsys.model.threepids import NewValidation
from regsys.model.token_text import token_hash
from regsys.testing.contracts.case import NOW_MS, account, device, user

# In every table there is a row of the neighbour, whom no test is about: no call may change it.
NEIGHBOUR = "tables-neighbour"
# Longer than any lease: by then any process may claim what a dead process held.
LATER_MS = NOW_MS + 3_600_000
CLIENT = Client("192.0.2.1", "a browser")
PROOF = IdentityServerSession(sid="sid", client_secret=Secret("client_secret"))
# Of a login with a refresh token, each of whose times is over at another moment.
TERMS: dict[str, Any] = {
    "refreshable": True,
    "valid_until_ms": NOW_MS + 1,
    "refresh_until_ms": NOW_MS + 2,
    "session_until_ms": NOW_MS + 3,
}
RECOVERY = NewJob(kind="recover", payload={"key": "session"}, job_id="recovery")
GREETING = NewJob(kind="greet", job_id="greeting")
TOKEN = "welcome"
# When a use that was reserved at NOW_MS is free again.
OVER_MS = NOW_MS + RESERVED_MS
# When ``session()`` expires, and more sessions than an address ever has.
END_MS = NOW_MS + 1000
PLENTY = 200
ALICE = "alice@mail.example"
LIFE_MS = 3_600_000
PAYLOAD = {"text": "zoë 🦊", "list": [1, None, {"deep": True}]}


def binding(server: str, localpart: str = "alice", **more: object) -> Binding:
    """An address of this user's that was bound at this server, with its session."""
    fields = {"medium": "email", "address": "alice@mail.example", "session": PROOF, **more}
    return Binding(user_id=user(localpart), id_server=server, **fields)  # type: ignore[arg-type]


def access_hash(name: str) -> str:
    """What DeviceStore knows the access token of ``login(name)`` by."""
    return token_hash(f"syt_{name}")


def refresh_hash(name: str) -> str:
    return token_hash(f"syr_{name}")


def account_of_session(localpart: str = "alice", **more: Any) -> NewAccount:
    """An account whose key is its session, with a device and a job."""
    return account(
        "session",
        localpart,
        session_id="session",
        session_until_ms=LATER_MS,
        device=device(f"token of {localpart}"),
        jobs=(GREETING,),
        **more,
    )


def token(name: str = TOKEN, **more: Any) -> RegistrationToken:
    return RegistrationToken(token=name, **{"created_ms": NOW_MS, **more})


def using(name: str, token: str = TOKEN, **more: Any) -> NewAccount:
    """The account ``name`` of the session ``name``, which uses this token up."""
    return account(name, name, session_id=name, registration_token=token, **more)


def session(session_id: str = "session", **more: Any) -> UIASession:
    """A session of CLIENT's, from NOW_MS to END_MS."""
    given: dict[str, Any] = {
        "method": "POST",
        "uri": "/register?kind=user",
        "created_ms": NOW_MS,
        "expires_ms": END_MS,
        "address": "192.0.2.1",
        "clients": (CLIENT,),
        **more,
    }
    return UIASession(session_id=session_id, **given)


def wanted(sid: str, send_attempt: int = 1, **more: Any) -> NewValidation:
    """A validation session, begun at ``now_ms``, whose token is good for LIFE_MS."""
    now_ms = more.pop("now_ms", NOW_MS)
    given = {
        "medium": "email",
        "address": ALICE,
        "client_secret": "secret",
        "job": NewJob(kind="mail", payload={"attempt": send_attempt}),
        **more,
    }
    return NewValidation(
        sid=sid, send_attempt=send_attempt, now_ms=now_ms, until_ms=now_ms + LIFE_MS, **given
    )


def jobs(*names: str) -> list[NewJob]:
    return [NewJob(kind="greet", payload=PAYLOAD, job_id=name) for name in names]
