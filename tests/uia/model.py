"""What sessions of registration are to do, told in a hundred lines without a database: the model
beside which tests/uia/test_machine.py runs the real ones."""

from __future__ import annotations

from typing import Any, Optional

import attr
from hypothesis import strategies as st

from regsys.model import RESERVED_MS
from tests.support.riddle import RIDDLE, SOLVED

TOKEN = "m.login.registration_token"
DUMMY = "m.login.dummy"
EMAIL = "m.login.email.identity"
FLOWS = ((TOKEN, DUMMY), (RIDDLE,), (EMAIL,))
# What has been proven before anybody registers: the address of each sid, twice the same.
PROOFS = {"first": "a@mail.example", "again": "a@mail.example"}
CLIENT_SECRET = "secret"
HOUR_MS = 3600 * 1000
LIFETIME_MS = 48 * HOUR_MS
WINDOW_MS = 600 * 1000
# A spam checker refuses whoever would end up with this name.
DENIED = "mallory"

Refusal = tuple[int, Optional[str]]
CHALLENGED: Refusal = (401, None)
DONE: Refusal = (200, None)

# What every run must have met, or it has proved little.
TELLING: set[Refusal] = {
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


def proof(sid: str) -> dict[str, Any]:
    """What a client sends for the email stage."""
    return {"type": EMAIL, "threepid_creds": {"sid": sid, "client_secret": CLIENT_SECRET}}


# What requests are made of.
PEOPLE = st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.3"])
STAGES = st.sampled_from(
    [
        {},
        {"type": DUMMY},
        {"type": TOKEN, "token": "one"},
        {"type": TOKEN, "token": "two"},
        {"type": TOKEN, "token": "two"},
        {"type": TOKEN, "token": "none"},
        SOLVED,
        SOLVED,
        {**SOLVED, "answer": "a window"},
        *map(proof, PROOFS),
    ]
)
NAMES = st.sampled_from([DENIED, *(f"name{number}" for number in range(12))])
PASSWORDS = st.sampled_from(["correct horse", "battery staple"])
DEVICES = st.sampled_from(["PHONE", "LAPTOP"])
WISHES = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"password": PASSWORDS}),
    st.fixed_dictionaries({"username": NAMES}, optional={"device_id": DEVICES}),
    st.fixed_dictionaries({"username": NAMES, "password": PASSWORDS, "device_id": DEVICES}),
)
WAITS_MS = st.sampled_from([1000, 1000, WINDOW_MS - 1, WINDOW_MS, HOUR_MS, 47 * HOUR_MS])


@attr.define
class Session:
    """``passed`` maps a stage to what it found, None where it must be passed anew; ``hashed`` is
    the password whose hash is kept. ``answer`` is None until the account is made; ``lives``:
    it has a row, which may have ended."""

    session_id: str
    uri: str
    ends_ms: int
    lives: bool = False
    params: dict[str, Any] = attr.field(factory=dict)
    passed: dict[str, Any] = attr.field(factory=dict)
    hashed: Optional[str] = None
    people: set[str] = attr.field(factory=set)
    answer: Any = None


@attr.frozen
class Ask:
    """One request of ``person`` (an address): ``wishes`` are its keys beside ``auth``."""

    person: str
    uri: str
    stage: dict[str, Any]
    wishes: dict[str, Any]

    @property
    def password(self) -> Optional[str]:
        return self.wishes.get("password")


@attr.frozen
class Attempt:
    """An account that ``session`` is about to make with what held when ``ask`` was read."""

    session: Session
    ask: Ask
    params: dict[str, Any]
    passed: dict[str, Any]
    password: str

    @property
    def name(self) -> Optional[str]:
        return self.params.get("username")


@attr.define
class Server:
    """``uses`` are those that each token has left for good, ``held`` the token that a session
    holds a use of, and until when. ``claimed``: which session each proof belongs to; ``owners``:
    the name that has each address. ``unhashed``: passwords to be hashed after the answer."""

    now_ms: int
    uses: dict[str, int]
    names: dict[str, str] = attr.field(factory=dict)
    held: dict[str, tuple[str, int]] = attr.field(factory=dict)
    claimed: dict[str, str] = attr.field(factory=dict)
    owners: dict[str, str] = attr.field(factory=dict)
    unhashed: list[tuple[Session, str]] = attr.field(factory=list)

    def is_known(self, session: Session) -> bool:
        return session.lives and session.ends_ms > self.now_ms

    def pending(self, token: str, but: str = "") -> int:
        return sum(
            name == token and until_ms > self.now_ms and holder != but
            for holder, (name, until_ms) in self.held.items()
        )

    def has_room(self, token: str, holder: str) -> bool:
        return self.pending(token, holder) < self.uses.get(token, 0)

    def read(self, session: Session, ask: Ask) -> Refusal | Attempt:
        """What a request is answered, or the account that it goes on to make."""
        params = session.params
        if ask.wishes:
            params = {name: it for name, it in ask.wishes.items() if name != "password"}
        if session.lives and session.ends_ms <= self.now_ms:
            return 400, "M_UNKNOWN"
        if ask.uri != session.uri:
            return 403, "M_FORBIDDEN"
        name = params.get("username")
        if session.answer is not None:
            return self._again(session, name)
        if name in self.names:
            return 400, "M_USER_IN_USE"
        passed, failure = self._try(session, ask.stage)
        complete = failure is None and any(
            all(passed.get(stage) for stage in flow) for flow in FLOWS
        )
        password = ask.password or session.hashed or self._coming(session)
        is_taken = complete and self.address(passed) in self.owners
        if complete and password is not None and not is_taken and name != DENIED:
            return Attempt(session, ask, params, passed, password)
        if session.lives or not complete:
            self.save(session, ask, params, passed)
        if not complete:
            return 401, failure
        if password is None:
            return 400, "M_MISSING_PARAM"
        return (400, "M_THREEPID_IN_USE") if is_taken else (429, "M_LIMIT_EXCEEDED")

    def _coming(self, session: Session) -> Optional[str]:
        """The password whose hash the last request of the session waits for."""
        return next((word for it, word in reversed(self.unhashed) if it is session), None)

    def write(self, attempt: Attempt) -> Refusal:
        """How the transaction ends that was to make an account; other requests may have come
        between."""
        session, name = attempt.session, attempt.name
        if session.answer is not None:
            found = self._again(session, name)
            if found != DONE:
                self.save(session, attempt.ask, attempt.params, attempt.passed)
            return found
        token = attempt.passed.get(TOKEN)
        refusal: Optional[Refusal] = None
        passed = attempt.passed
        if name in self.names:
            refusal = 400, "M_USER_IN_USE"
        elif token is not None and not self.has_room(token, session.session_id):
            refusal = 401, "M_UNAUTHORIZED"
            passed = {**passed, TOKEN: None}
        elif self.address(passed) in self.owners:
            refusal = 400, "M_THREEPID_IN_USE"
        if refusal is not None:
            if session.lives:
                self.save(session, attempt.ask, attempt.params, passed)
            return refusal
        if token is not None:
            self.held.pop(session.session_id, None)
            self.uses[token] -= 1
        session.ends_ms = self.now_ms + WINDOW_MS
        return DONE

    def address(self, passed: dict[str, Any]) -> Optional[str]:
        """The one that whoever has passed these stages registers with."""
        return PROOFS.get(passed.get(EMAIL) or "")

    def keep(self, attempt: Attempt, name: str) -> None:
        """There is an account of this name now."""
        self.names[name] = attempt.session.session_id
        address = self.address(attempt.passed)
        if address is not None:
            self.owners[address] = name

    def _again(self, session: Session, name: Optional[str]) -> Refusal:
        """A finished session answers as before, unless it is asked for another name."""
        made = session.answer["user_id"][1:].partition(":")[0]
        return DONE if name in (None, made) else (400, "M_UNKNOWN")

    def _try(self, session: Session, stage: dict[str, Any]) -> tuple[dict[str, Any], Optional[str]]:
        """What the session has passed then, and why the stage failed if it did."""
        kind, passed = stage.get("type"), session.passed
        if kind == DUMMY:
            return {**passed, DUMMY: True}, None
        if kind == RIDDLE:
            if stage["answer"] != SOLVED["answer"]:
                return passed, "M_UNAUTHORIZED"
            return {**passed, RIDDLE: True}, None
        if kind == TOKEN:
            token = stage["token"]
            if not session.lives:
                return passed, "M_MISSING_PARAM"
            if passed.get(TOKEN) not in (None, token):
                return passed, "M_INVALID_PARAM"
            if not self.has_room(token, session.session_id):
                return passed, "M_UNAUTHORIZED"
            self.held[session.session_id] = (token, self.now_ms + RESERVED_MS)
            return {**passed, TOKEN: token}, None
        if kind == EMAIL:
            return self._prove(session, stage["threepid_creds"]["sid"])
        return passed, None

    def _prove(self, session: Session, sid: str) -> tuple[dict[str, Any], Optional[str]]:
        """A proof is the first session's that brings it; who fails with another one means
        another address than before."""
        passed = session.passed
        if not session.lives:
            return passed, "M_MISSING_PARAM"
        if sid in PROOFS and self.claimed.setdefault(sid, session.session_id) == session.session_id:
            return {**passed, EMAIL: sid}, None
        if passed.get(EMAIL) is not None:
            passed = {**passed, EMAIL: None}
        return passed, "M_UNAUTHORIZED"

    def save(
        self, session: Session, ask: Ask, params: dict[str, Any], passed: dict[str, Any]
    ) -> None:
        """The session goes on; a password that came with it is hashed after the answer, and the
        one before it holds no more."""
        session.params = params
        session.passed = {**session.passed, **passed}
        session.people.add(ask.person)
        if ask.password is not None and session.answer is None:
            session.hashed = None
            self.unhashed.append((session, ask.password))

    def settle(self) -> None:
        """The reactor has had a moment."""
        for session, password in self.unhashed:
            if session.answer is None:
                session.hashed = password
        self.unhashed.clear()
