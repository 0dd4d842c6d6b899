"""The measured operations, one coroutine each, and the accounts that they need."""

from __future__ import annotations

import json
from typing import Optional, Sequence

import attr

from benchmarks.load import Connection, Operation

V3 = "/_matrix/client/v3"
PASSWORD = "correct horse battery staple"
DUMMY = {"type": "m.login.dummy"}
# The registration file of the application service that registers ghosts.
BRIDGE = {
    "id": "bridge",
    "url": None,
    "as_token": "the token of the bridge",
    "hs_token": "the token of the server",
    "sender_localpart": "bridgebot",
    "namespaces": {"users": [{"regex": "@_bridge_.*", "exclusive": True}]},
}
# The number of accounts that exist before anything is measured.
RESIDENTS = 50

# The registration that the others are compared with.
ONE_SHOT = "one-shot"


@attr.frozen(kw_only=True)
class Measured:
    """``hashes``: the number of bcrypt hashes in it, whose cost is subtracted. ``most``: its limit,
    in hellos; None if it has none."""

    name: str
    operation: Operation
    hashes: int = 0
    most: Optional[float] = None


async def hello(connection: Connection, number: int) -> None:
    await connection.ask("GET", "/")


async def settle_residents(connection: Connection) -> Sequence[str]:
    """Register the residents; returns their tokens."""
    return [await _register(connection, f"resident{number}") for number in range(RESIDENTS)]


def operations(tokens: Sequence[str]) -> Sequence[Measured]:
    """All measured operations; ``tokens``: the residents' access tokens."""

    async def one_shot(connection: Connection, number: int) -> None:
        await _register(connection, f"user{number}")

    async def two_step(connection: Connection, number: int) -> None:
        body = {"username": f"user{number}", "password": PASSWORD}
        challenge = json.loads(
            await connection.ask("POST", f"{V3}/register", body, expect=401),
        )
        auth = {**DUMMY, "session": challenge["session"]}
        await connection.ask("POST", f"{V3}/register", {**body, "auth": auth})

    async def guest(connection: Connection, number: int) -> None:
        await connection.ask("POST", f"{V3}/register?kind=guest", {})

    async def ghost(connection: Connection, number: int) -> None:
        body = {
            "type": "m.login.application_service",
            "username": f"_bridge_{number}",
            "inhibit_login": True,
        }
        await connection.ask("POST", f"{V3}/register", body, token=str(BRIDGE["as_token"]))

    async def challenge(connection: Connection, number: int) -> None:
        await connection.ask("POST", f"{V3}/register", {"username": f"user{number}"}, expect=401)

    async def availability(connection: Connection, number: int) -> None:
        await connection.ask("GET", f"{V3}/register/available?username=user{number}")

    async def whoami(connection: Connection, number: int) -> None:
        token = tokens[number % RESIDENTS]
        await connection.ask("GET", f"{V3}/account/whoami", token=token)

    async def login(connection: Connection, number: int) -> None:
        identifier = {"type": "m.id.user", "user": f"resident{number % RESIDENTS}"}
        body = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        await connection.ask("POST", f"{V3}/login", body)

    return (
        Measured(name=ONE_SHOT, operation=one_shot, hashes=1, most=12),
        Measured(name="two-step", operation=two_step, hashes=1),
        Measured(name="guest", operation=guest),
        Measured(name="ghost", operation=ghost, most=8),
        Measured(name="challenge", operation=challenge),
        Measured(name="availability", operation=availability, most=4),
        Measured(name="whoami", operation=whoami),
        Measured(name="login", operation=login, hashes=1),
    )


async def _register(connection: Connection, name: str) -> str:
    body = {"username": name, "password": PASSWORD, "auth": DUMMY}
    answer = json.loads(await connection.ask("POST", f"{V3}/register", body))
    return str(answer["access_token"])
