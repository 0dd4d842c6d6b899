"""What a writer calls when it has made an account or logged a device in."""

from __future__ import annotations

from typing import Any

import attr

from regsys.model import NewAccount, NewDevice, UserID
from regsys.testing.contracts.case import user
from tests.contracts.writer import new_account


class CallbackTests:
    """For suites of writers, beside WriterContract."""

    def watched(self: Any) -> Any:
        """The writer; whom it has called about is in ``created`` and ``logged_in``."""
        self.created: list[NewAccount] = []
        self.logged_in: list[tuple[UserID, NewDevice]] = []
        return attr.evolve(
            self.writer(),
            on_created=(self.created.append,),
            on_logged_in=(lambda *called: self.logged_in.append(called),),
        )

    async def test_onCreated(self: Any) -> None:
        """Each account is called about once, repetitions are not; its login is no other event."""
        writer, new = self.watched(), new_account(auth_provider_id="oidc")
        for _ in range(2):
            await writer.create_account(new)
        await writer.create_account(new_account("2", "bob"))
        called = [(made.user_id, made.auth_provider_id) for made in self.created]
        self.assertEqual(called, [(user("alice"), "oidc"), (user("bob"), None)])
        self.assertEqual(self.logged_in, [])

    async def test_onLoggedIn(self: Any) -> None:
        """So is each device that an account gets later, with the login that it got."""
        writer, new = self.watched(), new_account()
        await writer.create_account(new)
        device = attr.evolve(new.device, auth_provider_id="oidc")
        login = await writer.register_device(user("alice"), device)
        expected = [(user("alice"), attr.evolve(device, login=login))]
        self.assertEqual(self.logged_in, expected)
        self.assertEqual(len(self.created), 1)
