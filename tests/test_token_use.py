"""Tokens in use: their owner while they are valid, and their refresh."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Coroutine, Optional

import attr
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from regsys.config import TokensConfig
from regsys.credentials.access_tokens import GuestTokens, Logins, Refresher, TokenAuth
from regsys.errors import UnknownToken
from regsys.interfaces import IAuth
from regsys.model import DeviceRequest, Login, NewAccount, NewDevice, Requester, Secret, UserID
from regsys.model.devices import StoredLogin
from regsys.storage.devices import DeviceStore
from regsys.storage.users import UserStore
from regsys.testing import provides
from regsys.testing.database import memory_database

ALICE = UserID("alice", "s.example")
GUEST = UserID("42", "s.example")
MINUTE_S = 60
START_S = 1_000_000


class TokenCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START_S)
        self.database = memory_database(self, self.clock)
        self.users = UserStore(self.database)
        self.devices = DeviceStore(self.database, self.clock)
        self.guests = GuestTokens(server_name="s.example", secret=b"key")
        self.auth = TokenAuth(
            logins=self.devices, accounts=self.users, guests=self.guests, clock=self.clock
        )
        self.configure()

    def configure(self, **minutes: Optional[int]) -> None:
        """Set lifetimes, in minutes."""
        config = TokensConfig(
            **{f"{name}_lifetime_ms": value and value * 60_000 for name, value in minutes.items()}
        )
        self.logins = Logins(config=config, secret=b"key", guests=self.guests, clock=self.clock)
        self.refresher = Refresher(logins=self.logins, store=self.devices, clock=self.clock)

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def make(self, user_id: UserID = ALICE, **device: Any) -> Login:
        """An account whose device is logged in."""
        terms = self.logins.terms(DeviceRequest(**device))
        login = self.logins.issue(user_id, terms, f"key of {user_id}")
        new = NewAccount(
            key=str(user_id),
            user_id=user_id,
            created_ms=0,
            is_guest=terms.is_guest,
            device=NewDevice(login=login),
        )
        self.wait(self.users.create_account(new))
        return login

    def change_user(self, change: str) -> None:
        self.wait(
            self.database.transaction("test", lambda txn: txn.run(f"UPDATE users SET {change}"))
        )

    def whose(self, login: Login) -> Optional[Requester]:
        found = self.wait(self.auth.whose(login.access_token))
        assert found is None or isinstance(found, Requester)
        return found

    def refresh(self, login: Login) -> Login:
        assert login.refresh_token is not None
        traded = self.wait(self.refresher.refresh(login.refresh_token))
        assert isinstance(traded, Login)
        return traded

    def assertUnknown(self, asking: Coroutine[Any, Any, Any], soft: bool) -> None:
        failure = self.failureResultOf(Deferred.fromCoroutine(asking), UnknownToken)
        self.assertEqual(failure.value.extra.get("soft_logout", False), soft)

    def assertSpent(self, login: Login, soft: bool = True) -> None:
        """Neither token of the pair is valid any more."""
        assert login.refresh_token is not None
        self.assertUnknown(self.auth.whose(login.access_token), soft)
        self.assertUnknown(self.refresher.refresh(login.refresh_token), soft)


class WhoseTests(TokenCase):
    def test_provides(self) -> None:
        """TokenAuth offers all of IAuth."""
        provides(IAuth, self.auth)

    def test_user(self) -> None:
        """The owner of a token is returned with its device and its expiry."""
        self.configure(nonrefreshable_access_token=2)
        login = self.make(device_id="PHONE")
        self.assertEqual(
            self.whose(login),
            Requester(
                user_id=ALICE,
                device_id="PHONE",
                valid_until_ms=(START_S + 2 * MINUTE_S) * 1000,
            ),
        )

    def test_nobodys(self) -> None:
        """An unknown token, and one whose device is gone, have no owner."""
        login = self.make()
        for text in ("", "syt_", "syt_YWxpY2U_aaaaaaaaaaaaaaaaaaaa_000000", "ä", "\0"):
            self.assertIsNone(self.wait(self.auth.whose(Secret(text))))
        self.wait(self.devices.log_out(ALICE, login.device_id))
        self.assertIsNone(self.whose(login))

    def test_refreshTokenOpensNothing(self) -> None:
        """A refresh token is no access token."""
        login = self.make(wants_refresh_token=True)
        assert login.refresh_token is not None
        self.assertIsNone(self.wait(self.auth.whose(login.refresh_token)))

    def test_expired(self) -> None:
        """A token is valid until its expiry, to the millisecond; then its device lives on
        (``soft_logout``), unless the session has expired too."""
        cases: list[tuple[dict[str, Optional[int]], bool]] = [
            ({"nonrefreshable_access_token": 2}, True),
            ({"nonrefreshable_access_token": 2, "session": 90}, True),
            ({"session": 2}, False),
        ]
        for number, (lifetimes, soft) in enumerate(cases):
            self.configure(**lifetimes)
            login = self.make(UserID(f"alice{number}", "s.example"))
            self.clock.advance(2 * MINUTE_S - 0.001)
            self.assertIsNotNone(self.whose(login), lifetimes)
            self.clock.advance(0.001)
            self.assertUnknown(self.auth.whose(login.access_token), soft)

    def test_deactivated(self) -> None:
        """The tokens of a deactivated account have no owner."""
        login = self.make(wants_refresh_token=True)
        guest = self.make(GUEST, is_guest=True)
        self.change_user("deactivated = TRUE")
        self.assertIsNone(self.whose(login))
        self.assertIsNone(self.whose(guest))
        assert login.refresh_token is not None
        self.assertUnknown(self.refresher.refresh(login.refresh_token), soft=False)

    def test_guest(self) -> None:
        """A guest's token is valid for as long as its account is a guest, however long."""
        guest = self.make(GUEST, is_guest=True)
        self.clock.advance(10 * 365 * 24 * 3600)
        expected = Requester(user_id=GUEST, device_id="guest_device", is_guest=True)
        self.assertEqual(self.whose(guest), expected)
        self.change_user("is_guest = FALSE")
        self.assertIsNone(self.whose(guest))

    def test_guestWhoDoesNotExist(self) -> None:
        """A guest's token of another server's user, or of no user, has no owner."""
        self.make(GUEST, is_guest=True)
        for stranger in (UserID("43", "s.example"), UserID("42", "other.example")):
            token = self.guests.make(stranger, "nonce")
            self.assertIsNone(self.wait(self.auth.whose(token)))


class RefreshTests(TokenCase):
    def make_refreshable(self) -> Login:
        return self.make(wants_refresh_token=True)

    def test_newPair(self) -> None:
        """A refresh token gives a new pair for the same device, with a lifetime of its own."""
        old = self.make_refreshable()
        self.clock.advance(3 * MINUTE_S)
        new = self.refresh(old)
        self.assertEqual(new.device_id, old.device_id)
        self.assertEqual(new.terms.valid_until_ms, (START_S + 8 * MINUTE_S) * 1000)
        tokens = {old.access_token, new.access_token, old.refresh_token, new.refresh_token}
        self.assertEqual(len(tokens), 4)
        self.assertEqual(
            self.whose(new),
            Requester(
                user_id=ALICE,
                device_id=old.device_id,
                valid_until_ms=new.terms.valid_until_ms,
            ),
        )

    def test_expiredAccessTokenIsRefreshed(self) -> None:
        """The pair can be refreshed after its access token has expired: that is its purpose."""
        old = self.make_refreshable()
        self.clock.advance(60 * MINUTE_S)
        self.assertUnknown(self.auth.whose(old.access_token), soft=True)
        self.assertIsNotNone(self.whose(self.refresh(old)))

    def test_repeatedUntilUsed(self) -> None:
        """Until a token of the new pair is used the old pair is valid and can be refreshed again,
        as by a client that lost the answer; the pair of the lost answer is invalid."""
        old = self.make_refreshable()
        lost = self.refresh(old)
        self.assertIsNotNone(self.whose(old))
        new = self.refresh(old)
        self.assertIsNone(self.whose(lost))
        self.assertIsNotNone(self.whose(old))
        self.assertIsNotNone(self.whose(new))

    def test_spentByAccess(self) -> None:
        """Once the new access token is used, the old pair is invalid."""
        old = self.make_refreshable()
        new = self.refresh(old)
        self.whose(new)
        self.assertSpent(old)
        self.assertIsNotNone(self.whose(self.refresh(new)))

    def test_spentByRefresh(self) -> None:
        """Once the new refresh token is used, the old pair is invalid."""
        old = self.make_refreshable()
        new = self.refresh(old)
        newest = self.refresh(new)
        self.assertSpent(old)
        self.assertIsNotNone(self.whose(newest))

    def test_unknown(self) -> None:
        """An unknown refresh token, an access token, and one whose device is gone are refused."""
        login = self.make_refreshable()
        assert login.refresh_token is not None
        self.assertUnknown(self.refresher.refresh(Secret("syr_x_y_z")), soft=False)
        self.assertUnknown(self.refresher.refresh(login.access_token), soft=False)
        self.wait(self.devices.log_out(ALICE, None))
        self.assertUnknown(self.refresher.refresh(login.refresh_token), soft=False)

    def test_expiredRefreshToken(self) -> None:
        """An expired refresh token ends the login, but its device lives."""
        self.configure(refresh_token=10)
        login = self.make_refreshable()
        assert login.refresh_token is not None
        self.clock.advance(10 * MINUTE_S)
        self.assertUnknown(self.refresher.refresh(login.refresh_token), soft=True)

    def test_sessionCapsAllPairs(self) -> None:
        """However often it is refreshed, a session ends at its original expiry."""
        self.configure(session=12, refresh_token=7)
        login = self.make_refreshable()
        ends_ms = (START_S + 12 * MINUTE_S) * 1000
        self.clock.advance(6 * MINUTE_S)
        login = self.refresh(login)
        self.assertEqual(login.terms.refresh_until_ms, ends_ms)
        self.assertEqual(login.terms.valid_until_ms, ends_ms - 60_000)
        self.clock.advance(4 * MINUTE_S)
        login = self.refresh(login)
        self.assertEqual(login.terms.valid_until_ms, ends_ms)
        self.whose(login)
        self.clock.advance(2 * MINUTE_S)
        self.assertSpent(login, soft=False)

    def test_switchedOff(self) -> None:
        """If refreshing was switched off meanwhile, nothing is refreshed any more."""
        login = self.make_refreshable()
        assert login.refresh_token is not None
        self.configure(refreshable_access_token=None)
        self.assertUnknown(self.refresher.refresh(login.refresh_token), soft=True)

    def test_spentWhileWeLooked(self) -> None:
        """A pair that is spent between look-up and refresh gives nothing."""
        old = self.make_refreshable()
        new = self.refresh(old)
        assert old.refresh_token is not None
        racing = attr.evolve(
            self.refresher, store=Slow(self.devices, lambda: self.auth.whose(new.access_token))
        )
        self.assertUnknown(racing.refresh(old.refresh_token), soft=True)
        self.assertIsNotNone(self.whose(new))


@attr.frozen
class Slow:
    """A token store whose look-ups are so slow that something happens ``meanwhile``."""

    store: DeviceStore
    meanwhile: Callable[[], Awaitable[Any]]

    async def by_refresh(self, refresh_hash: str) -> Optional[StoredLogin]:
        found = await self.store.by_refresh(refresh_hash)
        await self.meanwhile()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)
