"""The contracts find faults: each sabotage of a good store is caught by its suite."""

from __future__ import annotations

import unittest
from typing import Any, Callable, Iterator

import attr
from twisted.trial.reporter import TestResult
from twisted.trial.runner import TestLoader
from twisted.trial.unittest import SynchronousTestCase

from regsys.storage import database
from regsys.testing import (
    MemoryAccounts,
    MemoryDevices,
    MemoryDirectory,
    MemoryPushers,
    MemoryThreepids,
)
from tests import test_contracts as fakes

# By module: a suite that is named here by itself would run a second time.
from tests.storage import (
    test_account_data,
    test_accounts,
    test_activity,
    test_bindings,
    test_consents,
    test_devices,
    test_jobs,
    test_nonces,
    test_pushers,
    test_rate_limits,
    test_registration_tokens,
    test_server_state,
    test_sessions,
    test_threepids,
)

# A suite; the beginning of a statement, after its CTE, and a part of it: a condition that is always
# true instead, or a column that keeps its value.
ALWAYS_TRUE = [
    (test_accounts.MemoryOwnAccountsTests, "UPDATE users SET is_guest", "user_id = ?"),
    (test_accounts.MemoryOwnAccountsTests, "UPDATE users SET approved", "name_key = ?"),
    (test_accounts.MemoryOwnAccountsTests, "DELETE FROM devices", "user_id = ?"),
    (test_accounts.MemoryOwnAccountsTests, "UPDATE uia_sessions SET finished", "session_id = ?"),
    (test_accounts.MemoryOwnAccountsTests, "UPDATE validations SET used", "claimed_by = ?"),
    (test_accounts.MemoryLookupTests, "SELECT user_id, password_hash", "name_key = ?"),
    (test_activity.MemoryActivityTests, "UPDATE users SET seen_ms", "is_guest"),
    (test_activity.MemoryActivityTests, "UPDATE users SET deactivated", "is_guest"),
    (test_bindings.MemoryBindingTests, "DELETE FROM bindings", "binding_id = ?"),
    (test_bindings.MemoryBindingTests, "UPDATE bindings", "binding_id = ?"),
    (test_consents.MemoryConsentTests, "SELECT policy", "user_id = ?"),
    (test_devices.MemoryOwnDevicesTests, "DELETE FROM logins WHERE user_id", "user_id = ?"),
    (test_devices.MemoryTokenTests, "DELETE FROM devices WHERE user_id", "user_id = ?"),
    (test_devices.MemoryTokenTests, "DELETE FROM logins WHERE replaces", "replaces = ?"),
    (test_devices.MemoryTokenTests, "UPDATE logins SET replaces", "access_hash = ?"),
    (test_account_data.MemoryAccountsTests, "UPDATE users SET deactivated", "user_id = ?"),
    (test_account_data.MemoryAccountsTests, "DELETE FROM devices", "user_id = ?"),
    (test_account_data.MemorySessionsTests, "DELETE FROM uia_sessions", "user_id = ?"),
    (test_account_data.MemoryValidationsTests, "DELETE FROM validations", "user_id = ?"),
    (test_account_data.MemoryActiveUsersTests, "DELETE FROM active_users", "user_id = ?"),
    (test_jobs.MemoryJobTests, "DELETE FROM jobs", "job_id = ?"),
    (test_jobs.MemoryJobTests, "UPDATE jobs SET due_ms = ?, last_error", "job_id = ?"),
    (test_jobs.MemoryIdempotencyKeyTests, "DELETE FROM outcomes", "key = ?"),
    (test_jobs.MemoryExpiringTests, "DELETE FROM outcomes", "finished"),
    (test_server_state.MemoryTests, "SELECT user_id FROM milestones", "name = ?"),
    (test_nonces.MemoryExpiringTests, "DELETE FROM used_nonces", "expires_ms <= ?"),
    (test_rate_limits.MemoryExpiringTests, "DELETE FROM rate_limits", "empty_us <= ?"),
    (test_pushers.MemoryTests, "DELETE FROM pushers", "user_id = ?"),
    (test_pushers.MemoryTests, "DELETE FROM pushers", "kind = ?"),
    (
        test_registration_tokens.MemoryTokenTests,
        "UPDATE registration_tokens SET completed",
        "token = ?",
    ),
    (
        test_registration_tokens.MemoryTokenTests,
        "DELETE FROM registration_token_reservations",
        "session_id = ?",
    ),
    (test_sessions.MemorySessionTests, "UPDATE uia_sessions SET params", "session_id = ?"),
    (test_sessions.MemorySessionTests, "UPDATE uia_sessions SET password_hash", "session_id = ?"),
    (test_sessions.MemorySessionTests, "DELETE FROM uia_sessions", "session_id = ?"),
    (test_threepids.MemoryThreepidTests, "DELETE FROM threepids", "user_id = ?"),
    (test_threepids.MemoryValidationTests, "SELECT sid, send_attempt", "client_secret = ?"),
    (test_threepids.MemoryValidationTests, "UPDATE validations SET send_attempt", "sid = ?"),
    (test_threepids.MemoryValidationTests, "UPDATE validations SET validated_ms", "sid = ?"),
    (test_threepids.MemoryValidationTests, "UPDATE validations SET claimed_by", "sid = ?"),
    (test_threepids.MemoryValidationTests, "SELECT v.medium", "t.sid = v.sid"),
]
KEPT_BY_AN_UPGRADE = ("password_hash", "admin", "user_type", "approved", "shadow_banned")

Method = Callable[..., Any]


def every_guest_upgraded(create: Method) -> Method:
    async def create_account(self: MemoryAccounts, new: Any) -> Any:
        outcome = await create(self, new)
        if new.upgrades_guest:
            for name, other in self.by_name.items():
                self.by_name[name] = attr.evolve(other, is_guest=False)
        return outcome

    return create_account


def device_shared_by_all(register: Method) -> Method:
    async def register_device(self: MemoryDevices, user_id: Any, device: Any) -> Any:
        for place in [place for place in self.by_id if place[1] == device.login.device_id]:
            del self.by_id[place]
        return await register(self, user_id, device)

    return register_device


def address_removed_from_all(remove: Method) -> Method:
    async def remove_address(self: MemoryThreepids, *args: Any) -> Any:
        removed = await remove(self, *args)
        self.accounts.threepids.clear()
        return removed

    return remove_address


def pusher_shared_by_all(add: Method) -> Method:
    async def add_pusher(self: MemoryPushers, pusher: Any) -> None:
        for key in [key for key in self.by_key if key[2] == pusher.pushkey]:
            del self.by_key[key]
        await add(self, pusher)

    return add_pusher


def all_users_hidden(tell: Method) -> Method:
    async def profile_created(self: MemoryDirectory, *args: Any) -> None:
        await tell(self, *args)
        if args[2]:
            self.shown.clear()

    return profile_created


# A suite of an embedder's part; the method that is sabotaged, and how.
FAKES: list[tuple[type[unittest.TestCase], Any, str, Callable[[Method], Method]]] = [
    (fakes.MemoryAccountsTests, MemoryAccounts, "create_account", every_guest_upgraded),
    (fakes.MemoryDevicesTests, MemoryDevices, "register", device_shared_by_all),
    (fakes.MemoryThreepidsTests, MemoryThreepids, "remove", address_removed_from_all),
    (fakes.MemoryPushersTests, MemoryPushers, "add", pusher_shared_by_all),
    (fakes.MemoryDirectoryTests, MemoryDirectory, "profile_created", all_users_hidden),
]


def is_caught(suite: type[unittest.TestCase]) -> bool:
    """Whether a test of the suite fails; it stops at the first that does."""
    result = TestResult()
    for test in _tests(TestLoader().loadClass(suite)):
        test.run(result)
        if not result.wasSuccessful():
            return True
    return False


def _tests(found: Any) -> Iterator[Any]:
    if isinstance(found, unittest.TestCase):
        yield found
    else:
        for item in found:
            yield from _tests(item)


class SabotageTests(SynchronousTestCase):
    def sabotage(self, begins: str, old: str, new: str) -> list[str]:
        """Change the statements that begin so and contain this. Returns a list, to which each of
        them is appended when it is executed."""
        changed: list[str] = []
        text = database._text

        def sabotaged(dialect_name: str, sql: str) -> str:
            if begins in sql and old in sql:
                changed.append(sql)
                sql = sql.replace(old, new)
            return text(dialect_name, sql)

        self.patch(database, "_text", sabotaged)
        return changed

    def test_alwaysTrue(self) -> None:
        """A condition that is true of every row changes the neighbour's row."""
        for suite, begins, condition in ALWAYS_TRUE:
            text = database._text
            changed = self.sabotage(begins, condition, f"({condition} OR 1 = 1)")
            caught = is_caught(suite)
            self.patch(database, "_text", text)
            self.assertTrue(changed, f"{suite.__name__} has no {begins} … {condition}")
            self.assertTrue(caught, f"{suite.__name__}: {begins} … {condition}")

    def test_upgradeLoses(self) -> None:
        """An upgrade that keeps a column of the guest is found out."""
        for column in KEPT_BY_AN_UPGRADE:
            text = database._text
            kept = f"{column} = CASE WHEN ? IS NULL THEN {column} ELSE {column} END"
            changed = self.sabotage("UPDATE users SET is_guest", f"{column} = ?", kept)
            caught = is_caught(test_accounts.MemoryOwnAccountsTests)
            self.patch(database, "_text", text)
            self.assertTrue(changed and caught, column)

    def test_fakes(self) -> None:
        """A sabotaged part of an embedder's is caught as well, through its interface alone."""
        for suite, brought, name, sabotage in FAKES:
            good = getattr(brought, name)
            self.patch(brought, name, sabotage(good))
            caught = is_caught(suite)
            self.patch(brought, name, good)
            self.assertTrue(caught, f"{suite.__name__}: {name} by {sabotage.__name__}")

    def test_good(self) -> None:
        """Without a sabotage no suite fails."""
        suites = {suite for suite, *_ in (*ALWAYS_TRUE, *FAKES)}
        self.assertEqual([suite.__name__ for suite in suites if is_caught(suite)], [])
