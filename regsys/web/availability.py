"""GET /register/available (contract B13, B16.7-9)."""

from __future__ import annotations

from typing import Callable

from regsys.accounts.handler import RegistrationHandler
from regsys.config import RegistrationConfig
from regsys.errors import InvalidParam, InvalidUsername, RegistrationDisabled
from regsys.http import Call, Endpoint, Reply
from regsys.interfaces.internal import IConcurrencyLimiter
from regsys.web.responses import client_paths

AVAILABLE = Reply({"available": True})


def availability(
    handler: RegistrationHandler,
    config: RegistrationConfig,
    concurrency: IConcurrencyLimiter,
    key_of: Callable[[str], str],
) -> Endpoint:
    async def get(call: Call) -> Reply:
        if not config.enabled:
            raise RegistrationDisabled()
        key = key_of(call.client.address)
        await concurrency.enter(key)
        try:
            if not config.inhibit_user_in_use_error:
                # Its own session may have a name that it holds.
                await handler.check_username(_username(call), key=call.query("session"))
            return AVAILABLE
        finally:
            concurrency.leave(key)

    return Endpoint("availability", client_paths("register/available"), {"GET": get})


def _username(call: Call) -> str:
    try:
        return call.required_query("username")
    except InvalidParam:
        raise InvalidUsername() from None
