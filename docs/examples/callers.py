"""The same three calls of the handler, by a caller of each kind.

Each method of ``registration.handler`` is an ``async def``. docs/embedding.md quotes this file; run
the asyncio program with

    python docs/examples/callers.py
"""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Generator, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred, inlineCallbacks

import regsys
from regsys.errors import UsernameTaken
from regsys.model import Login, Registration, Secret

T = TypeVar("T")

# --- A coroutine under Twisted: await it ------------------------------------------------------


async def with_await(handler: regsys.RegistrationHandler, name: str) -> Secret:
    try:
        await handler.check_username(name)
    except UsernameTaken:
        name += "2"
    account = Registration(
        key=f"import of {name}", localpart=name, password=Secret("looking glass")
    )
    created = await handler.register_user(account)
    login = await handler.register_device(created.user_id, "PHONE")
    return login.access_token


# --- inlineCallbacks: make a Deferred of each call --------------------------------------------


@inlineCallbacks
def with_yield(
    handler: regsys.RegistrationHandler, name: str
) -> Generator[Deferred[Any], Any, Secret]:
    try:
        yield ensureDeferred(handler.check_username(name))
    except UsernameTaken:
        name += "2"
    account = Registration(
        key=f"import of {name}", localpart=name, password=Secret("looking glass")
    )
    created = yield ensureDeferred(handler.register_user(account))
    login: Login = yield ensureDeferred(handler.register_device(created.user_id, "PHONE"))
    return login.access_token


# --- asyncio: Twisted on asyncio's loop, and a future of each Deferred ------------------------


def future_of(call: Awaitable[T]) -> asyncio.Future[T]:
    """asyncio cannot await what a call awaits inside: Deferreds."""

    async def wait() -> T:
        return await call

    return ensureDeferred(wait()).asFuture(asyncio.get_running_loop())


async def with_asyncio(handler: regsys.RegistrationHandler, name: str) -> Secret:
    try:
        await future_of(handler.check_username(name))
    except UsernameTaken:
        name += "2"
    account = Registration(
        key=f"import of {name}", localpart=name, password=Secret("looking glass")
    )
    created = await future_of(handler.register_user(account))
    login = await future_of(handler.register_device(created.user_id, "PHONE"))
    return login.access_token


async def program(registration: regsys.Subsystem) -> None:
    registration.start()
    for _ in range(2):
        token = await with_asyncio(registration.handler, "alice")
        owner = await future_of(registration.auth.whose(token))
        assert owner is not None
        print(owner.user_id)
    await future_of(registration.stop())


def main() -> None:
    from twisted.internet import asyncioreactor

    loop = asyncio.new_event_loop()
    asyncioreactor.install(loop)  # before anything imports the reactor
    from twisted.internet import reactor

    config = regsys.parse({"server_name": "example.org", "macaroon_secret_key": "keep this one"})
    task = loop.create_task(program(regsys.standalone(config, reactor)))
    task.add_done_callback(lambda _: reactor.stop())
    reactor.run()  # in place of asyncio.run: runs the loop
    task.result()


if __name__ == "__main__":
    main()
