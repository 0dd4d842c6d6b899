"""Any order of reserving, completing, expiring, revoking and deleting, compared with a model
(threat A5).

The same examples each time; with REGSYS_TEST_SCALE above 1 more, and different ones.
"""

from __future__ import annotations

import math
import sqlite3
from typing import Any, Optional

import attr
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from regsys.errors import InvalidRegistrationToken
from regsys.model import NewAccount
from regsys.model.jobs import NewJob
from regsys.model.registration_tokens import RESERVED_MS
from regsys.storage.embedded_accounts import EmbeddedAccountStore
from regsys.storage.registration_tokens import RegistrationTokenStore
from regsys.storage.sqlite import SQLite
from regsys.storage.users import UserStore
from regsys.testing.contracts.case import NOW_MS, account
from regsys.testing.database import inline_database
from tests.support.scale import examples
from tests.support.values import token

NAMES = st.sampled_from(["a", "b"])
SESSIONS = st.sampled_from(["s1", "s2", "s3"])
LIMITS = st.sampled_from([1, 2, 3, 0, None])
WAITS_MS = st.sampled_from([1, RESERVED_MS // 2, RESERVED_MS])


@attr.define
class Expected:
    """A token as it should be. ``most``: the greatest limit that it ever had."""

    limit: float
    most: float
    expiry_ms: float
    completed: int = 0
    revoked: bool = False


class Tokens(RuleBasedStateMachine):
    """``held``: the token that each holder has reserved, and until when; ``begun``: accounts that
    are being made in a homeserver's store."""

    def __init__(self) -> None:
        super().__init__()
        self.db = inline_database(SQLite(":memory:"), sqlite3.connect)
        self.store, self.users = RegistrationTokenStore(self.db), UserStore(self.db)
        self.elsewhere = EmbeddedAccountStore(self.db)
        self.now_ms = NOW_MS
        self.numbers = iter(range(10**6))
        self.tokens: dict[str, Expected] = {}
        self.held: dict[str, tuple[str, float]] = {}
        self.begun: dict[str, NewAccount] = {}
        self.used: list[tuple[str, str]] = []

    def teardown(self) -> None:
        self.db.pool.close()

    def wait(self, coroutine: Any) -> Any:
        results: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(results.append)
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]

    # --- The model -----------------------------------------------------------------------

    def live(self, name: str, but: str = "") -> int:
        """How many others have reserved a use now."""
        return sum(
            held == name and until_ms > self.now_ms and holder != but
            for holder, (held, until_ms) in self.held.items()
        )

    def has_uses_left(self, name: str, holder: str) -> bool:
        found = self.tokens[name]
        return (
            not found.revoked
            and found.expiry_ms > self.now_ms
            and self.live(name, holder) + found.completed < found.limit
        )

    def count(self, name: str, holder: str, new: NewAccount) -> None:
        self.held.pop(holder, None)
        self.tokens[name].completed += 1
        self.used.append((name, str(new.user_id)))

    def new_account(self, name: str, session: Optional[str]) -> NewAccount:
        number = next(self.numbers)
        return account(
            f"key{number}",
            f"user{number}",
            session_id=session,
            registration_token=name,
            created_ms=self.now_ms,
        )

    # --- Administrators ------------------------------------------------------------------

    @initialize(a=LIMITS, b=LIMITS)
    def begin(self, a: Optional[int], b: Optional[int]) -> None:
        self.create("a", a, RESERVED_MS * 3)
        self.create("b", b, None)

    @rule(name=NAMES, how=st.sampled_from(["limit", "revoke", "allow", "replace"]), limit=LIMITS)
    def administrate(self, name: str, how: str, limit: Optional[int]) -> None:
        expected = self.tokens[name]
        if how == "limit":
            assert self.wait(self.store.change(name, {"uses_allowed": limit}))
            expected.limit = math.inf if limit is None else limit
            expected.most = max(expected.most, expected.limit)
        elif how != "replace":
            assert self.wait(self.store.change(name, {"revoked": how == "revoke"}))
            expected.revoked = how == "revoke"
        elif name not in {new.registration_token for new in self.begun.values()}:
            # Otherwise a use of the old token would be counted for the new one of its name.
            self.delete(name)
            self.create(name, limit, None)

    def create(self, name: str, limit: Optional[int], life_ms: Optional[int]) -> None:
        expiry_ms = None if life_ms is None else self.now_ms + life_ms
        made = token(name, uses_allowed=limit, expiry_ms=expiry_ms)
        assert self.wait(self.store.create(made))
        most = math.inf if limit is None else limit
        self.tokens[name] = Expected(most, most, expiry_ms or math.inf)

    def delete(self, name: str) -> None:
        assert self.wait(self.store.delete(name))
        del self.tokens[name]
        self.held = {who: held for who, held in self.held.items() if held[0] != name}

    # --- Sessions ------------------------------------------------------------------------

    @rule(name=NAMES, session=SESSIONS)
    def reserve(self, name: str, session: str) -> None:
        if session not in self.begun:
            expected = self.has_uses_left(name, session)
            assert self.wait(self.store.reserve(name, session, self.now_ms)) is expected
            if expected:
                self.held[session] = (name, self.now_ms + RESERVED_MS)

    @rule(name=NAMES, session=SESSIONS | st.none())
    def complete(self, name: str, session: Optional[str]) -> None:
        if session not in self.begun:
            new = self.new_account(name, session)
            holder = session or new.key
            expected = self.has_uses_left(name, holder)
            assert self.succeeds(self.users.create_account(new)) is expected
            if expected:
                self.count(name, holder, new)

    @rule(name=NAMES, session=SESSIONS | st.none())
    def begin_elsewhere(self, name: str, session: Optional[str]) -> None:
        if session not in self.begun:
            new = self.new_account(name, session)
            holder = session or new.key
            recovery = NewJob(kind="recover", job_id=f"finish {new.key}")
            expected = self.has_uses_left(name, holder)
            assert self.succeeds(self.elsewhere.claim(new, recovery)) is expected
            if expected:
                self.held[holder] = (name, math.inf)
                self.begun[holder] = new

    @precondition(lambda self: self.begun)
    @rule(settled=st.booleans(), data=st.data())
    def end_elsewhere(self, settled: bool, data: st.DataObject) -> None:
        holder = data.draw(st.sampled_from(sorted(self.begun)))
        new = self.begun.pop(holder)
        assert new.registration_token is not None
        if settled:
            assert self.wait(self.elsewhere.complete(new, f"finish {new.key}")) is not None
            self.count(new.registration_token, holder, new)
            return
        self.wait(self.elsewhere.release(new, f"finish {new.key}"))
        held = self.held.pop(holder, None)
        if new.session_id is not None and held is not None:
            self.held[holder] = (held[0], new.created_ms + RESERVED_MS)

    def succeeds(self, coroutine: Any) -> bool:
        try:
            self.wait(coroutine)
        except InvalidRegistrationToken:
            return False
        return True

    # --- Time ----------------------------------------------------------------------------

    @rule(wait_ms=WAITS_MS)
    def wait_for(self, wait_ms: int) -> None:
        self.now_ms += wait_ms

    @rule(at_most=st.integers(1, 3))
    def sweep(self, at_most: int) -> None:
        gone = self.wait(self.store.delete_expired(self.now_ms, at_most))
        over = [who for who, held in self.held.items() if held[1] <= self.now_ms]
        assert gone == min(at_most, len(over))
        # Which ones are removed makes no difference: none of them counts.
        rows = self.wait(self.db.autocommit("t", lambda txn: txn.all(HOLDERS)))
        self.held = {row[0]: self.held[row[0]] for row in rows}

    # --- Invariants ----------------------------------------------------------------------

    @invariant()
    def as_expected(self) -> None:
        """Pending are the live reservations, completed the accounts that were made."""
        found = {item.token: item for item in self.wait(self.store.list(self.now_ms))}
        assert found.keys() == self.tokens.keys()
        for name, expected in self.tokens.items():
            item = self.wait(self.store.get(name, self.now_ms))
            assert item == found[name]
            assert (item.pending, item.completed) == (self.live(name), expected.completed)
            assert item.is_valid(self.now_ms) is self.has_uses_left(name, "nobody")
            assert item.completed <= expected.most

    @invariant()
    def uses_are_kept(self) -> None:
        """Who has used which token is never forgotten."""
        kept = [(name, use.user_id) for name in "ab" for use in self.wait(self.store.uses(name))]
        assert sorted(kept) == sorted(self.used)


HOLDERS = "SELECT session_id FROM registration_token_reservations"


class ModelTests(SynchronousTestCase):
    def test_anyOrder(self) -> None:
        """In any order of events no use is lost, reserved twice or given away twice."""
        run_state_machine_as_test(
            Tokens,
            settings=examples(150, stateful_step_count=40),
        )
