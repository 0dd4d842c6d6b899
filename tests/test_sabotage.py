"""The contracts find faults: each sabotage of a good store is caught by its suite."""

from __future__ import annotations

import functools
import sqlite3
import sys
import unittest
from types import ModuleType
from typing import Any, Callable, Sequence
from unittest import mock

import attr
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from regsys.accounts.blocking import Blocking
from regsys.errors import SmsRefused
from regsys.model import Pusher, UserID
from regsys.outbound.sms import SmsGateway
from regsys.storage import database
from regsys.testing import (
    MemoryAccounts,
    MemoryActiveUsers,
    MemoryDevices,
    MemoryDirectory,
    MemoryPushers,
    MemoryThreepids,
)
from regsys.testing.contracts.case import SERVER
from regsys.threepids.validation_mail import ValidationMailSender
from tests import test_contracts as fakes
from tests import test_custom_contracts as custom
from tests.accounts import test_monthly_active_users as activity
from tests.adoption import test_adoption

# By module: a suite that is named here by itself would run a second time.
from tests.storage import (
    test_account_data,
    test_accounts,
    test_activity,
    test_approvals,
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
from tests.support.examples import EXAMPLES
from tests.support.sabotages import STAGE, STORE
from tests.support.suites import first_failure

# A suite; the beginning of a statement, after its CTE, and a part of it: a condition that is always
# true instead, or a column that keeps its value.
ALWAYS_TRUE = [
    (test_accounts.MemoryOwnAccountsTests, "UPDATE users SET is_guest", "user_id = ?"),
    (test_accounts.MemoryOwnAccountsTests, "UPDATE users SET approved", "user_id = ?"),
    (test_accounts.MemoryOwnAccountsTests, "DELETE FROM devices", "user_id = ?"),
    (test_accounts.MemoryOwnAccountsTests, "UPDATE uia_sessions SET finished", "session_id = ?"),
    (test_accounts.MemoryOwnAccountsTests, "UPDATE validations SET used", "claimed_by = ?"),
    (test_accounts.MemoryLookupTests, "SELECT user_id, password_hash", "name_key IN (?, ?)"),
    (test_adoption.FileAgain, "UPDATE users SET password_hash = ?, is_guest", "user_id = ?"),
    (test_adoption.FileAgain, "UPDATE users SET deactivated", "user_id = ?"),
    (test_adoption.FileAgain, "UPDATE adopted_users SET last_token", "user_id = ?"),
    (test_adoption.FileAgain, "DELETE FROM logins", "access_hash = ?"),
    (test_adoption.FileAgain, "DELETE FROM adoption_progress", "name = ?"),
    (test_activity.MemoryActivityTests, "UPDATE users SET seen_ms", "is_guest"),
    (test_activity.MemoryActivityTests, "UPDATE users SET deactivated", "is_guest"),
    (test_approvals.MemoryApprovalTests, "UPDATE users SET approved", "user_id = ?"),
    (test_approvals.MemoryApprovalTests, "SELECT decision, decided_by", "user_id = ?"),
    (test_approvals.MemoryApprovalTests, "DELETE FROM approvals WHERE user_id", "user_id = ?"),
    (test_approvals.MemorySessionTests, "DELETE FROM administrator_sessions", "user_id = ?"),
    (test_approvals.MemorySessionTests, "DELETE FROM administrator_sessions", "session_hash = ?"),
    (test_approvals.MemorySessionTests, "SELECT u.user_id", "s.session_hash = ?"),
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

STORE_SUITES = (
    "AccountTests",
    "AuthTests",
    "DeviceTests",
    "HomeserverTests",
    "ThreepidTests",
    "UserTests",
)

Method = Callable[..., Any]
Pairs = Sequence[tuple[str, str]]


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


def server_ignored(method: Method) -> Method:
    """A user of another server is taken for ours of the same localpart."""

    async def called(self: Any, *args: Any) -> Any:
        return await method(self, *(_ours(item) for item in args))

    return called


def _ours(item: Any) -> Any:
    if isinstance(item, Pusher):
        return attr.evolve(item, user_id=_ours(item.user_id))
    return UserID(item.localpart, SERVER) if isinstance(item, UserID) else item


def all_users_hidden(tell: Method) -> Method:
    async def profile_created(self: MemoryDirectory, *args: Any) -> None:
        await tell(self, *args)
        if args[2]:
            self.shown.clear()

    return profile_created


def refusal_returned(check: Method) -> Method:
    async def checked(self: Any, *args: Any) -> Any:
        try:
            return await check(self, *args)
        except Exception:
            return False

    return checked


def failure_swallowed(send: Method) -> Method:
    async def sent(self: Any, *args: Any) -> Any:
        try:
            return await send(self, *args)
        except Exception:
            return None

    return sent


def name_wanted(check: Method) -> Method:
    async def checked(self: Any, registration: Any) -> Any:
        registration.localpart.lower()
        return await check(self, registration)

    return checked


def another_error(method: Method) -> Method:
    async def called(self: Any, *args: Any) -> Any:
        try:
            return await method(self, *args)
        except Exception as error:
            raise OSError(str(error)) from error

    return called


def refused_always(send: Method) -> Method:
    async def sent(self: Any, *args: Any) -> None:
        try:
            await send(self, *args)
        except Exception as error:
            raise SmsRefused() from error

    return sent


def text_tidied(send: Method) -> Method:
    async def sent(self: Any, number: str, text: str) -> None:
        await send(self, number, " ".join(text.split()))

    return sent


def sent_twice(send: Method) -> Method:
    async def sent(self: Any, *args: Any) -> None:
        await send(self, *args)
        await send(self, *args)

    return sent


def without(field: str) -> Callable[[Method], Method]:
    """Mails lack this."""

    def sabotage(send: Method) -> Method:
        async def sent(self: Any, mail: Any) -> None:
            await send(self, attr.evolve(mail, **{field: None}))

        return sent

    return sabotage


def refusal_raised(send: Method) -> Method:
    async def sent(self: ValidationMailSender, mail: Any) -> None:
        await self.deliver(
            self.mails.compose(
                mail.purpose.value, mail.address, mail.languages, link=mail.link, code=mail.code
            )
        )

    return sent


def to_first_word(send: Method) -> Method:
    async def sent(self: Any, mail: Any) -> None:
        await send(self, attr.evolve(mail, address=(mail.address.split() or ["a@b"])[0]))

    return sent


# A suite of an embedder's part; the method that is sabotaged, and how.
FAKES: list[tuple[type[unittest.TestCase], Any, str, Callable[[Method], Method]]] = [
    (fakes.MemoryAccountsTests, MemoryAccounts, "create_account", every_guest_upgraded),
    (fakes.MemoryDevicesTests, MemoryDevices, "register", device_shared_by_all),
    (fakes.MemoryDevicesTests, MemoryDevices, "register", server_ignored),
    (fakes.MemoryThreepidsTests, MemoryThreepids, "remove", address_removed_from_all),
    (fakes.MemoryThreepidsTests, MemoryThreepids, "remove", server_ignored),
    (fakes.MemoryThreepidsTests, MemoryThreepids, "of_user", server_ignored),
    (fakes.MemoryPushersTests, MemoryPushers, "add", server_ignored),
    (activity.MemoryActiveUsersTests, MemoryActiveUsers, "add", server_ignored),
    (activity.MemoryActiveUsersTests, MemoryActiveUsers, "is_active", server_ignored),
    (fakes.MemoryPushersTests, MemoryPushers, "add", pusher_shared_by_all),
    (fakes.MemoryDirectoryTests, MemoryDirectory, "profile_created", all_users_hidden),
    (custom.BlockingTests, Blocking, "check", refusal_returned),
    (custom.BlockingTests, Blocking, "check", another_error),
    (custom.BlockingTests, Blocking, "check", name_wanted),
    (custom.BlockingTests, Blocking, "check_login", refusal_returned),
    (custom.BlockingTests, Blocking, "check_login", another_error),
    (custom.GatewayTests, SmsGateway, "send", refusal_returned),
    (custom.GatewayTests, SmsGateway, "send", another_error),
    (custom.GatewayTests, SmsGateway, "send", refused_always),
    (custom.GatewayTests, SmsGateway, "send", text_tidied),
    (custom.GatewayTests, SmsGateway, "send", sent_twice),
]
# These need the reactor between two calls.
MAILS: list[Callable[[Method], Method]] = [
    failure_swallowed,
    refusal_raised,
    sent_twice,
    without("link"),
    without("code"),
    to_first_word,
]


def is_caught(*suites: type[unittest.TestCase]) -> bool:
    """Whether a test of these suites fails; it stops at the first that does."""
    return bool(first_failure(*suites))


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
            # With the signature of the good one: test_provides is not to be what catches it.
            self.patch(brought, name, functools.wraps(good)(sabotage(good)))
            caught = is_caught(suite)
            self.patch(brought, name, good)
            self.assertTrue(caught, f"{suite.__name__}: {name} by {sabotage.__name__}")

    def test_mails(self) -> None:
        """So is what sends mails."""
        self.assertEqual(first_failure(custom.MailTests), "")
        good = ValidationMailSender.send
        for sabotage in MAILS:
            self.patch(ValidationMailSender, "send", functools.wraps(good)(sabotage(good)))
            caught = is_caught(custom.MailTests)
            self.patch(ValidationMailSender, "send", good)
            self.assertTrue(caught, sabotage)

    def test_good(self) -> None:
        """Without a sabotage no suite fails."""
        suites = {suite for suite, *_ in (*ALWAYS_TRUE, *FAKES)}
        self.assertEqual([suite.__name__ for suite in suites if is_caught(suite)], [])


class SynchronousPool:
    """Runs interactions at once, over an SQLite in memory."""

    def __init__(self, schema: str) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.connection.executescript(schema)

    def runInteraction(self, interaction: Method, *args: Any) -> Deferred[Any]:
        return maybeDeferred(self._run, interaction, *args)

    def runQuery(self, query: str, values: Any) -> Deferred[Any]:
        return self.runInteraction(lambda txn: txn.execute(query, values).fetchall())

    def close(self) -> None:
        self.connection.close()

    def _run(self, interaction: Method, *args: Any) -> Any:
        with self.connection:
            return interaction(self.connection.cursor(), *args)


class ExampleTests(SynchronousTestCase):
    """The parts of the homeserver in docs/examples, and the suites that its author runs."""

    suites = compile((EXAMPLES / "test_store.py").read_text(), "test_store.py", "exec")

    def first_failure(self, name: str, source: str, suites: Sequence[str] = STORE_SUITES) -> str:
        """What the suites find first if the module of this name has this source; empty if
        nothing."""
        module, tests = ModuleType(name), ModuleType("test_store")
        with mock.patch.dict(sys.modules, {name: module}):
            exec(compile(source, f"sabotaged {name}.py", "exec"), vars(module))  # noqa: S102
            exec(self.suites, vars(tests))  # noqa: S102
        vars(tests)["open_database"] = lambda path: SynchronousPool(vars(module)["SCHEMA"])
        return first_failure(*(vars(tests)[suite] for suite in suites))

    def survivors(self, name: str, sabotages: Pairs, suites: Sequence[str]) -> list[object]:
        """The sabotages of this module that no suite finds."""
        good = (EXAMPLES / f"{name}.py").read_text()
        self.assertEqual(self.first_failure(name, good, suites), "")
        found = []
        for old, new in sabotages:
            self.assertEqual(good.count(old), 1, f"docs/examples/{name}.py: {old}")
            if not self.first_failure(name, good.replace(old, new), suites):
                found.append((old, new))
        return found

    def test_store(self) -> None:
        """The store passes; with a slip, whichever, a test of its suites fails."""
        self.assertGreaterEqual(len(STORE), 40)
        self.assertEqual(self.survivors("store", STORE, STORE_SUITES), [])

    def test_stage(self) -> None:
        """So do the stage and its suite."""
        self.assertEqual(self.survivors("embedding", STAGE, ("DoorCodeTests",)), [])
