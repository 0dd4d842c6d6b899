"""A model of registration sessions in a hundred lines without a database, with which
tests/uia/test_machine.py compares the real ones."""

from __future__ import annotations

from typing import Any, Optional

import attr
from hypothesis import strategies as st

from regsys.model.registration_tokens import RESERVED_MS
from tests.support.question_stage import ANSWERED, QUESTION

TOKEN = "m.login.registration_token"
DUMMY = "m.login.dummy"
EMAIL = "m.login.email.identity"
FLOWS = ((TOKEN, DUMMY), (QUESTION,), (EMAIL,))
# Validation sessions from before the registrations: the address of each sid, twice the same.
VALIDATED = {"first": "a@mail.example", "again": "a@mail.example"}
CLIENT_SECRET = "secret"
HOUR_MS = 3600 * 1000
LIFETIME_MS = 48 * HOUR_MS
WINDOW_MS = 600 * 1000
# A spam checker refuses an account with this name.
DENIED = "mallory"

Refusal = tuple[int, Optional[str]]
CHALLENGED: Refusal = (401, None)
DONE: Refusal = (200, None)

# The outcomes that every run must have met, otherwise it has shown little.
REQUIRED: set[Refusal] = {
    DONE,
    CHALLENGED,
    (400, "M_MISSING_PARAM"),
    (400, "M_THREEPID_IN_USE"),
    (400, "M_UNKNOWN"),
    (400, "M_USER_IN_USE"),
    (401, "M_INVALID_PARAM"),
    (401, "M_UNAUTHORIZED"),
    (429, "M_LIMIT_EXCEEDED"),
}

REGISTER = "/_matrix/client/v3/register"
ELSEWHERE = (
    f"{REGISTER}?kind=user",
    f"{REGISTER}?kind=guest",
    "/_matrix/client/r0/register",
)


def email_stage(sid: str) -> dict[str, Any]:
    """The email stage of a client."""
    return {"type": EMAIL, "threepid_creds": {"sid": sid, "client_secret": CLIENT_SECRET}}


# The parts of requests.
CLIENT_ADDRESSES = st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.3"])
STAGES = st.sampled_from(
    [
        {},
        {"type": DUMMY},
        {"type": TOKEN, "token": "one"},
        {"type": TOKEN, "token": "two"},
        {"type": TOKEN, "token": "two"},
        {"type": TOKEN, "token": "none"},
        ANSWERED,
        ANSWERED,
        {**ANSWERED, "answer": "a window"},
        *map(email_stage, VALIDATED),
    ]
)
NAMES = st.sampled_from([DENIED, *(f"name{number}" for number in range(12))])
PASSWORDS = st.sampled_from(["correct horse", "battery staple"])
DEVICES = st.sampled_from(["PHONE", "LAPTOP"])
BODIES = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"password": PASSWORDS}),
    st.fixed_dictionaries({"username": NAMES}, optional={"device_id": DEVICES}),
    st.fixed_dictionaries({"username": NAMES, "password": PASSWORDS, "device_id": DEVICES}),
)
WAITS_MS = st.sampled_from([1000, 1000, WINDOW_MS - 1, WINDOW_MS, HOUR_MS, 47 * HOUR_MS])


@attr.define
class Session:
    """``passed`` maps a stage to its result, None if it must be passed again; ``hashed`` is the
    password whose hash is kept. ``answer`` is None until the account is made; ``is_stored``: it has
    a row, which may have expired."""

    session_id: str
    uri: str
    ends_ms: int
    is_stored: bool = False
    params: dict[str, Any] = attr.field(factory=dict)
    passed: dict[str, Any] = attr.field(factory=dict)
    hashed: Optional[str] = None
    client_addresses: set[str] = attr.field(factory=set)
    answer: Any = None


@attr.frozen
class Request:
    """One request from ``client_address``: ``body`` has its keys beside ``auth``."""

    client_address: str
    uri: str
    stage: dict[str, Any]
    body: dict[str, Any]

    @property
    def password(self) -> Optional[str]:
        return self.body.get("password")


@attr.frozen
class Attempt:
    """An account that ``session`` is about to make, with the state when ``request`` was read."""

    session: Session
    request: Request
    params: dict[str, Any]
    passed: dict[str, Any]
    password: str

    @property
    def name(self) -> Optional[str]:
        return self.params.get("username")


@attr.define
class Server:
    """``uses`` are those that each token has left, ``held`` the token that a session has reserved a
    use of, and until when. ``claimed``: the session that each validation belongs to; ``owners``:
    the name that has each address. ``unhashed``: passwords to be hashed after the answer."""

    now_ms: int
    uses: dict[str, int]
    names: dict[str, str] = attr.field(factory=dict)
    held: dict[str, tuple[str, int]] = attr.field(factory=dict)
    claimed: dict[str, str] = attr.field(factory=dict)
    owners: dict[str, str] = attr.field(factory=dict)
    unhashed: list[tuple[Session, str]] = attr.field(factory=list)

    def is_known(self, session: Session) -> bool:
        return session.is_stored and session.ends_ms > self.now_ms

    def pending(self, token: str, but: str = "") -> int:
        return sum(
            name == token and until_ms > self.now_ms and holder != but
            for holder, (name, until_ms) in self.held.items()
        )

    def has_uses_left(self, token: str, holder: str) -> bool:
        return self.pending(token, holder) < self.uses.get(token, 0)

    def read(self, session: Session, request: Request) -> Refusal | Attempt:
        """The answer to a request, or the account that it goes on to make."""
        params = session.params
        if request.body:
            params = {name: it for name, it in request.body.items() if name != "password"}
        if session.is_stored and session.ends_ms <= self.now_ms:
            return 400, "M_UNKNOWN"
        if request.uri != session.uri:
            return 403, "M_FORBIDDEN"
        name = params.get("username")
        if session.answer is not None:
            return self._replay(session, name)
        if name in self.names:
            return 400, "M_USER_IN_USE"
        passed, failure = self._try(session, request.stage)
        complete = failure is None and any(
            all(passed.get(stage) for stage in flow) for flow in FLOWS
        )
        password = request.password or session.hashed or self._pending_password(session)
        is_taken = complete and self.address(passed) in self.owners
        if complete and password is not None and not is_taken and name != DENIED:
            return Attempt(session, request, params, passed, password)
        if session.is_stored or not complete:
            self.save(session, request, params, passed)
        if not complete:
            return 401, failure
        if password is None:
            return 400, "M_MISSING_PARAM"
        return (400, "M_THREEPID_IN_USE") if is_taken else (429, "M_LIMIT_EXCEEDED")

    def _pending_password(self, session: Session) -> Optional[str]:
        """The password whose hash the last request of the session waits for."""
        return next((word for it, word in reversed(self.unhashed) if it is session), None)

    def write(self, attempt: Attempt) -> Refusal:
        """The result of the transaction that makes an account; other requests may have come
        between."""
        session, name = attempt.session, attempt.name
        if session.answer is not None:
            found = self._replay(session, name)
            if found != DONE:
                self.save(session, attempt.request, attempt.params, attempt.passed)
            return found
        token = attempt.passed.get(TOKEN)
        refusal: Optional[Refusal] = None
        passed = attempt.passed
        if name in self.names:
            refusal = 400, "M_USER_IN_USE"
        elif token is not None and not self.has_uses_left(token, session.session_id):
            refusal = 401, "M_UNAUTHORIZED"
            passed = {**passed, TOKEN: None}
        elif self.address(passed) in self.owners:
            refusal = 400, "M_THREEPID_IN_USE"
        if refusal is not None:
            if session.is_stored:
                self.save(session, attempt.request, attempt.params, passed)
            return refusal
        if token is not None:
            self.held.pop(session.session_id, None)
            self.uses[token] -= 1
        session.ends_ms = self.now_ms + WINDOW_MS
        return DONE

    def address(self, passed: dict[str, Any]) -> Optional[str]:
        """The address of an account with these stages."""
        return VALIDATED.get(passed.get(EMAIL) or "")

    def keep(self, attempt: Attempt, name: str) -> None:
        """There is an account of this name now."""
        self.names[name] = attempt.session.session_id
        address = self.address(attempt.passed)
        if address is not None:
            self.owners[address] = name

    def _replay(self, session: Session, name: Optional[str]) -> Refusal:
        """A finished session answers as before, unless it is asked for another name."""
        made = session.answer["user_id"][1:].partition(":")[0]
        return DONE if name in (None, made) else (400, "M_UNKNOWN")

    def _try(self, session: Session, stage: dict[str, Any]) -> tuple[dict[str, Any], Optional[str]]:
        """The stages that the session has passed then, and the errcode of the stage if it
        failed."""
        kind, passed = stage.get("type"), session.passed
        if kind == DUMMY:
            return {**passed, DUMMY: True}, None
        if kind == QUESTION:
            if stage["answer"] != ANSWERED["answer"]:
                return passed, "M_UNAUTHORIZED"
            return {**passed, QUESTION: True}, None
        if kind == TOKEN:
            token = stage["token"]
            if not session.is_stored:
                return passed, "M_MISSING_PARAM"
            if passed.get(TOKEN) not in (None, token):
                return passed, "M_INVALID_PARAM"
            if not self.has_uses_left(token, session.session_id):
                return passed, "M_UNAUTHORIZED"
            self.held[session.session_id] = (token, self.now_ms + RESERVED_MS)
            return {**passed, TOKEN: token}, None
        if kind == EMAIL:
            return self._check_email(session, stage["threepid_creds"]["sid"])
        return passed, None

    def _check_email(self, session: Session, sid: str) -> tuple[dict[str, Any], Optional[str]]:
        """A validation belongs to the first session that presents it; a session that fails with
        another one has no address any more."""
        passed = session.passed
        if not session.is_stored:
            return passed, "M_MISSING_PARAM"
        if (
            sid in VALIDATED
            and self.claimed.setdefault(sid, session.session_id) == session.session_id
        ):
            return {**passed, EMAIL: sid}, None
        if passed.get(EMAIL) is not None:
            passed = {**passed, EMAIL: None}
        return passed, "M_UNAUTHORIZED"

    def save(
        self, session: Session, request: Request, params: dict[str, Any], passed: dict[str, Any]
    ) -> None:
        """The session goes on; its new password is hashed after the answer, and the one before it
        does not count any more."""
        session.params = params
        session.passed = {**session.passed, **passed}
        session.client_addresses.add(request.client_address)
        if request.password is not None and session.answer is None:
            session.hashed = None
            self.unhashed.append((session, request.password))

    def settle(self) -> None:
        """The reactor has had a turn."""
        for session, password in self.unhashed:
            if session.answer is None:
                session.hashed = password
        self.unhashed.clear()
