"""The contract of IBlocking: it lets pass, or raises a refusal, and does nothing else."""

from __future__ import annotations

import json
from typing import Any, Awaitable, Iterator, Mapping

from regsys.errors import RegistrationError
from regsys.interfaces import IBlocking
from regsys.model import Client, Registration, Threepid, User
from regsys.testing.contracts.case import (
    NOW_MS,
    Contract,
    MaybeAwaitable,
    part_of,
    together,
    user,
    value_of,
    yours,
)

CLIENT = Client("192.0.2.1", "a browser")
# Registrations of each kind that regsys asks about. Their names and addresses are ordinary.
KINDS: Mapping[str, Mapping[str, Any]] = {
    "a user": {"localpart": "alice", "client": CLIENT},
    "a user whose name is a number to be drawn": {"client": CLIENT},
    "a guest": {"make_guest": True, "client": CLIENT},
    "a user with addresses": {
        "localpart": "alice",
        "threepids": (Threepid("email", "alice@mail.example", NOW_MS),),
    },
    "a user of a module, without a client": {"localpart": "alice", "display_name": "Alice"},
    "a bot": {"localpart": "alice", "user_type": "bot"},
}
USERS: Mapping[str, Mapping[str, Any]] = {
    "a user": {"created_ms": NOW_MS},
    "a user of long ago": {"password_hash": "a hash"},
    "an administrator": {"admin": True},
    "an application service's user": {"appservice_id": "bridge"},
}


class BlockingContract(Contract):
    """An IBlocking, and the switch that decides.

    If a test fails, a closed server takes registrations, an open one refuses some, or a client
    gets an error in place of a refusal that it can show.
    """

    @yours
    def make(self) -> MaybeAwaitable[IBlocking]:
        """One that blocks nobody."""
        raise NotImplementedError()

    @yours
    def block(self) -> MaybeAwaitable[object]:
        """Block registrations and logins from now on, at least those of ordinary users."""
        raise NotImplementedError()

    @yours
    def unblock(self) -> MaybeAwaitable[object]:
        """Block nobody from now on."""
        raise NotImplementedError()

    async def passes(self, blocking: IBlocking) -> None:
        """Assert that every kind of registration and login passes, and passes again."""
        for _ in range(2):
            for name, asked in everybody(blocking):
                rule = f"{name}: returns None while nothing is blocked"
                self.assertEqual(await self.answer(asked, rule), None, rule)

    def refused(self, error: RegistrationError, rule: str) -> tuple[Any, ...]:
        """Assert that a client can make something of this refusal. Returns what it gets."""
        told = (error.status, error.errcode, error.text, json.dumps(error.extra, sort_keys=True))
        self.assertTrue(400 <= error.status < 500, f"{rule}: the status is the client's: {told}")
        self.assertTrue(error.errcode and error.text, f"{rule}: errcode and text: {told}")
        return told

    async def test_provides(self) -> None:
        """It has its methods, with the arguments that regsys calls them with."""
        await part_of(IBlocking, self.make())

    async def test_open(self) -> None:
        """While nothing is blocked, every registration and login passes, however often."""
        await self.passes(await part_of(IBlocking, self.make()))

    async def test_blocked(self) -> None:
        """While it blocks, users get a refusal that their client can show, the same each time. It
        is raised: a return value, whichever, lets them pass."""
        blocking = await part_of(IBlocking, self.make())
        await value_of(self.block())
        told = set()
        for _ in range(2):
            rule = "check: raises the refusal, the same each time"
            asked = blocking.check(registration(KINDS["a user"]))
            told.add(self.refused(await self.refusal(RegistrationError, asked, rule), rule))
            self.assertEqual(len(told), 1, rule)
        told.clear()
        for _ in range(2):
            rule = "check_login: raises the refusal, the same each time"
            asked = blocking.check_login(one(USERS["a user of long ago"]))
            told.add(self.refused(await self.refusal(RegistrationError, asked, rule), rule))
            self.assertEqual(len(told), 1, rule)

    async def test_everyKindWhileBlocked(self) -> None:
        """While it blocks, each kind of registration and login passes or is refused: it never
        fails by another exception, whatever is left out."""
        blocking = await part_of(IBlocking, self.make())
        await value_of(self.block())
        for name, asked in everybody(blocking):
            (answer,) = await together([asked])
            rule = f"{name}: returns None, or raises a RegistrationError: {answer!r}"
            self.assertTrue(answer is None or isinstance(answer, RegistrationError), rule)

    async def test_unblocked(self) -> None:
        """A server that was blocked takes everybody again."""
        blocking = await part_of(IBlocking, self.make())
        await value_of(self.block())
        await self.refusal(
            RegistrationError, blocking.check(registration(KINDS["a user"])), "check"
        )
        await value_of(self.unblock())
        await self.passes(blocking)


def everybody(blocking: IBlocking) -> Iterator[tuple[str, Awaitable[object]]]:
    """Ask about each kind of registration and of user."""
    for kind, fields in KINDS.items():
        yield f"check of {kind}", blocking.check(registration(fields))
    for kind, fields in USERS.items():
        yield f"check_login of {kind}", blocking.check_login(one(fields))


def registration(fields: Mapping[str, Any]) -> Registration:
    return Registration(key="key", **fields)


def one(fields: Mapping[str, Any]) -> User:
    return User(user_id=user("alice"), **fields)
