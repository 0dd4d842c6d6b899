"""Any order of requests from two attackers and a victim: an account's session has itself passed
every stage, with the account's name, device and password (threat A6, A7).

The same examples each time; with REGSYS_TEST_SCALE above 1 more, and different ones.
"""

from __future__ import annotations

import itertools
import sys
from typing import Any, ClassVar, Optional

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from regsys.client_api.session_passwords import POLL_S
from regsys.credentials.passwords import prepare, verify_password
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.storage.sessions import SessionStore
from regsys.testing import config
from tests.support.case import START_S, SystemCase
from tests.support.client import Answer
from tests.support.question_stage import ANSWERED
from tests.support.scale import examples
from tests.uia.model import (
    BODIES,
    CHALLENGED,
    CLIENT_ADDRESSES,
    DENIED,
    DONE,
    ELSEWHERE,
    HOUR_MS,
    LIFETIME_MS,
    NAMES,
    REGISTER,
    REQUIRED,
    STAGES,
    WAITS_MS,
    Attempt,
    Refusal,
    Request,
    Server,
    Session,
)
from tests.uia.processes import Held, Process, check_addresses, validate_addresses

LOOK_MS = int(POLL_S * 1000)


class RegistrationMachine(RuleBasedStateMachine):
    """Three clients and two processes over one database. A session's id is all that a client needs
    to continue it, so any client may use any session: the invariants are those of sessions.

    Each request is answered by the real resource and by ``tests.uia.model``, which gives the
    expected answer: a stage counts in the session, and at the URI, where it was passed; the latest
    parameters are those of the account, and those that spam checkers have judged; a session makes
    one account and replays its answer; a token is used as often as it may be. A request may be held
    in the middle of its completion, while it hashes, and others of the same session go on in the
    other process.
    """

    case: ClassVar[SystemCase]
    seen: ClassVar[set[Refusal]] = set()
    sessions: Bundle[Session] = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.clock.advance(START_S)
        self.config = config(
            registration_requires_token=True,
            allow_guest_access=False,
            rc_registration_token_validity={"per_second": 1000, "burst_count": 1000},
            email={"notif_from": "a@test.example"},
        )
        self.numbers = itertools.count()
        self.database = None
        self.judged: list[tuple[Optional[str], set[str]]] = []
        first = Process(self)
        self.database = first.subsystem.process.database
        self.processes = [first, Process(self)]
        self.model = Server(now_ms=START_S * 1000, uses={"one": 1, "two": 2})
        for token, uses in self.model.uses.items():
            tokens = first.subsystem.registration_tokens
            self.wait(tokens.create(token=token, settings={"uses_allowed": uses}))
        validate_addresses(self)

    def teardown(self) -> None:
        assert self.database is not None
        try:
            # An earlier failure is the one to report.
            if sys.exc_info()[0] is None:
                self.finish_all()
        finally:
            self.database.pool.close()

    def finish_all(self) -> None:
        """At rest nothing is pending, and after its lifetime nothing is left of a session."""
        while any(process.held for process in self.processes):
            self.hash(0)
        self.pass_time(LIFETIME_MS + HOUR_MS)
        self.sweep()
        for table in ("uia_sessions", "registration_token_reservations"):
            assert self.rows(f"SELECT * FROM {table}") == [], table
        self.tokens_match_model()

    def wait(self, coroutine: Any) -> Any:
        return self.case.successResultOf(Deferred.fromCoroutine(coroutine))

    def rows(self, sql: str, *values: Any) -> Any:
        assert self.database is not None
        return list(self.wait(self.database.autocommit("test", lambda txn: txn.all(sql, values))))

    def check_spam(self, email: Any, name: Optional[str], seen: Any, provider: Any) -> str:
        self.judged.append((name, {address for _, address in seen}))
        return "deny" if name == DENIED else "allow"

    # --- Requests ------------------------------------------------------------------------

    def can_ask(self) -> bool:
        return any(process.held is None for process in self.processes)

    @precondition(can_ask)
    @rule(
        target=sessions,
        client_address=CLIENT_ADDRESSES,
        stage=STAGES,
        body=BODIES,
        which=st.booleans(),
    )
    def begin(self, client_address: str, stage: Any, body: Any, which: bool) -> Any:
        """A new session, or an account at once if one request passes all stages."""
        request = Request(client_address, REGISTER, stage, body)
        new = Session(
            "", REGISTER, self.model.now_ms + LIFETIME_MS, client_addresses={client_address}
        )
        answer = self.send(self.process(which), new, request)
        if answer is None or answer.status != CHALLENGED[0]:
            return multiple()
        new.session_id, new.is_stored = answer.json["session"], True
        return new

    @precondition(can_ask)
    @rule(
        session=sessions,
        client_address=CLIENT_ADDRESSES,
        stage=STAGES,
        body=BODIES,
        settled=st.booleans(),
    )
    def go_on(
        self, session: Session, client_address: str, stage: Any, body: Any, settled: bool
    ) -> None:
        """A request in a session, any client's, maybe before the reactor had a turn for the work
        after the previous answer."""
        if settled:
            self.settle()
        self.send(self.process(settled), session, Request(client_address, REGISTER, stage, body))

    @precondition(can_ask)
    @rule(
        session=sessions,
        client_address=CLIENT_ADDRESSES,
        stage=STAGES,
        name=NAMES,
        which=st.booleans(),
    )
    def go_on_slowly(
        self, session: Session, client_address: str, stage: Any, name: str, which: bool
    ) -> None:
        """A request in a session with a new password: if that completes it, it is held while
        hashing."""
        self.settle()
        body = {"username": name, "password": f"password {next(self.numbers)}"}
        self.send(
            self.process(which), session, Request(client_address, REGISTER, stage, body), slow=True
        )

    @precondition(can_ask)
    @rule(
        session=sessions,
        client_address=CLIENT_ADDRESSES,
        stage=STAGES,
        uri=st.sampled_from(ELSEWHERE),
    )
    def use_another_uri(self, session: Session, client_address: str, stage: Any, uri: str) -> None:
        """A request in a session at another URI than it began at is refused."""
        request = Request(
            client_address, uri, stage, {"username": "name2", "password": "correct horse"}
        )
        answer = self.post(self.process(False), session, request)
        is_guest = uri.endswith("guest")
        known = is_guest or self.model.is_known(session)
        expected = (403, "M_FORBIDDEN") if known else (400, "M_UNKNOWN")
        assert (answer.status, answer.errcode) == expected, answer

    @precondition(can_ask)
    @rule(session=consumes(sessions), client_address=CLIENT_ADDRESSES)
    def replay(self, session: Session, client_address: str) -> None:
        """Complete a session several times: one account, one answer."""
        request = Request(
            client_address, REGISTER, ANSWERED, {"username": "name1", "password": "battery staple"}
        )
        for _ in range(3):
            self.send(self.process(False), session, request)

    @precondition(lambda self: any(process.held for process in self.processes))
    @rule(which=st.integers(0, 1))
    def hash(self, which: int) -> None:
        """A request that was held goes on."""
        slow = [process for process in self.processes if process.held]
        process = slow[which % len(slow)]
        held, process.held = process.held, None
        assert held is not None
        process.hash()
        self.check_account(held.attempt, process.client.answer(held.started))

    # --- Time ----------------------------------------------------------------------------

    @rule(wait_ms=WAITS_MS)
    def pass_time(self, wait_ms: int) -> None:
        self.settle()
        self.clock.advance(wait_ms / 1000)
        self.model.now_ms += wait_ms

    @rule()
    def sweep(self) -> None:
        """Housekeeping removes expired rows: it has no visible effect but the freed space."""
        for store in (SessionStore, RegistrationTokenStore):
            self.wait(store(self.database).delete_expired(self.model.now_ms, 1000))

    def settle(self) -> None:
        self.clock.advance(0)
        self.model.settle()

    # --- Expected results ----------------------------------------------------------------

    def process(self, which: bool) -> Process:
        free = [process for process in self.processes if process.held is None]
        return free[which % len(free)]

    def post(self, process: Process, session: Session, request: Request) -> Answer:
        return process.client.answer(self.start(process, session, request))

    def start(self, process: Process, session: Session, request: Request) -> Deferred[Answer]:
        auth = {**request.stage, **({"session": session.session_id} if session.session_id else {})}
        body = {**request.body, **({"auth": auth} if auth else {})}
        note(f"{session.session_id} {request}")
        return process.client.start(
            "POST", request.uri, body, X_Forwarded_For=request.client_address
        )

    def send(
        self, process: Process, session: Session, request: Request, slow: bool = False
    ) -> Optional[Answer]:
        """The answer, which must be the expected one; None if the request is held."""
        client_addresses, self.judged = session.client_addresses | {request.client_address}, []
        expected = self.model.read(session, request)
        process.is_slow = slow
        started = self.start(process, session, request)
        process.is_slow = False
        if not started.called and not slow:
            # It waits for a hash, which the other process may be making.
            self.pass_time(LOOK_MS)
        if isinstance(expected, Attempt):
            assert self.judged == [(expected.name, client_addresses)], self.judged
            if not started.called and slow:
                process.held = Held(started, expected)
                return None
            answer = process.client.answer(started)
            self.check_account(expected, answer)
            return answer
        answer = process.client.answer(started)
        self.check(answer, expected)
        if expected == DONE:
            self.check_same(session, answer)
        elif answer.status == CHALLENGED[0]:
            self.check_completed(session, answer)
        return answer

    def check(self, answer: Answer, expected: Refusal) -> None:
        assert (answer.status, answer.errcode) == expected, (answer, expected)
        self.seen.add(expected)

    def check_completed(self, session: Session, answer: Answer) -> None:
        passed = {stage for stage, found in session.passed.items() if found is not None}
        assert set(answer.json.get("completed", ())) == passed, answer

    def check_same(self, session: Session, answer: Answer) -> None:
        """The earlier answer of its session."""
        assert answer.json == session.answer, (answer, session.answer)

    def check_account(self, attempt: Attempt, answer: Answer) -> None:
        """An account with the expected attributes, or the expected refusal."""
        session = attempt.session
        expected = self.model.write(attempt)
        self.check(answer, expected)
        if expected == DONE and session.answer is not None:
            self.check_same(session, answer)
        elif expected == DONE:
            session.answer = answer.json
            self.check_new(attempt, answer)

    def check_new(self, attempt: Attempt, answer: Answer) -> None:
        user_id = answer.json["user_id"]
        name = user_id[1:].partition(":")[0]
        assert name == (attempt.name or name) and name not in self.model.names
        self.model.keep(attempt, name)
        assert answer.json["device_id"] == attempt.params.get("device_id", answer.json["device_id"])
        ((stored,),) = self.rows("SELECT password_hash FROM users WHERE user_id = ?", user_id)
        assert verify_password(prepare(attempt.password, ""), stored), attempt

    @invariant()
    def accounts_match_model(self) -> None:
        """Every account is in the model, and none has a denied name."""
        names = {row[0][1:].partition(":")[0] for row in self.rows("SELECT user_id FROM users")}
        assert names == set(self.model.names)
        assert DENIED not in names

    @invariant()
    def addresses_match_model(self) -> None:
        """An address belongs to the account whose session has presented its validation, and to no
        other."""
        check_addresses(self)

    @invariant()
    def tokens_match_model(self) -> None:
        """A token's uses are those that sessions have reserved, and those of accounts."""
        tokens = self.processes[0].subsystem.registration_tokens
        for found in self.wait(tokens.list()):
            assert found.uses_allowed is not None
            left = found.uses_allowed - found.completed
            assert (found.pending, left) == (
                self.model.pending(found.token),
                self.model.uses[found.token],
            )
            assert left >= 0
            assert found.completed == len(self.wait(tokens.uses(found.token)))


class MachineTests(SystemCase):
    def test_anyOrder(self) -> None:
        """In any order of requests, no session uses a stage that it has not passed itself."""
        machine = type("Machine", (RegistrationMachine,), {"case": self, "seen": set()})
        run_state_machine_as_test(
            machine,
            settings=examples(120, stateful_step_count=40),
        )
        self.assertEqual(REQUIRED - machine.seen, set())
